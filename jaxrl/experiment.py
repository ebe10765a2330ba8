"""What the scripts in experiments/ share: the options of every run, its folder, its pools, and its course."""

import dataclasses
import time
from pathlib import Path
from typing import ClassVar

import jax

from jaxrl import cli, environments, parallel, training, video
from jaxrl.evaluation import BackgroundEvaluator, shared_normalizer


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The options of every training script; a script adds those of its algorithm."""

    algorithm: ClassVar[str]
    name: ClassVar[str]
    may_change: ClassVar[tuple[str, ...]] = ("total_steps", "evaluation_games", "video")  # when a run goes on

    env: str = "Riverraid-v5"
    """Environment, by EnvPool's name: any Atari game, and what else the algorithm can play."""
    seed: int = 0
    """Seed of the parameters, the actions and the environments; the same seed gives the same run to the bit."""
    total_steps: int = 10_000_000
    """Agent steps (not frames) to train for, over all environments; what changes until the end, such as a learning rate
    that falls to 0, goes by the new number when a run goes on to another."""
    protocol: str = "machado"
    """Rules of the game: machado (sticky actions, no life-loss), nature, origin (the report's), or control."""
    run_dir: Path | None = None
    """Folder of the run, which must not exist yet; by default runs/ALGORITHM_ENV_PROTOCOL_SEED_TIME."""
    resume: Path | None = None
    """Go on with the run in this folder, with its options, from its newest checkpoint."""
    num_envs: int = 32
    """Environments that are played at once, over all devices."""
    device_count: int = 1
    """Devices to train on; the gradient is averaged over them."""
    image_size: int | None = None
    """Height and width of the observation in pixels; by default the protocol's."""
    frame_stack: int | None = None
    """Newest frames in one observation, as channels; by default the protocol's."""
    log_every: int = 20_000
    """Agent steps between two rows of metrics.csv."""
    checkpoint_every: int = 500_000
    """Agent steps between two checkpoints; each starts fresh environments and one evaluation."""
    evaluation_games: int = 10
    """Whole games that each checkpoint plays beside training; 0 for none."""
    video: bool = True
    """Record one game of the final policy as video.mp4."""


def check_above(config, *names: str):
    """Raise ValueError for an option that is given and not above 0."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise ValueError(f"{option(name)} must be above 0; got {value}.")


def check_not_below(config, *names: str):
    """Raise ValueError for an option below 0."""
    for name in names:
        if not getattr(config, name) >= 0:
            raise ValueError(f"{option(name)} must not be below 0; got {getattr(config, name)}.")


def check_fraction(config, *names: str):
    """Raise ValueError for an option that is not in [0, 1]."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{option(name)} lies in [0, 1]; got {getattr(config, name)}.")


def check(config: RunConfig):
    """Raise ValueError, in one sentence, for options of every run that cannot work."""
    check_above(
        config, "total_steps", "num_envs", "device_count", "image_size", "frame_stack", "log_every", "checkpoint_every"
    )
    check_not_below(config, "seed", "evaluation_games")
    for name, value in dataclasses.asdict(config).items():
        if isinstance(value, int) and value >= 2**31:
            raise ValueError(f"{option(name)} must be below 2^31 = {2**31:,}; got {value:,}.")
    parallel.check_device_count(config.device_count)


def option(name: str) -> str:
    """How an option is written on the command line."""
    return "--" + name.replace("_", "-")


def make_pool(config: RunConfig, num_envs: int, seed: int, **options) -> environments.Pool:
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


def probe(config: RunConfig) -> environments.Pool:
    """A pool that is there to be asked for its actions and observations; closed.

    Raises: ValueError for an environment that cannot be made.
    """
    pool = make_pool(config, 1, 0)
    pool.close()
    return pool


def evaluator_of(config: RunConfig):
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


