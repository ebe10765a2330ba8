import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.returns import gae

R_T = np.array([1.0, 0.0, -1.0, 2.0])
V = np.array([0.5, 1.0, -0.5, 0.25, 3.0])


def by_loop(r_t, discount_t, v_tm1, v_t, lambda_t):
    advantages, carried = np.zeros_like(r_t), 0.0
    for t in reversed(range(len(r_t))):
        carried = r_t[t] + discount_t[t] * v_t[t] - v_tm1[t] + discount_t[t] * lambda_t[t] * carried
        advantages[t] = carried
    return advantages


def test_golden_numbers():
    """Worked by hand with γ = 0.5, λ = 0.5: δ = [1, −1.25, −0.375, 3.25]."""
    got = gae(jnp.array(R_T), jnp.full(4, 0.5), jnp.array(V[:-1]), jnp.array(V[1:]), jnp.full(4, 0.5))
    a3 = 3.25
    a2 = -0.375 + 0.25 * a3
    a1 = -1.25 + 0.25 * a2
    np.testing.assert_allclose(got, [1.0 + 0.25 * a1, a1, a2, a3], rtol=1e-6)


def test_lambda_1_is_the_bootstrapped_return_minus_the_value():
    got = gae(jnp.array(R_T), jnp.full(4, 0.9), jnp.array(V[:-1]), jnp.array(V[1:]), jnp.ones(4))
    powers = 0.9 ** np.arange(5)
    total = np.sum(powers[:4] * R_T) + powers[4] * V[4]
    assert got[0] == pytest.approx(total - V[0], rel=1e-6)


def test_lambda_0_is_the_temporal_difference():
    got = gae(jnp.array(R_T), jnp.full(4, 0.9), jnp.array(V[:-1]), jnp.array(V[1:]), jnp.zeros(4))
    np.testing.assert_allclose(got, R_T + 0.9 * V[1:] - V[:-1], rtol=1e-6)


def test_equals_a_loop_with_ends_under_vmap():
    rng = np.random.default_rng(0)
    r_t, v = rng.normal(size=(3, 20)), rng.normal(size=(3, 21))
    discount_t, lambda_t = 0.99 * (rng.random((3, 20)) > 0.2), 0.95 * (rng.random((3, 20)) > 0.3)
    args = [a.astype(np.float32) for a in (r_t, discount_t, v[:, :-1], v[:, 1:], lambda_t)]
    got = jax.jit(jax.vmap(gae))(*args)
    np.testing.assert_allclose(got, [by_loop(*row) for row in zip(*args, strict=True)], rtol=1e-4, atol=1e-5)


def test_a_terminal_step_knows_nothing_of_what_follows():
    discount_t = jnp.array([0.9, 0.0, 0.9, 0.9])
    one = gae(jnp.array(R_T), discount_t, jnp.array(V[:-1]), jnp.array(V[1:]), jnp.ones(4))
    other = gae(
        jnp.array(R_T + [0, 0, 9, 9]), discount_t, jnp.array(V[:-1]), jnp.array(V[1:] + [0, 9, 9, 9]), jnp.ones(4)
    )
    np.testing.assert_array_equal(one[:2], other[:2])


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(4,\).*\(3,\)"):
        gae(jnp.zeros(4), jnp.zeros(4), jnp.zeros(4), jnp.zeros(3), jnp.zeros(4))
