"""The command line of the audit."""

import dataclasses
import os
import sys
from pathlib import Path

import jax

from jaxrl.agents.options import Natural, Positive, check_bounds, option
from jaxrl.audit import table
from jaxrl.audit.cases import SMALL, TIMED, Case, cases
from jaxrl.audit.compare import Comparison, compare, over_bound
from jaxrl.nearest import unknown
from jaxrl.shell import cli
from jaxrl.shell.metrics import Progress


@dataclasses.dataclass(frozen=True)
class Config:
    """Every derived gradient against autodiff and finite differences, in error, time and bytes."""

    only: str = ""
    """Audit only the rows whose name contains this text; by default all."""
    pairs: Natural = 25
    """Pairs of runs timed for each row, at least; 0 for none."""
    max_ratio: Positive | None = None
    """Also fail when a time ratio is above this."""
    json: Path | None = None
    """Write every figure to this file."""
    markdown: Path | None = None
    """Write the tables to this file."""


def start(arguments: list[str] | None = None, program: str | None = None):
    """The audit as the command line says, on two devices of the CPU for `pmap`; see `cli.run`."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", 2)  # only before JAX's first use of a device
    cli.run(main, Config, arguments=arguments, program=program)


def main(config: Config):
    """Audit the chosen rows, print the tables, write the files; exit with 1 when a figure is over its bound."""
    check(config)
    chosen = choose(config.only)
    rows = []
    with Progress(len(chosen), unit="rows") as progress:
        for case in chosen:
            progress.show(len(rows), case.title)
            rows.append((case, _audit(case, config.pairs)))
        progress.show(len(rows))
    table.show(rows, config.max_ratio)
    if config.json:
        table.write_json(config.json, rows)
    if config.markdown:
        table.write_markdown(config.markdown, rows)
    failed = [f"{case.title}: {line}" for case, row in rows for line in _failures(row, config.max_ratio)]
    for line in failed:
        print(f"over its bound: {line}", file=sys.stderr)
    if failed:
        sys.exit(1)


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    check_bounds(config)
    for name in ("json", "markdown"):
        path = getattr(config, name)
        if path and not path.parent.is_dir():
            raise ValueError(f"{option(name)} {path} is in a folder that does not exist; make {path.parent} first.")


def choose(text: str) -> list[Case]:
    """The rows of the audit whose title contains a text. Raises ValueError when there are none."""
    found = cases(TIMED, SMALL)
    chosen = [case for case in found if text in case.title]
    if not chosen:
        raise unknown("row whose name contains", text, (case.name for case in found))
    return chosen


def _audit(case: Case, pairs: int) -> Comparison | str:
    """The row, or the error that the layer raises: the other rows are audited all the same."""
    try:
        return compare(*case.pair, *case.args, time_pairs=pairs if case.timed else 0, transformations=not case.timed)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _failures(row, max_ratio) -> list[str]:
    return [row] if isinstance(row, str) else list(over_bound(row, max_ratio).values())
