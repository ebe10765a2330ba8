"""The audit: every derived gradient against autodiff and finite differences, in error, time and bytes.

    python -m jaxrl.audit

`compare` audits one function, also one of your own: `print(audit.compare(my_layer, my_reference, x, w))`.
"""

from jaxrl.audit.cases import KINK as KINK
from jaxrl.audit.cases import SMALL as SMALL
from jaxrl.audit.cases import TESTED as TESTED
from jaxrl.audit.cases import TIMED as TIMED
from jaxrl.audit.cases import Case as Case
from jaxrl.audit.cases import cases as cases
from jaxrl.audit.compare import Comparison as Comparison
from jaxrl.audit.compare import compare as compare
from jaxrl.audit.compare import errors as errors
from jaxrl.audit.compare import over_bound as over_bound
from jaxrl.audit.gradients import cast as cast
from jaxrl.audit.speed import residual_bytes as residual_bytes
