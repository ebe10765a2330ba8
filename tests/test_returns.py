import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.returns import (
    categorical_projection,
    discounted_return,
    expected_sarsa_target,
    gae,
    n_step,
    q_target,
    sarsa_target,
)

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


def test_q_targets():
    q_t, online = jnp.array([1.0, 4.0, 2.0]), jnp.array([0.0, 1.0, 5.0])
    assert q_target(0.5, 0.9, q_t) == pytest.approx(0.5 + 0.9 * 4)
    assert q_target(0.5, 0.9, q_t, online) == pytest.approx(0.5 + 0.9 * 2)
    assert q_target(0.5, 0.9, q_t, q_t) == q_target(0.5, 0.9, q_t)
    assert q_target(0.5, 0.0, q_t, online) == 0.5


def test_n_step_stops_at_the_end_of_the_episode():
    r_t, gamma = jnp.array([1.0, 2.0, 4.0]), 0.5
    whole = jnp.ones(3, bool)
    assert [float(x) for x in n_step(r_t, jnp.full(3, gamma), whole)] == [1 + 1 + 1, 0.125, 3]
    terminated = n_step(r_t, jnp.array([gamma, 0.0, gamma]), jnp.array([True, False, True]))
    assert [float(x) for x in terminated] == [1 + 1, 0.0, 2]
    truncated = n_step(r_t, jnp.full(3, gamma), jnp.array([True, False, True]))
    assert [float(x) for x in truncated] == [1 + 1, 0.25, 2]
    assert [float(x) for x in n_step(r_t[:1], jnp.full(1, gamma), whole[:1])] == [1, 0.5, 1]


def test_n_steps_to_the_end_are_the_return():
    """With n = T and no end, R + Γ v is GAE with λ = 1 plus the value."""
    discount_t, v = jnp.full(4, 0.9), jnp.array(V)
    total, discount, steps = n_step(jnp.array(R_T), discount_t, jnp.ones(4, bool))
    advantage = gae(jnp.array(R_T), discount_t, v[:-1], v[1:], jnp.ones(4))
    np.testing.assert_allclose(total + discount * v[-1], advantage[0] + v[0], rtol=1e-6)
    assert steps == 4


