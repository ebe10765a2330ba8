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


class Row(NamedTuple):
    """What an agent learns from in one step of N environments, besides the observation before it.

    Attributes:
      first: bool [N], the observation before the action begins an episode.
      a_t: the actions, [N] or [N, ...].
      r_t: float32 [N], the rewards.
      terminated: bool [N], nothing comes after this step.
      done: bool [N], the episode ended here, terminated or truncated.
      valid: bool [N], False where the environment reset itself and ignored the action.
    """

    first: jax.Array
    a_t: jax.Array
    r_t: jax.Array
    terminated: jax.Array
    done: jax.Array
    valid: jax.Array


class Games(NamedTuple):
    """What the log counts in one step of N environments.

    Attributes:
      valid: bool [N], as in `Row`.
      game_over: bool [N], the whole game ended.
      score: float32 [N], raw return of the game so far.
      length: int32 [N], agent steps of the game so far.
    """

    valid: jax.Array
    game_over: jax.Array
    score: jax.Array
    length: jax.Array


class Transition(NamedTuple):
    """One step of N environments, or with a leading axis T of them.

    Attributes:
      observation: as the network took it, [N, ...].
      row: what came of it.
      extras: what `act` gave besides the action.
      games: for the log.
    """

    observation: jax.Array
    row: Row
    extras: Any
    games: Games


class Trajectory(NamedTuple):
    """What N environments gave in T steps, and the observation after, whose value the last step bootstraps from.

    Attributes:
      memory: the agent's before the first step, [N, ...] a leaf.
      observation: before each step, [T, N, ...].
      row: [T, N, ...] a leaf.
      extras: [T, ...] a leaf.
      next_observation: after the last step, [N, ...].
      next_first: bool [N], it begins an episode.
    """

    memory: Any
    observation: jax.Array
    row: Row
    extras: Any
    next_observation: jax.Array
    next_first: jax.Array


class ActorState(NamedTuple):
    """What acting carries from step to step, for N environments.

    Attributes:
      pool: the environments.
      observation: the latest observation as the network takes it, [N, ...].
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


def init_normalization(protocol, num_envs: int):
    """The state of the protocol's observation normaliser before any observation, or None."""
    return init_normalizer(num_envs) if protocol.normalization == "exponential" else None


def shared_normalizer(normalizer, num_envs: int):
    """The mean of a normaliser's per-environment state, for another number of environments."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.mean(leaf, 0), (num_envs,)).astype(leaf.dtype), normalizer)


def observe(normalizer, observation):
    """An observation as the network takes it, and the normaliser after it."""
    if normalizer is None:
        return None, observation
    return normalize(normalizer, observation)


def init(pool_state: PoolState, memory, normalizer, key) -> ActorState:
    """Start acting in a fresh pool, whose every observation begins an episode."""
    num_envs = pool_state.done.shape[0]
    normalizer, observation = observe(normalizer, pool_state.observation)
    first, score, length = jnp.ones(num_envs, bool), jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32)
    return ActorState(pool_state, observation, first, memory, normalizer, score, length, key)


def step(actor: ActorState, act, pool_step) -> tuple[ActorState, Transition]:
    """One step of all environments.

    Args:
      actor: the state before.
      act: `(memory, observation, first, key) -> (a [N, ...], memory, extras)`.
      pool_step: `Pool.step`.

    Returns: the state after, and the Transition.
    """
    key, subkey = jax.random.split(actor.key)
    a_t, memory, extras = act(actor.memory, actor.observation, actor.first, subkey)
    pool, result = pool_step(actor.pool, a_t)
    normalizer, observation = observe(actor.normalizer, result.observation)
    score, length = actor.score + result.raw_reward, actor.length + result.valid
    done = result.terminated | result.truncated
    row = Row(actor.first, a_t, result.reward, result.terminated, done, result.valid)
    games = Games(result.valid, result.game_over, score, length)
    playing = ~result.game_over
    after = ActorState(pool, observation, ~result.valid, memory, normalizer, score * playing, length * playing, key)
    return after, Transition(actor.observation, row, extras, games)


def rollout(actor: ActorState, act, pool_step, num_steps: int) -> tuple[ActorState, Transition]:
    """`num_steps` steps in one scan.

    Returns: the state after, and a Transition with [T, N, ...] leaves.
    """
    return lax.scan(lambda actor, _: step(actor, act, pool_step), actor, length=num_steps)


def collect(actor: ActorState, act, pool_step, num_steps: int) -> tuple[ActorState, Trajectory, Games]:
    """The same as `rollout`, in the form that an agent learns from.

    Returns: the state after, the Trajectory, and its Games [T, N].
    """
    after, steps = rollout(actor, act, pool_step, num_steps)
    trajectory = Trajectory(
        actor.memory, steps.observation, steps.row, steps.extras, after.observation, after.first
    )
    return after, trajectory, steps.games


def acting_frozen(policy, params, greedy: bool = False):
    """A `Policy` with its parameters, as the `act` of `step`."""

    def act(memory, observation, first, key):
        return *policy.act(params, memory, observation, first, key, greedy=greedy), ()

    return act
