"""Cases of pooling."""

import numpy as np

from jaxrl.audit.cases.case import KINK, SMALL, TESTED, TIMED, given


def _pool(name, size, text, kind=SMALL, **settings) -> tuple:
    return name, text, lambda draw: ((draw.distinct if name == "max_pool2d" else draw.normal)(*size),), settings, kind


OVERLAPPING = {"window": 3, "stride": 2}
PADDED = {"window": 3, "stride": 2, "padding": 1}
ODD_WINDOW = {"window": (3, 2), "stride": (1, 3), "padding": ((2, 0), (1, 1))}
EVERYWHERE = {"window": 3, "stride": 1, "padding": "SAME"}
ROWS = [
    row
    for name in ("max_pool2d", "avg_pool2d")
    for row in (
        _pool(name, (32, 27, 27, 64), "32x27x27x64 3x3/2", TIMED, **OVERLAPPING),
        _pool(name, (64, 28, 28, 32), "64x28x28x32 2x2", TIMED, window=2),
        _pool(name, (2, 7, 8, 3), "asymmetric", **ODD_WINDOW),
        _pool(name, (1, 7, 6, 3), "batch of 1", window=3, stride=2, padding=1),
        _pool(name, (2, 7, 6, 3), "SAME", window=3, stride=2, padding="SAME"),
        _pool(name, (2, 8, 9, 3), "with gaps", window=(2, 1), stride=(4, 3)),
        _pool(name, (2, 7, 8, 3), "2x2 of 7x8", TESTED, window=2),
        _pool(name, (2, 7, 8, 3), "overlapping", TESTED, **PADDED),
        _pool(name, (0, 7, 8, 3), "empty batch", TESTED, window=2),
    )
] + [
    ("max_pool2d", "with ties", lambda draw: (draw.ties(2, 7, 8, 3),), EVERYWHERE, KINK),
    ("max_pool2d", "overlapping ties", lambda draw: (draw.ties(2, 7, 8, 3),), PADDED, KINK),
    ("max_pool2d", "all equal", given(np.zeros((1, 2, 2, 1))), {"window": 2}, KINK),
    _pool("avg_pool2d", (2, 7, 8, 3), "asymmetric, padding not counted", **ODD_WINDOW, count_padding=False),
    _pool("avg_pool2d", (2, 7, 6, 3), "SAME, padding not counted", TESTED, **EVERYWHERE, count_padding=False),
    _pool("global_avg_pool2d", (64, 28, 28, 32), "64x28x28x32", TIMED),
    _pool("global_avg_pool2d", (1, 3, 5, 4), "batch of 1"),
    _pool("global_avg_pool2d", (2, 7, 8, 3), "2x7x8x3", TESTED),
]
