"""What layers make of infinities and NaN: the value and the gradient are the limits, where there are any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import layers

INF, NAN = np.inf, np.nan
ENDS = [-INF, INF, NAN]
HALF = [0.5, 0, 0.5]
LOG_2 = np.log(2.0)


def rows(function):
    """A function of an image, of one row and one column of entries [W]."""
    return lambda x: function(x[None, None, :, None])[0, 0, :, 0]


def pool(layer, **settings):
    """Windows of two in a row, which overlap."""
    return rows(lambda x: layer(x, (1, 2), 1, **settings))


def cell(layer, gates, states, biases):
    """A recurrent cell of width 1, without a state before, with all weights 1."""
    ones = jnp.ones((1, gates))

    def call(x):
        zeros = jnp.zeros((x.shape[0], 1))
        found = layer(x[:, None], *[zeros] * states, ones, ones, *[None] * biases)
        return jax.tree.leaves(found)[0][:, 0]

    return call


def largest(x):
    return layers.dueling(jnp.zeros(()), x, "max")


def norm(x):
    return layers.layer_norm(x, jnp.ones_like(x), jnp.zeros_like(x))


def affine(x):
    return layers.linear(x[:, None], jnp.full((1, 1), 2.0), jnp.zeros(1))[:, 0]


BESIDE = {"padding": ((0, 0), (1, 1))}
OUTSIDE = {**BESIDE, "count_padding": False}
TABLE = {  # layer, x, value, and gradient for the cotangent 1, 2, 3 ...
    "elu": (layers.elu, ENDS, [-1, INF, NAN], [0, 2, NAN]),
    "elu, alpha 0.3": (lambda x: layers.elu(x, 0.3), ENDS, [-0.3, INF, NAN], [0, 2, NAN]),
    "relu": (layers.relu, ENDS, [0, INF, NAN], [0, 2, 0]),
    "leaky_relu": (lambda x: layers.leaky_relu(x, 0.5), ENDS, [-INF, INF, NAN], [0.5, 2, 1.5]),
    "leaky_relu, slope 0": (lambda x: layers.leaky_relu(x, 0), ENDS, [0, INF, NAN], [0, 2, 0]),
    "sigmoid": (layers.sigmoid, ENDS, [0, 1, NAN], [0, 0, NAN]),
    "tanh": (layers.tanh, ENDS, [-1, 1, NAN], [0, 0, NAN]),
    "softplus": (layers.softplus, ENDS, [0, INF, NAN], [0, 2, NAN]),
    "gelu": (layers.gelu, ENDS, [0, INF, NAN], [0, 2, NAN]),
    "gelu, approximate": (lambda x: layers.gelu(x, True), ENDS, [0, INF, NAN], [0, 2, NAN]),
    "softmax, an input of −∞": (layers.softmax, [1, -INF, 1], HALF, [-0.5, 0, 0.5]),
    "softmax, one of +∞": (layers.softmax, [INF, 1, 2], [1, 0, 0], [0, 0, 0]),
    "softmax, two of +∞": (layers.softmax, [INF, 1, INF], HALF, [-0.5, 0, 0.5]),
    "softmax, all −∞": (layers.softmax, [-INF, -INF], [0.5, 0.5], [-0.25, 0.25]),
    "softmax, NaN": (layers.softmax, [NAN, 1], [NAN, NAN], [NAN, NAN]),
    "log_softmax, an input of −∞": (layers.log_softmax, [1, -INF, 1], [-LOG_2, -INF, -LOG_2], [-2, 2, 0]),
    "log_softmax, one of +∞": (layers.log_softmax, [INF, 1, 2], [0, -INF, -INF], [-5, 2, 3]),
    "log_softmax, all −∞": (layers.log_softmax, [-INF, -INF], [-LOG_2, -LOG_2], [-0.5, 0.5]),
    "max_pool2d": (pool(layers.max_pool2d), [INF, -INF, -INF, 1], [INF, -INF, 1], [1, 2, 0, 3]),
    "max_pool2d, −∞ beside padding": (pool(layers.max_pool2d, **BESIDE), [-INF, -INF], [-INF] * 3, [3, 3]),
    "max_pool2d, NaN": (pool(layers.max_pool2d), [1, NAN, 2], [NAN, NAN], [0, 3, 0]),
    "avg_pool2d": (pool(layers.avg_pool2d), [INF, 1, -INF, NAN], [INF, -INF, NAN], [0.5, 1.5, 2.5, 1.5]),
    "avg_pool2d, no padding counted": (pool(layers.avg_pool2d, **OUTSIDE), [INF, 1], [INF, INF, 1], [2, 4]),
    "global_avg_pool2d": (rows(lambda x: layers.global_avg_pool2d(x)[:, None, None]), [INF, 1], [INF], [0.5, 0.5]),
    "dueling of the largest": (largest, [1, INF, -INF], [-INF, 0, -INF], [1, -4, 3]),
    "layer_norm": (norm, [1, INF], [NAN, NAN], [NAN, NAN]),
    "linear": (affine, ENDS, [-INF, INF, NAN], [2, 4, 6]),
    "lstm_cell": (cell(layers.lstm_cell, 4, 2, 1), ENDS, [0, np.tanh(1.0), NAN], [0, 0, NAN]),
    "gru_cell": (cell(layers.gru_cell, 3, 1, 2), ENDS, [-1, 0, NAN], [0, 0, NAN]),
}  # fmt: skip


@pytest.mark.parametrize(("layer", "x", "value", "gradient"), TABLE.values(), ids=TABLE)
def test_values_and_gradients_at_infinities(layer, x, value, gradient):
    got, vjp = jax.vjp(layer, jnp.array(x, jnp.float32))
    np.testing.assert_allclose(got, np.array(value), rtol=1e-6)
    np.testing.assert_allclose(vjp(jnp.arange(1.0, got.size + 1))[0], np.array(gradient), rtol=1e-6, atol=1e-6)


def test_the_running_mean_of_an_infinite_batch_is_infinite():
    one = jnp.ones(1)
    _, (mean, _) = layers.batch_norm(jnp.array([[1.0], [INF]]), one, 0 * one, 0 * one, one)
    assert mean == INF
