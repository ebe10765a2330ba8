"""A trajectory of real games: what the network saw, what was done, and what it scored, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import environments, parallel, rollout

N, T, LIMIT = 3, 60, 25


def make_pool(protocol="machado", **options):
    return environments.make("Riverraid-v5", protocol, N, seed=3, max_episode_steps=LIMIT, **options)


def random_act(memory, observation, first, key):
    """Counts its steps in the memory, which it zeroes where an episode begins."""
    memory = jnp.where(first, 0, memory) + 1
    return jax.random.randint(key, (N,), 0, 18, jnp.int32), memory, memory


def start(pool):
    normalizer = rollout.init_normalization(pool.protocol, N)
    return rollout.init(pool.reset(), jnp.zeros(N, jnp.int32), normalizer, jax.random.key(5))


@pytest.fixture(scope="module")
def trajectory():
    pool = make_pool()
    actor, seen = jax.jit(lambda actor: rollout.rollout(actor, random_act, pool.step, T))(start(pool))
    return jax.device_get((actor, seen))


def test_every_row_equals_the_same_games_played_from_the_host(trajectory):
    _, seen = trajectory
    pool = make_pool()
    state = jax.device_get(pool.reset())
    first, score, length = np.ones(N, bool), np.zeros(N), np.zeros(N, int)
    for t in range(T):
        np.testing.assert_array_equal(seen.observation[t], state.observation)
        np.testing.assert_array_equal(seen.row.first[t], first)
        reset_row = np.asarray(state.done)
        state, step = pool.host_step(state, seen.row.a_t[t])
        score, length = score + step.raw_reward, length + ~reset_row
        np.testing.assert_array_equal(seen.row.valid[t], ~reset_row)
        np.testing.assert_array_equal(seen.row.r_t[t], np.sign(step.raw_reward))
        np.testing.assert_array_equal(seen.games.score[t], score)
        np.testing.assert_array_equal(seen.games.length[t], length)
        np.testing.assert_array_equal(seen.row.done[t], step.terminated | step.truncated)
        first = reset_row  # what a reset row returns begins an episode
        score, length = np.where(step.game_over, 0, score), np.where(step.game_over, 0, length)


def test_the_time_limit_was_met_and_cuts_without_terminating(trajectory):
    _, seen = trajectory
    row, games = seen.row, seen.games
    assert row.done.sum() >= N and not row.terminated[games.length == LIMIT].any()
    assert (games.length[games.game_over] == LIMIT).any()
    np.testing.assert_array_equal(row.valid[1:], ~row.done[:-1])
    np.testing.assert_array_equal(games.valid, row.valid)
    assert (row.r_t[~row.valid] == 0).all()


def test_memory_is_of_this_episode_alone(trajectory):
    actor, seen = trajectory
    since_first = [T - max(np.flatnonzero(seen.row.first[:, i])) for i in range(N)]
    np.testing.assert_array_equal(actor.memory, since_first)
    np.testing.assert_array_equal(seen.extras[-1], since_first)


def test_a_second_rollout_goes_on_where_the_first_stopped(trajectory):
    pool = make_pool()
    roll = jax.jit(lambda actor: rollout.rollout(actor, random_act, pool.step, T // 2))
    actor, one = roll(start(pool))
    _, two = roll(actor)
    jax.tree.map(
        lambda a, b, whole: np.testing.assert_array_equal(np.concatenate([a, b]), whole), one, two, trajectory[1]
    )


def test_a_trajectory_is_the_rollout_with_the_memory_before_and_the_observation_after(trajectory):
    pool = make_pool()
    actor = start(pool)
    collect = jax.jit(lambda actor: rollout.collect(actor, random_act, pool.step, T))
    after, found, games = collect(actor)
    expected = trajectory[1]
    found_steps = rollout.Transition(found.observation, found.row, found.extras, games)
    jax.tree.map(np.testing.assert_array_equal, found_steps, expected)
    np.testing.assert_array_equal(found.memory, np.zeros(N))
    np.testing.assert_array_equal(found.next_observation, after.observation)
    np.testing.assert_array_equal(found.next_first, ~found.row.valid[-1])


def test_the_normaliser_sees_every_observation_once():
    pool = environments.make("Riverraid-v5", "origin", N, seed=3)
    actor = start(pool)
    actor, seen = jax.jit(lambda actor: rollout.rollout(actor, random_act, pool.step, 5))(actor)
    pool.close()
    assert actor.normalizer.count.tolist() == [6] * N
    assert seen.observation.dtype == jnp.float32
    assert np.abs(seen.observation[0].mean()) < 1e-4 and np.isclose(seen.observation[0].std(), 1, atol=1e-2)


def test_mapping_groups_is_the_same_either_way():
    x, y = jnp.arange(6.0).reshape(3, 2), jnp.ones((3, 2))
    for how in ("map", "vmap", "auto"):
        np.testing.assert_array_equal(parallel.map_groups(how)(lambda a, b: (a * 2, a + b))(x, y)[0], 2 * x)
    with pytest.raises(ValueError, match="auto or vmap or map"):
        parallel.map_groups("loop")


def test_groups_are_split_and_joined():
    x = jnp.arange(24).reshape(2, 6, 2)
    split = parallel.split_groups({"x": x}, 3, axis=1)["x"]
    np.testing.assert_array_equal(split[1], x[:, 2:4])
    np.testing.assert_array_equal(parallel.join_groups(parallel.split_groups(x[0], 3)), x[0])
