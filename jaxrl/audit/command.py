"""The command line of the audit."""

import argparse
import sys

from jaxrl.audit import table
from jaxrl.audit.cases import Case, cases
from jaxrl.audit.compare import Comparison, compare, over_bound


def main(arguments=None) -> int:
    """Audit every case, print the tables, write the files; the exit code is 1 when an error is over its bound."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxrl.audit",
        description="Every derived gradient against autodiff and finite differences, in error, time and bytes.",
    )
    parser.add_argument("--only", default="", help="audit only rows whose name contains this (default: all)")
    parser.add_argument(
        "--pairs", type=int, default=25, help="pairs of runs timed for each row, at least; 0 for none (default: 25)"
    )
    parser.add_argument("--max-ratio", type=float, help="also fail when a time ratio is above this (default: no bound)")
    parser.add_argument("--json", help="write every figure to this file (default: none)")
    parser.add_argument("--markdown", help="write the tables to this file (default: none)")
    options = parser.parse_args(arguments)
    chosen = [case for case in cases() if options.only in case.title]
    if not chosen:
        parser.error(f"no row's name contains {options.only!r}")
    rows = []
    with table.Counter(len(chosen)) as counter:
        for done, case in enumerate(chosen):
            counter.show(done, case.title)
            rows.append((case, _audit(case, options.pairs)))
    table.show(rows, options.max_ratio)
    if options.json:
        table.write_json(options.json, rows)
    if options.markdown:
        table.write_markdown(options.markdown, rows)
    failed = [f"{case.title}: {line}" for case, row in rows for line in _failures(row, options.max_ratio)]
    for line in failed:
        print(f"over its bound: {line}", file=sys.stderr)
    return 1 if failed else 0


def _audit(case: Case, pairs: int) -> Comparison | str:
    """The row, or the error that the layer raises: the other rows are audited all the same."""
    try:
        return compare(*case.pair, *case.args, time_pairs=pairs if case.timed else 0, transformations=not case.timed)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _failures(row, max_ratio) -> list[str]:
    return [row] if isinstance(row, str) else list(over_bound(row, max_ratio).values())
