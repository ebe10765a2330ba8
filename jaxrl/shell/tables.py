"""What was found beside what it should be, as lines for a terminal."""

import math
from typing import NamedTuple


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


def as_dicts(rows: list[Row]) -> list[dict]:
    """The rows for a JSON file."""
    known = (None if row.known is None else float(row.known) for row in rows)
    return [row._asdict() | {"found": float(row.found), "known": value} for row, value in zip(rows, known, strict=True)]


def number(value: float | None) -> str:
    """Five digits, a whole number as it is, and a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if math.isfinite(value) and value == round(value) else f"{value:,.5g}"
