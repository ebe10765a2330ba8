"""Normalisation and dropout, beyond the table of cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import layers
from jaxrl.layers import reference


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def test_inference_far_from_zero_loses_no_digits():
    """A mean of 1e5 with a variance of 3: x − mean is exact, and a product with the mean would not be."""
    rng = np.random.default_rng(0)
    x, mean, var = rng.normal(1e5, 3**0.5, size=(64, 5)).astype(np.float32), np.full(5, 1e5), np.full(5, 3.0)
    scale, shift = normal(5), normal(5, seed=1)
    args = [jnp.asarray(a, jnp.float32) for a in (x, scale, shift, mean, var)]
    y, _ = layers.batch_norm(*args, training=False)
    x_hat = (x.astype(np.float64) - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(y, np.float32(scale) * x_hat + np.float32(shift), rtol=1e-5, atol=1e-5)


def test_running_statistics_go_towards_those_of_the_batch():
    x, zeros, ones = jnp.asarray(normal(4, 3, 5), jnp.float32), jnp.zeros(5), jnp.ones(5)
    _, (mean, var) = layers.batch_norm(x, ones, zeros, zeros, ones, momentum=0.75)
    rows = normal(4, 3, 5).reshape(-1, 5)
    np.testing.assert_allclose(mean, 0.25 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, 0.75 + 0.25 * rows.var(0, ddof=1), rtol=1e-5)
    assert layers.batch_norm(x[:0], ones, zeros, mean, var)[1] == (mean, var)


def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask():
    x = jnp.ones(100_000)
    y, vjp = jax.vjp(lambda x: layers.dropout(x, jax.random.key(0), 0.3), x)
    assert abs(y.mean() - 1) < 0.01 and abs((y == 0).mean() - 0.3) < 0.01
    np.testing.assert_array_equal(vjp(x)[0], y)
    assert layers.dropout(x, jax.random.key(0), 0.3, deterministic=True) is x


EXTREMES = [-1e38, -1e4, -89.0, -1e-30, 0.0, 1e-30, 89.0, 1e4, 1e38]


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_inputs_stay_finite(name, dtype):
    one = jnp.ones((1,), dtype)
    layer = {
        "layer_norm": lambda x: layers.layer_norm(x, jnp.ones_like(x), jnp.zeros_like(x)),
        "batch_norm": lambda x: layers.batch_norm(x[:, None], one, one, one, one)[0],
    }[name]
    value, vjp = jax.vjp(layer, jnp.array(EXTREMES, dtype))
    (dx,) = vjp(jnp.ones_like(value))
    assert jnp.all(jnp.isfinite(value)) and jnp.all(jnp.isfinite(dx))
    assert value.dtype == dx.dtype == dtype


def test_nan_and_infinities_pass_as_in_the_reference():
    x = jnp.array([[-1.0, jnp.nan, 2.0, 3.0], [1.0, jnp.inf, 0.5, -2.0], [-jnp.inf, 1.0, 0.5, -2.0]])
    ours, theirs = (module.layer_norm(x, jnp.ones(4), jnp.zeros(4)) for module in (layers, reference))
    np.testing.assert_array_equal(jnp.isnan(ours), jnp.isnan(theirs))
    np.testing.assert_array_equal(jnp.isinf(ours), jnp.isinf(theirs))


X = jnp.ones((2, 5, 5, 4))
BAD = [
    (ValueError, r"rate must be.*got 1", lambda: layers.dropout(X, jax.random.key(0), 1.0)),
    (ValueError, r"rate must be a Python number.*key", lambda: layers.dropout(X, 0.5, jax.random.key(0))),
    (TypeError, r"key must be a PRNG key.*got 0.5", lambda: layers.dropout(X, 0.5)),
    (ValueError, r"scale has shape \(5,\); expected \[4\]", lambda: layers.layer_norm(X, jnp.ones(5), jnp.ones(4))),
    (ValueError, r"epsilon must be above 0", lambda: layers.layer_norm(X, jnp.ones(4), jnp.ones(4), epsilon=-1.0)),
    (TypeError, r"training must be True or False", lambda: layers.batch_norm(X, *[jnp.ones(4)] * 4, training=1)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
