"""Pooling, beyond the table of cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import layers
from jaxrl.layers import reference


def test_the_first_of_equal_entries_takes_the_gradient():
    x = jnp.array([[1.0, 3.0], [3.0, 3.0]])[None, :, :, None]
    dx = jax.grad(lambda x: layers.max_pool2d(x, 2).sum())(x)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 1], [0, 0]])


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_nan_and_infinities_pass_as_in_the_reference(name):
    x = jnp.array([[-1.0, jnp.nan, 2.0, 3.0], [1.0, jnp.inf, 0.5, -2.0], [-jnp.inf, 1.0, 0.5, -2.0]])
    ours, theirs = (getattr(module, name)(x[..., None, None], (2, 1), 1) for module in (layers, reference))
    np.testing.assert_array_equal(jnp.isnan(ours), jnp.isnan(theirs))
    np.testing.assert_array_equal(jnp.isinf(ours), jnp.isinf(theirs))


X = jnp.ones((2, 5, 5, 4))
BAD = [
    (ValueError, r"window must be a positive int.*True", lambda: layers.max_pool2d(X, True)),
    (ValueError, r"padding \(2, 2\) along H must be less than the window of 2", lambda: layers.max_pool2d(X, 2, 2, 2)),
    (ValueError, r"H of 5.*less than the window of 6", lambda: layers.avg_pool2d(X, 6)),
    (ValueError, r"stride must be a positive int.*-2", lambda: layers.max_pool2d(X, 2, -2)),
    (ValueError, r"without positions", lambda: layers.global_avg_pool2d(X[:, :0])),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
