"""The audit: every derived gradient against autodiff and finite differences, in error, time and bytes.

    python -m jaxrl.layers.audit

`compare` audits one function, also one of your own: `print(audit.compare(my_layer, my_reference, x, w))`.
"""

from jaxrl.layers.audit.cases import Case as Case
from jaxrl.layers.audit.cases import cases as cases
from jaxrl.layers.audit.command import main as main
from jaxrl.layers.audit.compare import Comparison as Comparison
from jaxrl.layers.audit.compare import compare as compare
from jaxrl.layers.audit.compare import errors as errors
from jaxrl.layers.audit.compare import over_bound as over_bound
from jaxrl.layers.audit.gradients import cast as cast
from jaxrl.layers.audit.speed import residual_bytes as residual_bytes
