"""The run loop: a generator of updates, and the shell around it that logs, saves, evaluates and draws.

What has state (files, terminals, processes, pools) is here; an algorithm comes in as an `Agent`, a bundle of
pure functions. A run is one folder (`run`). EnvPool cannot save an emulator, so at every checkpoint both the
running and the resumed process make fresh pools, seeded from the agent step: a resumed run equals the
uninterrupted one to the bit.
"""

import collections
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxrl import plots
from jaxrl.algorithms import Policy
from jaxrl.checkpoint import Checkpoints
from jaxrl.evaluation import BackgroundEvaluator
from jaxrl.metrics import Progress, RunLog, params_digest

SCORE_WINDOW = 100
CONFIG = "config.json"


class Agent(Protocol):
    """An algorithm as the run loop sees it: a state is a pair (learner, actor), with a leading device axis."""

    policy: Policy

    def init(self, key, pools):
        """The state from nothing, in pools that are not yet reset, one for each device."""

    def attach(self, state, pools):
        """The same agent at the start of fresh pools."""

    def collector(self, pools) -> Callable:
        """`collect((learner, actor)) -> (actor, experience, seen)`, compiled anew for each set of pools.

        `seen` is a dict of `PER_STEP`, each [..., T, N] (`rollout.Transition`).
        """

    def learn(self, learner, experience):
        """The learner after, and a report: a dict of scalars. Compiled once."""

    def frozen(self, state) -> dict:
        """{"params": ..., "normalizer": ...}: what acts, of one device."""

    def saved(self, state):
        """What a checkpoint holds of a state."""

    def restored(self, saved):
        """The state that `saved` was made of."""


class Schedule(NamedTuple):
    """When things happen, in agent steps."""

    total_steps: int
    checkpoint_every: int
    log_every: int


class Updated(NamedTuple):
    """One update of the agent, as the run loop yields it."""

    agent_steps: int
    state: Any
    report: dict
    boundary: bool


class NotFinite(ValueError):
    """A loss or gradient that is not finite."""


def pool_seed(seed: int, agent_steps: int, device: int) -> int:
    """The seed of a pool made at a step: any two of (seed, step, device) give unrelated seeds."""
    return int(np.random.SeedSequence([seed, agent_steps, device]).generate_state(1)[0] % (2**30))


def write_config(run_dir: Path, config: dict):
    """Write config.json into a run's folder."""
    write_json(run_dir / CONFIG, config)


def write_json(path: Path, content: dict):
    """Write a JSON file under a temporary name, and rename it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
    os.replace(temporary, path)


def read_config(run_dir) -> dict:
    """The options that a run was started with.

    Raises: ValueError when the folder is not that of a run.
    """
    path = Path(run_dir) / CONFIG
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{run_dir} is not the folder of a run: it has no {CONFIG}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def next_multiple(step: int, every: int) -> int:
    """The first multiple of `every` after `step`."""
    return (step // every + 1) * every


def updates(agent: Agent, state, make_pools, schedule: Schedule, start: int):
    """Train from agent step `start`: a generator of `Updated`, endless but for the total.

    `make_pools(agent_steps)` makes the pools, one for each device; they are made anew after every boundary (a
    multiple of `schedule.checkpoint_every`, and the end). A yielded state lives until the next update.

    Raises: NotFinite when a report is not finite; the state is then spoilt.
    """
    agent_steps = start
    while agent_steps < schedule.total_steps:
        pools = make_pools(agent_steps)
        state = agent.attach(state, pools)
        collect = agent.collector(pools)
        boundary = min(next_multiple(agent_steps, schedule.checkpoint_every), schedule.total_steps)
        while agent_steps < boundary:
            actor, experience, seen = collect(state)
            learner, report = agent.learn(state[0], experience)
            state, report = (learner, actor), jax.device_get(report | seen)
            agent_steps += int(report["valid"].sum())
            check_finite(report, agent_steps)
            yield Updated(agent_steps, state, report, agent_steps >= boundary)
        for pool in pools:
            pool.close()


def check_finite(report: dict, agent_steps: int):
    """Raise NotFinite when a loss or a gradient norm is not finite; a report of no updates has none."""
    if not np.any(report.get("updates", 1)):
        return
    for name in ("loss", "gradient_norm"):
        if not np.all(np.isfinite(report[name])):
            raise NotFinite(
                f"{name} became {float(np.mean(report[name]))} in the update that ended at agent step {agent_steps}; "
                "a smaller --learning-rate or --max-grad-norm is the usual cure."
            )


def finished_games(report: dict) -> np.ndarray:
    """The raw scores of the games that ended in a report, in order of time."""
    return report["score"][report["game_over"]]


class Tally:
    """What a log row sums up: means since the last row, and the scores of the last 100 games.

    `array` and `from_array` carry the scores and the clock through a checkpoint.
    """

    def __init__(self, seconds: float = 0.0, games: int = 0, scores=()):
        self.scores = collections.deque(scores, SCORE_WINDOW)
        self.games = games
        self.seconds_before = seconds
        self.started = time.monotonic()
        self.reports = []
        self.last = (None, seconds)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, resumed parts included."""
        return self.seconds_before + time.monotonic() - self.started

    def add(self, report: dict):
        """Take one update's report in."""
        ended = finished_games(report)
        self.scores.extend(ended.tolist())
        self.games += len(ended)
        self.reports.append({k: np.mean(v) for k, v in report.items() if k not in PER_STEP})

    def row(self, agent_steps: int, since: int, params) -> dict:
        """The row of metrics.csv for the updates since the last row, which ended at step `since`."""
        seconds, before = self.seconds, self.last[1]
        row = {
            "agent_steps": agent_steps,
            "seconds": round(seconds, 3),
            "steps_per_second": round((agent_steps - since) / max(seconds - before, 1e-9), 1),
            "games": self.games,
            "score_mean_100": float(np.mean(self.scores)) if self.scores else float("nan"),
        }
        row |= {name: mean([report[name] for report in self.reports]) for name in self.reports[0]}
        row["params_digest"] = params_digest(params)
        self.reports, self.last = [], (agent_steps, seconds)
        return row

    def array(self) -> dict:
        """The tally as arrays of fixed shapes."""
        scores = np.full(SCORE_WINDOW, np.nan, np.float32)
        scores[: len(self.scores)] = self.scores
        return {"scores": scores, "games": np.int32(self.games), "seconds": np.float32(self.seconds)}

    @classmethod
    def from_array(cls, arrays: dict):
        """The tally that `array` gave."""
        scores = np.asarray(arrays["scores"])
        return cls(float(arrays["seconds"]), int(arrays["games"]), scores[~np.isnan(scores)].tolist())