def train(config: RunConfig, agent: training.Agent, script: str, introduction: str):
    """Train, or go on training, and leave the run's folder complete.

    Args:
      config: the options, already checked.
      agent: the algorithm.
      script: how the script is called.
      introduction: printed before the run's folder.
    """
    try:
        jax.eval_shape(agent.init_params, jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"--image-size {config.image_size} is too small for the network: {error}") from None
    run_dir = go_on(config) if config.resume else new_run(config)
    print(f"{introduction}; the run is in {run_dir}", flush=True)

    def make_pools(agent_steps):
        seeds = [training.pool_seed(config.seed, agent_steps, device) for device in range(config.device_count)]
        return [make_pool(config, config.num_envs // config.device_count, seed) for seed in seeds]

    schedule = training.Schedule(config.total_steps, config.checkpoint_every, config.log_every)
    title = f"{config.name} on {config.env}, protocol {config.protocol}, seed {config.seed}"
    state, steps, complete = training.run(
        agent, make_pools, evaluator_of(config), schedule, run_dir, config.seed, config.resume is not None, title
    )
    if not complete:
        print(f"interrupted at {steps:,} agent steps and saved; go on with: python {script} --resume {run_dir}")
        return
    if config.video:
        record_game(config, agent, state, run_dir)
    print(
        f"{steps:,} agent steps done; the run is in {run_dir}; score it with: python experiments/evaluate.py {run_dir}"
    )


def record_game(config: RunConfig, agent: training.Agent, state, run_dir: Path):
    """One game of the final policy as video.mp4 in the run's folder."""
    frozen = agent.frozen(state)
    pool = make_pool(config, 1, config.seed, training=False, render=True)
    normalizer = shared_normalizer(frozen["normalizer"], 1)
    key = jax.random.key(config.seed)
    video.record(agent.policy, frozen["params"], pool, run_dir / "video.mp4", key, normalizer=normalizer)


def new_run(config: RunConfig) -> Path:
    """Make the run's folder with its config.json."""
    name = f"{config.algorithm}_{config.env}_{config.protocol}_{config.seed}_{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir = config.run_dir or Path("runs") / name.replace("/", "-")
    if run_dir.exists():
        raise ValueError(f"the run folder {run_dir} exists; go on with --resume {run_dir}, or give another --run-dir.")
    run_dir.mkdir(parents=True)
    training.write_config(run_dir, dataclasses.asdict(config) | {"algorithm": config.algorithm})
    return run_dir


def go_on(config: RunConfig) -> Path:
    """Write down with which options a run goes on, the others being as they were."""
    changed = {name: getattr(config, name) for name in config.may_change}
    training.write_config(config.resume, training.read_config(config.resume) | changed)
    return config.resume


def saved_config(config_type: type[RunConfig], run_dir) -> RunConfig:
    """The config of a run that exists.

    Raises: ValueError when the folder is not that of a run of this algorithm.
    """
    saved = training.read_config(run_dir)
    if saved.pop("algorithm", None) != config_type.algorithm:
        raise ValueError(f"{run_dir} is not the folder of a run of {config_type.algorithm}.")
    unknown = saved.keys() - {field.name for field in dataclasses.fields(config_type)}
    if unknown:
        raise ValueError(f"{Path(run_dir) / training.CONFIG} is damaged: there is no option {min(unknown)!r}.")
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}  # as in JSON
    return config_type(**options | {"run_dir": None, "resume": Path(run_dir)})


def config_to_resume(config_type: type[RunConfig], arguments) -> RunConfig | None:
    """The saved config when the command line says --resume; what may then change is in `may_change`."""
    run_dir = cli.value_of("--resume", arguments)
    if run_dir is None:
        return None
    fixed = {field.name for field in dataclasses.fields(config_type)} - {"resume", *config_type.may_change}
    for argument in arguments:
        name = argument.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        if argument.startswith("--") and name in fixed:
            raise ValueError(
                f"{option(name)} cannot change when a run goes on; with --resume only "
                f"{', '.join(map(option, config_type.may_change))} can be given."
            )
    return saved_config(config_type, run_dir)
