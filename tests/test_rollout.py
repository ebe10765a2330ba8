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
    return jax.random.randint(key, (N,), 0, 18, jnp.int32), memory


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
        np.testing.assert_array_equal(seen.first[t], first)
        reset_row = np.asarray(state.done)
        state, step = pool.host_step(state, seen.a_t[t])
        score, length = score + step.raw_reward, length + ~reset_row
        np.testing.assert_array_equal(seen.valid[t], ~reset_row)
        np.testing.assert_array_equal(seen.r_t[t], np.sign(step.raw_reward))
        np.testing.assert_array_equal(seen.score[t], score)
        np.testing.assert_array_equal(seen.length[t], length)
        np.testing.assert_array_equal(seen.done[t], step.terminated | step.truncated)
        first = reset_row  # what a reset row returns begins an episode
        score, length = np.where(step.game_over, 0, score), np.where(step.game_over, 0, length)


def test_the_time_limit_was_met_and_cuts_without_terminating(trajectory):
    _, seen = trajectory
    assert seen.done.sum() >= N and not seen.terminated[seen.length == LIMIT].any()
    assert (seen.length[seen.game_over] == LIMIT).any()
    np.testing.assert_array_equal(seen.valid[1:], ~seen.done[:-1])
    assert (seen.r_t[~seen.valid] == 0).all()


def test_memory_is_of_this_episode_alone(trajectory):
    actor, seen = trajectory
    since_first = [T - max(np.flatnonzero(seen.first[:, i])) for i in range(N)]
    np.testing.assert_array_equal(actor.memory, since_first)


def test_a_second_rollout_goes_on_where_the_first_stopped(trajectory):
    pool = make_pool()
    roll = jax.jit(lambda actor: rollout.rollout(actor, random_act, pool.step, T // 2))
    actor, one = roll(start(pool))
    _, two = roll(actor)
    for name, whole in trajectory[1]._asdict().items():
        np.testing.assert_array_equal(np.concatenate([getattr(one, name), getattr(two, name)]), whole, err_msg=name)


def test_the_normaliser_sees_every_observation_once():
    pool = environments.make("Riverraid-v5", "origin", N, seed=3)
    actor = start(pool)
    actor, seen = jax.jit(lambda actor: rollout.rollout(actor, random_act, pool.step, 5))(actor)
    pool.close()
    assert actor.normalizer.count.tolist() == [6] * N
    assert seen.observation.dtype == jnp.float32
    assert np.abs(seen.observation[0].mean()) < 1e-4 and np.isclose(seen.observation[0].std(), 1, atol=1e-2)


def test_mapping_workers_is_the_same_either_way():
    x, y = jnp.arange(6.0).reshape(3, 2), jnp.ones((3, 2))
    for how in ("map", "vmap", "auto"):
        np.testing.assert_array_equal(parallel.map_workers(how)(lambda a, b: (a * 2, a + b))(x, y)[0], 2 * x)
    with pytest.raises(ValueError, match="auto, vmap, map"):
        parallel.map_workers("loop")


def test_device_counts_are_checked():
    parallel.check_device_count(2)
    with pytest.raises(ValueError, match="1 to 2"):
        parallel.check_device_count(3)
