"""What a run writes down and shows: metrics.csv, evaluation.csv, TensorBoard events, and the terminal.

The one adapter of TensorBoard (tensorboardX) and of the terminal (rich).
"""

import contextlib
import csv
import hashlib
import os
import sys
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from tensorboardX import SummaryWriter

METRICS, EVALUATION = "metrics.csv", "evaluation.csv"
PLAIN_EVERY = 30.0


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
    path = Path(path)
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [_number(row[name]) for row in rows] for name in rows[0]} if rows else {}


def _number(text: str):
    try:
        return float(text)
    except ValueError:
        return text


class RunLog:
    """The tables of a run's folder, and TensorBoard's events beside them.

    With `resume_step`, rows after that step are cut away first: the run writes them again.
    """

    def __init__(self, run_dir, resume_step: int | None = None):
        self.run_dir = Path(run_dir)
        if resume_step is not None:
            for name in (METRICS, EVALUATION):
                cut(self.run_dir / name, resume_step)
        self._events = SummaryWriter(str(self.run_dir), purge_step=resume_step)

    def write(self, row: dict):
        """Add a row to metrics.csv."""
        self._write(METRICS, row, "train")

    def write_evaluation(self, row: dict):
        """Add a row to evaluation.csv."""
        self._write(EVALUATION, row, "evaluation")

    def close(self):
        """Write out what is buffered."""
        self._events.close()

    def _write(self, name: str, row: dict, group: str):
        path = self.run_dir / name
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row.keys())
            if new:
                writer.writeheader()
            writer.writerow(row)
        for key, value in row.items():
            if key != "agent_steps" and isinstance(value, (int, float)) and np.isfinite(value):
                self._events.add_scalar(f"{group}/{key}", value, row["agent_steps"])
        self._events.flush()


def cut(path: Path, last_step: int):
    """Drop the rows of a table after `last_step`, atomically."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    kept = lines[:1] + [line for line in lines[1:] if float(line.split(",", 1)[0]) <= last_step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)


class Progress:
    """The terminal while a run goes on: a bar with its rate and ETA, and the newest row below it.

    Where the output is no terminal, a plain line every 30 seconds.
    """

    def __init__(self, total_steps: int, start: int):
        self.total, self.start = total_steps, start
        self._console = Console()
        self._live = self._console.is_terminal
        self._bar = Bar(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[row]}"),
            console=self._console,
            disable=not self._live,
            speed_estimate_period=300,
        )
        self._task = self._bar.add_task("", total=total_steps, completed=start, rate="", row="compiling ...")
        self._began, self._spoke = time.monotonic(), -PLAIN_EVERY

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()

    def update(self, row: dict):
        """Show the newest row of metrics.csv."""
        rate, text = f"{row['steps_per_second']:,.0f}/s", line(row)
        self._bar.update(self._task, completed=row["agent_steps"], rate=rate, row=text)
        now = time.monotonic()
        if not self._live and now - self._spoke >= PLAIN_EVERY:
            self._spoke = now
            done = row["agent_steps"] - self.start
            eta = (self.total - row["agent_steps"]) * (now - self._began) / max(done, 1)
            print(f"{row['agent_steps']:,}/{self.total:,} steps {rate} ETA {eta / 60:.0f} min {text}", flush=True)

    def note(self, text: str):
        """Print a line above the bar."""
        if self._live:
            self._console.print(text)
        else:
            print(text, file=sys.stdout, flush=True)


@contextlib.contextmanager
def counter(what: str, total: int):
    """A bar with an ETA for `total` things; yields the function that takes how many are done."""
    with Bar(
        TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {what}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def line(row: dict) -> str:
    """A row of metrics.csv in one line."""
    return (
        f"score {row['score_mean_100']:,.0f} loss {row['loss']:.2f} entropy {row['entropy']:.2f} "
        f"gradient {row['gradient_norm']:.1f} explained {row['explained_variance']:.2f}"
    )
