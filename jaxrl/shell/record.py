"""What consumes the run loop's updates: rows, checkpoints, the figure, evaluations, the terminal."""

from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxrl.agent import Agent
from jaxrl.shell import loop, plots, terminal
from jaxrl.shell.checkpoint import Checkpoints
from jaxrl.shell.evaluation import BackgroundEvaluator
from jaxrl.shell.events import Events
from jaxrl.shell.loop import NotFinite, Schedule, State, Updated
from jaxrl.shell.metrics import EVALUATION, METRICS, RunLog
from jaxrl.shell.mistakes import reason
from jaxrl.shell.sinks import Sink, faults_of
from jaxrl.shell.tally import Tally


class Recorder:
    """The folder of a run that is under way; a context, which ends with everything written that can be.

    Attributes:
      saved: the agent step of the newest good checkpoint that this process knows of.
    """

    def __init__(self, agent: Agent, run_dir: Path, schedule: Schedule, title: str, start: int, tally: Tally,
                 checkpoints: Checkpoints, evaluator: BackgroundEvaluator | None, resumed: bool, progress):  # fmt: skip
        """`progress`: a `metrics.Progress`, or one's share in several."""
        self.saved = self._since = start
        self._agent, self._run_dir, self._schedule = agent, run_dir, schedule
        self._tally, self._checkpoints, self._evaluator = tally, checkpoints, evaluator
        self._older: int | None = None  # the checkpoint before `saved`, as long as no update came after it
        self._log = RunLog(run_dir, start if resumed else None)
        self._progress = progress
        self._faults, self._unseen, self._failed = faults_of(run_dir), None, []
        self._rows = Sink(METRICS, self._log.write, self._tell)
        self._evaluations = Sink(EVALUATION, self._log.write_evaluation, self._tell)
        events = Events(run_dir, start if resumed else None)
        self._events = Sink("TensorBoard's file", events.write, self._tell, keep=10_000, needed=False)
        draw = partial(plots.curve, run_dir, title, agent.shown)
        self._curve = Sink("curve.png", draw, self._tell, keep=1, needed=False)
        self._checkpoint = Sink("a checkpoint", checkpoints.save, self._tell, keep=0)

    def __enter__(self):
        self._progress.__enter__()
        return self

    def __exit__(self, *exception):
        self._progress.__exit__()
        if self._evaluator:
            self._evaluator.close(wait=False)
        self._checkpoints.close()

    def evaluate_again(self, state: State):
        """Make up the evaluation of the checkpoint that a run is resumed from, where it was cut."""
        if self._evaluator and self.saved and not self._log.evaluated(self.saved):
            frozen = loop.frozen(self._agent, state)
            self._evaluator.submit(self.saved, frozen["params"], frozen["normalizer"])

    def take(self, update: Updated, stopping: bool):
        """Count an update in, and do what is due after it; all of it is saved when the run is `stopping`.

        Raises: NotFinite for parameters that are not; nothing of them is saved.
        """
        self._older = None
        self._tally.add(update.report, update.games)
        halt = update.boundary or stopping
        if halt or update.agent_steps >= loop.next_multiple(self._since, self._schedule.log_every):
            self._row(update)
        if halt:
            last = stopping or update.agent_steps >= self._schedule.total_steps
            self._save(update, last, evaluate=not stopping)
        self._write_evaluations()
        self._note_lost_output()

    def finish(self, wait: bool, stop=lambda: False):
        """The last evaluations, until `stop()`, and the whole figure."""
        self._progress.__exit__()
        if self._evaluator:
            self._evaluator.close(wait=wait, stop=stop)
            self._write_evaluations()
        self._curve()
        for sink in (self._rows, self._evaluations, self._events):
            sink.retry()
        self._note_lost_output()

    def missing(self, needed: bool = True) -> list[str]:
        """What could not be written, in sentences: of what cannot be made again, or (not `needed`) of the rest."""
        sinks = (self._checkpoint, self._rows, self._evaluations, self._events, self._curve)
        return [sink.missing() for sink in sinks if sink.missing() and sink.needed == needed]

    def forget_spoilt(self) -> bool:
        """Remove a checkpoint that this process made and whose very next update was not finite. Returns whether."""
        if self._older is None:
            return False
        self._checkpoints.discard(self.saved)
        self.saved, self._older = self._older, None
        return True

    def _row(self, update: Updated):
        params = loop.frozen(self._agent, update.state)["params"]
        row = self._tally.row(update.agent_steps, self._since, params)
        self._since = update.agent_steps
        self._rows(row)
        self._events("train", row)
        self._progress.update(row)

    def _save(self, update: Updated, last: bool, evaluate: bool):
        frozen = loop.frozen(self._agent, update.state)
        check_parameters(frozen["params"], update.state.learner, update.agent_steps)
        training = {"state": loop.saved(self._agent, update.state), "tally": self._tally.array()}
        save = self._checkpoint.insist if last else self._checkpoint
        if save(update.agent_steps, frozen, training):
            self.saved, self._older = update.agent_steps, self.saved
        self._curve()
        if self._evaluator and evaluate:
            self._evaluator.submit(update.agent_steps, frozen["params"], frozen["normalizer"])

    def _write_evaluations(self):
        for step, scores in self._evaluator.results() if self._evaluator else ():
            if isinstance(scores, Exception):
                self._tell(f"the evaluation at {step:,} agent steps failed ({reason(scores)})")
                continue
            row = {"agent_steps": step} | scores.summary()
            self._evaluations(row)
            self._events("evaluation", row)
            self._progress.note(f"evaluation at {step:,} agent steps: {scores}")

    def _tell(self, sentence: str):
        self._progress.note(sentence)
        self._faults(sentence)

    def _note_lost_output(self):
        if self._unseen is None and terminal.lost():
            self._unseen = terminal.lost()
            self._faults(f"standard output is lost ({self._unseen}); training goes on")


def check_parameters(params, learner, agent_steps: int):
    """Raise NotFinite for a learner that must not be saved.

    The parameters' norm must be a float32 too: the next update would take it, or one that is larger.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(learner) if jax.numpy.issubdtype(leaf.dtype, np.floating)]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = [np.sum(np.square(np.asarray(leaf), dtype=np.float32)) for leaf in jax.tree.leaves(params)]
        norm = np.sum(squares, dtype=np.float32)
    if not (np.isfinite(norm) and all(np.isfinite(leaf).all() for leaf in leaves)):
        raise NotFinite(
            f"the parameters are not finite after the update that ended at agent step {agent_steps}; "
            "a smaller --learning-rate or --max-grad-norm is the usual cure."
        )
