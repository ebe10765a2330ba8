"""Train A3C with an LSTM on an Atari game.

python experiments/a3c.py --env Riverraid-v5
python experiments/a3c.py --resume runs/NAME [--total-steps MORE]
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import optax

from jaxrl import cli, environments, parallel, rollout, training, video
from jaxrl.algorithms import a3c
from jaxrl.evaluation import BackgroundEvaluator, shared_normalizer
from jaxrl.networks import ActorCriticLSTM

ALGORITHM = "a3c"
MAY_CHANGE = ("resume", "total_steps", "learning_rate", "evaluation_games", "video")


@dataclasses.dataclass(frozen=True)
class Config:
    """Train A3C with an LSTM (an agent step is one action; with a frame skip of 4 it is 4 emulator frames)."""

    env: str = "Riverraid-v5"
    """Atari game, by EnvPool's name."""
    seed: int = 0
    """Seed of the parameters, the actions and the environments; the same seed gives the same run to the bit."""
    total_steps: int = 10_000_000
    """Agent steps (not frames) to train for, over all environments."""
    protocol: str = "machado"
    """Rules of the game: machado (sticky actions, no life-loss), nature, or origin (the report's)."""
    run_dir: Path | None = None
    """Folder of the run, which must not exist yet; by default runs/a3c_ENV_PROTOCOL_SEED_TIME."""
    resume: Path | None = None
    """Go on with the run in this folder, with its options, from its newest checkpoint."""
    num_envs: int = 32
    """Environments, over all workers and devices."""
    num_workers: int = 2
    """Asynchronous workers on each device; a worker's gradient is num_workers - 1 updates old (1 is A2C)."""
    device_count: int = 1
    """Devices to train on; the gradient is averaged over them."""
    worker_map: Literal["auto", "vmap", "map"] = "auto"
    """How workers are run: all at once (vmap), in turn (map), or what is faster on this backend (auto)."""
    t_max: int = 20
    """Agent steps of each environment in one segment, the length of backpropagation through time."""
    learning_rate: float = 4e-4
    """Learning rate of the optimiser."""
    learning_rate_decay: bool = False
    """Let the learning rate fall linearly to 0 at total_steps."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Optimiser; its statistics are shared by all workers."""
    gamma: float = 0.99
    """Discount of a reward one agent step later."""
    gae_lambda: float = 1.0
    """Mixing weight of generalised advantage estimation; 1 is the n-step return."""
    entropy_coefficient: float = 0.01
    """Weight of the policy's entropy in the loss."""
    value_coefficient: float = 0.5
    """Weight of half the squared value error in the loss."""
    max_grad_norm: float = 50.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""
    image_size: int = 42
    """Height and width of the observation in pixels."""
    frame_stack: int = 1
    """Newest frames in one observation, as channels."""
    log_every: int = 20_000
    """Agent steps between two rows of metrics.csv."""
    checkpoint_every: int = 500_000
    """Agent steps between two checkpoints; each starts fresh environments and one evaluation."""
    evaluation_games: int = 10
    """Whole games that each checkpoint plays beside training; 0 for none."""
    video: bool = True
    """Record one game of the final policy as video.mp4."""

    @property
    def streams(self) -> int:
        """Environments of one worker."""
        return self.num_envs // (self.num_workers * self.device_count)

    @property
    def total_updates(self) -> int:
        """Updates of the shared parameters in the whole run (reset rows aside)."""
        return max(1, self.total_steps // (self.t_max * self.streams * self.device_count))

    @property
    def hyperparameters(self) -> a3c.Hyperparameters:
        """What the loss depends on."""
        return a3c.Hyperparameters(self.gamma, self.gae_lambda, self.entropy_coefficient, self.value_coefficient)


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    for name in (
        "total_steps",
        "num_envs",
        "num_workers",
        "device_count",
        "t_max",
        "image_size",
        "frame_stack",
        "log_every",
        "checkpoint_every",
        "learning_rate",
        "max_grad_norm",
    ):
        if not getattr(config, name) > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0; got {getattr(config, name)}.")
    for name in ("gamma", "gae_lambda"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"--{name.replace('_', '-')} lies in [0, 1]; got {getattr(config, name)}.")
    for name in ("seed", "evaluation_games", "entropy_coefficient", "value_coefficient"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"--{name.replace('_', '-')} must not be below 0; got {getattr(config, name)}.")
    parallel.check_device_count(config.device_count)
    groups = config.num_workers * config.device_count
    if config.num_envs % groups:
        nearest = max(1, round(config.num_envs / groups)) * groups
        raise ValueError(
            f"--num-envs {config.num_envs} does not divide among {config.num_workers} workers on each of "
            f"{config.device_count} devices; the nearest number that does is {nearest}."
        )


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Clipped Adam or RMSProp, with the learning rate's schedule."""
    rate = config.learning_rate
    if config.learning_rate_decay:
        rate = optax.linear_schedule(rate, 0.0, config.total_updates)
    rule = optax.adam(rate) if config.optimizer == "adam" else optax.rmsprop(rate, decay=0.99, eps=0.1)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), rule)


