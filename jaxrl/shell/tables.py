"""What a study found beside what it should be: as lines for a terminal, and as what a JSON file has."""

import dataclasses
import math
from typing import NamedTuple

from jaxrl.shell import provenance


class Row(NamedTuple):
    """One figure: what it is, what was found, what is known of it (or None), and from where."""

    what: str
    found: float
    known: float | None
    source: str = ""


def lines(rows: list[Row]) -> list[str]:
    """The rows below each other, in columns."""
    cells = [("", "found", "known", "source")]
    cells += [(row.what, number(row.found), number(row.known), row.source) for row in rows]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [f"{a:<{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in cells]


def result(config, rows: list[Row], seconds: float, *packages: str) -> dict:
    """All figures of a study, and all that they depend on: its options, the seconds, versions, machine and commit."""
    options = {name: value for name, value in dataclasses.asdict(config).items() if name != "output"}
    return {
        "config": options,
        "rows": [as_dict(row) for row in rows],
        "seconds": round(seconds, 1),
        **provenance.measured_on("numpy", *packages),
    }


def as_dict(row: Row) -> dict:
    """A row for a JSON file: numbers of NumPy and JAX as Python's own."""
    known = None if row.known is None else float(row.known)
    return {"what": row.what, "found": float(row.found), "known": known, "source": row.source}


def number(value: float | None) -> str:
    """Five digits, a whole number as it is, and a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if math.isfinite(value) and value == round(value) else f"{value:,.5g}"
