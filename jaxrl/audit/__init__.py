"""The audit: every derived gradient against autodiff and finite differences, in error, time and bytes.

    python -m jaxrl.audit

`compare` audits one function, also one of your own: `print(audit.compare(my_layer, my_reference, x, w))`.
"""

from jaxrl.audit.cases import KINK, SMALL, TESTED, TIMED, Case, cases
from jaxrl.audit.compare import Comparison, compare, errors, over_bound
from jaxrl.audit.gradients import cast
from jaxrl.audit.speed import residual_bytes

__all__ = [
    "Case",
    "cases",
    "cast",
    "compare",
    "Comparison",
    "errors",
    "KINK",
    "over_bound",
    "residual_bytes",
    "SMALL",
    "TESTED",
    "TIMED",
]
