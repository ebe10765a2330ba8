"""Cases of the activations and of softmax."""

import numpy as np

from jaxrl.audit.cases.case import KINK, SMALL, TESTED, TIMED, given

WIDE = np.array([-1e4, -30.0, -1.0, -1e-3, 1e-3, 1.0, 30.0, 1e4])
AROUND_ZERO = np.array([-0.7, 0.0, 0.7])


def _elementwise(name, size, text, kind=SMALL, **settings) -> tuple:
    kinked = name in ("relu", "leaky_relu")
    return name, text, lambda draw: ((draw.distinct if kinked else draw.normal)(*size),), settings, kind


ACTIVATIONS = [
    ("elu", "", {}), ("relu", "", {}), ("leaky_relu", "", {}), ("sigmoid", "", {}), ("tanh", "", {}),
    ("softplus", "", {}), ("gelu", "", {}), ("gelu", "approximate ", {"approximate": True}),
]  # fmt: skip
ROWS = [
    row
    for name, kind, settings in ACTIVATIONS
    for row in (
        _elementwise(name, (320, 21, 21, 32), f"{kind}320x21x21x32", TIMED, **settings),
        _elementwise(name, (3, 5), f"{kind}3x5", **settings),
        (name, f"{kind}around 0", given(AROUND_ZERO), settings, KINK),
    )
] + [
    ("elu", "up to 1e4", given(WIDE), {}, TESTED),
    ("elu", "alpha 0.3", lambda draw: (draw.normal(7),), {"alpha": 0.3}, TESTED),
    ("elu", "alpha 0.3 around 0", given(AROUND_ZERO), {"alpha": 0.3}, KINK),
    ("relu", "up to 1e4", given(WIDE), {}, TESTED),
    ("leaky_relu", "up to 1e4, slope 0.2", given(WIDE), {"slope": 0.2}, TESTED),
    ("sigmoid", "up to 1e4", given(WIDE), {}, TESTED),
    ("tanh", "up to 1e4", given(WIDE), {}, TESTED),
    ("softplus", "up to 1e4", given(WIDE), {}, TESTED),
] + [
    row
    for name in ("softmax", "log_softmax")
    for row in (
        _elementwise(name, (8192, 18), "8192x18", TIMED),
        _elementwise(name, (20, 16, 18), "20x16x18"),
        _elementwise(name, (3, 4, 5), "axis 1 of 3x4x5", axis=1),
        (name, "up to 1e4", given(WIDE), {}, KINK if name == "softmax" else TESTED),
        (name, "all equal", given(np.zeros((2, 3))), {}, KINK),
    )
]
