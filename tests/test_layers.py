"""Every layer against autodiff of its plain reference and against finite differences."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrl import audit, layers, losses
from jaxrl.layers import reference


def layer(name):
    return getattr(layers, name, None) or getattr(losses, name)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def recurrent(steps=5, batch=3, inputs=4, hidden=6, reset=True):
    sequence = (normal(steps, batch, inputs), normal(batch, hidden), normal(batch, hidden, seed=1))
    weights = (normal(inputs, 4 * hidden), normal(hidden, 4 * hidden), normal(4 * hidden))
    flags = np.random.default_rng(0).random((steps, batch)) < 0.4 if reset else None
    return (*sequence, *weights, flags)


def conv_args(batch, height, width, channels, outputs, kernel, groups=1, bias=True):
    w = normal(*kernel, channels // groups, outputs)
    return normal(batch, height, width, channels), w, normal(outputs) if bias else None


def gated(steps=5, batch=3, inputs=4, hidden=6, reset=True):
    x, h_0, _, _, _, _, flags = recurrent(steps, batch, inputs, hidden, reset)
    return x, h_0, normal(inputs, 3 * hidden), normal(hidden, 3 * hidden), normal(3 * hidden), normal(hidden), flags


KINKS = np.array([-1e4, -30.0, -1.0, -1e-3, 1e-3, 1.0, 30.0, 1e4])
LOSS = (
    normal(4, 3, 5),
    normal(4, 3),
    np.arange(12).reshape(4, 3) % 5,
    normal(4, 3, seed=1),
    normal(4, 3, seed=2),
    np.abs(normal(4, 3, seed=3)),
    np.float64(0.1),
    np.float64(0.7),
)

ROWS, IMAGES, VECTOR = normal(4, 3, 5), normal(2, 7, 8, 3), normal(5)
LABELS = np.arange(12).reshape(4, 3) % 5
WEIGHT = np.abs(normal(4, 3, seed=3))
NOISY = (ROWS, normal(5, 6), normal(6), normal(5, 6, seed=1), normal(6, seed=1), normal(5), normal(6, seed=2))
UPSAMPLE = {"stride": (2, 3), "padding": ((0, 1), (1, 0)), "dilation": (2, 1), "groups": 2, "output_padding": (1, 0)}
QUANTILES = (np.arange(5) + 0.5) / 5
KEY = np.array([1, 2], np.uint32)


def around(*seeds):
    """Arrays [4, 3, 5], apart from each other."""
    return tuple(normal(4, 3, 5, seed=seed) for seed in seeds)


DILATED = {"stride": (2, 3), "dilation": (2, 1), "padding": ((0, 3), (2, 1)), "groups": 2}
ODD = {"stride": (2, 3), "dilation": (2, 1), "padding": ((0, 2), (1, 0)), "groups": 2}

# name, arguments, settings
CASES = {
    "conv2d of the A3C network": ("conv2d", conv_args(2, 11, 11, 4, 4, (3, 3)), {"stride": 2, "padding": 1}),
    "conv2d by residues": ("conv2d", conv_args(70, 11, 10, 8, 16, (3, 3)), {"stride": 2, "padding": 1}),
    "conv2d residue without taps": ("conv2d", conv_args(80, 14, 14, 4, 64, (1, 2)), {"stride": 3}),
    "conv2d by residues, dilated": ("conv2d", conv_args(70, 19, 17, 8, 16, (3, 2), 2), DILATED),
    "conv2d one channel": ("conv2d", conv_args(2, 9, 8, 1, 3, (3, 3)), {"stride": 2, "padding": 1, "dilation": (1, 2)}),
    "conv2d of the Nature network": ("conv2d", conv_args(2, 13, 12, 4, 3, (4, 4)), {"stride": 4, "padding": 1}),
    "conv2d of blocks, cropped": ("conv2d", conv_args(2, 11, 9, 3, 3, (4, 4)), {"stride": (4, 2)}),
    "conv2d three channels": ("conv2d", conv_args(2, 7, 8, 3, 5, (3, 3)), {"stride": (2, 1), "padding": (1, 2)}),
    "conv2d odd": ("conv2d", conv_args(1, 9, 7, 4, 6, (3, 2), 2, bias=False), ODD),
    "conv2d same": ("conv2d", conv_args(2, 5, 6, 4, 4, (3, 3)), {"padding": "SAME", "stride": 2}),
    "conv2d valid": ("conv2d", conv_args(2, 5, 6, 4, 4, (2, 3)), {"padding": "VALID"}),
    "conv2d padding of more than the kernel": ("conv2d", conv_args(2, 4, 4, 4, 4, (2, 2)), {"padding": (3, 2)}),
    "conv2d empty batch": ("conv2d", conv_args(0, 5, 5, 4, 4, (3, 3)), {"stride": 2}),
    "linear": ("linear", (normal(2, 3, 4), normal(4, 5), normal(5)), {}),
    "linear without bias": ("linear", (normal(4), normal(4, 5), None), {}),
    "linear empty batch": ("linear", (normal(0, 4), normal(4, 5), normal(5)), {}),
    "linear empty rows": ("linear", (normal(3, 0), normal(0, 5), normal(5)), {}),
    "linear no outputs, empty": ("linear", (normal(3, 4), normal(4, 0), normal(0)), {}),
    "lstm": ("lstm", recurrent(), {}),
    "lstm without reset": ("lstm", recurrent(reset=False), {}),
    "lstm of one step": ("lstm", recurrent(steps=1, batch=1), {}),
    "lstm of empty sequence": ("lstm", recurrent(steps=0, reset=False), {}),
    "lstm of empty batch": ("lstm", recurrent(batch=0), {}),
    "lstm of empty input": ("lstm", recurrent(inputs=0), {}),
    "lstm_cell": ("lstm_cell", (recurrent()[0][0], *recurrent()[1:6]), {}),
    "elu": ("elu", (KINKS,), {}),
    "elu alpha": ("elu", (normal(7),), {"alpha": 0.3}),
    "sigmoid": ("sigmoid", (KINKS,), {}),
    "tanh": ("tanh", (KINKS,), {}),
    "softmax": ("softmax", (normal(3, 4, 5),), {"axis": 1}),
    "softmax far apart": ("softmax", (KINKS,), {}),
    "log_softmax": ("log_softmax", (normal(3, 4, 5),), {}),
    "log_softmax far apart": ("log_softmax", (KINKS,), {}),
    "conv_transpose2d": (
        "conv_transpose2d", (normal(2, 5, 4, 3), normal(4, 4, 5, 3), normal(5)), {"stride": 2, "padding": 1}
    ),
    "conv_transpose2d odd": ("conv_transpose2d", (normal(1, 5, 4, 4), normal(3, 2, 3, 4), normal(6)), UPSAMPLE),
    "conv_transpose2d same": (
        "conv_transpose2d", (normal(2, 3, 5, 4), normal(3, 3, 5, 4), None), {"stride": 2, "padding": "SAME"}
    ),
    "conv_transpose2d empty batch": ("conv_transpose2d", (normal(0, 3, 5, 4), normal(3, 3, 5, 4), None), {}),
    "max_pool2d": ("max_pool2d", (IMAGES,), {"window": 2}),
    "max_pool2d overlapping": ("max_pool2d", (IMAGES,), {"window": 3, "stride": 2, "padding": 1}),
    "max_pool2d with ties": ("max_pool2d", (np.round(IMAGES),), {"window": 3, "stride": 1, "padding": "SAME"}),
    "max_pool2d odd": (
        "max_pool2d", (IMAGES,), {"window": (3, 2), "stride": (1, 3), "padding": ((2, 0), (1, 1))}
    ),
    "max_pool2d with gaps": ("max_pool2d", (IMAGES,), {"window": (2, 1), "stride": (4, 3)}),
    "max_pool2d empty batch": ("max_pool2d", (IMAGES[:0],), {"window": 2}),
    "avg_pool2d": ("avg_pool2d", (IMAGES,), {"window": 2}),
    "avg_pool2d overlapping": ("avg_pool2d", (IMAGES,), {"window": 3, "stride": 2, "padding": 1}),
    "avg_pool2d empty batch": ("avg_pool2d", (IMAGES[:0],), {"window": 2}),
    "global_avg_pool2d": ("global_avg_pool2d", (IMAGES,), {}),
    "relu": ("relu", (KINKS,), {}),
    "leaky_relu": ("leaky_relu", (KINKS,), {"slope": 0.2}),
    "softplus": ("softplus", (KINKS,), {}),
    "gelu": ("gelu", (3 * VECTOR,), {}),
    "gelu approximate": ("gelu", (3 * VECTOR,), {"approximate": True}),
    "dropout": ("dropout", (ROWS, KEY), {"rate": 0.3}),
    "layer_norm": ("layer_norm", (ROWS, VECTOR, normal(5, seed=1)), {}),
    "layer_norm empty batch": ("layer_norm", (ROWS[:0], VECTOR, normal(5, seed=1)), {}),
    "batch_norm": ("batch_norm", (ROWS, VECTOR, normal(5, seed=1), normal(5, seed=2), VECTOR**2), {"momentum": 0.7}),
    "batch_norm inference": (
        "batch_norm", (ROWS, VECTOR, normal(5, seed=1), normal(5, seed=2), 0.5 + VECTOR**2), {"training": False}
    ),
    "batch_norm empty batch": ("batch_norm", (ROWS[:0], *[VECTOR] * 3, VECTOR**2), {}),
    "embedding": ("embedding", (LABELS, normal(7, 4)), {}),
    "embedding of one id": ("embedding", (np.int64(3), normal(7, 4)), {}),
    "gru": ("gru", gated(), {}),
    "gru without reset": ("gru", gated(reset=False), {}),
    "gru of one step": ("gru", gated(steps=1, batch=1), {}),
    "gru of empty sequence": ("gru", gated(steps=0, reset=False), {}),
    "gru of empty input": ("gru", gated(inputs=0), {}),
    "gru_cell": ("gru_cell", (gated()[0][0], *gated()[1:6]), {}),
    "dueling": ("dueling", (WEIGHT, ROWS), {}),
    "dueling max": ("dueling", (WEIGHT, np.round(ROWS)), {"combine": "max"}),
    "noisy_linear": ("noisy_linear", NOISY, {}),
    "noisy_linear of empty batch": ("noisy_linear", (ROWS[:0], *NOISY[1:]), {}),
    "actor_critic_loss": ("actor_critic_loss", LOSS, {}),
    "squared_loss": ("squared_loss", around(0, 1), {}),
    "squared_loss weighted": ("squared_loss", around(0, 1, 2), {}),
    "huber_loss": ("huber_loss", around(0, 1), {"delta": 0.7}),
    "huber_loss weighted": ("huber_loss", around(0, 1, 2), {}),
    "softmax_cross_entropy": ("softmax_cross_entropy", (ROWS, LABELS), {}),
    "softmax_cross_entropy weighted": ("softmax_cross_entropy", (ROWS, LABELS, WEIGHT), {}),
    "binary_cross_entropy": ("binary_cross_entropy", (4 * ROWS, np.abs(np.sin(ROWS))), {}),
    "binary_cross_entropy weighted": ("binary_cross_entropy", (4 * ROWS, np.abs(np.sin(ROWS)), *around(2)), {}),
    "categorical_cross_entropy": ("categorical_cross_entropy", (ROWS, np.abs(np.sin(ROWS))), {}),
    "categorical_cross_entropy weighted": ("categorical_cross_entropy", (ROWS, np.abs(np.sin(ROWS)), WEIGHT), {}),
    "quantile_huber_loss": ("quantile_huber_loss", (ROWS, 2 * normal(4, 3, 7), QUANTILES), {}),
    "quantile_huber_loss weighted": ("quantile_huber_loss", (ROWS, ROWS + 1, QUANTILES, WEIGHT), {"delta": 0.4}),
    "q_learning_loss": ("q_learning_loss", (ROWS, LABELS, WEIGHT), {}),
    "q_learning_loss weighted": ("q_learning_loss", (ROWS, LABELS, 2 * WEIGHT, WEIGHT), {"delta": 0.3}),
    "gaussian_nll": ("gaussian_nll", around(0, 1, 2), {}),
    "gaussian_nll weighted": ("gaussian_nll", (*around(0, 1, 2), WEIGHT), {}),
    "gaussian_kl": ("gaussian_kl", around(0, 1, 2, 3), {}),
    "gaussian_kl weighted": ("gaussian_kl", (*around(0, 1, 2, 3), np.float64(0.3)), {}),
    "tanh_gaussian_log_prob": ("tanh_gaussian_log_prob", around(0, 1, 2), {}),
}  # fmt: skip
every_case = pytest.mark.parametrize(("name", "args", "options"), CASES.values(), ids=CASES)


@every_case
def test_value_and_cotangents_equal_autodiff_of_the_reference(name, args, options):
    pair = partial(layer(name), **options), partial(getattr(reference, name), **options)
    with jax.enable_x64(True):
        assert max(audit.errors(*pair, audit.cast(args, np.float64))) < 1e-10
    assert max(audit.errors(*pair, audit.cast(args, np.float32))) < 2e-4


# Differences cannot be taken where the value has a jump in its slope, and need no case without entries.
SMOOTH = [c for c in CASES if not any(word in c for word in ("empty", "ties", "far apart", "elu", "dueling max"))]
SMOOTH += ["elu alpha", "gelu", "gelu approximate"]
# What takes no gradient on purpose: the noise, the running statistics.
STOPPED = {"noisy_linear": (5, 6), "batch_norm": (3, 4), "quantile_huber_loss": (2,)}
# The others are checked at second order too.
FIRST_ORDER = ("conv2d", "conv_transpose2d", "huber_loss", "quantile_huber_loss", "q_learning_loss")


@pytest.mark.parametrize("case", SMOOTH)
def test_finite_differences(case, x64):
    name, args, options = CASES[case]
    stopped = STOPPED.get(name, ()) if options.get("training", True) else ()
    free = [i for i, a in enumerate(args) if a is not None and np.asarray(a).dtype == np.float64 and i not in stopped]

    def function(*xs):
        merged = list(args)
        for i, x in zip(free, xs, strict=True):
            merged[i] = x
        value = layer(name)(*merged, **options)
        return value[0] if stopped and name == "batch_norm" else value

    order = 1 if name in FIRST_ORDER else 2
    check_grads(function, [jnp.asarray(args[i]) for i in free], order=order, modes=["rev"], atol=1e-5, rtol=1e-5)


EDGE = np.array([-0.7, 0.0, 0.7])
APART, CENTRE = np.array([[0.7, -0.7, 0.0, 2.0]]), np.zeros((1, 4))
EDGES = {  # at kinks, ties, and where a choice between two forms changes
    **{name: (name, (EDGE,), {}) for name in ("elu", "relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu")},
    "elu alpha": ("elu", (EDGE,), {"alpha": 0.3}),
    "max_pool2d": ("max_pool2d", (np.zeros((1, 2, 2, 1)),), {"window": 2}),
    "max_pool2d overlapping": ("max_pool2d", (np.round(IMAGES),), {"window": 3, "stride": 2, "padding": 1}),
    "softmax": ("softmax", (np.zeros((2, 3)),), {}),
    "log_softmax": ("log_softmax", (np.zeros((2, 3)),), {}),
    "dueling max": ("dueling", (WEIGHT, np.round(ROWS)), {"combine": "max"}),
    "huber_loss": ("huber_loss", (APART, CENTRE, np.abs(APART)), {"delta": 0.7}),
    "quantile_huber_loss": ("quantile_huber_loss", (APART[0], CENTRE[0], np.array([0.1, 0.3, 0.5, 0.7])), {}),
    "q_learning_loss": ("q_learning_loss", (APART, np.array([0]), CENTRE[0, :1]), {"delta": 0.7}),
    "binary_cross_entropy": ("binary_cross_entropy", (APART, np.array([[0.0, 0.5, 0.2, 1.0]])), {}),
    "categorical_cross_entropy": ("categorical_cross_entropy", (APART, np.array([[0.0, 1.0, 0.0, 0.0]])), {}),
    "gaussian_nll": ("gaussian_nll", (APART, APART, APART - 1), {}),
    "gaussian_kl": ("gaussian_kl", (APART, APART, APART, APART), {}),
    "tanh_gaussian_log_prob": ("tanh_gaussian_log_prob", (CENTRE, CENTRE, APART), {}),
}


@pytest.mark.parametrize(("name", "args", "options"), EDGES.values(), ids=EDGES)
def test_the_gradient_of_a_gradient_is_that_of_the_reference_at_kinks_and_ties(name, args, options, x64):
    args = [jnp.asarray(a) for a in args]
    free = [i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.floating)]

    def hessian(function):
        def scalar(*xs):
            merged = list(args)
            for i, x in zip(free, xs, strict=True):
                merged[i] = x
            y = function(*merged, **options)
            return jnp.sum(jnp.sin(y)) + y.sum() * merged[0].sum() + y.sum() ** 2

        places = tuple(range(len(free)))
        return jax.jacrev(jax.grad(scalar, places), places)(*(args[i] for i in free))

    for got, expected in zip(
        *(jax.tree.leaves(hessian(f)) for f in (layer(name), getattr(reference, name))), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_the_second_derivative_without_a_bend():
    """delta = inf is half the square, whose second derivative is 1."""
    q, a = jnp.array([[0.5, 3.0]]), jnp.array([1])
    hessian = jax.jacrev(jax.grad(lambda q: losses.q_learning_loss(q, a, jnp.zeros(1), delta=np.inf)))(q)
    np.testing.assert_array_equal(hessian[0, :, 0], [[0, 0], [0, 1]])


@pytest.mark.parametrize("case", ["noisy_linear", "batch_norm", "quantile_huber_loss weighted"])
def test_what_takes_no_gradient_takes_none_in_the_gradient_of_a_gradient(case, x64):
    name, args, options = CASES[case]
    args = [jnp.asarray(a) for a in args]

    def slope(*stopped):
        merged = list(args)
        for i, x in zip(STOPPED[name], stopped, strict=True):
            merged[i] = x

        def scalar(first):
            value = layer(name)(first, *merged[1:], **options)
            return jnp.sum((value[0] if name == "batch_norm" else value) ** 2)

        return jnp.sum(jax.grad(scalar)(merged[0]) ** 2)

    stopped = [args[i] for i in STOPPED[name]]
    for second in jax.grad(slope, range(len(stopped)))(*stopped):
        np.testing.assert_array_equal(second, 0)


def test_second_derivative_of_a_convolution(x64):
    x, w, b = map(jnp.asarray, conv_args(1, 5, 5, 4, 4, (3, 3)))
    check_grads(
        lambda x, w, b: layers.conv2d(x, w, b, stride=2, padding=1), (x, w, b), order=2, modes=["rev"], rtol=1e-5
    )


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["state", "input"])
def test_a_reset_clears_a_state_that_is_no_number(name, bad, where):
    """Before step 0 for one in the state, before step 1 for one in the input of step 0."""
    args = list(audit.cast(recurrent() if name == "lstm" else gated(), np.float32))
    states, step = slice(1, 3 if name == "lstm" else 2), 0 if where == "state" else 1
    args[-1] = args[-1].at[step].set(True)
    if where == "state":
        args[states] = [jnp.full_like(s, bad) for s in args[states]]
    else:
        args[0] = args[0].at[0].set(bad)
    free = tuple(range(len(args) - 1))

    def total(function, *xs):
        y, last = function(*xs, args[-1])
        return jnp.sum(jnp.sin(y[step:])) + sum(jnp.sum(s) for s in jax.tree.leaves(last))

    ours, theirs = (
        jax.value_and_grad(partial(total, f), free)(*args[:-1]) for f in (layer(name), getattr(reference, name))
    )
    assert jnp.isfinite(ours[0]) and jnp.all(jnp.isfinite(ours[1][0][step:]))
    if where == "state":
        assert all(jnp.all(jnp.isfinite(g)) for g in ours[1])
    for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


INDEXED = {
    "softmax_cross_entropy": lambda i, weight=None: lambda x: losses.softmax_cross_entropy(x, i, weight),
    "q_learning_loss": lambda i, weight=None: lambda x: losses.q_learning_loss(x, i, jnp.ones(len(i)), weight),
    "actor_critic_loss": lambda i, weight=None: (
        lambda x: losses.actor_critic_loss(
            x, jnp.ones(len(i)), i, *[jnp.ones(len(i))] * 2, jnp.ones(len(i)) if weight is None else weight
        )
    ),
}


@pytest.mark.parametrize("name", INDEXED)
@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8])
def test_an_index_beyond_the_end_is_the_nearest_one_in_value_and_gradient(name, dtype):
    x = jnp.asarray(normal(3, 4), jnp.float32)
    beyond = np.array([-1, 4, 100]) if dtype != np.uint8 else np.array([0, 4, 255])
    got, expected = (
        jax.value_and_grad(INDEXED[name](jnp.asarray(i, dtype)))(x) for i in (beyond, np.clip(beyond, 0, 3))
    )
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    masked = jax.value_and_grad(INDEXED[name](jnp.asarray(beyond, dtype), jnp.zeros(3)))(x)
    for leaf in masked:
        np.testing.assert_array_equal(leaf, 0)


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_large_advantages_cost_the_value_no_digits(combine):
    q = layers.dueling(jnp.float32(0.3), jnp.full(4, 1e9, jnp.float32), combine)
    np.testing.assert_array_equal(q, np.full(4, np.float32(0.3)))


def test_inference_far_from_zero_loses_no_digits():
    """A mean of 1e5 with a variance of 3: x − mean is exact, and a product with the mean would not be."""
    rng = np.random.default_rng(0)
    x, mean, var = rng.normal(1e5, 3**0.5, size=(64, 5)).astype(np.float32), np.full(5, 1e5), np.full(5, 3.0)
    scale, shift = normal(5), normal(5, seed=1)
    args = [jnp.asarray(a, jnp.float32) for a in (x, scale, shift, mean, var)]
    y, _ = layers.batch_norm(*args, training=False)
    x_hat = (x.astype(np.float64) - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(y, np.float32(scale) * x_hat + np.float32(shift), rtol=1e-5, atol=1e-5)


def test_the_slope_at_a_kink_is_the_left_one():
    assert jax.grad(layers.elu)(0.0) == 1.0
    assert jax.grad(lambda x: layers.elu(x, 0.25))(0.0) == 0.25
    assert jax.grad(layers.relu)(0.0) == 0.0
    assert jax.grad(lambda x: layers.leaky_relu(x, 0.25))(0.0) == 0.25


def test_the_first_of_equal_entries_takes_the_gradient():
    x = jnp.array([[1.0, 3.0], [3.0, 3.0]])[None, :, :, None]
    dx = jax.grad(lambda x: layers.max_pool2d(x, 2).sum())(x)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 1], [0, 0]])
    dadvantage = jax.grad(lambda a: layers.dueling(jnp.zeros(()), a, "max")[0])(jnp.array([2.0, 5.0, 5.0]))
    np.testing.assert_array_equal(dadvantage, [1, -1, 0])


def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask():
    x = jnp.ones(100_000)
    y, vjp = jax.vjp(lambda x: layers.dropout(x, jax.random.key(0), 0.3), x)
    assert abs(y.mean() - 1) < 0.01 and abs((y == 0).mean() - 0.3) < 0.01
    np.testing.assert_array_equal(vjp(x)[0], y)
    assert layers.dropout(x, jax.random.key(0), 0.3, deterministic=True) is x


def test_running_statistics_go_towards_those_of_the_batch():
    x, zeros, ones = jnp.asarray(ROWS, jnp.float32), jnp.zeros(5), jnp.ones(5)
    _, (mean, var) = layers.batch_norm(x, ones, zeros, zeros, ones, momentum=0.75)
    rows = np.asarray(ROWS).reshape(-1, 5)
    np.testing.assert_allclose(mean, 0.25 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, 0.75 + 0.25 * rows.var(0, ddof=1), rtol=1e-5)
    assert layers.batch_norm(x[:0], ones, zeros, mean, var)[1] == (mean, var)


def test_noise_is_factorised_and_its_absence_gives_the_affine_map():
    noise_in, noise_out = layers.factorized_noise(jax.random.key(0), 2000, 3000)
    assert noise_in.shape == (2000,) and noise_out.shape == (3000,)
    for noise in (noise_in, noise_out):  # E f(ε)² = E |ε| = √(2/π)
        np.testing.assert_allclose(jnp.mean(noise**2), np.sqrt(2 / np.pi), rtol=0.08)
        assert abs(noise.mean()) < 0.08
    x, w, b, *sigmas = (jnp.asarray(a, jnp.float32) for a in NOISY[:5])
    quiet = layers.noisy_linear(x, w, b, *sigmas, jnp.zeros(5), jnp.zeros(6))
    np.testing.assert_allclose(quiet, layers.linear(x, w, b), rtol=1e-6)


def test_a_transposed_convolution_is_the_transpose_of_the_convolution(x64):
    """⟨y, conv(x)⟩ = ⟨conv_transpose(y), x⟩ for every x and y."""
    x, w, _ = map(jnp.asarray, conv_args(2, 9, 8, 3, 5, (3, 2)))
    forward = layers.conv2d(x, w, None, stride=2, padding=1)
    y = jnp.asarray(normal(*forward.shape))
    back = layers.conv_transpose2d(y, w, None, stride=2, padding=1, output_padding=(0, 0))
    np.testing.assert_allclose(jnp.vdot(y, forward), jnp.vdot(back, x), rtol=1e-12)


ELEMENTWISE = ["elu", "relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu"]
EXTREMES = [-1e38, -1e4, -89.0, -1e-30, 0.0, 1e-30, 89.0, 1e4, 1e38]


OTHERS = ["softmax", "log_softmax", "approximate gelu", "layer_norm", "batch_norm"]


@pytest.mark.parametrize("name", ELEMENTWISE + OTHERS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_inputs_stay_finite(name, dtype):
    x, one = jnp.array(EXTREMES, dtype), jnp.ones((1,), dtype)
    functions = {
        "approximate gelu": partial(layers.gelu, approximate=True),
        "layer_norm": lambda x: layers.layer_norm(x, jnp.ones_like(x), jnp.zeros_like(x)),
        "batch_norm": lambda x: layers.batch_norm(x[:, None], one, one, one, one)[0],
    }
    value, vjp = jax.vjp(functions.get(name) or layer(name), x)
    (dx,) = vjp(jnp.ones_like(value))
    assert jnp.all(jnp.isfinite(value)) and jnp.all(jnp.isfinite(dx))
    assert value.dtype == dx.dtype == dtype


@pytest.mark.parametrize("name", ["squared_loss", "huber_loss", "softmax_cross_entropy", "binary_cross_entropy",
                                  "gaussian_nll", "gaussian_kl", "tanh_gaussian_log_prob", "q_learning_loss",
                                  "quantile_huber_loss"])  # fmt: skip
def test_extreme_losses_are_numbers(name):
    """They may be infinite, as the true value is beyond the largest number; never NaN, forward or backward."""
    grid = jnp.array([-1e30, -1e4, -89.0, 0.0, 1.0, 89.0, 1e4, 1e30])
    x, y = (a.reshape(-1) for a in jnp.meshgrid(grid, grid))
    args = {
        "softmax_cross_entropy": (jnp.stack([x, y], -1), jnp.arange(x.size) % 2),
        "binary_cross_entropy": (x, jnp.clip(y, 0, 1)),
        "gaussian_nll": (x[:, None], jnp.full((x.size, 1), 89.0), y[:, None]),
        "gaussian_kl": (x[:, None], y[:, None], jnp.full((x.size, 1), 89.0), x[::-1, None]),
        "tanh_gaussian_log_prob": (x[:, None], jnp.full((x.size, 1), 89.0), y[:, None]),
        "q_learning_loss": (jnp.stack([x, y], -1), jnp.arange(x.size) % 2, y[::-1]),
        "quantile_huber_loss": (x[:, None], y[:, None], jnp.full((x.size, 1), 0.5)),
    }.get(name, (x, y))
    free = tuple(i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.floating))
    rows = jax.vmap(jax.value_and_grad(layer(name), free))
    for leaf in jax.tree.leaves(rows(*args)):
        assert not jnp.any(jnp.isnan(leaf))


HUGE = jnp.array([-1e30, 0.0, 1e30])


def test_a_weight_of_zero_masks_a_loss_that_is_infinite():
    one, zero, pair = jnp.ones(1), jnp.zeros(1), jnp.array([[1e30, -1e30]])
    calls = {
        "squared": lambda v, w: losses.squared_loss(v, zero, w),
        "nll": lambda v, w: losses.gaussian_nll(v[:, None], zero[:, None], zero[:, None], w),
        "actor-critic": lambda v, w: losses.actor_critic_loss(pair, v, jnp.array([1]), v, zero, w),
    }
    for name, call in calls.items():
        for weight in (zero, jnp.zeros(())) if name != "actor-critic" else (zero,):
            value, (dv, _) = jax.value_and_grad(call, (0, 1))(1e30 * one, weight)
            assert value == 0 and dv == 0, name
        assert call(1e30 * one, one) == jnp.inf, name
        check_grads(call, (one, zero), order=2, modes=["rev"], rtol=0.1, atol=0.05)


def test_an_impossible_action_is_no_nan():
    """Its logit is −∞, its probability 0, and 0 log 0 counts as 0."""
    logits, one = jnp.array([[0.5, -jnp.inf, 1.0], [1e30, -1e30, 0.0]]), jnp.ones(2)
    p = jnp.array([[0.4, 0.0, 0.6], [1.0, 0.0, 0.0]])
    actor_critic = lambda z: losses.actor_critic_loss(z, one, jnp.array([0, 0]), one, one, one)  # noqa: E731
    for loss in (actor_critic, lambda z: losses.categorical_cross_entropy(z, p)):
        for leaf in (*jax.value_and_grad(loss)(logits), jax.jacrev(jax.grad(loss))(logits)):
            assert jnp.all(jnp.isfinite(leaf))
    rest = one[:1], jnp.array([0]), *[one[:1]] * 3
    with_it, without = (losses.actor_critic_loss(z, *rest) for z in (logits[:1], logits[:1, ::2]))
    np.testing.assert_allclose(with_it, without, rtol=1e-6)


@pytest.mark.parametrize("name", ["lstm_cell", "gru_cell", "lstm", "gru"])
def test_extreme_recurrent_states_are_numbers(name):
    gates, states = (4, 2) if name.startswith("lstm") else (3, 1)
    w, b = jnp.full((1, gates), 0.5), jnp.zeros(gates)
    weights = (w, w, b) if states == 2 else (w, w, b, b[:1])
    x, state = (a.reshape(-1, 1) for a in jnp.meshgrid(HUGE, HUGE))
    args = x if "cell" in name else x[None], *[state] * states, *weights
    values, vjp = jax.vjp(layer(name), *args)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(values))
    for leaf in jax.tree.leaves(vjp(jax.tree.map(jnp.ones_like, values))):
        assert not jnp.any(jnp.isnan(leaf))  # some are beyond the largest number


def test_infinities_saturate():
    x = jnp.array([-jnp.inf, jnp.inf])
    np.testing.assert_array_equal(layers.sigmoid(x), [0, 1])
    np.testing.assert_array_equal(layers.tanh(x), [-1, 1])
    np.testing.assert_array_equal(layers.elu(x), [-1, jnp.inf])
    np.testing.assert_array_equal(layers.relu(x), [0, jnp.inf])
    np.testing.assert_array_equal(layers.softplus(x), [0, jnp.inf])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "max_pool2d", "avg_pool2d", "layer_norm", "log_softmax"])
def test_nan_and_infinities_pass_as_in_the_reference(name):
    x = jnp.array([[-1.0, jnp.nan, 2.0, 3.0], [1.0, jnp.inf, 0.5, -2.0], [-jnp.inf, 1.0, 0.5, -2.0]])
    if "pool" in name:
        run = lambda f: f(x[..., None, None], (2, 1), 1)  # noqa: E731
    elif name == "layer_norm":
        run = lambda f: f(x, jnp.ones(4), jnp.zeros(4))  # noqa: E731
    else:
        run = lambda f: f(x)  # noqa: E731
    np.testing.assert_array_equal(jnp.isnan(run(layer(name))), jnp.isnan(run(getattr(reference, name))))
    np.testing.assert_array_equal(jnp.isinf(run(layer(name))), jnp.isinf(run(getattr(reference, name))))


@pytest.mark.parametrize(
    "case",
    ["conv2d by residues", "linear", "lstm", "lstm_cell", "actor_critic_loss", "conv_transpose2d", "gru", "gru_cell",
     "max_pool2d overlapping", "avg_pool2d", "global_avg_pool2d", "batch_norm", "batch_norm inference", "layer_norm",
     "dropout", "embedding", "dueling", "dueling max", "noisy_linear", "gelu", "softplus", "leaky_relu", "huber_loss",
     "softmax_cross_entropy weighted", "binary_cross_entropy", "gaussian_nll", "gaussian_kl",
     "tanh_gaussian_log_prob"],
)  # fmt: skip
def test_bfloat16_in_bfloat16_out(case):
    name, args, options = CASES[case]
    args = [jnp.asarray(a, jnp.bfloat16) if np.asarray(a).dtype == np.float64 else a for a in args]
    free = [i for i, a in enumerate(args) if getattr(a, "dtype", None) == jnp.bfloat16]
    value = layer(name)(*args, **options)
    gradients = jax.grad(lambda *a: sum(jnp.sum(v) for v in jax.tree.leaves(layer(name)(*a, **options))), free)(*args)
    assert {leaf.dtype for leaf in jax.tree.leaves((value, gradients))} == {jnp.dtype(jnp.bfloat16)}


MIXED = ["conv2d same", "conv_transpose2d same", "linear", "noisy_linear", "lstm", "lstm_cell", "gru", "gru_cell",
         "dueling", "layer_norm", "batch_norm", "batch_norm inference", "actor_critic_loss", "squared_loss weighted",
         "huber_loss", "q_learning_loss", "quantile_huber_loss", "binary_cross_entropy", "gaussian_nll", "gaussian_kl",
         "categorical_cross_entropy weighted", "tanh_gaussian_log_prob"]  # fmt: skip


@pytest.mark.parametrize("case", MIXED)
@pytest.mark.parametrize("half", [slice(0, 1), slice(1, None)], ids=["first", "others"])
def test_a_gradient_has_the_type_of_its_argument_where_types_differ(case, half):
    name, args, options = CASES[case]
    args = list(audit.cast(args, np.float32))
    args[half] = audit.cast(args[half], jnp.bfloat16)
    free = tuple(i for i, a in enumerate(args) if a is not None and jnp.issubdtype(a.dtype, jnp.floating))

    def total(*args):
        return sum(
            jnp.sum(jnp.sin(2.0 * v)) for v in jax.tree.leaves(layer(name)(*(2 * args[0], *args[1:]), **options))
        )

    gradients = jax.grad(total, free)(*args)
    assert [g.dtype for g in gradients] == [args[i].dtype for i in free]


def test_arguments_may_be_numpy_arrays():
    row = layers.embedding(np.array([5, -1]), np.arange(6.0).reshape(3, 2))
    assert isinstance(row, jax.Array)
    np.testing.assert_array_equal(row, [[4, 5], [4, 5]])
    assert isinstance(layers.relu(np.ones(3)), jax.Array)


@pytest.mark.parametrize(
    "case",
    ["conv2d by residues", "lstm", "elu", "actor_critic_loss", "conv_transpose2d", "max_pool2d overlapping", "gru",
     "batch_norm", "dropout", "embedding", "noisy_linear", "gaussian_kl weighted"],
)  # fmt: skip
def test_the_same_under_vmap_scan_and_pmap(case):
    name, args, options = CASES[case]
    twice = [jnp.stack([a, a]) for a in audit.cast(args, np.float32)]

    def gradients(*xs):
        free = tuple(i for i, x in enumerate(xs) if jnp.issubdtype(x.dtype, jnp.floating))
        return jax.grad(lambda *a: sum(jnp.sum(jnp.sin(v)) for v in jax.tree.leaves(layer(name)(*a, **options))), free)(
            *xs
        )

    once = jax.jit(gradients)(*(x[0] for x in twice))
    scanned = jax.jit(lambda xs: jax.lax.map(lambda x: gradients(*x), xs))(twice)
    for mapped in (jax.jit(jax.vmap(gradients))(*twice), jax.pmap(gradients)(*twice), scanned):
        for got, expected in zip(mapped, once, strict=True):
            np.testing.assert_allclose(got[1], expected, rtol=2e-3, atol=2e-3)


def residuals(function, *args):
    _, vjp = jax.vjp(function, *args)
    return [leaf.shape for leaf in jax.tree.leaves(vjp)]


def test_few_residuals_are_kept():
    """Activations keep their output alone; the LSTM its outputs, cells and gates, and no tanh(c)."""
    x = jnp.ones((3, 5))
    for name in ("elu", "relu", "sigmoid", "tanh", "softplus", "softmax", "log_softmax"):
        assert residuals(layer(name), x) == [(3, 5)], name
    assert residuals(layers.gelu, x) == [(3, 5), (3, 5)]
    image = jnp.ones((2, 4, 6, 3))
    _, vjp = jax.vjp(lambda x: layers.max_pool2d(x, 2), image)
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(vjp)] == [((2, 2, 3, 3), jnp.uint8)]
    for pool in (lambda x: layers.avg_pool2d(x, 2), layers.global_avg_pool2d):
        assert residuals(pool, image) == []
    assert sorted(residuals(layers.layer_norm, x, x[0], x[0])) == [(3, 1), (3, 1), (3, 5), (5,)]
    assert residuals(lambda table: layers.embedding(jnp.zeros(4, int), table), x) == [(4,)]
    assert sorted(residuals(layers.linear, x, jnp.ones((5, 2)), jnp.ones(2))) == [(3, 5), (5, 2)]
    steps, batch, inputs, hidden = 7, 2, 3, 4
    args = [jnp.asarray(a, jnp.float32) for a in recurrent(steps, batch, inputs, hidden)[:6]]
    kept = residuals(layers.lstm, *args)
    over_time = sorted(shape for shape in kept if shape[0] == steps)
    assert over_time == [(7, 2, 3), (7, 2, 4), (7, 2, 4), (7, 2, 16)]


def test_the_lstm_multiplies_its_weights_once_over_the_sequence():
    """Backward: outside the scan one product each for dx, dw_ih and dw_hh; inside it one, for dh."""
    args = [jnp.asarray(a, jnp.float32) for a in recurrent()[:6]]
    text = str(jax.make_jaxpr(lambda *a: jax.vjp(layers.lstm, *a)[1]((jnp.ones((5, 3, 6)), (a[1], a[2]))))(*args))
    forward = 2  # x w_ih, and h w_hh in its scan
    assert text.count("dot_general") == forward + 4


def test_every_layer_and_loss_has_a_case_and_a_reference_of_the_same_signature():
    members = {**vars(losses), **vars(layers)}.items()
    public = {name for name, member in members if inspect.isfunction(member) and name[0] != "_"}
    public -= {"factorized_noise"}  # random numbers, without a gradient
    assert public == {name for name, _, _ in CASES.values()}
    for name in public:
        ours, theirs = (inspect.signature(f).parameters for f in (layer(name), getattr(reference, name)))
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


X, W, B = jnp.ones((2, 5, 5, 4)), jnp.ones((3, 3, 4, 6)), jnp.ones(6)
BAD = [
    (ValueError, r"x has shape \(5, 5, 4\)", lambda: layers.conv2d(X[0], W, B)),
    (ValueError, r"w has shape \(3, 3, 4, 6\).*C / groups", lambda: layers.conv2d(X, W, B, groups=2)),
    (ValueError, r"groups must be.*got 3", lambda: layers.conv2d(X, W, B, groups=3)),
    (ValueError, r"b has shape \(6, 1\)", lambda: layers.conv2d(X, W, B[:, None])),
    (ValueError, r"stride must be a positive int.*-1", lambda: layers.conv2d(X, W, B, stride=-1)),
    (ValueError, r"dilation must be.*\(1, 1, 1\)", lambda: layers.conv2d(X, W, B, dilation=(1, 1, 1))),
    (ValueError, r"padding must be.*same", lambda: layers.conv2d(X, W, B, padding="same")),
    (ValueError, r"padding must be.*-1", lambda: layers.conv2d(X, W, B, padding=-1)),
    (ValueError, r"its H of 5.*reaches over", lambda: layers.conv2d(X, W, B, dilation=3)),
    (ValueError, r"stride must be a positive int.*True", lambda: layers.conv2d(X, W, B, stride=True)),
    (ValueError, r"padding must be.*1.5", lambda: layers.conv2d(X, W, B, padding=(1.5, 1))),
    (ValueError, r"padding must be.*None", lambda: layers.conv2d(X, W, B, padding=(None, 1))),
    (ValueError, r"window must be a positive int.*True", lambda: layers.max_pool2d(X, True)),
    (ValueError, r"groups must be a positive int.*True", lambda: layers.conv2d(X, W, B, groups=True)),
    (ValueError, r"w has shape \(0, 3, 4, 6\): a kernel needs", lambda: layers.conv2d(X, W[:0], B)),
    (ValueError, r"w has shape \(3, 3, 4, 0\): a kernel needs", lambda: layers.conv2d(X, W[..., :0], None)),
    (ValueError, r"w has shape \(3, 0, 6, 4\): a kernel needs", lambda: layers.conv_transpose2d(
        X, jnp.ones((3, 0, 6, 4)), None)),
    (ValueError, r"x has shape \(\); expected \[..., D\]", lambda: layers.linear(jnp.ones(()), jnp.ones((1, 2)), None)),
    (ValueError, r"x has shape \(\); expected \[..., D\]", lambda: losses.gaussian_nll(*[jnp.ones(())] * 3)),
    (ValueError, r"nothing along axis 1", lambda: layers.softmax(jnp.ones((2, 0)), axis=1)),
    (ValueError, r"axis must be an int.*True", lambda: layers.softmax(X, axis=True)),
    (ValueError, r"no mean over no targets", lambda: losses.quantile_huber_loss(X, X[..., :0], jnp.ones(4))),
    (TypeError, r"x must hold floating-point.*int32", lambda: layers.conv2d(X.astype(int), W, B)),
    (ValueError, r"w has shape \(3, 2\); expected \[4, any\]", lambda: layers.linear(X, jnp.ones((3, 2)), None)),
    (ValueError, r"b has shape \(3,\)", lambda: layers.linear(X, jnp.ones((4, 2)), jnp.ones(3))),
    (ValueError, r"w_hh has shape", lambda: layers.lstm(*recurrent()[:4], jnp.ones((6, 6)), recurrent()[5])),
    (ValueError, r"reset has shape \(5,\)", lambda: layers.lstm(*recurrent()[:6], reset=np.ones(5, bool))),
    (ValueError, r"alpha must be above 0", lambda: layers.elu(X, alpha=0.0)),
    (TypeError, r"int32", lambda: layers.softmax(jnp.arange(3))),
    (ValueError, r"v has shape \(4,\)", lambda: losses.actor_critic_loss(LOSS[0], LOSS[1][:, 0], *LOSS[2:])),
    (ValueError, r"axis must be an int.*got 3", lambda: layers.softmax(X[0], axis=3)),
    (ValueError, r"its third|channels of x last", lambda: layers.conv_transpose2d(X, W, None)),
    (ValueError, r"output_padding must be less than the stride", lambda: layers.conv_transpose2d(
        X, jnp.ones((3, 3, 2, 4)), None, stride=2, output_padding=2)),
    (ValueError, r"nothing is left", lambda: layers.conv_transpose2d(X, jnp.ones((3, 3, 2, 4)), None, padding=4)),
    (ValueError, r"padding \(2, 2\) along H must be less than the window of 2", lambda: layers.max_pool2d(X, 2, 2, 2)),
    (ValueError, r"H of 5.*less than the window of 6", lambda: layers.avg_pool2d(X, 6)),
    (ValueError, r"stride must be a positive int.*-2", lambda: layers.max_pool2d(X, 2, -2)),
    (ValueError, r"without positions", lambda: layers.global_avg_pool2d(X[:, :0])),
    (ValueError, r"rate must be.*got 1", lambda: layers.dropout(X, jax.random.key(0), 1.0)),
    (ValueError, r"rate must be a Python number.*key", lambda: layers.dropout(X, 0.5, jax.random.key(0))),
    (TypeError, r"key must be a PRNG key.*got 0.5", lambda: layers.dropout(X, 0.5)),
    (TypeError, r"key must be a PRNG key.*got None", lambda: layers.factorized_noise(None, 2, 3)),
    (ValueError, r"outputs must be an int.*got 0", lambda: layers.factorized_noise(jax.random.key(0), 2, 0)),
    (ValueError, r"scale has shape \(5,\); expected \[4\]", lambda: layers.layer_norm(X, jnp.ones(5), jnp.ones(4))),
    (ValueError, r"epsilon must be above 0", lambda: layers.layer_norm(X, jnp.ones(4), jnp.ones(4), epsilon=-1.0)),
    (TypeError, r"training must be True or False", lambda: layers.batch_norm(X, *[jnp.ones(4)] * 4, training=1)),
    (TypeError, r"ids must hold integers", lambda: layers.embedding(X, W[0, 0])),
    (ValueError, r"no row to read", lambda: layers.embedding(jnp.arange(3), jnp.ones((0, 4)))),
    (ValueError, r"b_hn has shape", lambda: layers.gru(*gated()[:5], jnp.ones(5))),
    (ValueError, r'combine must be "mean" or "max"', lambda: layers.dueling(X[..., 0], X, "sum")),
    (ValueError, r"v has shape", lambda: layers.dueling(X, X)),
    (ValueError, r"noise_in has shape", lambda: layers.noisy_linear(*NOISY[:5], NOISY[6], NOISY[6])),
    (ValueError, r"target has shape \(4,\).*that of prediction", lambda: losses.squared_loss(X, X[0, 0, 0])),
    (ValueError, r"weight has shape \(5,\)", lambda: losses.huber_loss(X, X, jnp.ones(5))),
    (ValueError, r"delta must be above 0", lambda: losses.huber_loss(X, X, delta=0)),
    (ValueError, r"delta must be .*finite.*got inf", lambda: losses.quantile_huber_loss(
        X, X, jnp.ones(4), delta=np.inf)),
    (ValueError, r"tau has shape", lambda: losses.quantile_huber_loss(X, X, jnp.ones(3))),
    (ValueError, r"target has shape", lambda: losses.q_learning_loss(X, jnp.ones(X.shape[:3], int), X)),
    (TypeError, r"labels must hold integers", lambda: losses.softmax_cross_entropy(X, X[..., 0])),
    (TypeError, r"a must hold integers", lambda: losses.actor_critic_loss(*LOSS[:2], LOSS[1], *LOSS[3:])),
]  # fmt: skip


def test_whole_numbers_of_numpy_are_settings_too():
    two, one = np.int64(2), np.int32(1)
    got = layers.conv2d(X, W, B, stride=two, padding=(one, one), dilation=one, groups=one)
    np.testing.assert_array_equal(got, layers.conv2d(X, W, B, 2, 1))
    np.testing.assert_array_equal(layers.softmax(X, axis=one), layers.softmax(X, axis=1))


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()


def test_a_convolution_over_whose_gradient_xla_ends_the_process():
    """jax.grad of lax.conv_general_dilated does, on the CPU with jaxlib 0.10.2; the process stays, and it is right."""
    x, w, _ = (jnp.asarray(a, jnp.float32) for a in conv_args(1, 6, 6, 8, 2, (2, 4)))
    dx = jax.grad(lambda x: layers.conv2d(x, w, None, (2, 4), (1, 2)).sum())(x)
    expected = np.zeros((6 + 2, 6 + 4, 8))
    for row in range(0, 7, 2):
        for column in range(0, 7, 4):
            expected[row : row + 2, column : column + 4] += np.asarray(w).sum(3)
    np.testing.assert_allclose(dx[0], expected[1:-1, 2:-2], rtol=1e-5)
