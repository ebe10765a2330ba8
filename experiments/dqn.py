"""Train DQN, or any combination of what was added to it, on an Atari game or on classic control.

python experiments/dqn.py --env Riverraid-v5 [--double] [--dueling] [--prioritized] [--distributional qr] [--n-step 3]
python experiments/dqn.py --env Pong-v5 --preset nature
python experiments/dqn.py --env CartPole-v1 --preset rainbow
python experiments/dqn.py --resume runs/NAME [--total-steps MORE]
"""

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrl import cli, environments, experiment, parallel, replay, rollout, training
from jaxrl.algorithms import dqn
from jaxrl.networks import QNetwork


@dataclasses.dataclass(frozen=True)
class Config(experiment.RunConfig):
    """Train DQN and its kin (an agent step is one action; with a frame skip of 4 it is 4 emulator frames).

    --preset gives other defaults than those shown, which are the preset fast; --preset NAME --help shows them.
    """

    algorithm: ClassVar[str] = "dqn"
    may_change: ClassVar[tuple[str, ...]] = (*experiment.RunConfig.may_change, "save_replay")

    preset: str = "fast"
    """Atari: fast, rainbow (both for many environments), nature, double, prioritized, dueling (as published).
    Classic control: dqn, double, dueling, prioritized, rainbow. Options beside it win."""
    image_size: int | None = 52
    """Height and width of the observation in pixels."""
    frame_stack: int | None = 4
    """Newest frames in one observation, as channels."""
    double: bool = False
    """The online network chooses the action that the target network values (Double DQN)."""
    dueling: bool = False
    """The network's values are a state's value and the advantages of the actions (Dueling DQN)."""
    dueling_form: Literal["mean", "max"] = "mean"
    """What is subtracted from the advantages."""
    prioritized: bool = False
    """Draw transitions in proportion to a power of their last error (prioritised replay)."""
    noisy: bool = False
    """Explore by learnt noise in the network's linear layers; --epsilon-final 0 then leaves that alone."""
    distributional: Literal["none", "c51", "qr"] = "none"
    """Learn the distribution of the return: its probabilities on fixed points (c51), or its quantiles (qr)."""
    n_step: int = 3
    """Steps whose rewards are summed before the target bootstraps."""
    collect_steps: int = 1
    """Agent steps of each environment between two turns of learning."""
    updates: int = 4
    """Updates in one turn of learning."""
    batch_size: int = 32
    """Transitions drawn for an update, over all devices."""
    replay_size: int = 500_000
    """Agent steps that the replay holds, over all devices; a step of 52x52 pixels takes 3 kB, of 84x84 7 kB."""
    save_replay: bool = True
    """Keep the replay in checkpoints, which makes a resumed run exact; without, it starts empty and fills up again."""
    learning_starts: int = 20_000
    """Agent steps of random actions before the first update."""
    target_period: int = 2_000
    """Updates after which the target network is made equal to the online one; 0 for soft updates."""
    target_rate: float = 0.005
    """How far a soft update moves the target network towards the online one."""
    exploration: Literal["linear", "spectrum"] = "linear"
    """Probability of a random action: the same everywhere and falling, or one for each environment."""
    epsilon_final: float = 0.02
    """That probability in the end; of a spectrum the largest."""
    epsilon_decay: int = 250_000
    """Agent steps in which it falls to that, from 1."""
    evaluation_epsilon: float = 0.001
    """That probability in evaluations and in the video."""
    learning_rate: float = 2.5e-4
    """Learning rate of the optimiser."""
    learning_rate_decay: bool = False
    """Let the learning rate fall linearly to 0 at total_steps."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam, or the centred RMSProp of the first DQN."""
    optimizer_epsilon: float = 1.5e-4
    """What keeps the optimiser from dividing by zero."""
    max_grad_norm: float = 10.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss of an error of the value."""
    gamma: float = 0.99
    """Discount of a reward one agent step later."""
    hidden: tuple[int, ...] = (512,)
    """Widths of the hidden layers, after the convolutions where there are pictures."""
    atoms: int = 51
    """Points of c51, or quantiles of qr (published with 51 and 200; 200 take a CPU 1.7 times as long to learn)."""
    v_min: float = -10.0
    """Lowest return of c51's points."""
    v_max: float = 10.0
    """Highest return of c51's points."""
    priority_exponent: float = 0.6
    """α: priorities are errors to this power; 0 draws uniformly."""
    importance_exponent: float = 0.4
    """β at the start: how much of the bias of drawing by priority the weights undo; it rises to 1 at the end."""

    @property
    def name(self) -> str:
        """What the algorithm is called with these options."""
        kinds = [name for name in ("double", "dueling", "prioritized", "noisy") if getattr(self, name)]
        kinds += [self.distributional] * (self.distributional != "none")
        return " ".join(["DQN", *kinds, f"{self.n_step}-step"])

    @property
    def outputs(self) -> int:
        """Numbers that the network has for each action."""
        return 1 if self.distributional == "none" else self.atoms

    @property
    def replay_ratio(self) -> float:
        """Transitions drawn for each agent step."""
        return self.batch_size * self.updates / (self.num_envs * self.collect_steps)

    @property
    def total_updates(self) -> int:
        """Updates in the whole run (reset rows aside)."""
        turns = (self.total_steps - self.learning_starts) // (self.num_envs * self.collect_steps)
        return max(1, turns * self.updates)

    @property
    def hyperparameters(self) -> dqn.Hyperparameters:
        """What the loss depends on."""
        delta = 1.0 if self.loss == "huber" else float("inf")
        return dqn.Hyperparameters(
            self.double, self.distributional, delta, self.v_min, self.v_max, self.target_period, self.target_rate
        )

    @property
    def exploring(self) -> dqn.Exploration:
        """How actions are made random."""
        return dqn.Exploration(self.exploration, self.learning_starts, self.epsilon_decay, self.epsilon_final)

    def settings(self, pool: environments.Pool) -> replay.Settings:
        """The replay of one device."""
        rows = self.replay_size // self.num_envs // self.collect_steps * self.collect_steps
        stack = pool.observation_shape[-1] if len(pool.observation_shape) == 3 else 1
        return replay.Settings(rows, stack, self.n_step, self.gamma, self.prioritized)


