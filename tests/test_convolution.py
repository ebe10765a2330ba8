"""The convolution and the transposed one, beyond the table of cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrl import audit, layers
from jaxrl.layers import conv_choice


def arguments(batch, height, width, channels, outputs, kernel):
    rng = np.random.default_rng(0)
    shapes = (batch, height, width, channels), (*kernel, channels, outputs), (outputs,)
    return tuple(rng.normal(size=shape) for shape in shapes)


def test_second_derivative_of_a_convolution(x64):
    x, w, b = map(jnp.asarray, arguments(1, 5, 5, 4, 4, (3, 3)))
    check_grads(
        lambda x, w, b: layers.conv2d(x, w, b, stride=2, padding=1), (x, w, b), order=2, modes=["rev"], rtol=1e-5
    )


def test_a_transposed_convolution_is_the_transpose_of_the_convolution(x64):
    """⟨y, conv(x)⟩ = ⟨conv_transpose(y), x⟩ for every x and y."""
    x, w, _ = map(jnp.asarray, arguments(2, 9, 8, 3, 5, (3, 2)))
    forward = layers.conv2d(x, w, None, stride=2, padding=1)
    y = jnp.asarray(np.random.default_rng(1).normal(size=forward.shape))
    back = layers.conv_transpose2d(y, w, None, stride=2, padding=1, output_padding=(0, 0))
    np.testing.assert_allclose(jnp.vdot(y, forward), jnp.vdot(back, x), rtol=1e-12)


OTHER = [case for case in audit.cases(audit.SMALL, audit.TESTED) if case.name.startswith("conv")]


@pytest.mark.parametrize("case", OTHER, ids=lambda case: case.title)
def test_the_forms_of_other_backends_are_right_too(case, monkeypatch, x64):
    """They are XLA's own: the input gradient by autodiff's zeros, and no form that serves a CPU."""
    monkeypatch.setattr(conv_choice, "_on_cpu", lambda: False)
    assert max(audit.errors(*case.pair, audit.cast(case.args, np.float64))) < 1e-10


def test_a_convolution_over_whose_gradient_xla_ends_the_process():
    """jax.grad of lax.conv_general_dilated does, on the CPU with jaxlib 0.10.2; the process stays, and it is right."""
    x, w, _ = (jnp.asarray(a, jnp.float32) for a in arguments(1, 6, 6, 8, 2, (2, 4)))
    dx = jax.grad(lambda x: layers.conv2d(x, w, None, (2, 4), (1, 2)).sum())(x)
    expected = np.zeros((6 + 2, 6 + 4, 8))
    for row in range(0, 7, 2):
        for column in range(0, 7, 4):
            expected[row : row + 2, column : column + 4] += np.asarray(w).sum(3)
    np.testing.assert_allclose(dx[0], expected[1:-1, 2:-2], rtol=1e-5)


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
    (ValueError, r"groups must be a positive int.*True", lambda: layers.conv2d(X, W, B, groups=True)),
    (ValueError, r"w has shape \(0, 3, 4, 6\): a kernel needs", lambda: layers.conv2d(X, W[:0], B)),
    (ValueError, r"w has shape \(3, 3, 4, 0\): a kernel needs", lambda: layers.conv2d(X, W[..., :0], None)),
    (ValueError, r"w has shape \(3, 0, 6, 4\): a kernel needs", lambda: layers.conv_transpose2d(
        X, jnp.ones((3, 0, 6, 4)), None)),
    (TypeError, r"x must hold floating-point.*int32", lambda: layers.conv2d(X.astype(int), W, B)),
    (ValueError, r"its third|channels of x last", lambda: layers.conv_transpose2d(X, W, None)),
    (ValueError, r"output_padding must be less than the stride", lambda: layers.conv_transpose2d(
        X, jnp.ones((3, 3, 2, 4)), None, stride=2, output_padding=2)),
    (ValueError, r"nothing is left", lambda: layers.conv_transpose2d(X, jnp.ones((3, 3, 2, 4)), None, padding=4)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()


def test_integers_of_numpy_are_settings_too():
    two, one = np.int64(2), np.int32(1)
    got = layers.conv2d(X, W, B, stride=two, padding=(one, one), dilation=one, groups=one)
    np.testing.assert_array_equal(got, layers.conv2d(X, W, B, 2, 1))
