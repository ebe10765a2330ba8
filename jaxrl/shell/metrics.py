"""What a run writes down and shows: metrics.csv, evaluation.csv, and the terminal (the one adapter of rich)."""

import csv
import hashlib
import io
import math
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import jax
import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from jaxrl.agent import Column
from jaxrl.shell.files import append, write_text

METRICS, EVALUATION = "metrics.csv", "evaluation.csv"
PLAIN_EVERY = 30.0  # seconds between plain lines
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
    """A CSV file's columns by name; numbers are floats, everything else stays text. Empty when it is missing.

    Raises: ValueError, with the file and the line, for a row that has not the columns of the first line.
    """
    header, rows = _table(Path(path))
    return {name: [_number(row[i]) for row in rows] for i, name in enumerate(header)} if rows else {}


def numbers(table: dict[str, list], name: str, path) -> list[float]:
    """A column of a table that was read from `path`, all numbers.

    Raises: ValueError, with the file, where it is missing or has words.
    """
    if name not in table:
        raise ValueError(f"{path} has no column {name}; it has {', '.join(table)}.")
    for value in table[name]:
        if not isinstance(value, float):
            raise ValueError(f"{path} has {value!r} in its column {name}, where numbers belong.")
    return table[name]


def truncate(path: Path, last_step: int):
    """Drop the rows of a table after `last_step`, and a last one that was not written to its end; atomically.

    Raises: ValueError, with the file and the line, for a table that is damaged; it stays as it is.
    """
    if not path.exists():
        return
    header, rows = _table(path)
    steps = numbers({header[0]: [_number(row[0]) for row in rows]}, header[0], path) if rows else []
    kept = [row for row, step in zip(rows, steps, strict=True) if step <= last_step]
    write_text(path, _csv(header, *kept) if header else "")


def _header(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file), [])


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of a table's columns, and its rows; blank lines, and a last one without its end, are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True) if path.exists() else []
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: it is not text ({error.reason}).") from None
    whole = [(number, line) for number, line in enumerate(lines, 1) if line.endswith("\n") and line.strip()]
    header, *rows = [next(csv.reader([line])) for _, line in whole] or [[]]
    for (number, _), row in zip(whole[1:], rows, strict=True):
        if len(row) != len(header):
            raise ValueError(f"{path} is damaged: line {number} has {len(row)} columns, and the first {len(header)}.")
    return header, rows


def _csv(*rows) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _number(text: str):
    try:
        return float(text)
    except ValueError:
        return text


class RunLog:
    """The tables of a run's folder.

    With `resume_step`, rows after that step are dropped first: the run writes them again.

    Raises: ValueError for a table that is damaged.
    """

    def __init__(self, run_dir, resume_step: int | None = None):
        self.run_dir = Path(run_dir)
        if resume_step is not None:
            tables = [self.run_dir / name for name in (METRICS, EVALUATION)]
            for path in tables:
                _table(path)  # a damaged one is refused before the other is cut
            for path in tables:
                truncate(path, resume_step)

    def write(self, row: dict):
        """Add a row to metrics.csv; its first column is `agent_steps`.

        Raises: ValueError when the table has other columns; OSError.
        """
        self._write(self.run_dir / METRICS, row)

    def write_evaluation(self, row: dict):
        """Add a row to evaluation.csv; as `write`."""
        self._write(self.run_dir / EVALUATION, row)

    def evaluated(self, step: int) -> bool:
        """Whether evaluation.csv has the evaluation of a step."""
        return step in read(self.run_dir / EVALUATION).get("agent_steps", ())

    def _write(self, path: Path, row: dict):
        header = _header(path)
        if header not in ([], list(row)):
            raise ValueError(f"{path} has the columns {', '.join(header)}; a row with {', '.join(row)} does not fit.")
        append(path, _csv(*([] if header else [row]), row.values()).encode())


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
            self._spoke, gap = now, "\n" if "\n" in text else "  "
            print(f"{head}{gap}{text}".rstrip(), flush=True)

    def note(self, text: str):
        """Print a line above the bar."""
        self._console.print(text, soft_wrap=True)


class Together:
    """The progress of several runs on one bar, with a line for each below it; a context."""

    def __init__(self, total: int, shown: dict[str, Column]):
        """`total`: of all runs."""
        self._progress, self._done, self._lines = Progress(total, shown=shown), {}, {}
        self._shown = SHOWN | shown

    def __enter__(self):
        self._progress.__enter__()
        return self

    def __exit__(self, *exception):
        self._progress.__exit__()

    def part(self, name: str, start: int):
        """The progress of one run, which begins at a step."""
        self._done[name], self._lines[name] = start, ""
        self._progress.start += start
        return Part(self, name)

    def update(self, name: str, row: dict):
        """Show a row of one run's metrics.csv."""
        self._done[name], self._lines[name] = row["agent_steps"], line(row, self._shown)
        lines = [f"{name}  {text}" for name, text in self._lines.items()]
        self._progress.show(sum(self._done.values()), "\n".join(lines))

    def note(self, name: str, text: str):
        """Print a line of one run above the bar."""
        self._progress.note(f"{name}: {text}")


class Part:
    """One run's share in `Together`, as a `Progress`."""

    def __init__(self, together: Together, name: str):
        self.update, self.note = partial(together.update, name), partial(together.note, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def line(row: dict, shown: dict[str, Column]) -> str:
    """A row of metrics.csv in one line, as far as its columns are shown; a dash for NaN and infinity."""
    columns = [(column, row[name]) for name, column in shown.items() if name in row and column.short]
    return "  ".join(f"{c.short} {format(value, c.format) if math.isfinite(value) else '-'}" for c, value in columns)
