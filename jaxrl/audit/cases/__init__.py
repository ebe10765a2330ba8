"""The one table of cases: what the audit prints, what the tests run, and what benchmarks measure.

Every layer and loss has a row of real size, which is timed, small rows of odd shapes, and rows for the tests alone. A
new one takes a few rows in the file of its family.
"""

from jaxrl.audit.cases import activations, convolution, linear, losses, normalization, pooling, recurrent
from jaxrl.audit.cases.case import KINK, SMALL, TESTED, TIMED, Case, pair

__all__ = [
    "Case",
    "cases",
    "FAMILIES",
    "KINK",
    "pair",
    "SMALL",
    "TESTED",
    "TIMED",
]

FAMILIES = (convolution, pooling, linear, recurrent, activations, normalization, losses)


def cases(*kinds: str) -> list[Case]:
    """All cases, family by family; or those of these kinds."""
    found = [Case(*row) for family in FAMILIES for row in family.ROWS]
    return [case for case in found if not kinds or case.kind in kinds]
