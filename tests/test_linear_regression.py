"""Linear regression: the formulas against autodiff, and the largest stable step from both sides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.tabular import linear_regression


@pytest.fixture
def data(x64):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=3)), jnp.asarray(rng.normal(size=(8, 3))), jnp.asarray(rng.normal(size=8))


def test_gradient_and_hessian_are_those_of_the_loss(data):
    w, x, y = data
    assert float(linear_regression.loss(w, x, y)) == pytest.approx(float(((x @ w - y) ** 2).mean() / 2), rel=1e-12)
    np.testing.assert_allclose(linear_regression.gradient(w, x, y), jax.grad(linear_regression.loss)(w, x, y))
    np.testing.assert_allclose(linear_regression.hessian(x), jax.hessian(linear_regression.loss)(w, x, y), atol=1e-14)


def test_newton_is_at_the_minimum_in_one_step(data):
    w, x, y = data
    best = np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(linear_regression.newton(w, x, y), best, rtol=1e-10)
    np.testing.assert_allclose(linear_regression.newton(100 * w, x, y), best, rtol=1e-10)


def test_the_largest_step_is_the_border(data):
    w, x, y = data
    best, step = linear_regression.newton(w, x, y), linear_regression.largest_step(x)
    below, above = (linear_regression.descend(w, x, y, share * step, 2000)[-1] for share in (0.99, 1.01))
    np.testing.assert_allclose(below, best, atol=1e-8)
    assert np.abs(above - best).max() > 1e6
    first = linear_regression.descend(w, x, y, 0.1, 2)
    np.testing.assert_allclose(first[0], w - 0.1 * linear_regression.gradient(w, x, y))
    assert first.shape == (2, 3)