RAINBOW = {
    "double": True, "dueling": True, "prioritized": True, "noisy": True, "distributional": "c51", "n_step": 3,
    "priority_exponent": 0.5, "epsilon_final": 0.0, "epsilon_decay": 1, "evaluation_epsilon": 0.0,
}  # fmt: skip
NATURE = {  # "Human-level control through deep reinforcement learning", Extended Data Table 1
    "protocol": "nature", "image_size": 84, "num_envs": 1, "collect_steps": 4, "updates": 1, "batch_size": 32,
    "n_step": 1, "replay_size": 1_000_000,
    "learning_starts": 50_000, "target_period": 10_000, "epsilon_final": 0.1, "epsilon_decay": 1_000_000,
    "evaluation_epsilon": 0.05, "optimizer": "rmsprop", "learning_rate": 2.5e-4, "optimizer_epsilon": 0.01,
    "max_grad_norm": float("inf"), "total_steps": 50_000_000,
}  # fmt: skip
# "Deep reinforcement learning with double Q-learning" (https://arxiv.org/abs/1509.06461), the tuned version
DOUBLE = NATURE | {"double": True, "target_period": 30_000, "epsilon_final": 0.01, "evaluation_epsilon": 0.001}
# "Prioritized experience replay" (https://arxiv.org/abs/1511.05952): the proportional variant, a quarter of the rate
PRIORITIZED = DOUBLE | {"prioritized": True, "learning_rate": 2.5e-4 / 4}
# "Dueling network architectures" (https://arxiv.org/abs/1511.06581)
DUELING = DOUBLE | {"dueling": True, "learning_rate": 6.25e-5, "max_grad_norm": 10.0}
CONTROL = {
    "env": "CartPole-v1", "protocol": "control", "num_envs": 8, "image_size": None, "frame_stack": None,
    "hidden": (128, 128), "n_step": 3, "gamma": 0.98, "updates": 4, "batch_size": 64, "replay_size": 100_000,
    "learning_starts": 1_000, "target_period": 128, "epsilon_final": 0.05, "epsilon_decay": 10_000,
    "evaluation_epsilon": 0.0, "learning_rate": 1e-3, "learning_rate_decay": True, "total_steps": 100_000,
    "log_every": 2_000, "checkpoint_every": 25_000,
}  # fmt: skip
# Weights below 1 and cross-entropy make gradients small beside 1e-4; 10 steps carry values through 500 soon enough.
PRIORITIZED_CONTROL = CONTROL | {
    "prioritized": True, "n_step": 10, "gamma": 0.99, "target_period": 64, "optimizer_epsilon": 1e-6
}  # fmt: skip
RAINBOW_CONTROL = PRIORITIZED_CONTROL | RAINBOW | {"n_step": 10, "updates": 1}
# fast: an update from pictures of 52x52 takes 0.3 of one from 84x84 on a CPU, and acting less, so that four in place of
# one leave the speed as it was (513 and 518 steps/s on one core). Riverraid after 500,000 steps, with
# Glorot's start of the weights: 3,058 against 2,310 (training scores of seed 0).
PRESETS = {
    "atari": {
        "fast": {}, "rainbow": RAINBOW, "nature": NATURE, "double": DOUBLE, "prioritized": PRIORITIZED,
        "dueling": DUELING,
    },
    "classic_control": {
        "dqn": CONTROL, "double": CONTROL | {"double": True}, "dueling": CONTROL | {"dueling": True},
        "prioritized": PRIORITIZED_CONTROL, "rainbow": RAINBOW_CONTROL,
    },
}  # fmt: skip