class Agent:
    """A3C for the run loop (`training.Agent`): a state is a pair (learner, actor) with a leading device axis."""

    def __init__(self, config: Config, num_actions: int):
        self.config = config
        self.network = ActorCriticLSTM(num_actions)
        self.policy = a3c.policy(self.network)
        self.optimizer = optimizer_of(config)
        self.map_workers = parallel.map_workers(config.worker_map)
        self.learn = parallel.map_devices(self._learn, config.device_count, donate_argnums=(0,))

    def init(self, key, pools):
        """The state from nothing."""
        key, subkey = jax.random.split(key)
        num_envs = pools[0].num_envs
        normalizer = rollout.init_normalization(pools[0].protocol, num_envs)
        keys = jax.random.split(key, len(pools))
        actors = [self._actor(pool, normalizer, k) for pool, k in zip(pools, keys, strict=True)]
        observation, first = actors[0].observation[None], actors[0].first[None]
        params = self.network.init(subkey, observation, actors[0].memory, first)
        learner = a3c.init(params, self.config.num_workers, self.optimizer)
        return self._stack([learner] * len(pools)), self._stack(actors)

    def attach(self, state, pools):
        """The same agent at the start of fresh pools."""
        learner, actors = state
        normalizers = [jax.tree.map(lambda leaf, i=i: leaf[i], actors.normalizer) for i in range(len(pools))]
        fresh = map(self._actor, pools, normalizers, actors.key)
        return learner, self._stack(list(fresh))

    def collector(self, pools):
        """Acting and stepping in these pools, t_max steps at a time."""
        pool_step = parallel.on_this_device([pool.step for pool in pools])
        return parallel.map_devices(lambda state: self._collect(state, pool_step), len(pools))

    def frozen(self, state):
        """What acts, of one device."""
        learner, actors = jax.tree.map(lambda leaf: leaf[0], state)
        return {"params": learner.params, "normalizer": actors.normalizer}

    def _actor(self, pool, normalizer, key):
        return rollout.init(pool.reset(), self.network.initial_memory(pool.num_envs), normalizer, key)

    def _stack(self, trees):
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
        return parallel.spread(stacked, self.config.device_count)

    def _collect(self, state, pool_step):
        learner, actor = state
        memory = actor.memory

        def act(*args):
            return a3c.act_by_workers(self.policy, learner.copies, *args, self.map_workers)

        actor, seen = rollout.rollout(actor, act, pool_step, self.config.t_max)
        experience = a3c.segments(memory, seen, actor.observation, actor.first, self.config.num_workers)
        return actor, experience, {name: getattr(seen, name) for name in training.PER_STEP}

    def _learn(self, learner, experience):
        return a3c.update(
            learner,
            experience,
            self.network,
            self.optimizer,
            self.config.hyperparameters,
            self.map_workers,
            parallel.axis_names(self.config.device_count),
        )


def make_pool(config: Config, num_envs: int, seed: int, **options) -> environments.Pool:
    """A pool under the run's protocol and observation format."""
    return environments.make(
        config.env,
        config.protocol,
        num_envs,
        seed,
        height=config.image_size,
        width=config.image_size,
        stack=config.frame_stack,
        **options,
    )


