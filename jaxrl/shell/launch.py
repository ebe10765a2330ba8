"""The course of a training run, from the command line to the video of its last policy."""

import signal
import threading
from functools import partial
from pathlib import Path
from types import ModuleType

import jax

from jaxrl import environments
from jaxrl.agent import Agent
from jaxrl.agents.options import RunConfig
from jaxrl.shell import cli, folder, loop, video
from jaxrl.shell.checkpoint import Checkpoints
from jaxrl.shell.evaluation import BackgroundEvaluator, shared_normalizer
from jaxrl.shell.loop import NotFinite, Schedule, State
from jaxrl.shell.record import Recorder
from jaxrl.shell.seeds import seed_for
from jaxrl.shell.tally import Tally


def main(algorithm: ModuleType):
    """Train with one of `agents.AGENTS` as the command line says."""
    cli.run(partial(train, algorithm), algorithm.Config, partial(defaults, algorithm))


def defaults(algorithm: ModuleType, arguments) -> RunConfig:
    """The options that those of the command line change: of the run to resume, or of the preset."""
    saved = folder.config_to_resume(algorithm.Config, arguments)
    return saved or algorithm.preset(*(cli.value_of(name, arguments) for name in ("--preset", "--env", "--env-module")))


def train(algorithm: ModuleType, config: RunConfig):
    """Train, or go on training, and leave the run's folder complete."""
    agent = agent_of(algorithm, config)
    run_dir = folder.record_resume(config) if config.resume else folder.new_run(config)
    preset = f", preset {config.preset}" if config.preset else ""
    print(f"{config.introduction}{preset}; the run is in {run_dir}", flush=True)
    state, steps, complete = run(agent, config, run_dir)
    if not complete:
        script = f"experiments/{config.algorithm}.py"
        print(f"interrupted at {steps:,} agent steps and saved; go on with: python {script} --resume {run_dir}")
        return
    if config.video:
        record_game(agent, config, state, run_dir)
    print(
        f"{steps:,} agent steps done; the run is in {run_dir}; score it with: python experiments/evaluate.py {run_dir}"
    )


def agent_of(algorithm: ModuleType, config: RunConfig) -> Agent:
    """The agent that the options describe.

    Raises: ValueError, in one sentence, for options or an environment that cannot work.
    """
    spec = config.spec()
    algorithm.check(config, spec)
    agent = algorithm.make(config, spec)
    try:
        jax.eval_shape(agent.init, jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"the observations {spec.observation.shape} do not fit the network: {error}") from None
    return agent


def run(agent: Agent, config: RunConfig, run_dir: Path) -> tuple[State, int, bool]:
    """Train in a run's folder, from its newest checkpoint where the options say to resume.

    Returns: the last state, its step, and whether the run came to its end (False: it was interrupted).

    Raises: NotFinite; CheckpointError.
    """
    checkpoints = (Checkpoints.open if config.resume else Checkpoints.create)(run_dir / "checkpoints")
    steps, state, tally = begin(agent, config, checkpoints)
    schedule = Schedule(config.total_steps, config.checkpoint_every, config.log_every)
    stop = stop_on_signal()
    recorder = Recorder(
        agent, run_dir, schedule, config.title, steps, tally, checkpoints, evaluator_of(agent, config)
    )
    try:
        with recorder:
            for update in loop.updates(agent, state, partial(pools_of, config), schedule, steps):
                steps, state = update.agent_steps, update.state
                stopping = stop.is_set()  # asked once: a signal from here on is for the next update, which saves
                recorder.take(update, stopping)
                if stopping:
                    break
            recorder.finish(wait=not stop.is_set())
    except NotFinite as error:
        at = recorder.saved
        kept = f"the last good checkpoint is at agent step {at}" if at else "no checkpoint had been made yet"
        raise NotFinite(f"{error} Training stopped; {kept}.") from None
    return state, steps, not stop.is_set()


def begin(agent: Agent, config: RunConfig, checkpoints: Checkpoints) -> tuple[int, State, Tally]:
    """The step, the state and the tally that a run starts from."""
    protocol, devices = environments.PROTOCOLS[config.protocol], config.device_count
    first = partial(loop.first_state, agent, protocol, config.num_envs // devices, devices, config.seed)
    if not config.resume:
        return 0, first(), Tally()
    frozen, saved = jax.eval_shape(lambda: of_checkpoint(agent, first()))
    _, training = checkpoints.restore(frozen, {"state": saved, "tally": Tally().array()})
    return checkpoints.latest(), loop.restored(agent, training["state"]), Tally.from_array(training["tally"])


def of_checkpoint(agent: Agent, state: State):
    """The two parts of a checkpoint that come of a state."""
    return loop.frozen(agent, state), loop.saved(agent, state)


def pools_of(config: RunConfig, agent_steps: int) -> list[environments.Pool]:
    """The pools of every device at a step."""
    seeds = [seed_for("training", config.seed, agent_steps, device) for device in range(config.device_count)]
    return [config.make_pool(config.num_envs // config.device_count, seed) for seed in seeds]


def evaluator_of(agent: Agent, config: RunConfig) -> BackgroundEvaluator | None:
    """The evaluator beside training."""
    if not config.evaluation_games:
        return None
    make_pool = partial(config.make_pool, min(config.evaluation_games, 5), training=False)
    return BackgroundEvaluator(agent.policy, lambda seed: make_pool(seed=seed), config.evaluation_games, config.seed)


def record_game(agent: Agent, config: RunConfig, state: State, run_dir: Path):
    """One game of the final policy as video.mp4 in the run's folder, where the environment can be shown."""
    frozen, seed = loop.frozen(agent, state), seed_for("video", config.seed)
    try:
        pool = config.make_pool(1, seed, training=False, render=True)
    except ValueError as error:
        print(f"no video was made: {error}")
        return
    normalizer, key = shared_normalizer(frozen["normalizer"], 1), jax.random.key(seed)
    video.record(agent.policy, frozen["params"], pool, run_dir / "video.mp4", key, normalizer=normalizer)


def stop_on_signal() -> threading.Event:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one interrupts at once."""
    stop = threading.Event()

    def ask(signum, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, ask)
        signal.signal(signal.SIGTERM, ask)
    return stop
