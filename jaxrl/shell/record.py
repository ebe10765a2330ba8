"""What consumes the run loop's updates: rows, checkpoints, the figure, evaluations, the terminal."""

from pathlib import Path

from jaxrl.agent import Agent
from jaxrl.shell import loop, plots
from jaxrl.shell.checkpoint import Checkpoints
from jaxrl.shell.evaluation import BackgroundEvaluator
from jaxrl.shell.loop import Schedule, Updated
from jaxrl.shell.metrics import Progress, RunLog
from jaxrl.shell.tally import Tally


class Recorder:
    """The folder of a run that is under way; a context, which ends with everything written.

    Attributes:
      saved: the agent step of the newest checkpoint that this process knows of.
    """

    def __init__(self, agent: Agent, run_dir: Path, schedule: Schedule, title: str, start: int, tally: Tally,
                 checkpoints: Checkpoints, evaluator: BackgroundEvaluator | None):  # fmt: skip
        self.saved = self._since = start
        self._agent, self._run_dir, self._schedule, self._title = agent, run_dir, schedule, title
        self._tally, self._checkpoints, self._evaluator = tally, checkpoints, evaluator
        self._log = RunLog(run_dir, resume_step=start or None)
        self._progress = Progress(schedule.total_steps, start, shown=agent.shown)

    def __enter__(self):
        self._progress.__enter__()
        return self

    def __exit__(self, *exception):
        self._progress.__exit__()
        if self._evaluator:
            self._evaluator.close(wait=False)
        self._log.close()
        self._checkpoints.close()

    def take(self, update: Updated, stopping: bool):
        """Count an update in, and do what is due after it; all of it is saved when the run is `stopping`."""
        self._tally.add(update.report, update.games)
        halt = update.boundary or stopping
        if halt or update.agent_steps >= loop.next_multiple(self._since, self._schedule.log_every):
            self._row(update)
        if halt:
            self._save(update, evaluate=not stopping)
        self._write_evaluations()

    def finish(self, wait: bool):
        """The last evaluations and the whole figure."""
        self._progress.__exit__()
        if self._evaluator:
            self._evaluator.close(wait=wait)
            self._write_evaluations()
        self._draw()

    def _row(self, update: Updated):
        params = loop.frozen(self._agent, update.state)["params"]
        row = self._tally.row(update.agent_steps, self._since, params)
        self._since = update.agent_steps
        self._log.write(row)
        self._progress.update(row)

    def _save(self, update: Updated, evaluate: bool):
        frozen = loop.frozen(self._agent, update.state)
        training = {"state": loop.saved(self._agent, update.state), "tally": self._tally.array()}
        self._checkpoints.save(update.agent_steps, frozen, training)
        self.saved = update.agent_steps
        self._draw()
        if self._evaluator and evaluate:
            self._evaluator.submit(update.agent_steps, frozen["params"], frozen["normalizer"])

    def _draw(self):
        plots.curve(self._run_dir, self._title, self._agent.shown)

    def _write_evaluations(self):
        for step, scores in self._evaluator.results() if self._evaluator else ():
            self._log.write_evaluation({"agent_steps": step} | scores.summary())
            self._progress.note(f"evaluation at {step:,} agent steps: {scores}")
