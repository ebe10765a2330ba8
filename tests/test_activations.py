"""Activations and softmax, beyond the table of cases."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import layers
from jaxrl.layers import initializers


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


def test_an_argument_may_be_a_numpy_array():
    assert isinstance(layers.relu(np.ones(3)), jax.Array)


def test_an_integer_of_numpy_is_an_axis_too():
    np.testing.assert_array_equal(layers.softmax(X, axis=np.int32(1)), layers.softmax(X, axis=1))


X = jnp.ones((2, 5, 5, 4))
KEY = jax.random.key(0)
BAD = [
    (ValueError, r"nothing along axis 1", lambda: layers.softmax(jnp.ones((2, 0)), axis=1)),
    (ValueError, r"axis must be an int.*True", lambda: layers.softmax(X, axis=True)),
    (ValueError, r"alpha must be above 0, or .*; got 0.0", lambda: layers.elu(X, alpha=0.0)),
    (TypeError, r"alpha must be a Python number, known when", lambda: jax.jit(lambda a: layers.elu(X, a))(0.5)),
    (TypeError, r"slope must be a Python number, known when", lambda: jax.jit(lambda a: layers.leaky_relu(X, a))(0.5)),
    (TypeError, r"approximate must be True or False.*'tanh'", lambda: layers.gelu(X, "tanh")),
    (ValueError, r"shape must be .*at least two axes.*\(5,\)", lambda: initializers.glorot_uniform(KEY, (5,))),
    (ValueError, r"shape must be .*1 or more; got \(0, 0\)", lambda: initializers.glorot_uniform(KEY, (0, 0))),
    (ValueError, r"hidden must be an int of at least 1; got 0", lambda: initializers.uniform_hidden(0)),
    (TypeError, r"int32", lambda: layers.softmax(jnp.arange(3))),
    (ValueError, r"axis must be an int.*got 3", lambda: layers.softmax(X[0], axis=3)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
