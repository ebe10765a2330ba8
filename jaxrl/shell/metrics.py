"""What a run writes down and shows: metrics.csv, evaluation.csv, TensorBoard events, and the terminal.

The one adapter of TensorBoard (tensorboardX) and of the terminal (rich).
"""

import csv
import hashlib
import math
import time
from datetime import timedelta
from pathlib import Path

import jax
import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text
from tensorboardX import SummaryWriter

from jaxrl.agent import Column
from jaxrl.shell.files import write_text

METRICS, EVALUATION = "metrics.csv", "evaluation.csv"
PLAIN_EVERY, EVENTS_EVERY = 30.0, 10  # seconds between plain lines, and between writes to TensorBoard's file
SHOWN = {  # of every run; what an agent shows of itself comes after
    "steps_per_second": Column("steps/s", ",.0f"),
    "score_mean_100": Column("score", ",.0f"),
}


def params_digest(params) -> str:
    """The first 16 hexadecimal digits of SHA-256 over the names, types, shapes and bytes of all leaves."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def read(path) -> dict[str, list]:
    """A CSV file's columns by name; numbers are floats, everything else stays text. Empty when it is missing."""
    rows = list(csv.DictReader(_whole_lines(Path(path))))
    return {name: [_number(row[name]) for row in rows] for name in rows[0]} if rows else {}


def truncate(path: Path, last_step: int):
    """Drop the rows of a table after `last_step`, and a last one that was not written to its end; atomically."""
    if not path.exists():
        return
    header, *rows = _whole_lines(path) or [""]
    kept = [row for row in rows if float(row.split(",", 1)[0]) <= last_step]
    write_text(path, "".join([header, *kept]))


def _header(path: Path) -> list[str] | None:
    if not path.exists():
        return None
    with path.open(newline="") as file:
        return next(csv.reader(file), None)


def _whole_lines(path: Path) -> list[str]:
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n")]


def _number(text: str):
    try:
        return float(text)
    except ValueError:
        return text


class RunLog:
    """The tables of a run's folder, and TensorBoard's events beside them.

    With `resume_step`, rows after that step are dropped first: the run writes them again.
    """

    def __init__(self, run_dir, resume_step: int | None = None):
        self.run_dir = Path(run_dir)
        if resume_step is not None:
            for name in (METRICS, EVALUATION):
                truncate(self.run_dir / name, resume_step)
        purge_step = None if resume_step is None else resume_step + 1  # TensorBoard hides that step and later ones
        suffix = f".{resume_step or 0}"  # two event files of one second would have one name
        self._events = SummaryWriter(
            str(self.run_dir), purge_step=purge_step, flush_secs=EVENTS_EVERY, filename_suffix=suffix
        )

    def write(self, row: dict):
        """Add a row to metrics.csv; its first column is `agent_steps`.

        Raises: ValueError when the table has other columns.
        """
        self._write(METRICS, row, "train")

    def write_evaluation(self, row: dict):
        """Add a row to evaluation.csv; as `write`."""
        self._write(EVALUATION, row, "evaluation")

    def close(self):
        """Write out what is buffered."""
        self._events.close()

    def _write(self, name: str, row: dict, group: str):
        path = self.run_dir / name
        header = _header(path)
        if header not in (None, list(row)):
            raise ValueError(f"{path} has the columns {', '.join(header)}; a row with {', '.join(row)} does not fit.")
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if header is None:
                writer.writeheader()
            writer.writerow(row)
        for key, value in row.items():
            if key != "agent_steps" and isinstance(value, int | float) and math.isfinite(value):
                self._events.add_scalar(f"{group}/{key}", value, row["agent_steps"])


class Progress:
    """The terminal while something long goes on: a bar with its ETA, and what is newest below it.

    Where the output is no terminal, a plain line at most every 30 seconds.
    """

    def __init__(self, total: int, start: int = 0, unit: str = "steps", shown: dict[str, Column] | None = None):
        self.total, self.start, self._unit, self._shown = total, start, unit, SHOWN | (shown or {})
        self._console = Console(highlight=False, markup=False)
        self._bar = Bar(BarColumn(), TextColumn("{task.percentage:.0f}%"), TextColumn("{task.description}"))
        self._task = self._bar.add_task("compiling ...", total=total, completed=start)
        self._text = Text()
        self._live = Live(get_renderable=lambda: Group(self._bar, self._text), console=self._console)
        self._began, self._spoke = time.monotonic(), -PLAIN_EVERY

    def __enter__(self):
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception):
        self._live.stop()

    def update(self, row: dict):
        """Show a row of metrics.csv."""
        self.show(row["agent_steps"], line(row, self._shown))

    def show(self, done: int, text: str = ""):
        """Show how much is done, and a text."""
        now = time.monotonic()
        left = max(self.total - done, 0)  # the last steps are taken together, and may be more than were asked for
        seconds = left * (now - self._began) / max(done - self.start, 1)
        eta = timedelta(seconds=round(seconds)) if done > self.start else "-"
        head = f"{done:,}/{self.total:,} {self._unit}, ETA {eta}"
        self._bar.update(self._task, completed=done, description=head)
        self._text = Text(text)
        if not self._console.is_terminal and now - self._spoke >= PLAIN_EVERY:
            self._spoke = now
            print(f"{head}  {text}".rstrip(), flush=True)

    def note(self, text: str):
        """Print a line above the bar."""
        self._console.print(text, soft_wrap=True)


def line(row: dict, shown: dict[str, Column]) -> str:
    """A row of metrics.csv in one line, as far as its columns are shown; a dash for NaN and infinity."""
    columns = [(column, row[name]) for name, column in shown.items() if name in row and column.short]
    return "  ".join(f"{c.short} {format(value, c.format) if math.isfinite(value) else '-'}" for c, value in columns)
