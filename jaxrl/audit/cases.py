"""What is audited: every layer and loss, at sizes of real use, which are timed, and at small odd shapes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxrl import layers, losses
from jaxrl.layers import reference


class Case(NamedTuple):
    """A layer or loss at a shape.

    Attributes:
      name: that of the layer.
      shape: a short text, unlike that of every other case of the layer.
      make: gives the arguments, NumPy arrays or None, from a `Draw`.
      settings: keyword arguments that are no arrays.
      timed: whether it is of real size, and timed; the others are tried under every transformation.
    """

    name: str
    shape: str
    make: Callable
    settings: dict
    timed: bool

    @property
    def title(self) -> str:
        """The row's name in the table."""
        return f"{self.name} {self.shape}"

    @property
    def pair(self) -> tuple[Callable, Callable]:
        """The layer and its reference, with their settings."""
        ours = getattr(layers, self.name, None) or getattr(losses, self.name)
        return partial(ours, **self.settings), partial(getattr(reference, self.name), **self.settings)

    @property
    def args(self) -> tuple:
        """The arguments: the same numbers every time."""
        return self.make(Draw())


class Draw:
    """Random arrays, in the order in which they are asked for."""

    def __init__(self):
        self._rng = np.random.default_rng(0)

    def normal(self, *shape, scale=1.0):
        """Normal numbers."""
        return scale * self._rng.normal(size=shape)

    def apart(self, *shape):
        """Shuffled numbers, at least 1e-4 from each other and from 0: differences cross no kink and no tie."""
        count = np.prod(shape, dtype=int)
        return 2e-4 * self._rng.permutation(np.arange(count) - count // 2 + 0.5).reshape(shape)

    def positive(self, *shape):
        """Numbers from 0.5 to 1.5."""
        return self._rng.uniform(0.5, 1.5, shape)

    def unit(self, *shape):
        """Numbers from 0 to 1."""
        return self._rng.uniform(size=shape)

    def integers(self, high, *shape):
        """Whole numbers from 0 to high − 1."""
        return self._rng.integers(0, high, shape)

    def flags(self, *shape):
        """One in ten is True."""
        return self._rng.random(shape) < 0.1


def cases() -> list[Case]:
    """All cases, layer by layer in the order of the library."""
    found = []
    for rows in (CONVOLUTIONS, POOLING, DENSE, RECURRENT, ELEMENTWISE, NORMALIZATION, LOSSES):
        found += [Case(*row) for row in rows]
    return found


def _conv(name, x, w, outputs, text, timed=False, bias=True, **settings) -> tuple:
    """A convolution or transposed one; the weights in the size of an initialiser's."""

    def make(draw):
        size = np.prod(w[:3]) ** -0.5
        return draw.normal(*x), draw.normal(*w, scale=size), draw.normal(outputs) if bias else None

    return name, text, make, settings, timed


ASYMMETRIC = {"stride": (2, 3), "padding": ((0, 2), (1, 0)), "dilation": (2, 1), "groups": 2}
CONVOLUTIONS = [
    _conv("conv2d", (320, 42, 42, 1), (3, 3, 1, 32), 32, "320x42x42x1>32 3x3/2", True, stride=2, padding=1),
    _conv("conv2d", (320, 21, 21, 32), (3, 3, 32, 32), 32, "320x21x21x32>32 3x3/2", True, stride=2, padding=1),
    _conv("conv2d", (320, 11, 11, 32), (3, 3, 32, 32), 32, "320x11x11x32>32 3x3/2", True, stride=2, padding=1),
    _conv("conv2d", (320, 6, 6, 32), (3, 3, 32, 32), 32, "320x6x6x32>32 3x3/2", True, stride=2, padding=1),
    _conv("conv2d", (32, 84, 84, 4), (8, 8, 4, 32), 32, "32x84x84x4>32 8x8/4", True, stride=4),
    _conv("conv2d", (32, 20, 20, 32), (4, 4, 32, 64), 64, "32x20x20x32>64 4x4/2", True, stride=2),
    _conv("conv2d", (32, 9, 9, 64), (3, 3, 64, 64), 64, "32x9x9x64>64 3x3", True),
    _conv("conv2d", (2, 9, 7, 4), (3, 2, 2, 6), 6, "asymmetric", **ASYMMETRIC),
    _conv("conv2d", (2, 9, 10, 3), (3, 3, 3, 4), 4, "stride 4 of 10", stride=4),
    _conv("conv2d", (1, 6, 5, 3), (3, 2, 3, 4), 4, "batch of 1", bias=False, stride=2, padding=1),
    _conv("conv2d", (2, 7, 7, 8), (3, 3, 1, 8), 8, "depthwise", groups=8, padding=1),
    _conv("conv2d", (2, 9, 8, 3), (3, 3, 3, 4), 4, "dilated", dilation=(2, 3)),
    _conv("conv2d", (2, 7, 6, 3), (3, 4, 3, 4), 4, "SAME", stride=2, padding="SAME"),
    _conv("conv2d", (70, 11, 10, 8), (3, 3, 8, 16), 16, "by residues", stride=2, padding=1),
    _conv("conv_transpose2d", (32, 9, 9, 64), (4, 4, 32, 64), 32, "32x9x9x64>32 4x4/2", True, stride=2),
    _conv("conv_transpose2d", (32, 20, 20, 32), (8, 8, 4, 32), 4, "32x20x20x32>4 8x8/4", True, stride=4),
    _conv("conv_transpose2d", (2, 5, 4, 4), (3, 2, 3, 4), 6, "asymmetric", output_padding=(1, 2), **ASYMMETRIC),
    _conv("conv_transpose2d", (1, 4, 3, 3), (3, 3, 4, 3), 4, "batch of 1", bias=False, stride=2, padding=1),
    _conv("conv_transpose2d", (2, 3, 5, 4), (4, 3, 5, 4), 5, "SAME", stride=2, padding="SAME"),
]


KINKED = ("max_pool2d", "relu", "leaky_relu")


def _image(name, size, text, timed=False, **settings) -> tuple:
    return name, text, lambda draw: ((draw.apart if name in KINKED else draw.normal)(*size),), settings, timed


OVERLAPPING = {"window": 3, "stride": 2}
ODD_WINDOW = {"window": (3, 2), "stride": (1, 3), "padding": ((2, 0), (1, 1))}
POOLING = [
    row
    for name in ("max_pool2d", "avg_pool2d")
    for row in (
        _image(name, (32, 27, 27, 64), "32x27x27x64 3x3/2", True, **OVERLAPPING),
        _image(name, (64, 28, 28, 32), "64x28x28x32 2x2", True, window=2),
        _image(name, (2, 7, 8, 3), "asymmetric", **ODD_WINDOW),
        _image(name, (1, 7, 6, 3), "batch of 1", window=3, stride=2, padding=1),
        _image(name, (2, 7, 6, 3), "SAME", window=3, stride=2, padding="SAME"),
        _image(name, (2, 8, 9, 3), "with gaps", window=(2, 1), stride=(4, 3)),
    )
] + [
    _image("global_avg_pool2d", (64, 28, 28, 32), "64x28x28x32", True),
    _image("global_avg_pool2d", (1, 3, 5, 4), "batch of 1"),
]


def _linear(inputs, outputs, *rows):
    return lambda draw: (
        draw.normal(*rows, inputs),
        draw.normal(inputs, outputs, scale=inputs**-0.5),
        draw.normal(outputs),
    )


def _noisy(inputs, outputs, *rows):
    def make(draw):
        x, w, b = _linear(inputs, outputs, *rows)(draw)
        sigma = 0.5 * inputs**-0.5 * draw.positive(inputs, outputs)
        return x, w, b, sigma, draw.positive(outputs), draw.normal(inputs), draw.normal(outputs)

    return make


def _dueling(actions, *rows):
    return lambda draw: (draw.normal(*rows), draw.apart(*rows, actions))


def _embedding(size, width, *rows):
    return lambda draw: (draw.integers(size, *rows), draw.normal(size, width))


DENSE = [
    ("linear", "32x3136>512", _linear(3136, 512, 32), {}, True),
    ("linear", "320x288>256", _linear(288, 256, 320), {}, True),
    ("linear", "20x16x256>18", _linear(256, 18, 20, 16), {}, False),
    ("linear", "one row, no bias", lambda draw: (*_linear(4, 5)(draw)[:2], None), {}, False),
    ("noisy_linear", "32x3136>512", _noisy(3136, 512, 32), {}, True),
    ("noisy_linear", "3x2x5>6", _noisy(5, 6, 3, 2), {}, False),
    ("embedding", "10000x128, 4096 ids", _embedding(10_000, 128, 4096), {}, True),
    ("embedding", "7x4, 3x5 ids", _embedding(7, 4, 3, 5), {}, False),
    ("dueling", "8192x18", _dueling(18, 8192), {}, True),
    ("dueling", "4x3x5", _dueling(5, 4, 3), {}, False),
    ("dueling", "max 8192x18", _dueling(18, 8192), {"combine": "max"}, True),
    ("dueling", "max 4x3x5", _dueling(5, 4, 3), {"combine": "max"}, False),
]


def _recurrent(gates, states, steps, batch, inputs, hidden, reset=True):
    """Arguments of lstm (4 gates, 2 states) or gru (3 gates, 1 state, and the bias b_hn)."""

    def make(draw):
        size = hidden**-0.5
        x, memory = draw.normal(steps, batch, inputs), [draw.normal(batch, hidden) for _ in range(states)]
        w_ih, w_hh = (draw.normal(rows, gates * hidden, scale=size) for rows in (inputs, hidden))
        biases = [draw.normal(gates * hidden, scale=size)] + [draw.normal(hidden, scale=size)] * (gates == 3)
        return x, *memory, w_ih, w_hh, *biases, draw.flags(steps, batch) if reset else None

    return make


def _cell(*sizes):
    def make(draw):
        x, *rest = _recurrent(*sizes)(draw)
        return x[0], *rest[:-1]

    return make


RECURRENT = [
    row
    for name, gates, states in (("lstm", 4, 2), ("gru", 3, 1))
    for row in (
        (name, "20x16 288>256", _recurrent(gates, states, 20, 16, 288, 256), {}, True),
        (name, "5x3 4>6", _recurrent(gates, states, 5, 3, 4, 6), {}, False),
        (name, "1x1 3>2, no reset", _recurrent(gates, states, 1, 1, 3, 2, False), {}, False),
        (f"{name}_cell", "256 288>256", _cell(gates, states, 1, 256, 288, 256), {}, True),
        (f"{name}_cell", "3 4>6", _cell(gates, states, 1, 3, 4, 6), {}, False),
    )
]

ACTIVATIONS = [
    ("elu", "", {}), ("relu", "", {}), ("leaky_relu", "", {}), ("sigmoid", "", {}), ("tanh", "", {}),
    ("softplus", "", {}), ("gelu", "", {}), ("gelu", "approximate ", {"approximate": True}),
]  # fmt: skip
ELEMENTWISE = [
    row
    for name, kind, settings in ACTIVATIONS
    for row in (
        _image(name, (320, 21, 21, 32), f"{kind}320x21x21x32", True, **settings),
        _image(name, (3, 5), f"{kind}3x5", **settings),
    )
] + [
    row
    for name in ("softmax", "log_softmax")
    for row in (
        _image(name, (8192, 18), "8192x18", True),
        _image(name, (20, 16, 18), "20x16x18"),
        _image(name, (3, 4, 5), "axis 1 of 3x4x5", axis=1),
    )
]


def _norm(*size):
    return lambda draw: (draw.normal(*size), draw.normal(size[-1]), draw.normal(size[-1]))


def _batch_norm(*size):
    return lambda draw: (*_norm(*size)(draw), draw.normal(size[-1]), draw.positive(size[-1]))


def _dropout(*size):
    return lambda draw: (draw.normal(*size), np.array([1, 2], np.uint32))


FROZEN = {"training": False}
NORMALIZATION = [
    ("batch_norm", "64x28x28x32", _batch_norm(64, 28, 28, 32), {}, True),
    ("batch_norm", "2x3x4x5", _batch_norm(2, 3, 4, 5), {"momentum": 0.7}, False),
    ("batch_norm", "inference 64x28x28x32", _batch_norm(64, 28, 28, 32), FROZEN, True),
    ("batch_norm", "inference 4x5", _batch_norm(4, 5), FROZEN, False),
    ("layer_norm", "4096x256", _norm(4096, 256), {}, True),
    ("layer_norm", "2x3x5", _norm(2, 3, 5), {}, False),
    ("dropout", "32x3136", _dropout(32, 3136), {}, True),
    ("dropout", "2x3x5, rate 0.3", _dropout(2, 3, 5), {"rate": 0.3}, False),
]


def _actor_critic(*rows):
    def make(draw):
        logits, v, a = draw.normal(*rows, 18), draw.normal(*rows), draw.integers(18, *rows)
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


LOSSES = [
    ("actor_critic_loss", "8192x18", _actor_critic(8192), {}, True),
    ("actor_critic_loss", "20x16x18", _actor_critic(20, 16), {}, False),
    ("squared_loss", "262144", _normals(2, 262_144), {}, True),
    ("squared_loss", "weighted 4x3", _normals(3, 4, 3), {}, False),
    ("huber_loss", "262144", _normals(2, 262_144), {}, True),
    ("huber_loss", "weighted 4x3", _normals(3, 4, 3), {"delta": 0.7}, False),
    ("softmax_cross_entropy", "4096x1000", _classes(1000, 4096), {}, True),
    ("softmax_cross_entropy", "weighted 4x3x5", _weighted(_classes(5, 4, 3), 4, 3), {}, False),
    ("binary_cross_entropy", "262144", _yes_or_no(262_144), {}, True),
    ("binary_cross_entropy", "weighted 4x3", _weighted(_yes_or_no(4, 3), 4, 3), {}, False),
    ("categorical_cross_entropy", "4096x51", _distributions(4096, 51), {}, True),
    ("categorical_cross_entropy", "weighted 4x3x5", _weighted(_distributions(4, 3, 5), 4, 3), {}, False),
    ("quantile_huber_loss", "256x64x64", _quantiles(64, 64, 256), {}, True),
    ("quantile_huber_loss", "weighted 4x3x5x7", _weighted(_quantiles(5, 7, 4, 3), 4, 3), {"delta": 0.4}, False),
    ("q_learning_loss", "65536x18", _q_learning(18, 65_536), {}, True),
    ("q_learning_loss", "weighted 4x3x5", _weighted(_q_learning(5, 4, 3), 4, 3), {"delta": 0.7}, False),
    ("gaussian_nll", "16384x17", _normals(3, 16_384, 17), {}, True),
    ("gaussian_nll", "weighted 4x3x5", _weighted(_normals(3, 4, 3, 5), 4, 3), {}, False),
    ("gaussian_kl", "16384x17", _normals(4, 16_384, 17), {}, True),
    ("gaussian_kl", "one weight 4x3x5", _weighted(_normals(4, 4, 3, 5)), {}, False),
    ("tanh_gaussian_log_prob", "16384x17", _normals(3, 16_384, 17), {}, True),
    ("tanh_gaussian_log_prob", "4x3x5", _normals(3, 4, 3, 5), {}, False),
]
