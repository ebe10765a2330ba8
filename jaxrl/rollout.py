"""Act, step, stack: a trajectory [T, N] of one pool, compiled as one scan.

A pool resets itself one step after an episode's end (NEXT_STEP): the row of the end holds the true final
observation; the step after it ignores its action and returns the first observation of the next episode. So
the observation *returned* by a reset row (`valid` False) is the one that is `first`, and the value that the
reset row computes is the value of the final observation, from which a truncated episode bootstraps.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.environments import PoolState
from jaxrl.environments.normalization import init_normalizer, normalize


class ActorState(NamedTuple):
    """What acting carries from step to step, for N environments.

    Attributes:
      pool: the environments.
      observation: the latest observation as the network takes it, [N, H, W, C].
      first: bool [N], it begins an episode.
      memory: the agent's memory.
      normalizer: the observation normaliser's state, or None.
      score: float32 [N], raw return of the game so far.
      length: int32 [N], agent steps of the game so far.
      key: the key of the next action.
    """

    pool: PoolState
    observation: jax.Array
    first: jax.Array
    memory: Any
    normalizer: Any
    score: jax.Array
    length: jax.Array
    key: jax.Array


class Transition(NamedTuple):
    """One step of N environments; a trajectory stacks T of them. Times are those of `a3c.Segment`."""

    observation: jax.Array
    first: jax.Array
    a_t: jax.Array
    r_t: jax.Array
    terminated: jax.Array
    done: jax.Array
    valid: jax.Array
    game_over: jax.Array
    score: jax.Array
    length: jax.Array


def init_normalization(protocol, num_envs: int):
    """The state of the protocol's observation normaliser before any observation, or None."""
    return init_normalizer(num_envs) if protocol.normalization == "exponential" else None


def see(normalizer, observation):
    """An observation as the network takes it, and the normaliser after it."""
    if normalizer is None:
        return None, observation
    return normalize(normalizer, observation)


def init(pool_state: PoolState, memory, normalizer, key) -> ActorState:
    """Start acting in a fresh pool, whose every observation begins an episode."""
    num_envs = pool_state.done.shape[0]
    normalizer, observation = see(normalizer, pool_state.observation)
    return ActorState(
        pool_state,
        observation,
        jnp.ones(num_envs, bool),
        memory,
        normalizer,
        jnp.zeros(num_envs),
        jnp.zeros(num_envs, jnp.int32),
        key,
    )


def step(actor: ActorState, act, pool_step):
    """One step of all environments.

    Args:
      actor: the state before.
      act: `(memory, observation, first, key) -> (a [N], memory)`.
      pool_step: `Pool.step`.

    Returns: the state after, and the Transition.
    """
    key, subkey = jax.random.split(actor.key)
    a_t, memory = act(actor.memory, actor.observation, actor.first, subkey)
    pool, result = pool_step(actor.pool, a_t)
    normalizer, observation = see(actor.normalizer, result.observation)
    score, length = actor.score + result.raw_reward, actor.length + result.valid
    transition = Transition(
        actor.observation,
        actor.first,
        a_t,
        result.reward,
        result.terminated,
        result.terminated | result.truncated,
        result.valid,
        result.game_over,
        score,
        length,
    )
    playing = ~result.game_over
    actor = ActorState(pool, observation, ~result.valid, memory, normalizer, score * playing, length * playing, key)
    return actor, transition


def rollout(actor: ActorState, act, pool_step, num_steps: int):
    """`num_steps` steps in one scan.

    Returns: the state after, and a Transition with [T, N, ...] leaves.
    """
    return lax.scan(lambda actor, _: step(actor, act, pool_step), actor, length=num_steps)
