"""Affine and noisy maps, the embedding and the dueling head, beyond the table of cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import layers


def noisy(rows=()):
    """Arguments of noisy_linear from 5 to 6."""
    rng = np.random.default_rng(0)
    shapes = (*rows, 5), (5, 6), (6,), (5, 6), (6,), (5,), (6,)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_large_advantages_cost_the_value_no_digits(combine):
    q = layers.dueling(jnp.float32(0.3), jnp.full(4, 1e9, jnp.float32), combine)
    np.testing.assert_array_equal(q, np.full(4, np.float32(0.3)))


def test_the_first_of_equal_advantages_takes_the_gradient():
    dadvantage = jax.grad(lambda a: layers.dueling(jnp.zeros(()), a, "max")[0])(jnp.array([2.0, 5.0, 5.0]))
    np.testing.assert_array_equal(dadvantage, [1, -1, 0])


def test_noise_is_factorised_and_its_absence_gives_the_affine_map():
    noise_in, noise_out = layers.factorized_noise(jax.random.key(0), 2000, 3000)
    assert noise_in.shape == (2000,) and noise_out.shape == (3000,)
    for noise in (noise_in, noise_out):  # E f(ε)² = E |ε| = √(2/π)
        np.testing.assert_allclose(jnp.mean(noise**2), np.sqrt(2 / np.pi), rtol=0.08)
        assert abs(noise.mean()) < 0.08
    x, w, b, *sigmas = noisy((4, 3))[:5]
    quiet = layers.noisy_linear(x, w, b, *sigmas, jnp.zeros(5), jnp.zeros(6))
    np.testing.assert_allclose(quiet, layers.linear(x, w, b), rtol=1e-6)


def test_ids_of_numpy_are_read_from_the_end_where_they_are_negative():
    row = layers.embedding(np.array([5, -1]), np.arange(6.0).reshape(3, 2))
    assert isinstance(row, jax.Array)
    np.testing.assert_array_equal(row, [[4, 5], [4, 5]])


X, W, B = jnp.ones((2, 5, 5, 4)), jnp.ones((3, 3, 4, 6)), jnp.ones(6)
BAD = [
    (ValueError, r"x has shape \(\); expected \[..., D\]", lambda: layers.linear(jnp.ones(()), jnp.ones((1, 2)), None)),
    (ValueError, r"w has shape \(3, 2\); expected \[4, any\]", lambda: layers.linear(X, jnp.ones((3, 2)), None)),
    (ValueError, r"b has shape \(3,\)", lambda: layers.linear(X, jnp.ones((4, 2)), jnp.ones(3))),
    (TypeError, r"key must be a PRNG key.*got None", lambda: layers.factorized_noise(None, 2, 3)),
    (ValueError, r"outputs must be an int.*got 0", lambda: layers.factorized_noise(jax.random.key(0), 2, 0)),
    (TypeError, r"ids must hold integers", lambda: layers.embedding(X, W[0, 0])),
    (ValueError, r"no row to read", lambda: layers.embedding(jnp.arange(3), jnp.ones((0, 4)))),
    (ValueError, r'combine must be "mean" or "max"', lambda: layers.dueling(X[..., 0], X, "sum")),
    (ValueError, r"v has shape", lambda: layers.dueling(X, X)),
    (ValueError, r"noise_in has shape", lambda: layers.noisy_linear(*noisy()[:5], *noisy()[6:] * 2)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
