"""Cases of the losses."""

import numpy as np

from jaxrl.audit.cases.case import KINK, SMALL, TESTED, TIMED, given


def _actor_critic(*rows, actions=18):
    def make(draw):
        logits, v, a = draw.normal(*rows, actions), draw.normal(*rows), draw.integers(actions, *rows)
        advantage, target, weight = draw.normal(*rows), draw.normal(*rows), draw.positive(*rows)
        return logits, v, a, advantage, target, weight, np.float64(0.01), np.float64(0.5)

    return make


def _normals(count, *size):
    return lambda draw: tuple(draw.normal(*size) for _ in range(count))


def _weighted(make, *rows):
    return lambda draw: (*make(draw), draw.positive(*rows))


def _classes(classes, *rows):
    return lambda draw: (draw.normal(*rows, classes), draw.integers(classes, *rows))


def _yes_or_no(*rows):
    return lambda draw: (draw.normal(*rows, scale=3.0), draw.unit(*rows))


def _distributions(*size):
    return lambda draw: (draw.normal(*size), draw.unit(*size))


def _quantiles(count, targets, *rows):
    tau = (np.arange(count) + 0.5) / count
    return lambda draw: (draw.normal(*rows, count), draw.normal(*rows, targets), tau)


def _q_learning(actions, *rows):
    return lambda draw: (draw.normal(*rows, actions), draw.integers(actions, *rows), draw.normal(*rows))


BENDS = np.array([[0.7, -0.7, 0.0, 2.0]])  # errors at ±delta and at 0
CENTRE = np.zeros((1, 4))
ROWS = [
    ("actor_critic_loss", "8192x18", _actor_critic(8192), {}, TIMED),
    ("actor_critic_loss", "20x16x18", _actor_critic(20, 16), {}, SMALL),
    ("actor_critic_loss", "4x3x5", _actor_critic(4, 3, actions=5), {}, TESTED),
    ("actor_critic_loss", "each row 4x3x5", _actor_critic(4, 3, actions=5), {"reduction": "none"}, TESTED),
    ("squared_loss", "262144", _normals(2, 262_144), {}, TIMED),
    ("squared_loss", "weighted 4x3", _normals(3, 4, 3), {}, SMALL),
    ("squared_loss", "4x3x5", _normals(2, 4, 3, 5), {}, TESTED),
    ("huber_loss", "262144", _normals(2, 262_144), {}, TIMED),
    ("huber_loss", "weighted 4x3", _normals(3, 4, 3), {"delta": 0.7}, SMALL),
    ("huber_loss", "4x3x5, delta 0.7", _normals(2, 4, 3, 5), {"delta": 0.7}, TESTED),
    ("huber_loss", "weighted 4x3x5, delta 1", _normals(3, 4, 3, 5), {}, TESTED),
    ("huber_loss", "each row 4x3", _normals(3, 4, 3), {"delta": 0.7, "reduction": "none"}, TESTED),
    ("huber_loss", "weighted mean 4x3", _normals(3, 4, 3), {"reduction": "mean"}, TESTED),
    ("huber_loss", "at its bends", given(BENDS, CENTRE, np.abs(BENDS)), {"delta": 0.7}, KINK),
    ("softmax_cross_entropy", "4096x1000", _classes(1000, 4096), {}, TIMED),
    ("softmax_cross_entropy", "weighted 4x3x5", _weighted(_classes(5, 4, 3), 4, 3), {}, SMALL),
    ("softmax_cross_entropy", "4x3x5", _classes(5, 4, 3), {}, TESTED),
    ("softmax_cross_entropy", "each row 4x3x5", _classes(5, 4, 3), {"reduction": "none"}, TESTED),
    ("binary_cross_entropy", "262144", _yes_or_no(262_144), {}, TIMED),
    ("binary_cross_entropy", "weighted 4x3", _weighted(_yes_or_no(4, 3), 4, 3), {}, SMALL),
    ("binary_cross_entropy", "4x3x5", _yes_or_no(4, 3, 5), {}, TESTED),
    ("binary_cross_entropy", "targets 0 and 1", given(BENDS, np.array([[0.0, 0.5, 0.2, 1.0]])), {}, KINK),
    ("categorical_cross_entropy", "4096x51", _distributions(4096, 51), {}, TIMED),
    ("categorical_cross_entropy", "weighted 4x3x5", _weighted(_distributions(4, 3, 5), 4, 3), {}, SMALL),
    ("categorical_cross_entropy", "4x3x5", _distributions(4, 3, 5), {}, TESTED),
    ("categorical_cross_entropy", "all in one class", given(BENDS, np.eye(4)[None, 1]), {}, KINK),
    ("quantile_huber_loss", "256x64x64", _quantiles(64, 64, 256), {}, TIMED),
    ("quantile_huber_loss", "weighted 4x3x5x7", _weighted(_quantiles(5, 7, 4, 3), 4, 3), {"delta": 0.4}, SMALL),
    ("quantile_huber_loss", "4x3x5x7", _quantiles(5, 7, 4, 3), {}, TESTED),
    ("quantile_huber_loss", "sum 4x3x5x7", _quantiles(5, 7, 4, 3), {"reduction": "sum"}, TESTED),
    ("quantile_huber_loss", "at its bends", given(BENDS[0], CENTRE[0], np.array([0.1, 0.3, 0.5, 0.7])), {}, KINK),
    ("q_learning_loss", "65536x18", _q_learning(18, 65_536), {}, TIMED),
    ("q_learning_loss", "weighted 4x3x5", _weighted(_q_learning(5, 4, 3), 4, 3), {"delta": 0.7}, SMALL),
    ("q_learning_loss", "4x3x5", _q_learning(5, 4, 3), {}, TESTED),
    ("q_learning_loss", "at its bend", given(BENDS, np.array([0]), CENTRE[0, :1]), {"delta": 0.7}, KINK),
    ("gaussian_nll", "16384x17", _normals(3, 16_384, 17), {}, TIMED),
    ("gaussian_nll", "weighted 4x3x5", _weighted(_normals(3, 4, 3, 5), 4, 3), {}, SMALL),
    ("gaussian_nll", "4x3x5", _normals(3, 4, 3, 5), {}, TESTED),
    ("gaussian_nll", "at the mean", given(BENDS, BENDS, BENDS - 1), {}, KINK),
    ("gaussian_kl", "16384x17", _normals(4, 16_384, 17), {}, TIMED),
    ("gaussian_kl", "one weight 4x3x5", _weighted(_normals(4, 4, 3, 5)), {}, SMALL),
    ("gaussian_kl", "4x3x5", _normals(4, 4, 3, 5), {}, TESTED),
    ("gaussian_kl", "of equal distributions", given(BENDS, BENDS, BENDS, BENDS), {}, KINK),
    ("tanh_gaussian_log_prob", "16384x17", _normals(3, 16_384, 17), {}, TIMED),
    ("tanh_gaussian_log_prob", "4x3x5", _normals(3, 4, 3, 5), {}, SMALL),
    ("tanh_gaussian_log_prob", "at the mean", given(CENTRE, CENTRE, BENDS), {}, KINK),
]
