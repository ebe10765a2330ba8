"""Activations and softmax, beyond the table of cases."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import layers
from jaxrl.layers import reference


def test_the_slope_at_a_kink_is_the_left_one():
    assert jax.grad(layers.elu)(0.0) == 1.0
    assert jax.grad(lambda x: layers.elu(x, 0.25))(0.0) == 0.25
    assert jax.grad(layers.relu)(0.0) == 0.0
    assert jax.grad(lambda x: layers.leaky_relu(x, 0.25))(0.0) == 0.25


ELEMENTWISE = ["elu", "relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu"]
EXTREMES = [-1e38, -1e4, -89.0, -1e-30, 0.0, 1e-30, 89.0, 1e4, 1e38]


@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax", "log_softmax", "approximate gelu"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_inputs_stay_finite(name, dtype):
    layer = partial(layers.gelu, approximate=True) if name == "approximate gelu" else getattr(layers, name)
    value, vjp = jax.vjp(layer, jnp.array(EXTREMES, dtype))
    (dx,) = vjp(jnp.ones_like(value))
    assert jnp.all(jnp.isfinite(value)) and jnp.all(jnp.isfinite(dx))
    assert value.dtype == dx.dtype == dtype


def test_infinities_saturate():
    x = jnp.array([-jnp.inf, jnp.inf])
    np.testing.assert_array_equal(layers.sigmoid(x), [0, 1])
    np.testing.assert_array_equal(layers.tanh(x), [-1, 1])
    np.testing.assert_array_equal(layers.elu(x), [-1, jnp.inf])
    np.testing.assert_array_equal(layers.relu(x), [0, jnp.inf])
    np.testing.assert_array_equal(layers.softplus(x), [0, jnp.inf])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "log_softmax"])
def test_nan_and_infinities_pass_as_in_the_reference(name):
    x = jnp.array([[-1.0, jnp.nan, 2.0, 3.0], [1.0, jnp.inf, 0.5, -2.0], [-jnp.inf, 1.0, 0.5, -2.0]])
    ours, theirs = (getattr(module, name)(x) for module in (layers, reference))
    np.testing.assert_array_equal(jnp.isnan(ours), jnp.isnan(theirs))
    np.testing.assert_array_equal(jnp.isinf(ours), jnp.isinf(theirs))


def test_an_argument_may_be_a_numpy_array():
    assert isinstance(layers.relu(np.ones(3)), jax.Array)


def test_an_integer_of_numpy_is_an_axis_too():
    np.testing.assert_array_equal(layers.softmax(X, axis=np.int32(1)), layers.softmax(X, axis=1))


X = jnp.ones((2, 5, 5, 4))
BAD = [
    (ValueError, r"nothing along axis 1", lambda: layers.softmax(jnp.ones((2, 0)), axis=1)),
    (ValueError, r"axis must be an int.*True", lambda: layers.softmax(X, axis=True)),
    (ValueError, r"alpha must be above 0", lambda: layers.elu(X, alpha=0.0)),
    (TypeError, r"int32", lambda: layers.softmax(jnp.arange(3))),
    (ValueError, r"axis must be an int.*got 3", lambda: layers.softmax(X[0], axis=3)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
