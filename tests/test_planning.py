"""Dynamic programming: exact values and sweeps on the cliff, against linear systems, and FrozenLake's own table."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.tabular import grids, planning, worlds

START = -(1 - 0.9**13) / 0.1  # thirteen steps of −1


@pytest.fixture
def cliff():
    return worlds.discounted(grids.cliff_walking(cliff_ends=True), 0.9)


@pytest.fixture
def gymnasium_cliff():
    return worlds.discounted(grids.cliff_walking(cliff_ends=False), 0.9)


def by_loop(gamma, ends, sweeps):
    """Values of the policy of equal probabilities, written from the rules alone."""
    v = np.zeros((4, 12))
    for _ in range(sweeps):
        new = np.zeros((4, 12))
        for row, column in [(r, c) for r in range(4) for c in range(12) if r < 3 or c == 0]:
            for down, right in ((-1, 0), (0, 1), (1, 0), (0, -1)):
                to = min(max(row + down, 0), 3), min(max(column + right, 0), 11)
                fell = to[0] == 3 and 0 < to[1] < 11
                after = 0 if to == (3, 11) or fell and ends else v[3, 0] if fell else v[to]
                new[row, column] += ((-100 if fell else -1) + gamma * after) / 4
        v = new
    return v.ravel()


@pytest.mark.parametrize(("in_place", "sweeps"), [(False, [60, 72, 44, 12, 1]), (True, [42, 72, 14, 12, 1])])
def test_sweeps_of_policy_iteration(cliff, in_place, sweeps):
    """From equal probabilities, values kept; with ties broken in another way it takes other sweeps, or never ends."""
    plan = planning.policy_iteration(cliff, in_place=in_place)
    assert plan.sweeps == sweeps
    assert float(plan.v[36]) == pytest.approx(START, abs=1e-5) and pytest.approx(-7.45813, abs=1e-5) == START


def test_sweeps_of_value_iteration(cliff):
    """After 14 sweeps the values are exact, and a last one changes nothing."""
    plan = planning.value_iteration(cliff)
    assert plan.sweeps == [15] and float(plan.v[36]) == pytest.approx(START, abs=1e-5)
    v = jnp.zeros(48)
    for sweep in range(1, 16):
        before, v = v, planning.action_values(cliff, v).max(1)
        assert bool((v == before).all()) == (sweep == 15)


@pytest.mark.parametrize("ends", [True, False])
def test_values_of_a_policy(ends, x64):
    """By sweeps, by the linear system, and by the rules of the two cliffs, which differ."""
    world = worlds.discounted(grids.cliff_walking(ends), 0.9)
    policy = worlds.uniform(world)
    exact = planning.solve(world, policy)
    np.testing.assert_allclose(exact, by_loop(0.9, ends, 400), atol=1e-10)
    for in_place in (False, True):
        v, _ = planning.evaluate(world, policy, threshold=1e-12, in_place=in_place)
        np.testing.assert_allclose(v, exact, atol=1e-10)
    assert float(exact[36]) == pytest.approx({True: -66.157, False: -150.896}[ends], abs=1e-3)


def test_the_two_cliffs_have_the_same_best_values_but_not_the_same_of_a_policy(cliff, gymnasium_cliff):
    """Nobody who plays best falls."""
    ours, theirs = (planning.policy_iteration(world) for world in (cliff, gymnasium_cliff))
    np.testing.assert_allclose(ours.v, theirs.v, atol=1e-5)
    np.testing.assert_array_equal(ours.policy[:37], theirs.policy[:37])
    assert theirs.sweeps == [89, 81, 44, 12, 1]


def test_terminal_states_are_never_looked_at(cliff):
    v = planning.solve(cliff, worlds.uniform(cliff))
    spoilt = v.at[37:].set(jnp.array([jnp.nan, jnp.inf] * 5 + [1e9]))
    np.testing.assert_array_equal(planning.action_values(cliff, spoilt), planning.action_values(cliff, v))


def test_improvement_keeps_all_of_the_best_actions(cliff):
    policy = planning.policy_iteration(cliff).policy
    np.testing.assert_array_equal(policy[0], [0, 0.5, 0.5, 0])  # right or down, in the upper left
    np.testing.assert_array_equal(policy[36], [1, 0, 0, 0])
    assert planning.policy_iteration(cliff, policy).sweeps[1:] == []  # it stays as it is


def test_rounding_breaks_no_tie(cliff):
    """Values that are off in their last digits have the same greedy policy; else policy iteration may never end."""
    plan = planning.policy_iteration(cliff)
    for seed in range(5):
        off = 1 + 2e-7 * jax.random.uniform(jax.random.key(seed), plan.v.shape, minval=-1.0)
        np.testing.assert_array_equal(planning.improve(cliff, plan.v * off), plan.policy)


def test_policy_iteration_and_value_iteration_agree_with_the_linear_system(x64):
    """FrozenLake, slippery, discounted by 0.99: 0.5420 from the start."""
    world = worlds.discounted(worlds.from_table(gymnasium.make("FrozenLake-v1").unwrapped.P), 0.99)
    plans = [f(world, threshold=1e-10) for f in (planning.policy_iteration, planning.value_iteration)]
    for plan in plans:
        np.testing.assert_allclose(plan.v, planning.solve(world, plan.policy), atol=1e-7)
        assert float(plan.v[0]) == pytest.approx(0.5420, abs=1e-4)
    np.testing.assert_array_equal(plans[0].policy, plans[1].policy)
    assert len(plans[0].sweeps) < 10


def test_an_action_that_is_not_there_is_never_best():
    world = worlds.maximisation_bias(5)
    plan = planning.value_iteration(world)
    np.testing.assert_allclose(plan.v, [0, -0.1])
    np.testing.assert_array_equal(plan.policy[0], [0, 1, 0, 0, 0])


def test_bad_input_is_one_sentence(cliff):
    never = worlds.make(np.ones((1, 1, 1)), -np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.zeros((1, 1, 1)), 0)
    for call, message in [
        (lambda: planning.evaluate(cliff, jnp.ones((3, 4))), r"\(48, 4\) here; got \(3, 4\)"),
        (lambda: planning.evaluate(cliff, worlds.uniform(cliff), threshold=0.0), "threshold must be above 0; got 0.0"),
        (lambda: planning.value_iteration(cliff, threshold=float("nan")), "threshold must be above 0; got nan"),
        (lambda: planning.evaluate(never, jnp.ones((1, 1))), "still change by 0.001 after 300,000 sweeps"),
        (lambda: planning.solve(never, jnp.ones((1, 1))), "no finite values"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
