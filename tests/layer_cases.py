"""What the property run of `test_layer_properties.py` draws: layers and losses, shapes, settings, kinds of entries."""

import random
import sys
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from jaxrl import audit
from jaxrl.layers import checks

# The integers in capitals at the head of conv_choice.py choose between forms by shape. With each of them as it
# stands, or so small or so large that it decides alone, small shapes meet every form.
FORMS = [module for name, module in sys.modules.items() if name.startswith("jaxrl.layers.conv")]
THRESHOLDS = {
    name: (module, value)
    for module in FORMS
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, int)
}


class Case(NamedTuple):
    """A layer with its settings and the shapes of its arguments, and with what these hold.

    Attributes:
      name: that of the layer.
      arrays: for each argument its shape and its role, or None.
      settings: keyword arguments that are no arrays.
      thresholds: what `THRESHOLDS` are set to.
      kinds: for each argument the kind of its entries, many times: one program is run on some of them.
    """

    name: str
    arrays: list
    settings: dict
    thresholds: dict
    kinds: list

    @property
    def structure(self) -> str:
        """What is compiled; the thresholds make it no other case."""
        return f"{self.name} {self.arrays} {self.settings}"

    def args(self, kinds, dtype):
        """The arguments of these kinds, the same values every time; those of floating-point type in `dtype`."""
        rng = np.random.default_rng(0)
        drawn = (None if a is None else entries(rng, *a, kind) for a, kind in zip(self.arrays, kinds, strict=True))
        return audit.cast(drawn, dtype)


def sprinkled(*values):
    """Normal entries, of which one in five is one of these values: one at least."""

    def make(rng, shape):
        x, where = rng.normal(size=shape), rng.random(shape) < 0.2
        if where.size:
            where.flat[rng.integers(where.size)] = True
        return np.where(where, rng.choice(values, shape), x)

    return make


TAME = {  # ordinary numbers, and those that sums and choices stumble over
    "normal": lambda rng, shape: rng.normal(size=shape),
    "constant": lambda rng, shape: np.full(shape, 1.2345 * rng.normal()),
    "mean 1e4": lambda rng, shape: 1e4 + rng.normal(size=shape),
    "ties": lambda rng, shape: np.round(rng.normal(size=shape)),
    "repeated": lambda rng, shape: rng.choice([-0.3, 0.7], shape),
    "zeros": sprinkled(0.0, -0.0),
    "all zero": lambda rng, shape: np.zeros(shape),
}
WILD = {
    "infinite": sprinkled(np.inf, -np.inf),
    "NaN": sprinkled(np.nan),
    "1e30": sprinkled(1e30, -1e30),
    "denormal": sprinkled(1e-40, -3e-42, 5e-320),  # of float32 and bfloat16, and of float64
}
UNIT = {
    "unit": lambda rng, shape: rng.uniform(size=shape),
    "zeros": lambda rng, shape: rng.choice([0.0, 0.5, 1.0], shape),
    "constant": lambda rng, shape: np.full(shape, 0.25),
}
POSITIVE = {
    "positive": lambda rng, shape: rng.uniform(0.5, 1.5, shape),
    "zeros": lambda rng, shape: rng.choice([0.0, 1.0], shape),
    "constant": lambda rng, shape: np.full(shape, 1.2345),
    "1e30": lambda rng, shape: rng.choice([1e30, 1.0], shape),
}
ROLES = {
    "free": TAME | WILD,
    "finite": {kind: make for kind, make in (TAME | WILD).items() if kind not in ("infinite", "NaN")},
    "unit": UNIT,
    "tau": UNIT,
    "positive": POSITIVE,
    "weight": POSITIVE | {"normal": TAME["normal"]},
}