def mean(values) -> float:
    """The mean of those that are there: what was not learnt yet has NaN."""
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")


PER_STEP = ("valid", "game_over", "score", "length")


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


def run(agent: Agent, make_pools, evaluator_of, schedule: Schedule, run_dir: Path, seed: int, resume: bool, title: str):
    """Train in the folder `run_dir`, from its newest checkpoint when `resume`.

    Args:
      agent: the algorithm.
      make_pools: `(agent_steps) -> [pool for each device]`.
      evaluator_of: `(policy) -> BackgroundEvaluator`, or None for no evaluation beside training.
      schedule: when to log, to save and to end.
      run_dir: the run's folder, with its config.json already written.
      seed: the seed of the parameters and of every action.
      resume: go on from the newest checkpoint.
      title: the title of curve.png.

    Returns: the last state, its step, and whether the run came to its end (False: it was interrupted).

    Raises: NotFinite; CheckpointError.
    """
    checkpoints = (Checkpoints.open if resume else Checkpoints.create)(run_dir / "checkpoints")
    start, state, tally = begin(agent, make_pools, checkpoints, seed, resume)
    stop = stop_on_signal()
    log = RunLog(run_dir, resume_step=start if resume else None)
    evaluator = evaluator_of(agent.policy) if evaluator_of else None
    agent_steps = saved = since = start
    try:
        with Progress(schedule.total_steps, start) as progress:
            for update in updates(agent, state, make_pools, schedule, start):
                agent_steps, state = update.agent_steps, update.state
                tally.add(update.report)
                stopping = stop.is_set()  # asked once: a signal from here on is for the next update, which saves
                halt = update.boundary or stopping
                if halt or agent_steps >= next_multiple(since, schedule.log_every):
                    row = tally.row(agent_steps, since, agent.frozen(state)["params"])
                    since = agent_steps
                    log.write(row)
                    progress.update(row)
                if halt:
                    frozen = agent.frozen(state)
                    checkpoints.save(agent_steps, frozen, {"state": agent.saved(state), "tally": tally.array()})
                    saved = agent_steps
                    plots.curve(run_dir, title)
                    if evaluator and not stopping:
                        evaluator.submit(agent_steps, frozen["params"], frozen["normalizer"])
                if evaluator:
                    collect(evaluator, log, progress)
                if stopping:
                    break
        if evaluator:
            evaluator.close(wait=not stop.is_set())
            collect(evaluator, log, None)
    except NotFinite as error:
        kept = f"the last good checkpoint is at agent step {saved}" if saved else "no checkpoint had been made yet"
        raise NotFinite(f"{error} Training stopped; {kept}.") from None
    finally:
        if evaluator:
            evaluator.close(wait=False)
        log.close()
        checkpoints.close()
    plots.curve(run_dir, title)
    return state, agent_steps, not stop.is_set()


def begin(agent: Agent, make_pools, checkpoints: Checkpoints, seed: int, resume: bool):
    """The step, the state and the tally that a run starts from."""
    pools = make_pools(0)
    state = agent.init(jax.random.key(seed), pools)
    for pool in pools:
        pool.close()
    tally = Tally()
    if not resume:
        return 0, state, tally
    frozen, state = jax.eval_shape(lambda s: (agent.frozen(s), agent.saved(s)), state)  # lets go of a whole replay
    _, training = checkpoints.restore(frozen, {"state": state, "tally": tally.array()})
    return checkpoints.latest(), agent.restored(training["state"]), Tally.from_array(training["tally"])


def collect(evaluator: BackgroundEvaluator, log: RunLog, progress):
    """Write down the evaluations that have finished."""
    for step, scores in evaluator.results():
        log.write_evaluation({"agent_steps": step} | scores.summary())
        if progress:
            progress.note(f"evaluation at {step:,} agent steps: {scores}")
