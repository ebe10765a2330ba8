"""Normalisation and dropout, beyond the table of cases."""

from functools import partial

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


def test_statistics_over_devices_are_those_of_one_batch():
    """Value, new running statistics, and gradients, under shard_map, pmap and vmap."""
    x, (scale, bias, mean) = jnp.asarray(normal(12, 3)), jnp.asarray(normal(3, 3))
    var, dy = jnp.ones(3), jnp.asarray(normal(12, 3, seed=1))

    def gradients(layer, axis, x, dy):
        (y, running), vjp = jax.vjp(lambda *args: layer(*args, mean, var, axis_name=axis), x, scale, bias)
        return y, running, *vjp((dy, jax.tree.map(jnp.zeros_like, running)))

    def mapped(x, dy):
        y, running, dx, *sums = gradients(layers.batch_norm, "device", x, dy)
        return y, running, dx, *jax.lax.psum(sums, "device")

    def halves(function):
        y, running, dx, *sums = function(x.reshape(2, 6, 3), dy.reshape(2, 6, 3))
        return y.reshape(12, 3), *jax.tree.map(lambda a: a[1], running), dx.reshape(12, 3), *(a[1] for a in sums)

    split, same = jax.sharding.PartitionSpec("device"), jax.sharding.PartitionSpec()
    specs = {"in_specs": (split, split), "out_specs": (split, same, split, same, same)}
    mesh = jax.sharding.Mesh(jax.devices()[:2], ("device",))
    sharded = jax.jit(jax.shard_map(partial(gradients, layers.batch_norm, "device"), mesh=mesh, **specs))
    whole = gradients(reference.batch_norm, None, x, dy)
    for found in (sharded(x, dy), *(halves(f(mapped, axis_name="device")) for f in (jax.pmap, jax.vmap))):
        for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def with_epsilon(epsilon):
    return layers.layer_norm(X, jnp.ones(4), jnp.ones(4), epsilon)


X = jnp.ones((2, 5, 5, 4))
BAD = [
    (ValueError, r"rate must be.*got 1.5", lambda: layers.dropout(X, jax.random.key(0), 1.5)),
    (ValueError, r"rate must be a Python number.*key", lambda: layers.dropout(X, 0.5, jax.random.key(0))),
    (TypeError, r"key must be a PRNG key.*got 0.5", lambda: layers.dropout(X, 0.5)),
    (ValueError, r"scale has shape \(5,\); expected \[4\]", lambda: layers.layer_norm(X, jnp.ones(5), jnp.ones(4))),
    (ValueError, r"epsilon must be above 0", lambda: layers.layer_norm(X, jnp.ones(4), jnp.ones(4), epsilon=-1.0)),
    (TypeError, r"epsilon must be a Python number", lambda: jax.jit(with_epsilon)(1e-5)),
    (TypeError, r"epsilon must be a Python number.*'x'", lambda: with_epsilon("x")),
    (TypeError, r"deterministic must be True", lambda: layers.dropout(X, jax.random.key(0), 0.5, 1)),
    (TypeError, r"training must be True or False", lambda: layers.batch_norm(X, *[jnp.ones(4)] * 4, training=1)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