def preset(name: str | None, env: str | None) -> Config:
    """The options of a preset, for an environment of its family.

    Raises: ValueError for an unknown preset or environment.
    """
    env = env or Config.env
    presets = PRESETS[environments.family(env)]
    name = name or next(iter(presets))
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1) or presets
        raise ValueError(f"there is no --preset {name!r} for {env}; did you mean {' or '.join(near)}?")
    options = presets[name] | {"env": env, "preset": name}
    if presets is PRESETS["classic_control"]:  # c51's points go as far as the returns: each step gives 1, or takes 1
        most = float(round(1 / (1 - options["gamma"])))
        options |= {"v_min": 0.0, "v_max": most} if env.startswith("CartPole") else {"v_min": -most, "v_max": 0.0}
    return Config(**options)


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    experiment.check(config)
    experiment.check_above(
        config, "n_step", "collect_steps", "updates", "batch_size", "replay_size", "learning_starts", "epsilon_decay",
        "learning_rate", "optimizer_epsilon", "max_grad_norm", "atoms",
    )  # fmt: skip
    experiment.check_fraction(
        config, "gamma", "epsilon_final", "evaluation_epsilon", "target_rate", "importance_exponent"
    )
    experiment.check_not_below(config, "target_period", "priority_exponent")
    if config.protocol == "origin":
        raise ValueError("the replay keeps frames as they are, and --protocol origin normalises them; use machado.")
    if not config.hidden or min(config.hidden) < 1:
        raise ValueError(f"--hidden takes one or more widths above 0; got {' '.join(map(str, config.hidden)) or '-'}.")
    if config.distributional == "c51" and not (config.v_min < config.v_max and config.outputs > 1):
        raise ValueError("c51 needs at least 2 atoms between --v-min and a --v-max that is larger.")
    for name in ("num_envs", "batch_size"):
        value, devices = getattr(config, name), config.device_count
        if value % devices:
            nearest = max(1, round(value / devices)) * devices
            raise ValueError(
                f"{experiment.option(name)} {value} does not divide among {devices} devices; the nearest number that "
                f"does is {nearest}."
            )
    if config.batch_size > config.learning_starts:
        raise ValueError(
            f"--batch-size {config.batch_size} is more than the {config.learning_starts} steps that learning starts "
            f"with; raise --learning-starts, or draw at most as many."
        )
    if config.learning_starts > config.replay_size:
        raise ValueError(
            f"--learning-starts {config.learning_starts} is more than --replay-size {config.replay_size} can hold."
        )
    rows = config.n_step + (config.frame_stack or 1) + config.collect_steps  # a row is a step of all environments
    if config.learning_starts < rows * config.num_envs:
        raise ValueError(
            f"--learning-starts {config.learning_starts} is not enough for a first transition: with {config.num_envs} "
            f"environments and {config.n_step} steps it takes {rows * config.num_envs}."
        )


def check_memory(config: Config, pool: environments.Pool):
    """Raise ValueError for a replay that does not fit into the device's memory."""
    settings = config.settings(pool)
    per_step = replay.bytes_needed(settings._replace(length=1), 1, frame_bytes(pool))
    on_host = jax.default_backend() == "cpu"
    needed = config.replay_size * per_step // (1 if on_host else config.device_count)
    free = parallel.free_memory()
    if needed > free:
        fits = free // per_step * (1 if on_host else config.device_count)
        raise ValueError(
            f"--replay-size {config.replay_size} needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; "
            f"{int(fits * 0.8) // 1000 * 1000} would fit."
        )


def frame_shape(pool: environments.Pool) -> tuple[int, ...]:
    """The shape of what the replay keeps of an observation: one frame, or the features."""
    return pool.observation_shape[:-1] if len(pool.observation_shape) == 3 else pool.observation_shape