def test_categorical_projection():
    z = jnp.array([0.0, 1.0, 2.0])
    got = categorical_projection(jnp.array([-5.0, 0.25, 1.0, 9.0]), jnp.array([0.1, 0.4, 0.2, 0.3]), z)
    np.testing.assert_allclose(got, [0.1 + 0.3, 0.1 + 0.2, 0.3], rtol=1e-6)
    p = jnp.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(categorical_projection(z, p, z), p, rtol=1e-6)
    inside = categorical_projection(0.1 + 0.9 * z, p, z)  # the mean stays while nothing is clipped
    np.testing.assert_allclose(inside @ z, (0.1 + 0.9 * z) @ p, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: q_target(jnp.ones(2), 0.9, jnp.ones(3)), r"q_target takes r_t \[\].*got \(2,\)"),
        (lambda: q_target(0.5, 0.9, jnp.ones(3), jnp.ones(4)), "got .*\\(4,\\)"),
        (lambda: n_step(jnp.ones(2), jnp.ones(3), jnp.ones(2, bool)), "of one shape"),
        (lambda: categorical_projection(jnp.ones(2), jnp.ones(2), jnp.ones(1)), r"z \[N\]"),
    ],
)
def test_other_shapes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_discounted_return_is_the_sum_of_what_comes():
    r_t, discount_t = jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.array([0.5, 0.0, 0.5, 0.5])
    np.testing.assert_allclose(discounted_return(r_t, discount_t), [2.0, 2.0, 8.0, 8.0])


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("beyond", [INF, -INF, NAN])
def test_what_is_behind_a_discount_of_0_is_not_looked_at(beyond):
    """A terminal step gives its reward, whatever the network says of the state after it."""
    ones, discount_t = jnp.ones(3), jnp.array([0.5, 0.0, 0.5])
    v_t = jnp.array([1.0, beyond, 1.0])
    np.testing.assert_array_equal(gae(ones, discount_t, jnp.zeros(3), v_t, ones), [2.0, 1.0, 1.5])
    later = gae(ones, discount_t, jnp.zeros(3), jnp.array([1.0, 1.0, beyond]), ones)
    np.testing.assert_array_equal(later[:2], [2.0, 1.0])  # the next episode does not come in either
    cut = gae(ones, jnp.full(3, 0.5), jnp.zeros(3), jnp.array([1.0, 1.0, beyond]), jnp.array([1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(cut[:2], [2.25, 1.5])
    np.testing.assert_array_equal(discounted_return([1.0, 1.0, beyond], discount_t)[:2], [1.5, 1.0])
    assert q_target(1.0, 0.0, [beyond, 2.0]) == q_target(1.0, 0.0, [beyond, 2.0], [1.0, 0.0]) == 1.0
    assert n_step(jnp.array([1.0, 1.0, beyond]), discount_t, jnp.ones(3, bool))[0] == 1.5
    np.testing.assert_array_equal(
        categorical_projection([0.0, beyond, 1.0], [0.5, 0.0, 0.5], [0.0, 1.0]), [0.5, 0.5]
    )  # no mass at a point that is nowhere


ARGUMENTS = {
    "gae": (gae, [[1, 2], [1, 0], [0, 1], [1, 1], [1, 1]], [3.0, 1.0]),
    "q_target": (q_target, [1, 1, [1, 2], [1, 0]], 2.0),
    "discounted_return": (discounted_return, [[1, 2], [1, 0]], [3.0, 2.0]),
    "n_step": (n_step, [[1, 2], [1, 0], [True, False]], 3.0),
    "categorical_projection": (categorical_projection, [[0, 1], [0, 1], [0, 1]], [0.0, 1.0]),
}
WIDEST = [
    ((np.float64, np.float64), "float32"),  # NumPy's own type, as it is
    ((np.int32, np.float32), "float32"),
    ((jnp.bfloat16, np.float32), "float32"),
    ((np.int8, jnp.bfloat16), "bfloat16"),
    ((np.int32, np.int32), "float32"),
    ((list, list), "float32"),
]


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize(("types", "expected"), WIDEST)
def test_the_result_has_the_widest_type(name, types, expected):
    function, args, value = ARGUMENTS[name]
    made = [a if types[i > 0] is list else np.asarray(a, types[i > 0]) for i, a in enumerate(args)]
    got = jax.tree.leaves(function(*made))[0]
    assert got.dtype == expected
    np.testing.assert_array_equal(np.asarray(got, np.float32), value)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_is_no_number_is_named(name):
    function, args, _ = ARGUMENTS[name]
    for wrong in ("three", np.array([1j, 2j]), [[1.0], [1.0, 2.0]], None):
        with pytest.raises(TypeError, match="r_t must hold real numbers|z_t must hold real numbers"):
            function(wrong, *args[1:])


def test_targets_of_sarsa():
    q_t, pi_t = jnp.array([1.0, 4.0, 2.0]), jnp.array([0.5, 0.25, 0.25])
    assert sarsa_target(0.5, 0.9, q_t, 2) == pytest.approx(0.5 + 0.9 * 2)
    assert expected_sarsa_target(0.5, 0.9, q_t, pi_t) == pytest.approx(0.5 + 0.9 * (0.5 + 1 + 0.5))
    assert expected_sarsa_target(0.5, 0.9, q_t, jnp.array([0, 1, 0])) == q_target(0.5, 0.9, q_t)
    assert expected_sarsa_target(0.5, 0.9, jnp.array([-jnp.inf, 4.0, 2.0]), jnp.array([0, 0.5, 0.5])) == pytest.approx(
        3.2
    )
    assert sarsa_target(0.5, 0.0, q_t, 1) == expected_sarsa_target(0.5, 0.0, q_t, pi_t) == 0.5
    for call in (lambda: sarsa_target(0.5, 0.9, 1.0, 0), lambda: expected_sarsa_target(0.5, 0.9, q_t, pi_t[:2])):
        with pytest.raises(ValueError, match=r"sarsa_target takes r_t \[\]"):
            call()
