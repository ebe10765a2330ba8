"""Control in tables: each method against its rule step by step, its reductions, and the examples of the book."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.tabular import grids, learning, planning, worlds
from jaxrl.tabular.learning import METHODS, Rates

ALPHA, EPSILON, GAMMA = 0.3, 0.4, 0.9
RATES = Rates(jnp.float32(ALPHA), jnp.float32(EPSILON))
SMALL = grids.grid(["....", "SC.G"], step=-1.0, goal=5.0, cliff=-10.0, cliff_ends=False)
WORLD = worlds.discounted(SMALL, GAMMA)
SARSA, EXPECTED, Q = (METHODS[name] for name in ("Sarsa", "expected Sarsa", "Q-learning"))


def trace(method, steps, world=WORLD, rates=RATES, q_0=0.0, seed=0):
    """A learner before each step and after the last."""
    step = jax.jit(partial(learning.step, method))
    learners = [learning.init(method, world, rates, 500, jax.random.key(seed), q_0)]
    for _ in range(steps):
        learners.append(step(world, rates, learners[-1]))
    return learners


def taken(learner, world=WORLD):
    """(r_t, discount_t, s_t) of the next step."""
    return tuple(leaf[learner.s, learner.a, 0].item() for leaf in (world.r_t, world.discount_t, world.s_t))


def runs(method, world, alpha, epsilon, episodes, number, most=60_000, q_0=0.0):
    keys = jax.random.split(jax.random.key(0), number)
    rates = Rates(jnp.float32(alpha), jnp.float32(epsilon))
    found = jax.vmap(lambda key: learning.learn(method, world, rates, key, episodes, most, q_0))(keys)
    assert (found.episode == episodes).all()
    return jax.tree.map(np.asarray, found._replace(key=None))


def test_sarsa_learns_from_the_action_that_it_takes():
    """The target has the value of the very action that is executed next, also where that is not the greedy one."""
    learners, explored = trace(SARSA, 400), 0
    for before, after in zip(learners, learners[1:], strict=False):
        r, discount, s_t = taken(before)
        q, s, a = before.q[0], before.s, before.a
        nothing = discount == 0
        value = 0.0 if nothing else q[s_t, after.a]
        assert nothing or s_t == after.s
        np.testing.assert_allclose(after.q[0], q.at[s, a].add(ALPHA * (r + discount * value - q[s, a])), rtol=1e-5)
        explored += not nothing and q[s_t, after.a] < q[s_t].max()
    assert explored > 50


@pytest.mark.parametrize("name", ["expected Sarsa", "Q-learning"])
def test_the_others_do_not_look_at_the_action_that_is_taken(name):
    learners, explored = trace(METHODS[name], 400), 0
    for before, after in zip(learners, learners[1:], strict=False):
        r, discount, s_t = taken(before)
        q, s, a = np.asarray(before.q[0]), before.s, before.a
        best = q[s_t] == q[s_t].max()
        mean = EPSILON * q[s_t].mean() + (1 - EPSILON) * q[s_t].max()
        target = r + discount * (mean if name == "expected Sarsa" else q[s_t].max())
        np.testing.assert_allclose(after.q[0, s, a], q[s, a] + ALPHA * (target - q[s, a]), rtol=1e-4, atol=1e-5)
        assert (np.asarray(after.q[0]) != q).sum() <= 1
        explored += discount > 0 and not best[after.a]
    assert explored > 50


def test_double_q_learning_values_by_the_other_table():
    learners, changed = trace(METHODS["double Q-learning"], 400, q_0=0.0), [0, 0]
    for before, after in zip(learners, learners[1:], strict=False):
        r, discount, s_t = taken(before)
        tables, new = np.asarray(before.q), np.asarray(after.q)
        (i,) = {i for i in (0, 1) if (tables[i] != new[i]).any()} or {None}
        if i is None:
            continue
        q, other, s, a = tables[i], tables[1 - i], before.s, before.a
        target = r + discount * other[s_t, np.argmax(q[s_t])]
        np.testing.assert_allclose(new[i, s, a], q[s, a] + ALPHA * (target - q[s, a]), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(tables[1 - i], new[1 - i])
        changed[i] += 1
    assert min(changed) > 150


def n_step_by_the_book(learners, n):
    """q after each episode of the actions that were taken: S&B section 7.2."""
    q, done = np.zeros_like(learners[0].q[0]), []
    visited, rewards, last = [], [], []
    for before in learners[:-1]:
        if bool(before.ended):
            continue
        r, discount, s_t = taken(before)
        visited.append((int(before.s), int(before.a)))
        rewards.append(r)
        if discount == 0:
            last, T = visited, len(visited)
            for tau in range(T):
                g = sum(GAMMA ** (i - tau) * rewards[i] for i in range(tau, min(tau + n, T)))
                if tau + n < T:
                    g += GAMMA**n * q[last[tau + n]]
                q[last[tau]] += ALPHA * (g - q[last[tau]])
            done.append(q.copy())
            visited, rewards = [], []
    return done


@pytest.mark.parametrize("n", [1, 2, 5, 400])
def test_n_step_sarsa_is_that_of_the_book(n):
    """To the last n − 1 steps of an episode. With n beyond its length it is Monte Carlo, with n = 1 Sarsa."""
    learners = trace(SARSA._replace(n=n), 300 if n < 400 else 1500)
    ends = [after for b, after in zip(learners, learners[1:], strict=False) if after.episode > b.episode]
    expected = n_step_by_the_book(learners, n)
    assert len(expected) >= len(ends) >= 2
    for learner, q in zip(ends, expected, strict=False):
        np.testing.assert_allclose(learner.q[0], q, rtol=1e-4, atol=1e-5)
    steps = sum(not bool(each.ended) for each in learners[:-1])
    assert int(learners[-1].record.steps.sum()) == steps


def test_expected_sarsa_with_a_greedy_policy_is_q_learning():
    for alpha in (0.1, 0.5):
        expected, best = (runs(m, WORLD, alpha, 0.0, 30, 4, 5000, q_0=2.0) for m in (EXPECTED, Q))
        np.testing.assert_allclose(expected.q, best.q, rtol=1e-5)
        np.testing.assert_array_equal(expected.record.steps, best.record.steps)


def test_double_q_learning_with_one_table_and_dyna_without_planning_are_q_learning():
    plain = runs(Q, WORLD, 0.3, 0.2, 30, 4)
    for name, method in {
        "one table": METHODS["double Q-learning"]._replace(tables=1),
        "no planning": Q._replace(planning=0),
    }.items():
        found = runs(method, WORLD, 0.3, 0.2, 30, 4)
        np.testing.assert_array_equal(found.q, plain.q, err_msg=name)
        assert found.model is None


def test_dyna_plans_only_with_pairs_that_it_has_tried():
    """What was never tried keeps its first value; what was tried is known as it is."""
    learners = trace(Q._replace(planning=30), 12, q_0=3.0)
    tried = {(int(each.s), int(each.a)) for each in learners[:-1]}
    last = learners[-1]
    seen = np.zeros((8, 4), bool)
    for s, a in tried:
        seen[s, a] = True
        known = tuple(leaf[s, a].item() for leaf in last.model[:3])
        assert known == tuple(leaf[s, a, 0].item() for leaf in (WORLD.r_t, WORLD.discount_t, WORLD.s_t))
    np.testing.assert_array_equal(last.model.seen, seen)
    assert (np.asarray(last.q[0])[~seen] == 3).all() and (np.asarray(last.q[0])[seen] != 3).all()


def test_dyna_learns_its_model_by_q_learning():
    """After one step only that pair is known, so each of the planned updates is another step towards its target."""
    before, after = trace(Q._replace(planning=4), 1, q_0=3.0)
    r, discount, s_t = taken(before)
    s, a = before.s, before.a
    q = before.q[0]
    for _ in range(5):
        q = q.at[s, a].add(ALPHA * (r + discount * q[s_t].max() - q[s, a]))
    np.testing.assert_allclose(after.q[0], q, rtol=1e-6)


def test_actions_that_are_not_there_are_never_taken():
    world = worlds.maximisation_bias(4)
    found = runs(METHODS["double Q-learning"], world, 0.1, 1.0, 100, 20)
    assert set(np.unique(found.record.a_0)) == {worlds.LEFT, worlds.RIGHT}
    q = found.q.mean(1)
    assert (q[:, 0, 2:] == -np.inf).all() and np.isfinite(q[:, 0, :2]).all() and np.isfinite(q[:, 1]).all()


def test_every_run_is_its_own_and_the_same_again():
    found, again = (runs(SARSA, WORLD, 0.3, 0.2, 20, 6) for _ in range(2))
    np.testing.assert_array_equal(found.q, again.q)
    assert len(np.unique(found.record.score, axis=0)) == 6
    np.testing.assert_array_equal(found.record.steps.sum(1), found.steps)


def test_a_run_that_does_not_end_is_stopped():
    found = learning.learn(SARSA, WORLD, RATES, jax.random.key(0), 1000, 50)
    assert found.steps == 50 and found.episode < 1000


def test_the_cliff_of_the_book():
    """S&B example 6.6: Q-learning learns the path of 13 steps along the cliff and falls; Sarsa learns a safer one."""
    world = grids.cliff_walking(cliff_ends=False)
    online, path = {}, {}
    for name in ("Sarsa", "Q-learning"):
        found = runs(METHODS[name], world, 0.5, 0.1, 300, 20)
        online[name] = found.record.score[:, -100:].mean()
        path[name] = np.median([len(learning.greedy_path(world, q[0], 100)) for q in found.q])
    assert online["Sarsa"] == pytest.approx(-26, abs=4) and online["Q-learning"] == pytest.approx(-50, abs=6)
    assert path["Q-learning"] == 13 and 15 <= path["Sarsa"] <= 17
    best = planning.value_iteration(world)
    assert float(best.v[36]) == -13


def test_maximisation_bias_of_the_book():
    """S&B figure 6.5: at first Q-learning goes left far too often; 5% at the limit, since ε = 0.1."""
    left = {}
    for name in ("Q-learning", "double Q-learning"):
        record = runs(METHODS[name], worlds.maximisation_bias(), 0.1, 0.1, 300, 400).record
        left[name] = (record.a_0 == worlds.LEFT).mean(0)
    assert left["Q-learning"].max() > 0.85 and left["double Q-learning"].max() < 0.6
    assert left["double Q-learning"][-30:].mean() == pytest.approx(0.07, abs=0.03)
    assert left["Q-learning"][-30:].mean() > left["double Q-learning"][-30:].mean() + 0.02


def test_the_maze_of_the_book():
    """S&B figure 8.2: the first episode is a walk at random, whose length is known; planning makes the second short."""
    maze = grids.dyna_maze()
    moves = maze._replace(r_t=jnp.ones_like(maze.r_t))
    expected = float(planning.solve(moves, worlds.uniform(maze))[maze.s_0])
    maze = worlds.discounted(maze, 0.95)
    steps = {n: runs(Q._replace(planning=n), maze, 0.1, 0.1, 8, 20).record.steps for n in (0, 10)}
    assert steps[10][:, 0].mean() == pytest.approx(expected, rel=0.4)
    assert steps[10][:, 3:].mean() < 30 and steps[0][:, 3:].mean() > 150
    assert steps[10].min() >= 14


@pytest.mark.parametrize(
    ("method", "episodes", "message"),
    [
        (SARSA._replace(n=0), 5, "n must be at least 1; got 0"),
        (Q._replace(tables=0), 5, "tables must be at least 1; got 0"),
        (Q._replace(planning=-1), 5, "planning must be at least 0; got -1"),
        (Q._replace(n=3), 5, "n above 1 is for Sarsa"),
        (Q, 0, "episodes must be at least 1; got 0"),
    ],
)
def test_numbers_that_cannot_work_are_refused(method, episodes, message):
    with pytest.raises(ValueError, match=message):
        learning.learn(method, WORLD, RATES, jax.random.key(0), episodes, 100)
