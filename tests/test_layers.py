"""Every layer against autodiff of its plain reference and against finite differences."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxrl import layers, losses
from jaxrl.layers import audit, conv, reference

NAMES = ["conv2d", "linear", "lstm", "lstm_cell", "elu", "sigmoid", "tanh", "softmax", "log_softmax"]


def layer(name):
    return getattr(losses if name == "actor_critic_loss" else layers, name)


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

DILATED = {"stride": (2, 3), "dilation": (2, 1), "padding": ((0, 3), (2, 1)), "groups": 2}
ODD = {"stride": (2, 3), "dilation": (2, 1), "padding": ((0, 2), (1, 0)), "groups": 2}

# name, arguments, settings
CASES = {
    "conv2d of the A3C network": ("conv2d", conv_args(2, 11, 11, 4, 4, (3, 3)), {"stride": 2, "padding": 1}),
    "conv2d by residues": ("conv2d", conv_args(70, 11, 10, 8, 16, (3, 3)), {"stride": 2, "padding": 1}),
    "conv2d residue without taps": ("conv2d", conv_args(80, 14, 14, 4, 64, (1, 2)), {"stride": 3}),
    "conv2d by residues, dilated": ("conv2d", conv_args(70, 19, 17, 8, 16, (3, 2), 2), DILATED),
    "conv2d one channel": ("conv2d", conv_args(2, 9, 8, 1, 3, (3, 3)), {"stride": 2, "padding": 1, "dilation": (1, 2)}),
    "conv2d odd": ("conv2d", conv_args(1, 9, 7, 4, 6, (3, 2), 2, bias=False), ODD),
    "conv2d same": ("conv2d", conv_args(2, 5, 6, 4, 4, (3, 3)), {"padding": "SAME", "stride": 2}),
    "conv2d valid": ("conv2d", conv_args(2, 5, 6, 4, 4, (2, 3)), {"padding": "VALID"}),
    "conv2d padding of more than the kernel": ("conv2d", conv_args(2, 4, 4, 4, 4, (2, 2)), {"padding": (3, 2)}),
    "conv2d empty batch": ("conv2d", conv_args(0, 5, 5, 4, 4, (3, 3)), {"stride": 2}),
    "linear": ("linear", (normal(2, 3, 4), normal(4, 5), normal(5)), {}),
    "linear without bias": ("linear", (normal(4), normal(4, 5), None), {}),
    "linear empty batch": ("linear", (normal(0, 4), normal(4, 5), normal(5)), {}),
    "lstm": ("lstm", recurrent(), {}),
    "lstm without reset": ("lstm", recurrent(reset=False), {}),
    "lstm of one step": ("lstm", recurrent(steps=1, batch=1), {}),
    "lstm_cell": ("lstm_cell", (recurrent()[0][0], *recurrent()[1:6]), {}),
    "elu": ("elu", (KINKS,), {}),
    "elu alpha": ("elu", (normal(7),), {"alpha": 0.3}),
    "sigmoid": ("sigmoid", (KINKS,), {}),
    "tanh": ("tanh", (KINKS,), {}),
    "softmax": ("softmax", (normal(3, 4, 5),), {"axis": 1}),
    "softmax far apart": ("softmax", (KINKS,), {}),
    "log_softmax": ("log_softmax", (normal(3, 4, 5),), {}),
    "log_softmax far apart": ("log_softmax", (KINKS,), {}),
    "actor_critic_loss": ("actor_critic_loss", LOSS, {}),
}  # fmt: skip
every_case = pytest.mark.parametrize(("name", "args", "options"), CASES.values(), ids=CASES)


@every_case
def test_value_and_cotangents_equal_autodiff_of_the_reference(name, args, options):
    row = audit.compare(
        partial(layer(name), **options), partial(getattr(reference, name), **options), *args, time_pairs=0
    )
    assert max(row.value64, row.cotangent64) < 1e-10
    assert max(row.value32, row.cotangent32) < 2e-4


@pytest.mark.parametrize(
    "case",
    [
        "conv2d odd",
        "conv2d one channel",
        "conv2d by residues, dilated",
        "linear",
        "lstm",
        "lstm_cell",
        "elu alpha",
        "softmax",
        "log_softmax",
        "actor_critic_loss",
    ],
)
def test_finite_differences(case, x64):
    name, args, options = CASES[case]
    free = [i for i, a in enumerate(args) if a is not None and np.asarray(a).dtype == np.float64]

    def function(*xs):
        merged = list(args)
        for i, x in zip(free, xs, strict=True):
            merged[i] = x
        return layer(name)(*merged, **options)

    order = 1 if name == "conv2d" else 2
    check_grads(function, [jnp.asarray(args[i]) for i in free], order=order, modes=["rev"], atol=1e-5, rtol=1e-5)


def test_second_derivative_of_a_convolution(x64):
    x, w, b = map(jnp.asarray, conv_args(1, 5, 5, 4, 4, (3, 3)))
    check_grads(
        lambda x, w, b: layers.conv2d(x, w, b, stride=2, padding=1), (x, w, b), order=2, modes=["rev"], rtol=1e-5
    )


@given(st.data())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_convolutions_of_any_geometry(data):
    pair = lambda low, high: tuple(data.draw(st.integers(low, high)) for _ in range(2))  # noqa: E731
    groups, batch = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    kernel, dilation, stride = pair(1, 3), pair(1, 2), pair(1, 3)
    padding = (pair(0, 2), pair(0, 2))
    size = [data.draw(st.integers(d * (k - 1) + 1, 9)) for d, k in zip(dilation, kernel, strict=True)]
    channels, outputs = (groups * data.draw(st.integers(1, 5)) for _ in range(2))
    args = conv_args(batch, *size, channels, outputs, kernel, groups)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    few = conv.FEW_OUTPUTS
    try:
        conv.FEW_OUTPUTS = data.draw(st.sampled_from([0, few]))
        with jax.enable_x64(True):
            errors = audit.errors(
                partial(layers.conv2d, **options), partial(reference.conv2d, **options), audit.cast(args, np.float64)
            )
    finally:
        conv.FEW_OUTPUTS = few
    assert max(errors) < 1e-10


def test_the_slope_at_a_kink_is_the_left_one():
    assert jax.grad(layers.elu)(0.0) == 1.0
    assert jax.grad(lambda x: layers.elu(x, 0.25))(0.0) == 0.25


@pytest.mark.parametrize("name", ["elu", "sigmoid", "tanh", "softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_inputs_stay_finite(name, dtype):
    x = jnp.array([-1e38, -1e4, -89.0, -1e-30, 0.0, 1e-30, 89.0, 1e4, 1e38], dtype)
    value, vjp = jax.vjp(layer(name), x)
    (dx,) = vjp(jnp.ones_like(value))
    assert jnp.all(jnp.isfinite(value)) and jnp.all(jnp.isfinite(dx))
    assert value.dtype == dx.dtype == dtype


def test_infinities_saturate():
    x = jnp.array([-jnp.inf, jnp.inf])
    np.testing.assert_array_equal(layers.sigmoid(x), [0, 1])
    np.testing.assert_array_equal(layers.tanh(x), [-1, 1])
    np.testing.assert_array_equal(layers.elu(x), [-1, jnp.inf])


@pytest.mark.parametrize("case", ["conv2d by residues", "linear", "lstm", "lstm_cell", "actor_critic_loss"])
def test_bfloat16_in_bfloat16_out(case):
    name, args, options = CASES[case]
    args = [jnp.asarray(a, jnp.bfloat16) if np.asarray(a).dtype == np.float64 else a for a in args]
    free = [i for i, a in enumerate(args) if getattr(a, "dtype", None) == jnp.bfloat16]
    value = layer(name)(*args, **options)
    gradients = jax.grad(lambda *a: sum(jnp.sum(v) for v in jax.tree.leaves(layer(name)(*a, **options))), free)(*args)
    assert {leaf.dtype for leaf in jax.tree.leaves((value, gradients))} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("case", ["conv2d by residues", "lstm", "elu", "actor_critic_loss"])
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
    for name in ("elu", "sigmoid", "tanh", "softmax", "log_softmax"):
        assert residuals(layer(name), x) == [(3, 5)], name
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


def test_signatures_are_those_of_the_reference():
    for name in [*NAMES, "actor_critic_loss"]:
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
    (TypeError, r"x must hold floating-point.*int32", lambda: layers.conv2d(X.astype(int), W, B)),
    (ValueError, r"w has shape \(3, 2\); expected \[4, any\]", lambda: layers.linear(X, jnp.ones((3, 2)), None)),
    (ValueError, r"b has shape \(3,\)", lambda: layers.linear(X, jnp.ones((4, 2)), jnp.ones(3))),
    (ValueError, r"w_hh has shape", lambda: layers.lstm(*recurrent()[:4], jnp.ones((6, 6)), recurrent()[5])),
    (ValueError, r"reset has shape \(5,\)", lambda: layers.lstm(*recurrent()[:6], reset=np.ones(5, bool))),
    (ValueError, r"alpha must be above 0", lambda: layers.elu(X, alpha=0.0)),
    (TypeError, r"int32", lambda: layers.softmax(jnp.arange(3))),
    (ValueError, r"v has shape \(4,\)", lambda: losses.actor_critic_loss(LOSS[0], LOSS[1][:, 0], *LOSS[2:])),
    (TypeError, r"a must hold integers", lambda: losses.actor_critic_loss(*LOSS[:2], LOSS[1], *LOSS[3:])),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()


def test_the_audit_fails_on_a_wrong_gradient():
    wrong = jax.custom_vjp(lambda x: x * x)
    wrong.defvjp(lambda x: (x * x, x), lambda x, dy: (dy * 2.001 * x,))
    row = audit.compare(wrong, lambda x: x * x, normal(5), time_pairs=0)
    assert set(audit.over_bound(row, None)) == {"cotangent64", "cotangent32", "differences"}
    assert audit.main(["--only", "softmax 320", "--pairs", "0"]) == 0
