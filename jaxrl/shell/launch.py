"""The course of a training run, from the command line to the video of its last policy."""

import contextlib
import dataclasses
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np

from jaxrl import environments, parallel, rollout
from jaxrl.agent import Agent
from jaxrl.agents import memory, options
from jaxrl.agents.options import RunConfig
from jaxrl.shell import cli, files, folder, frozen, hosts, lock, loop, metrics, plots, program, scores, signals, video
from jaxrl.shell.checkpoint import Checkpoints
from jaxrl.shell.evaluation import BackgroundEvaluator
from jaxrl.shell.frozen import Frozen
from jaxrl.shell.loop import How, NotFinite, Schedule, State
from jaxrl.shell.metrics import Progress, Together
from jaxrl.shell.mistakes import reason
from jaxrl.shell.record import Recorder
from jaxrl.shell.seeds import seed_for
from jaxrl.shell.tally import Tally


class Incomplete(ValueError):
    """A run that came to its end, but whose folder lacks what cannot be made again."""


class Trained(NamedTuple):
    """What a run ended with.

    Attributes:
      run_dir: its folder.
      state, steps: the last state, and its agent step; less than the total where the run was interrupted.
      saved: the agent step of the newest checkpoint.
      missing, unneeded: what could not be written, in sentences: what cannot be made again, and the rest.
    """

    run_dir: Path
    state: State
    steps: int
    saved: int
    missing: list[str]
    unneeded: list[str]


def main(algorithm: ModuleType, arguments: list[str] | None = None, program: str | None = None):
    """Train with one of `agents.AGENTS` as the command line says; see `cli.run`."""
    work, default = partial(train, algorithm), partial(defaults, algorithm)
    cli.run(work, algorithm.Config, default, begun_as, arguments, program)


def begun_as(config: RunConfig) -> int | None:
    """Start the processes of several on this machine, or meet the other hosts.

    Returns: the threads that a run to resume was begun with.
    """
    options.check_bounds(config)
    if config.local_processes > 1 and config.host_id is None:
        arguments = cli.without("--local-processes", sys.argv[1:])
        sys.exit(hosts.start_local(config.local_processes, arguments, config.resume is not None))
    hosts.join(config.num_hosts, config.coordinator, config.host_id)
    return folder.threads_of(config)


def defaults(algorithm: ModuleType, arguments) -> RunConfig:
    """The options that those of the command line change: of the run to resume, or of the preset."""
    saved = folder.config_to_resume(algorithm.Config, arguments)
    return saved or algorithm.preset(*(cli.value_of(name, arguments) for name in ("--preset", "--env", "--env-module")))


def train(algorithm: ModuleType, config: RunConfig):
    """Train, or go on training, and leave the run's folder complete.

    Raises: ValueError for options or a folder that cannot work; NotFinite; Incomplete.
    """
    with signals.stopping() as stop, hosts.ending_with_the_others():
        agent, run_dir = agent_of(algorithm, config), folder.place(config)
        if not config.resume:
            start_of(agent, config)  # for what it raises, before there is a folder
        if not hosts.is_first():
            return follow(agent, config, stop, how_of(config))
        with mine(config, run_dir):
            how = train_one if config.num_seeds == 1 else train_seeds
            ended = how(agent, config, run_dir, stop)
    for trained in ended if config.video and not stop.asked else ():
        record_game(agent, config, trained.state, trained.run_dir)
    if unneeded := [sentence for trained in ended for sentence in trained.unneeded]:
        print("; ".join(unneeded))
    if missing := [sentence for trained in ended for sentence in trained.missing]:
        raise Incomplete(f"the run in {run_dir} is not complete: {'; '.join(missing)}")


@contextlib.contextmanager
def mine(config: RunConfig, run_dir: Path):
    """A run's folder with its options, which is this process's in the block."""
    with lock.held(run_dir):
        if not config.resume:
            folder.new_run(dataclasses.replace(config, run_dir=run_dir))
        lock.sign(run_dir)
        yield


def train_one(agent: Agent, config: RunConfig, run_dir: Path, stop: signals.Stop) -> list[Trained]:
    """The same but for the video, in a folder that is this process's."""
    print(first_words(config, run_dir), flush=True)
    trained = run(agent, config, run_dir, stop)
    print(last_words(config, trained, stop), flush=True)
    return [trained]


def train_seeds(agent: Agent, config: RunConfig, run_dir: Path, stop: signals.Stop) -> list[Trained]:
    """Several seeds at once, each in a folder of its own: while one learns, another plays.

    Each has pools of its own, so that each makes them anew at its own steps, as it would alone.

    Raises: what the first of them raised, when the others are done.
    """
    runs = folder.of_seeds(config, run_dir)
    print(f"{config.num_seeds} seeds: {first_words(config, run_dir)}", flush=True)
    with contextlib.ExitStack() as stack:
        for each in runs:
            stack.enter_context(mine(each, folder.place(each)))
        if config.resume:
            folder.record_resume(config)
        together = stack.enter_context(Together(config.num_seeds * config.total_steps, agent.shown))
        how = how_of(config)._replace(turn=loop.learning(agent, config.device_count))
        ended = by_turns(
            course(agent, each, folder.place(each), stop, partial(together.part, f"seed {each.seed}"), how)
            for each in runs
        )
    for trained in ended:
        if isinstance(trained, Trained):
            print(last_words(config, trained, stop), flush=True)
    draw_seeds(config, run_dir, runs)
    for trained in ended:
        if isinstance(trained, Exception):
            raise trained
    return ended