def frame_bytes(pool: environments.Pool) -> int:
    """The bytes of it."""
    return int(np.prod(frame_shape(pool))) * pool.observation_dtype.itemsize


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Clipped Adam or RMSProp."""
    rate, eps = config.learning_rate, config.optimizer_epsilon
    if config.learning_rate_decay:
        rate = optax.linear_schedule(rate, 0.0, config.total_updates)
    if config.optimizer == "adam":
        rule = optax.adam(rate, eps=eps)
    else:
        rule = optax.rmsprop(rate, decay=0.95, eps=eps, centered=True)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), rule)


class Learner(NamedTuple):
    """The networks, the replay, the agent steps so far (over all devices), and the key of draws and noise."""

    networks: dqn.State
    replay: replay.Replay | None
    agent_steps: Any
    key: Any


class Agent:
    """DQN for the run loop (`training.Agent`): a state is a pair (learner, actor) with a leading device axis."""

    def __init__(self, config: Config, pool: environments.Pool):
        self.config, self.pool = config, pool
        self.network = QNetwork(
            pool.num_actions,
            config.outputs,
            config.hidden,
            config.dueling_form if config.dueling else "none",
            config.noisy,
        )
        self.hyper = config.hyperparameters
        self.settings = config.settings(pool)
        self.policy = dqn.policy(self.network, self.hyper, config.evaluation_epsilon)
        self.optimizer = optimizer_of(config)
        self.axis_names = parallel.axis_names(config.device_count)
        self._store = parallel.map_devices(self._store_one, config.device_count, donate_argnums=(0,))
        self._learn = parallel.map_devices(self._learn_one, config.device_count, donate_argnums=(0,))

    def init_params(self, key):
        """The network's parameters from nothing."""
        return self.network.init(key, np.zeros((1, *self.pool.observation_shape), self.pool.observation_dtype))

    def init(self, key, pools):
        """The state from nothing."""
        params_key, *keys = jax.random.split(key, 1 + 2 * len(pools))
        networks = dqn.init(self.init_params(params_key), self.optimizer)
        learners = [Learner(networks, None, jnp.int32(0), k) for k in keys[: len(pools)]]
        actors = [self._actor(pool, k) for pool, k in zip(pools, keys[len(pools) :], strict=True)]
        return self._with_empty_replay(self._stack(learners)), self._stack(actors)

    def attach(self, state, pools):
        """The same agent at the start of fresh pools, before which no episode goes on."""
        learner, actors = state
        ring = jax.vmap(lambda ring: replay.cut(ring, self.settings))(learner.replay)
        learner = learner._replace(replay=ring)
        return learner, self._stack([self._actor(pool, key) for pool, key in zip(pools, actors.key, strict=True)])

    def collector(self, pools):
        """Acting and stepping in these pools, `collect_steps` steps at a time."""
        pool_step = parallel.on_this_device([pool.step for pool in pools])
        collect = parallel.map_devices(lambda acting: self._collect(acting, pool_step), len(pools))

        def of_state(state):
            learner, actor = state
            return collect((learner.networks.params, learner.agent_steps, actor))

        return of_state

    def learn(self, learner, experience):
        """Store the experience; and, once there is enough, update."""
        before = int(np.asarray(learner.replay.rows)[0])  # known by now, where that of the stored is still to come
        learner, report = self._store(learner, experience)
        if (before + self.config.collect_steps) * self.config.num_envs < self.config.learning_starts:
            return learner, report
        # The frames are only read here; passed on, XLA:CPU would copy all of them.
        changing, learnt = self._learn(self._changing(learner), learner.replay._replace(tree=None), learner.agent_steps)
        return self._changed(learner, changing), report | learnt

    def frozen(self, state):
        """What acts, of one device."""
        return {"params": jax.tree.map(lambda leaf: leaf[0], state[0].networks.params), "normalizer": None}

    def saved(self, state):
        """What a checkpoint holds of a state: all, or all but the replay."""
        learner, actor = state
        return state if self.config.save_replay else (learner._replace(replay=None), actor)

    def restored(self, saved):
        """The state that `saved` was made of; a replay that was not saved is empty."""
        learner, actor = saved
        return (learner if self.config.save_replay else self._with_empty_replay(learner)), actor

    def _actor(self, pool, key):
        return rollout.init(pool.reset(), (), None, key)

    def _with_empty_replay(self, learner):
        devices = self.config.device_count
        size = (self.settings, self.config.num_envs // devices, frame_shape(self.pool), self.pool.observation_dtype)
        return learner._replace(replay=parallel.repeat(lambda: replay.init(*size), devices))

    def _stack(self, trees):
        return parallel.spread(parallel.stack(trees), self.config.device_count)

    def _collect(self, acting, pool_step):
        params, agent_steps, actor = acting
        num_envs = actor.first.shape[0]
        epsilon = dqn.epsilon(self.config.exploring, agent_steps, num_envs)

        def act(memory, observation, first, key):
            return dqn.act(self.network, params, observation, key, epsilon, self.hyper, self.config.noisy), memory

        actor, seen = rollout.rollout(actor, act, pool_step, self.config.collect_steps)
        return actor, (seen, epsilon.mean()), {name: getattr(seen, name) for name in training.PER_STEP}

    def _changing(self, learner):
        """What an update changes: networks, priorities and the highest of them, and the key."""
        return learner.networks, learner.replay.tree, learner.replay.highest, learner.key

    def _changed(self, learner, changing):
        """The learner with that in its place."""
        networks, tree, highest, key = changing
        return learner._replace(networks=networks, replay=learner.replay._replace(tree=tree, highest=highest), key=key)

    def _store_one(self, learner, experience):
        """Store the experience of one device; and a report, in which nothing was learnt."""
        seen, epsilon = experience
        taken = seen.valid.sum()
        for axis_name in self.axis_names:
            taken = jax.lax.psum(taken, axis_name)
        ring = replay.insert(learner.replay, self.settings, seen)
        learner = learner._replace(replay=ring, agent_steps=learner.agent_steps + taken)
        report = {name: jnp.float32(jnp.nan) for name in ("loss", "q_mean", "td_error", "gradient_norm")}
        report |= {"updates": jnp.int32(0), "epsilon": epsilon, **self._fullness(ring)}
        return learner, report

    def _learn_one(self, changing, ring, agent_steps):
        """The updates of one turn on one device."""
        learner, reports = self._changed(Learner(None, ring, agent_steps, None), changing), []
        for _ in range(self.config.updates):  # unrolled: XLA:CPU is slow in loops
            learner, latest = self._update(learner)
            reports.append(latest)
        means = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values)), *reports)
        means |= {"updates": jnp.int32(len(reports)), **self._fullness(learner.replay)}
        return self._changing(learner), means

    def _update(self, learner):
        """Draw a batch, learn from it, and set its priorities."""
        config = self.config
        key, draw_key, noise_key = jax.random.split(learner.key, 3)
        batch_size = config.batch_size // config.device_count
        batch = replay.sample(learner.replay, self.settings, draw_key, batch_size)
        weight = jnp.full(batch_size, 1.0 / batch_size)
        if config.prioritized:
            progress = jnp.minimum(learner.agent_steps / config.total_steps, 1.0)
            beta = config.importance_exponent + (1 - config.importance_exponent) * progress
            weight *= replay.importance_weights(batch, replay.drawable(learner.replay, self.settings), beta)
        networks, error, report = dqn.update(
            learner.networks,
            batch,
            weight,
            noise_key if config.noisy else None,
            self.network,
            self.optimizer,
            self.hyper,
            self.axis_names,
        )
        ring = learner.replay
        if config.prioritized:
            ring = replay.set_priorities(ring, batch.index, error, config.priority_exponent)
        return learner._replace(networks=networks, replay=ring, key=key), report

    def _fullness(self, ring):
        """What is reported of the replay."""
        report = {"replay_fill": jnp.minimum(ring.rows / self.settings.length, 1.0)}
        if self.config.prioritized:
            count = jnp.maximum(replay.drawable(ring, self.settings) * ring.valid.shape[1], 1)
            report |= {"priority_mean": replay.total_priority(ring) / count, "priority_highest": ring.highest}
        return report


def main(config: Config):
    """Train, or go on training, and leave the run's folder complete."""
    check(config)
    pool = experiment.probe(config)
    check_memory(config, pool)
    agent = Agent(config, pool)
    introduction = (
        f"{config.name}, preset {config.preset}; {config.num_envs} environments; "
        f"{config.replay_ratio:g} transitions are drawn for each agent step"
    )
    if not config.save_replay:
        introduction += "; without its replay a resumed run is not exact, and fills it again before it learns on"
    experiment.train(config, agent, "experiments/dqn.py", introduction)


def defaults(arguments) -> Config:
    """The config that the options change: that of the run to resume, or of the preset."""
    saved = experiment.config_to_resume(Config, arguments)
    return saved or preset(cli.value_of("--preset", arguments), cli.value_of("--env", arguments))


if __name__ == "__main__":
    cli.run(main, Config, defaults)