def evaluator_of(config: Config):
    """The maker of the evaluator beside training, or None."""
    if not config.evaluation_games:
        return None
    num_envs = min(config.evaluation_games, 5)
    return lambda policy: BackgroundEvaluator(
        policy,
        lambda seed: make_pool(config, num_envs, seed, training=False),
        config.evaluation_games,
        config.seed,
    )


def main(config: Config):
    """Train, or go on training, and leave the run's folder complete."""
    check(config)
    probe = make_pool(config, 1, 0)
    num_actions = probe.num_actions
    probe.close()
    run_dir = go_on(config) if config.resume else new_run(config)
    print(
        f"{config.num_workers * config.device_count} workers with {config.streams} environments each; "
        f"each gradient is {config.num_workers - 1} update(s) old; the run is in {run_dir}",
        flush=True,
    )
    agent = Agent(config, num_actions)

    def make_pools(agent_steps):
        seeds = [training.pool_seed(config.seed, agent_steps, device) for device in range(config.device_count)]
        return [make_pool(config, config.num_envs // config.device_count, seed) for seed in seeds]

    schedule = training.Schedule(config.total_steps, config.checkpoint_every, config.log_every)
    title = f"A3C-LSTM on {config.env}, protocol {config.protocol}, seed {config.seed}"
    state, steps, complete = training.run(
        agent, make_pools, evaluator_of(config), schedule, run_dir, config.seed, config.resume is not None, title
    )
    if not complete:
        print(
            f"interrupted at {steps:,} agent steps and saved; go on with: python experiments/a3c.py --resume {run_dir}"
        )
        return
    if config.video:
        frozen = agent.frozen(state)
        pool = make_pool(config, 1, config.seed, training=False, render=True)
        normalizer = shared_normalizer(frozen["normalizer"], 1)
        video.record(
            agent.policy,
            frozen["params"],
            pool,
            run_dir / "video.mp4",
            jax.random.key(config.seed),
            normalizer=normalizer,
        )
    print(
        f"{steps:,} agent steps done; the run is in {run_dir}; score it with: python experiments/evaluate.py {run_dir}"
    )


def new_run(config: Config) -> Path:
    """Make the run's folder with its config.json."""
    name = f"{ALGORITHM}_{config.env}_{config.protocol}_{config.seed}_{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir = config.run_dir or Path("runs") / name.replace("/", "-")
    if run_dir.exists():
        raise ValueError(f"the run folder {run_dir} exists; go on with --resume {run_dir}, or give another --run-dir.")
    run_dir.mkdir(parents=True)
    training.write_config(run_dir, dataclasses.asdict(config) | {"algorithm": ALGORITHM})
    return run_dir


def go_on(config: Config) -> Path:
    """Write down with which options a run goes on, the others being as they were."""
    changed = {name: getattr(config, name) for name in MAY_CHANGE if name != "resume"}
    training.write_config(config.resume, training.read_config(config.resume) | changed)
    return config.resume


def saved_config(run_dir) -> Config:
    """The config of a run that exists.

    Raises: ValueError when the folder is not that of an A3C run.
    """
    saved = training.read_config(run_dir)
    if saved.pop("algorithm", None) != ALGORITHM:
        raise ValueError(f"{run_dir} is not the folder of an {ALGORITHM} run.")
    return Config(**saved | {"run_dir": None, "resume": Path(run_dir)})


def config_to_resume(arguments) -> Config | None:
    """The saved config when the command line says --resume; it may then change only what leaves the run the same."""
    run_dir = cli.value_of("--resume", arguments)
    if run_dir is None:
        return None
    given = [
        a.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        for a in arguments
        if a.startswith("--")
    ]
    for name in given:
        if name in {field.name for field in dataclasses.fields(Config)} - set(MAY_CHANGE):
            raise ValueError(
                f"--{name.replace('_', '-')} cannot change when a run goes on; with --resume only "
                f"{', '.join('--' + n.replace('_', '-') for n in MAY_CHANGE if n != 'resume')} can be given."
            )
    return saved_config(run_dir)


if __name__ == "__main__":
    cli.run(main, Config, config_to_resume)