def draw_seeds(config: RunConfig, run_dir: Path, runs: list[RunConfig]):
    """curve.png of all seeds that have rows, where it can be drawn; each has one of its own."""
    with contextlib.suppress(OSError, ValueError):
        tables = [table for each in runs if (table := metrics.read(folder.place(each) / metrics.METRICS))]
        if tables:
            band = scores.band([(table["agent_steps"], table["score_mean_100"]) for table in tables])
            plots.comparison(run_dir, [(f"{len(tables)} seeds, their mean and range", band)], title=config.title)


def by_turns(courses) -> list:
    """What generators return, or the exceptions that they raise, when each in turn has gone one step at a time."""
    courses = dict(enumerate(courses))
    ended = [None] * len(courses)
    while courses:
        for number, each in list(courses.items()):
            try:
                next(each)
            except StopIteration as end:
                ended[number] = end.value
            except Exception as error:
                ended[number] = error
            if ended[number] is not None:
                del courses[number]
    return ended


def first_words(config: RunConfig, run_dir: Path) -> str:
    """What is printed when training begins."""
    preset = f", preset {config.preset}" if config.preset else ""
    lives = "; a lost life ends an episode of training, a score is that of a whole game" if config.life_loss else ""
    apart = parallel.acting_devices(config.device_count, config.acting)
    where = f"; it acts on {apart[0]} and learns on {parallel.learning_devices(1)[0]}" if apart else ""
    return f"{config.introduction}{preset}{lives}{where}; the run is in {run_dir}"


def last_words(config: RunConfig, trained: Trained, stop: signals.Stop) -> str:
    """What is printed when training ends."""
    resume = f"{program.called(config.algorithm)} --resume {trained.run_dir}"
    if trained.steps < config.total_steps:
        kept = "and saved" if trained.saved == trained.steps else f"; the last checkpoint is of step {trained.saved:,}"
        return f"interrupted at {trained.steps:,} agent steps {kept}; go on with: {resume}"
    done = f"{trained.steps:,} agent steps done; the run is in {trained.run_dir}"
    if stop.asked:
        return f"{done}; training is complete, what was cut is its last evaluation; make it up with: {resume}"
    return f"{done}; score it with: {program.called('evaluate')} {trained.run_dir}"


def agent_of(algorithm: ModuleType, config: RunConfig) -> Agent:
    """The agent that the options describe.

    Raises: ValueError, in one sentence, for options or an environment that cannot work.
    """
    options.check(config)  # before an environment sees them, which has other names for them
    spec = config.spec()
    algorithm.check(config, spec)
    agent = algorithm.make(config, spec)
    try:
        memory.check_learner(lambda: agent.init(jax.random.key(0)))
    except memory.NotEnough:
        raise
    except ValueError as error:
        raise ValueError(f"the observations {spec.observation.shape} do not fit the network: {error}") from None
    return agent


def run(agent: Agent, config: RunConfig, run_dir: Path, stop: signals.Stop | None = None) -> Trained:
    """Train in a run's folder, from its newest checkpoint where the options say to resume, until `stop` is asked for.

    Raises: NotFinite; CheckpointError; ValueError for a folder that cannot be resumed.
    """
    progress = partial(Progress, config.total_steps, shown=agent.shown)
    (ended,) = by_turns([course(agent, config, run_dir, stop or signals.Stop(), progress, how_of(config))])
    if isinstance(ended, Exception):
        raise ended
    return ended


def how_of(config: RunConfig) -> How:
    """How the options say that turns are played."""
    return How(parallel.acting_devices(config.device_count, config.acting), config.acting_age)


def course(agent: Agent, config: RunConfig, run_dir: Path, stop: signals.Stop, progress, how: How):
    """The same as a generator, which yields whenever an update is under way, and returns a Trained.

    Args:
      progress: `(start=step) -> metrics.Progress`, or one's share in several.
      how: see `loop.How`.
    """
    resumed = config.resume is not None
    if resumed:
        folder.refuse_lost_checkpoints(config)
        files.drop_temporaries(run_dir)
    checkpoints = Checkpoints.create(run_dir / "checkpoints")
    steps, state, tally = begin(agent, config, checkpoints)
    schedule = Schedule(config.total_steps, config.checkpoint_every, config.log_every)
    recorder = Recorder(
        agent, run_dir, schedule, config.title, steps, tally, checkpoints, evaluator_of(agent, config), resumed,
        progress(start=steps),
    )  # fmt: skip
    if resumed:
        if changed := folder.other_conditions(config):
            print(changed, flush=True)
        folder.record_resume(config)
    with recorder:
        try:
            recorder.evaluate_again(state)
            for update in loop.phases(agent, state, partial(pools_of, config), schedule, steps, how):
                if update is None:
                    yield
                    continue
                steps, state, stop.begun = update.agent_steps, update.state, True
                stopping = hosts.any_of(stop.asked)  # once: a signal from here on is for the next update, which saves
                if update.boundary or stopping:
                    update = update._replace(state=hosts.gathered(update.state))
                recorder.take(update, stopping)
                if stopping:
                    break
        except NotFinite as error:
            raise NotFinite(f"{error} {what_is_left(recorder)}") from None
        stop.begun = True
        recorder.finish(wait=steps >= config.total_steps, stop=lambda: stop.asked)
    return Trained(run_dir, state, steps, recorder.saved, recorder.missing(), recorder.missing(needed=False))


