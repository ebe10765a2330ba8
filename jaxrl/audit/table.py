"""The audit's rows as tables of a terminal, as Markdown, and as JSON.

The one file of this package that knows a terminal library.
"""

import math
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxrl.audit import transformations
from jaxrl.audit.cases import Case
from jaxrl.audit.compare import BOUNDS, Comparison, over_bound, verdict
from jaxrl.shell import files, provenance

LEGEND = f"""\
value   largest difference from autodiff of the reference, over the largest
        entry; upper line float64 (bound {BOUNDS["value64"]:.0e}), lower float32
cotan.  the same of the worst of all cotangents
diff.   derivative along a random direction against central differences,
        float64 (bound {BOUNDS["differences"]:.0e})
round.  error from float64 over (that of the reference + an ulp of 1); upper
        line float32, lower bfloat16; inf: some result has another type
        (bound {BOUNDS["float32"]:.0f})
time    forward plus backward over autodiff's in the same run, float32:
        median of interleaved pairs (below 1: faster)
bytes   what forward keeps for backward, over autodiff's
jit, vmap, scan, pmap, shard (jax.shard_map), remat (jax.checkpoint)
        value and cotangents, float64, against the plain call's: ok, or the
        difference (bound {BOUNDS["value64"]:.0e}), or fail for an error
twice   the gradient of a gradient against autodiff's, likewise"""
ERRORS = ("value", "cotan.", "diff.", "round.")
TRANSFORMATIONS = {"shard_map": "shard", "checkpoint": "remat"}  # shorter names
Rows = list[tuple[Case, Comparison | str]]


def show(rows: Rows, max_ratio: float | None = None):
    """Print a table of the timed rows, one of the others, and what the columns mean."""
    console = Console()
    for timed in (True, False):
        chosen = [(case, row) for case, row in rows if case.timed == timed]
        if chosen:
            console.print(_table(chosen, timed, max_ratio))
            console.print()
    console.print(Text(LEGEND))


def _table(rows, timed, max_ratio):
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in _header(timed):
        table.add_column(name, no_wrap=True)
    for case, row in rows:
        if isinstance(row, str):
            table.add_row(f"{case.name}\n{case.shape}", Text(row, "red"))
            continue
        style = "red" if over_bound(row, max_ratio) else ""
        table.add_row(f"{case.name}\n{case.shape}", *_cells(row, timed, "\n"), style=style)
    return table


def _header(timed):
    names = ("time", "bytes") if timed else [TRANSFORMATIONS.get(name, name) for name in transformations.NAMES]
    return ["layer", *ERRORS, *names]


def _cells(row: Comparison, timed: bool, between: str) -> list[str]:
    cells = [f"{row.value64:.0e}{between}{row.value32:.0e}", f"{row.cotangent64:.0e}{between}{row.cotangent32:.0e}"]
    rounding = f"{row.float32:.2f}{between}{row.bfloat16:.2f}"
    cells = [*(cell.replace("0e+00", "0") for cell in cells), f"{row.differences:.0e}", rounding]
    if timed:
        return [*cells, "-" if row.time_ratio is None else f"{row.time_ratio:.2f}", f"{row.bytes_ratio:.2f}"]
    return [*cells, *(verdict(row.transformations[name]) for name in transformations.NAMES)]


def write_markdown(path, rows: Rows):
    """Write both tables with their legend as Markdown."""
    parts = [f"Made by `{command()}` on {provenance.machine()}, commit {provenance.commit()}.\n"]
    for timed in (True, False):
        chosen = [(case, row) for case, row in rows if case.timed == timed]
        if chosen:
            header = _header(timed)
            lines = ["", "| " + " | ".join([header[0], "shape", *header[1:]]) + " |", "|---" * (len(header) + 1) + "|"]
            parts += [*lines, *(_markdown_row(case, row, timed) for case, row in chosen)]
    files.write_text(path, "\n".join([*parts, "", "```", LEGEND, "```", ""]))


def _markdown_row(case, row, timed) -> str:
    cells = [row.replace("|", "\\|")] if isinstance(row, str) else _cells(row, timed, ", ")
    return "| " + " | ".join([f"`{case.name}`", case.shape, *cells]) + " |"


def write_json(path, rows: Rows):
    """Write every figure, the bounds, and what they were measured on; NaN and infinity become text."""
    found = []
    for case, row in rows:
        figures = {"error": row} if isinstance(row, str) else row._asdict() | {"over_bound": over_bound(row)}
        found.append({"layer": case.name, "shape": case.shape, "timed": case.timed} | figures)
    content = {"rows": found, "bounds": BOUNDS, "command": command(), **provenance.measured_on("numpy")}
    files.write_json(path, _finite(content))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def command() -> str:
    """The command line as a user would type it."""
    arguments = sys.argv[1:]
    return " ".join(["python -m jaxrl.audit", *(arguments[1:] if arguments[:1] == ["audit"] else arguments)])