def entries(rng, shape, role, kind):
    """Values of a role and a kind.

    "ids V" go from −V to V + 1, so that the last two are beyond the table; a single id stays within it: beyond it JAX
    takes another gradient than for an array of ids. "choices A" go from 0 to A − 1.
    """
    if role in ROLES:
        return ROLES[role][kind](rng, shape)
    if role == "flags":
        return rng.random(shape) < 0.3
    if role == "key":
        return np.array([1, 2], np.uint32)
    word, count = role.split()
    count = int(count)
    return rng.integers(0, count, shape) if word == "choices" else rng.integers(-count, count + 2 * bool(shape), shape)


def kinds(rng, arrays) -> tuple:
    """A kind for each argument. One at most is wild: what else is in a row of NaN shows nothing."""
    known = [() if a is None else tuple(ROLES.get(a[1], ())) for a in arrays]
    wild = rng.choice([None, *(i for i, among in enumerate(known) if not WILD.keys().isdisjoint(among))])

    def kind(i, among):
        if i == wild:
            return rng.choice([k for k in among if k in WILD])
        tame = [k for k in among if k not in WILD]
        return rng.choice([tame[0], tame[0], *tame]) if tame else None

    return tuple(kind(i, among) for i, among in enumerate(known))


def free(*shape):
    return shape, "free"


def up_to(most, least=1):
    """Sizes; 0 is rare, because where it is nothing is left to be seen."""
    return st.integers(least, most) if least else st.sampled_from([*range(1, most + 1)] * 3 + [0])


def twice(strategy):
    """One for the rows, one for the columns."""
    return st.tuples(strategy, strategy)


def paddings(most):
    """Padding of at most (rows, columns), in one of its forms."""
    each = [st.integers(0, n) for n in most]
    named = st.sampled_from(["SAME", "VALID"])
    return st.one_of(st.tuples(*map(twice, each)), st.tuples(*each), st.integers(0, min(most)), named)


def size_for(reach, padding):
    """Sizes of an image with room for a kernel that reaches over so much; with "SAME" any image has."""
    added = (0, 0) if padding == "SAME" else map(sum, checks.pads_of(padding, reach, reach, (1, 1)))
    least = (1, 1) if padding == "SAME" else (max(r - a, 1) for r, a in zip(reach, added, strict=True))
    return st.tuples(*(st.integers(n, n + 4) for n in least))


@st.composite
def kernels(draw):
    """Groups, input and output channels, sizes of the kernel, and the settings that both convolutions have."""
    groups, size = draw(st.sampled_from([1, 1, 2, 3])), draw(twice(up_to(4)))
    inputs, outputs = (groups * n for n in draw(twice(up_to(3))))
    spacing = {"stride": draw(twice(up_to(4))), "dilation": draw(st.one_of(st.just((1, 1)), twice(up_to(3))))}
    reach = tuple(d * (k - 1) + 1 for d, k in zip(spacing["dilation"], size, strict=True))
    return groups, inputs, outputs, size, reach, spacing


def bias(outputs):
    return st.sampled_from([free(outputs), None])


