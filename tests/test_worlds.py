"""Worlds as tables: equal to Gymnasium's, transition by transition; drawn with their probabilities."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.tabular import grids, policies, worlds


def outcomes(world, s, a):
    """{(next state, or None at an end; reward; discount): probability}."""
    found = {}
    for p, r, discount, s_t in zip(*(np.asarray(leaf)[s, a] for leaf in world[:4]), strict=True):
        key = (None if discount == 0 else int(s_t), float(r), float(discount))
        found[key] = found.get(key, 0.0) + float(p)
    return {key: p for key, p in found.items() if p}


def of_gymnasium(outcomes):
    found = {}
    for p, s_t, r, terminated in outcomes:
        key = (None if terminated else int(s_t), float(r), 0.0 if terminated else 1.0)
        found[key] = found.get(key, 0.0) + p
    return found


def test_our_cliff_is_that_of_gymnasium_pair_by_pair():
    table, world = gymnasium.make("CliffWalking-v1").unwrapped.P, grids.cliff_walking(cliff_ends=False)
    for s in range(37):  # beyond the start are the cliff and the goal, in which nobody acts
        for a in range(4):
            assert outcomes(world, s, a) == of_gymnasium(table[s][a]), (s, a)


def test_where_the_cliff_ends_only_falls_are_others():
    ours, theirs = grids.cliff_walking(cliff_ends=True), grids.cliff_walking(cliff_ends=False)
    falls = np.asarray(theirs.r_t[:37] == -100)
    assert falls.sum() == 11 and (np.asarray(ours.discount_t[:37])[falls] == 0).all()
    assert (np.asarray(ours.discount_t == theirs.discount_t)[:37] | falls).all()


def test_steps_are_those_of_a_real_environment():
    env, world = gymnasium.make("CliffWalking-v1"), grids.cliff_walking(cliff_ends=False)
    step, rng = jax.jit(worlds.step), np.random.default_rng(0)
    s, _ = env.reset(seed=0)
    assert s == world.s_0
    for _ in range(2000):
        a = int(rng.choice(4, p=[0.2, 0.5, 0.2, 0.1]))  # to the right, so that it falls, and reaches the goal
        r_t, discount_t, s_t = step(world, jax.random.key(0), s, a)
        after, reward, terminated, _, _ = env.step(a)
        assert (reward, terminated) == (r_t, discount_t == 0) and (terminated or after == s_t)
        s = env.reset()[0] if terminated else after


@pytest.mark.parametrize("name", ["4x4", "8x8"])
def test_a_table_of_gymnasium_is_taken_as_it_is(name):
    table = gymnasium.make("FrozenLake-v1", map_name=name).unwrapped.P
    world = worlds.from_table(table)
    for s in table:
        for a in range(4):
            assert outcomes(world, s, a) == pytest.approx(of_gymnasium(table[s][a])), (s, a)
    table[3][2] = table[3][2][:1]
    with pytest.raises(ValueError, match="state 3, action 2 add up to 0.333333, not 1"):
        worlds.from_table(table)


def test_outcomes_are_drawn_with_their_probabilities():
    world = worlds.walk(9, 3)
    keys = jax.random.split(jax.random.key(0), 60_000)
    r_t, discount_t, s_t = jax.vmap(lambda key: worlds.step(world, key, 1, 0))(keys)
    ended = np.asarray(discount_t == 0)
    assert set(np.asarray(r_t)[ended].tolist()) == {-1.0} and not np.asarray(r_t)[~ended].any()
    shares = np.bincount(np.where(ended, 9, s_t), minlength=10) / len(keys)
    np.testing.assert_allclose(shares, np.array([1, 0, 1, 1, 1, 0, 0, 0, 0, 2]) / 6, atol=0.008)  # 5 deviations


def test_walks_are_those_of_the_book():
    world = worlds.walk(19)
    assert world.s_0 == 9 and world.probability.shape == (19, 1, 2)
    assert outcomes(world, 0, 0) == {(None, -1.0, 0.0): 0.5, (1, 0.0, 1.0): 0.5}
    assert outcomes(world, 18, 0) == {(17, 0.0, 1.0): 0.5, (None, 1.0, 0.0): 0.5}
    far = worlds.walk(1000, 100)
    assert far.s_0 == 499 and float(outcomes(far, 9, 0)[None, -1.0, 0.0]) == pytest.approx(91 / 200)


def test_the_biased_world_has_two_states_of_different_actions():
    world = worlds.maximisation_bias(5)
    np.testing.assert_array_equal(worlds.present(world), [[True, True, False, False, False], [True] * 5])
    np.testing.assert_allclose(worlds.uniform(world), [[0.5, 0.5, 0, 0, 0], [0.2] * 5])
    assert outcomes(world, 0, worlds.RIGHT) == {(None, 0.0, 0.0): 1.0}
    assert outcomes(world, 0, worlds.LEFT) == {(1, 0.0, 1.0): 1.0}
    draws = jax.vmap(lambda key: worlds.step(world, key, 1, 3).r_t)(jax.random.split(jax.random.key(1), 10_000))
    assert float(draws.mean()) == pytest.approx(-0.1, abs=0.05) and float(draws.std()) == pytest.approx(1, abs=0.04)


def test_a_maze_has_walls():
    world = grids.dyna_maze()
    assert outcomes(world, 18 + 1, 1) == {(19, 0.0, 1.0): 1.0}  # the wall is to the right
    assert outcomes(world, 9 + 8, 0) == {(None, 1.0, 0.0): 1.0}  # the goal is above
    assert outcomes(world, 0, 0) == outcomes(world, 0, 3) == {(0, 0.0, 1.0): 1.0}


def test_arrows_are_in_the_order_of_the_actions():
    q = np.zeros((4, 4))
    q[[0, 0, 1, 2, 3], [1, 2, 2, 3, 0]] = 1
    assert grids.arrows(q, (2, 2)) == [["→↓", "↓"], ["←", "↑"]]


def test_probabilities_of_acting():
    q = jnp.array([1.0, 3.0, 3.0, -jnp.inf])
    np.testing.assert_allclose(policies.greedy(q), [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(policies.epsilon_greedy(q, 0.3), [0.1, 0.45, 0.45, 0], rtol=1e-6)
    np.testing.assert_allclose(policies.greedy(jnp.array([1.0, 1.0 - 5e-7]), policies.TOLERANCE), [0.5, 0.5])
    np.testing.assert_allclose(policies.greedy(jnp.array([1.0, 1.0 - 5e-7])), [1, 0])
    keys = jax.random.split(jax.random.key(0), 40_000)
    drawn = jax.vmap(lambda key: policies.draw(key, jnp.array([0.0, 0.2, 0.0, 0.5, 0.3, 0.0])))(keys)
    np.testing.assert_allclose(np.bincount(drawn, minlength=6) / 40_000, [0, 0.2, 0, 0.5, 0.3, 0], atol=0.0125)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: worlds.walk(1), "2 states"),
        (lambda: worlds.walk(9, 0), "reach"),
        (lambda: worlds.maximisation_bias(1), "at least 2; got 1"),
        (lambda: worlds.discounted(worlds.walk(3), 0.0), "gamma must be above 0 and at most 1; got 0.0"),
        (lambda: worlds.discounted(worlds.walk(3), 1.1), "gamma"),
        (lambda: grids.grid(["S.", "."], -1.0, 0.0), "one length"),
        (lambda: grids.grid(["S?"], -1.0, 0.0), "of the signs"),
        (lambda: grids.grid(["SS"], -1.0, 0.0), "one S"),
        (lambda: policies.greedy(jnp.zeros((2, 2))), r"a vector .*got \(2, 2\)"),
        (lambda: policies.draw(jax.random.key(0), jnp.zeros((2, 2))), "a vector"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