def follow(agent: Agent, config: RunConfig, stop: signals.Stop, how: How):
    """What all hosts but the first do: the same turns as `course`, of which they write nothing."""
    checkpoints = Checkpoints.open(config.resume / "checkpoints") if config.resume else None
    steps, state, _ = begin(agent, config, checkpoints)
    schedule = Schedule(config.total_steps, config.checkpoint_every, config.log_every)
    for update in loop.updates(agent, state, partial(pools_of, config), schedule, steps, how):
        stop.begun = True
        stopping = hosts.any_of(stop.asked)
        if update.boundary or stopping:
            hosts.gathered(update.state)
        if stopping:
            break


def what_is_left(recorder: Recorder) -> str:
    """What a run that is no longer finite can be resumed from."""
    spoilt = " (the one after it led to this at once, and is removed)" if recorder.forget_spoilt() else ""
    at = recorder.saved
    kept = f"the last good checkpoint is at agent step {at}{spoilt}" if at else "no good checkpoint had been made yet"
    return f"Training stopped; {kept}."


def begin(agent: Agent, config: RunConfig, checkpoints: Checkpoints) -> tuple[int, State, Tally]:
    """The step, the state and the tally that a run starts from; a resumed run without a checkpoint starts anew.

    Raises: ValueError for a total that lies behind; CheckpointError.
    """
    protocol, devices = config.rules, config.device_count
    first = partial(loop.first_state, agent, protocol, config.num_envs // config.total_devices, devices, config.seed)
    step = checkpoints.latest() if config.resume else None
    if step is None:
        return 0, first(start_of(agent, config)), Tally()
    if config.total_steps < min(step, folder.read_config(config.resume)["total_steps"]):  # a run goes past its total
        raise ValueError(f"--total-steps {config.total_steps} is less than the {step} that the run has trained for.")
    policy, saved = jax.eval_shape(lambda: of_checkpoint(agent, first()))
    _, training = checkpoints.restore(policy, {"state": hosts.shapes_of_all(saved), "tally": Tally().array()})
    state = hosts.own(training["state"], devices)
    return step, loop.restored(agent, state), Tally.from_array(training["tally"])


def start_of(agent: Agent, config: RunConfig) -> Frozen | None:
    """What another run learnt, where this one starts from it.

    Raises: ValueError where it has other actions or another network; CheckpointError.
    """
    if config.start_from is None:
        return None
    trained, start = frozen.trained_as(config.start_from), frozen.load(config.start_from)
    frozen.refuse_other_actions(trained, config, f"--start-from {config.start_from}")
    frozen.refuse_other_shapes(start.params, agent, f"--start-from {config.start_from}")
    return start


def of_checkpoint(agent: Agent, state: State):
    """The two parts of a checkpoint that come of a state."""
    return loop.frozen(agent, state), loop.saved(agent, state)


def pools_of(config: RunConfig, agent_steps: int) -> list[environments.Pool]:
    """The pools of every device at a step."""
    devices = hosts.own(np.arange(config.total_devices), config.device_count).tolist()
    seeds = [seed_for("training", config.seed, agent_steps, device) for device in devices]
    return [config.make_pool(config.num_envs // config.total_devices, seed) for seed in seeds]


def evaluator_of(agent: Agent, config: RunConfig) -> BackgroundEvaluator | None:
    """The evaluator beside training."""
    if not config.evaluation_games:
        return None
    make_pool = partial(config.make_pool, min(config.evaluation_games, 5), training=False)
    return BackgroundEvaluator(agent.policy, lambda seed: make_pool(seed=seed), config.evaluation_games, config.seed)


def record_game(agent: Agent, config: RunConfig, state: State, run_dir: Path):
    """One game of the final policy as video.mp4 in the run's folder, where one can be made."""
    policy, seed = loop.frozen(agent, state), seed_for("video", config.seed)
    normalizer, key = rollout.shared_normalizer(policy["normalizer"], 1), jax.random.key(seed)
    try:
        pool = config.make_pool(1, seed, training=False, render=True)
        video.record(agent.policy, policy["params"], pool, run_dir / "video.mp4", key, normalizer=normalizer)
    except Exception as error:  # the run is complete without it
        print(f"no video was made: {reason(error)}")
