"""Cases of normalisation and dropout."""

import numpy as np

from jaxrl.audit.cases.case import KINK, SMALL, TESTED, TIMED


def _norm(*size, offset=0.0):
    return lambda draw: (offset + draw.normal(*size), draw.normal(size[-1]), draw.normal(size[-1]))


def _batch_norm(*size, offset=0.0):
    return lambda draw: (*_norm(*size, offset=offset)(draw), draw.normal(size[-1]), draw.positive(size[-1]))


def _dropout(*size):
    return lambda draw: (draw.normal(*size), np.array([1, 2], np.uint32))


FROZEN = {"training": False}
ROWS = [
    ("batch_norm", "64x28x28x32", _batch_norm(64, 28, 28, 32), {}, TIMED),
    ("batch_norm", "2x3x4x5", _batch_norm(2, 3, 4, 5), {"momentum": 0.7}, SMALL),
    ("batch_norm", "50x40x5, mean 1e3", _batch_norm(50, 40, 5, offset=1e3), {}, SMALL),
    ("batch_norm", "empty batch", _batch_norm(0, 3, 5), {}, TESTED),
    ("batch_norm", "inference 64x28x28x32", _batch_norm(64, 28, 28, 32), FROZEN, TIMED),
    ("batch_norm", "inference 4x5", _batch_norm(4, 5), FROZEN, SMALL),
    ("layer_norm", "4096x256", _norm(4096, 256), {}, TIMED),
    ("layer_norm", "2x3x5", _norm(2, 3, 5), {}, SMALL),
    ("layer_norm", "5x2000, mean 1e3", _norm(5, 2000, offset=1e3), {}, SMALL),
    ("layer_norm", "empty batch", _norm(0, 3, 5), {}, TESTED),
    ("dropout", "32x3136", _dropout(32, 3136), {}, TIMED),
    ("dropout", "2x3x5, rate 0.3", _dropout(2, 3, 5), {"rate": 0.3}, SMALL),
    ("dropout", "2x3x5, rate 1", _dropout(2, 3, 5), {"rate": 1.0}, KINK),
]