@st.composite
def conv2d(draw):
    groups, inputs, outputs, kernel, reach, spacing = draw(kernels())
    padding = draw(paddings((3, 3)))
    x = free(draw(up_to(3, 0)), *draw(size_for(reach, padding)), inputs)
    arrays = [x, free(*kernel, inputs // groups, outputs), draw(bias(outputs))]
    return arrays, {**spacing, "padding": padding, "groups": groups}


@st.composite
def conv_transpose2d(draw):
    groups, inputs, outputs, kernel, reach, spacing = draw(kernels())
    size, extra = draw(twice(up_to(4))), tuple(draw(st.integers(0, s - 1)) for s in spacing["stride"])
    most = [(s * (n - 1) + r + e - 1) // 2 for s, n, r, e in zip(spacing["stride"], size, reach, extra, strict=True)]
    padding = draw(paddings([min(m, 3) for m in most]))
    arrays = [free(draw(up_to(3, 0)), *size, inputs), free(*kernel, outputs // groups, inputs), draw(bias(outputs))]
    return arrays, {**spacing, "padding": padding, "groups": groups, "output_padding": extra}


@st.composite
def pool2d(draw, role="free", **options):
    window, stride = draw(twice(up_to(4))), draw(st.one_of(twice(up_to(5)), st.none()))
    padding = draw(paddings([k - 1 for k in window]))
    x = draw(up_to(3, 0)), *draw(size_for(window, padding)), draw(up_to(3))
    settings = {name: draw(choice) for name, choice in options.items()}
    return [(x, role)], {"window": window, "stride": stride, "padding": padding, **settings}


shapes = st.one_of(st.lists(up_to(4), min_size=1, max_size=3), st.lists(up_to(3, 0), max_size=3))
flags = st.booleans()


@st.composite
def any_shape(draw, **options):
    return [free(*draw(shapes))], {name: draw(choice) for name, choice in options.items()}


@st.composite
def dropout(draw):
    rates, off = st.sampled_from([0.3, 0.5, 0.9, 0.0, 1.0]), st.sampled_from([False, False, False, True])
    (x,), settings = draw(any_shape(rate=rates, deterministic=off))
    return [x, ((2,), "key")], settings


@st.composite
def images(draw):
    return [free(draw(up_to(3, 0)), *draw(twice(up_to(5))), draw(up_to(3, 0)))], {}


@st.composite
def linear(draw):
    inputs, outputs = draw(twice(up_to(6, 0)))
    return [free(*draw(shapes), inputs), free(inputs, outputs), draw(bias(outputs))], {}


@st.composite
def noisy_linear(draw):
    (x, w, _), _ = draw(linear())
    inputs, outputs = w[0]
    return [x, w, free(outputs), w, free(outputs), free(inputs), free(outputs)], {}


@st.composite
def softmax(draw):
    shape = draw(st.lists(up_to(5), min_size=1, max_size=3))
    return [free(*shape)], {"axis": draw(st.integers(-len(shape), len(shape) - 1))}


@st.composite
def layer_norm(draw):
    width = draw(st.sampled_from([1, 3, 5, 40]))  # of two entries, which become 1 and −1, rounding is what is left
    return [free(*draw(shapes), width), free(width), free(width)], {"epsilon": draw(st.sampled_from([1e-5, 1e-3, 1.0]))}


@st.composite
def batch_norm(draw):
    arrays, options = draw(layer_norm())
    width = arrays[1][0]
    options = {**options, "training": draw(flags), "momentum": draw(st.sampled_from([0.9, 0.3]))}
    return [*arrays, free(*width), (width, "positive")], options


@st.composite
def recurrent(draw, gates, states, cell=False):
    steps, inputs, hidden, batch = draw(up_to(4)), draw(up_to(4, 0)), draw(up_to(4)), draw(up_to(3, 0))
    biases = [free(gates * hidden)] + [free(hidden)] * (gates == 3)
    biases = draw(st.sampled_from([biases, biases, [None for _ in biases]]))
    weights = free(inputs, gates * hidden), free(hidden, gates * hidden), *biases
    if cell:
        return [free(batch, inputs), *[free(batch, hidden)] * states, *weights], {}
    reset = draw(st.sampled_from([((steps, batch), "flags"), None]))
    return [free(steps, batch, inputs), *[free(batch, hidden)] * states, *weights, reset], {}


@st.composite
def embedding(draw):
    size = draw(up_to(6))
    return [(tuple(draw(shapes)), f"ids {size}"), free(size, draw(up_to(5, 0)))], {}


@st.composite
def dueling(draw):
    shape = draw(shapes)
    return [free(*shape), free(*shape, draw(up_to(5)))], {"combine": draw(st.sampled_from(["mean", "max"]))}


@st.composite
def loss(draw, *roles, entries=True, **options):
    """Arguments of these roles, all with the rows; `entries` says that they are rows of several."""
    shape = draw(shapes)
    count, weight = draw(up_to(5)), draw(st.sampled_from([None, (shape, "weight"), (shape, "weight"), ((), "weight")]))
    arrays = [((*shape, count) if entries else tuple(shape), role) for role in roles]
    return [*arrays, weight and (tuple(weight[0]), weight[1])], {name: draw(choice) for name, choice in options.items()}


@st.composite
def of_choice(draw, *after, **options):
    """As `loss`, with rows of several entries, of which one is chosen, and then one number for each row."""
    (first, weight), settings = draw(loss("free", **options))
    shape = first[0][:-1]
    return [first, (shape, f"choices {first[0][-1]}"), *((shape, role) for role in after), weight], settings


@st.composite
def actor_critic(draw):
    (logits, a, v, advantage, target, weight), _ = draw(of_choice("free", "free", "free"))
    return [logits, v, a, advantage, target, weight, *[((), "free")] * 2], {}


@st.composite
def quantiles(draw):
    (theta, weight), settings = draw(loss("free", delta=st.sampled_from([1.0, 0.4])))
    return [theta, free(*theta[0][:-1], draw(up_to(4))), (theta[0][-1:], "tau"), weight], settings


@st.composite
def log_prob(draw):
    arrays, settings = draw(loss("free", "free", "free"))
    return arrays[:-1], settings


deltas = st.sampled_from([1.0, 0.7, float("inf")])
DRAWN = {  # how large its part of the cases is, and what they are drawn from
    "conv2d": (3, conv2d()), "conv_transpose2d": (2, conv_transpose2d()), "max_pool2d": (1, pool2d("finite")),
    "avg_pool2d": (1, pool2d(count_padding=flags)), "global_avg_pool2d": (1, images()), "linear": (1, linear()),
    "noisy_linear": (1, noisy_linear()), "embedding": (1, embedding()), "dueling": (1, dueling()),
    "lstm": (1, recurrent(4, 2)), "lstm_cell": (1, recurrent(4, 2, cell=True)), "gru": (1, recurrent(3, 1)),
    "gru_cell": (1, recurrent(3, 1, cell=True)), "elu": (1, any_shape(alpha=st.sampled_from([1.0, 0.3]))),
    "relu": (1, any_shape()), "leaky_relu": (1, any_shape(slope=st.sampled_from([0.01, 0.3, 0.0, -0.5]))),
    "sigmoid": (1, any_shape()), "tanh": (1, any_shape()), "softplus": (1, any_shape()),
    "gelu": (1, any_shape(approximate=flags)), "softmax": (1, softmax()), "log_softmax": (1, softmax()),
    "layer_norm": (1, layer_norm()), "batch_norm": (1, batch_norm()), "dropout": (1, dropout()),
    "squared_loss": (1, loss("free", "free", entries=False)),
    "huber_loss": (1, loss("free", "free", entries=False, delta=deltas)),
    "quantile_huber_loss": (1, quantiles()), "q_learning_loss": (1, of_choice("free", delta=deltas)),
    "softmax_cross_entropy": (1, of_choice()), "binary_cross_entropy": (1, loss("free", "unit", entries=False)),
    "categorical_cross_entropy": (1, loss("free", "unit")), "gaussian_nll": (1, loss("free", "free", "free")),
    "gaussian_kl": (1, loss("free", "free", "free", "free")), "tanh_gaussian_log_prob": (1, log_prob()),
    "actor_critic_loss": (1, actor_critic()),
}  # fmt: skip


@st.composite
def cases(draw, name):
    arrays, options = draw(DRAWN[name][1])
    thresholds = THRESHOLDS if name.startswith("conv") else {}
    tried = {key: draw(st.sampled_from([value, 1, 10**9])) for key, (_, value) in thresholds.items()}
    rng = random.Random(draw(st.integers(0, 2**32)))
    return Case(name, arrays, options, tried, list(dict.fromkeys(kinds(rng, arrays) for _ in range(100))))
