"""Spaces are plain data, and `spec` says without a pool what a pool says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.environments import Box, Discrete, Spec, default_protocol, make, spec
from jaxrl.environments.spaces import box

PAIR = box(np.float32, np.array([-1, 0]), np.array([1, np.inf]))


def test_equal_bounds_become_one_number_and_a_spec_can_be_compared_and_hashed():
    assert box(np.uint8, np.zeros((4, 4, 1)), np.full((4, 4, 1), 255)) == Box((4, 4, 1), np.dtype("uint8"), 0, 255)
    assert PAIR == Box((2,), np.dtype("float32"), (-1, 0), (1, np.inf))
    assert len({Spec(PAIR, Discrete(3)), Spec(PAIR, Discrete(3)), Spec(PAIR, PAIR)}) == 2
    np.testing.assert_array_equal(PAIR.bounds(), np.array([[-1, 0], [1, np.inf]], np.float32))
    assert (Discrete(3).shape, Discrete(3).dtype) == ((), np.int32)
    assert box(np.uint8, np.zeros((4, 4, 1)), np.ones((4, 4, 1))).image and not PAIR.image


def test_clip_and_contains():
    actions = jnp.array([[-2.0, 3.0], [0.5, -1.0]], jnp.float32)
    np.testing.assert_array_equal(jax.jit(PAIR.clip)(actions), np.array([[-1, 3], [0.5, 0]], np.float32))
    np.testing.assert_array_equal(Discrete(3).clip(jnp.array([-1, 2, 3])), [0, 2, 2])
    assert PAIR.contains(np.array([[0.0, 3.0]])) and not PAIR.contains(np.asarray(actions))
    assert not PAIR.contains(np.array([np.nan, 0.0]))
    assert Discrete(3).contains(np.array([0, 2])) and not Discrete(3).contains(np.array([-1]))
    assert not Discrete(3).contains(np.array([3]))


@pytest.mark.parametrize(
    "env_id, protocol, options",
    [
        ("Pong-v5", None, {"height": 20, "width": 30, "stack": 2}),
        ("Pong-v5", "nature", {}),
        ("Pong-v5", "origin", {}),
        ("CartPole-v1", None, {}),
        ("Pendulum-v1", None, {}),
        ("Taxi-v3", None, {}),
        ("CliffWalking-v1", None, {}),
        ("HalfCheetah-v5", None, {}),
        ("MiniGrid-Empty-5x5-v0", None, {}),
        ("gymnasium:CartPole-v1", None, {}),
    ],
)
def test_spec_says_what_the_pool_says(env_id, protocol, options):
    asked, pool = spec(env_id, protocol, **options), make(env_id, protocol, 2, num_threads=1, **options)
    assert asked == pool.spec
    assert pool.protocol.name == (protocol or default_protocol(env_id))
    state = pool.reset()
    action = np.zeros((2, *asked.action.shape), asked.action.dtype)
    for observation in (state.observation, jax.jit(pool.step)(state, action)[1].observation):
        assert observation.shape == (2, *asked.observation.shape) and observation.dtype == asked.observation.dtype
