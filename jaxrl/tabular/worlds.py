"""Worlds whose rules are known: finite Markov decision processes as tables of outcomes, and the book's examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.tabular import policies


class World(NamedTuple):
    """S states, A actions in each, and up to K outcomes of every pair.

    probability: of each outcome [S, A, K]; all 0 for an action that a state has not.
    r_t: its reward [S, A, K].
    discount_t: its discount [S, A, K]; 0 where the episode ends.
    s_t: the state that follows, int32 [S, A, K]; of no account where the episode ends.
    s_0: the state in which episodes begin, int32 [].
    reached: Σ of the probabilities up to each outcome, from which outcomes are drawn [S, A, K].
    deviation: standard deviation of a normal reward around r_t [S, A, K]; None where rewards are certain.
    """

    probability: jax.Array
    r_t: jax.Array
    discount_t: jax.Array
    s_t: jax.Array
    s_0: jax.Array
    reached: jax.Array
    deviation: jax.Array | None = None


class Outcome(NamedTuple):
    """What came of an action."""

    r_t: jax.Array
    discount_t: jax.Array
    s_t: jax.Array


def step(world: World, key, s_tm1, a_tm1) -> Outcome:
    """An outcome of an action in a state, drawn from the table.

    Args:
      world: the table.
      key: of `jax.random`.
      s_tm1, a_tm1: int32 [].

    Returns: r_t, discount_t and s_t, [] each.
    """
    key, subkey = jax.random.split(key)
    k = policies.draw_below(subkey, world.reached[s_tm1, a_tm1]) if world.reached.shape[2] > 1 else 0
    r_t, discount_t, s_t = (leaf[s_tm1, a_tm1, k] for leaf in (world.r_t, world.discount_t, world.s_t))
    if world.deviation is not None:
        r_t = r_t + world.deviation[s_tm1, a_tm1, k] * jax.random.normal(key)
    return Outcome(r_t, discount_t, s_t)


def discounted(world: World, gamma: float) -> World:
    """The same world with every discount times γ.

    Raises: ValueError for a γ that is not above 0 and at most 1: 0 would end every episode at once.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be above 0 and at most 1; got {gamma}.")
    return world._replace(discount_t=world.discount_t * gamma)


def present(world: World) -> jax.Array:
    """Which actions each state has: bool [S, A]."""
    return jnp.sum(world.probability, 2) > 0


def uniform(world: World) -> jax.Array:
    """The policy that takes all actions alike: [S, A]."""
    has = present(world)
    return has / jnp.sum(has, 1, keepdims=True)


def from_table(table: dict, s_0: int = 0) -> World:
    """A world from a table of Gymnasium's toy text, `env.unwrapped.P`.

    Args:
      table: for each state and action a list of (probability, next state, reward, terminated).
      s_0: the state in which episodes begin.

    Returns: the world with discounts of 1, and 0 where an outcome terminates.

    Raises: ValueError for a pair whose probabilities do not add up to 1.
    """
    shape = len(table), len(table[0]), max(len(outcomes) for row in table.values() for outcomes in row.values())
    probability, r_t, going_on, s_t = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int32)
    for s, row in table.items():
        for a, outcomes in row.items():
            for k, (p, after, reward, terminated) in enumerate(outcomes):
                probability[s, a, k], r_t[s, a, k] = p, reward
                going_on[s, a, k], s_t[s, a, k] = not terminated, after
    wrong = np.argwhere(np.abs(probability.sum(2) - 1) > 1e-6)
    if wrong.size:
        s, a = wrong[0]
        raise ValueError(f"the probabilities of state {s}, action {a} add up to {probability[s, a].sum():g}, not 1.")
    return make(probability, r_t, going_on, s_t, s_0)


def make(probability, r_t, discount_t, s_t, s_0: int, deviation=None) -> World:
    """A world from arrays [S, A, K]."""
    probability, r_t, discount_t = (jnp.asarray(leaf, float) for leaf in (probability, r_t, discount_t))
    deviation = None if deviation is None else jnp.asarray(deviation, float)
    s_t, s_0 = jnp.asarray(s_t, jnp.int32), jnp.int32(s_0)
    return World(probability, r_t, discount_t, s_t, s_0, jnp.cumsum(probability, 2), deviation)


def walk(states: int, reach: int = 1) -> World:
    """A random walk on a line: to the left or right by 1 to `reach` states; −1 past the left end, 1 past the right one.

    `walk(19)` is that of S&B example 7.1, `walk(1000, 100)` that of example 9.1. There is one action, and the walk
    begins in the middle.

    Raises: ValueError for fewer than 2 states or a reach below 1.
    """
    if states < 2 or reach < 1:
        raise ValueError(f"a walk needs 2 states and a reach of 1 or more; got {states} and {reach}.")
    jump = np.concatenate([np.arange(-reach, 0), np.arange(1, reach + 1)])
    after = np.arange(states)[:, None] + jump
    inside = (0 <= after) & (after < states)
    r_t = np.where(inside, 0, np.sign(jump))
    parts = np.full_like(r_t, 1 / len(jump), float), r_t, inside, np.where(inside, after, 0)
    return make(*(part[:, None, :] for part in parts), s_0=(states - 1) // 2)


LEFT, RIGHT = 0, 1


def maximisation_bias(actions: int = 10) -> World:
    """S&B example 6.7: right ends with 0; left leads to a state whose actions all end with a reward from N(−0.1, 1).

    State 0 has the actions left and right, state 1 has `actions` of them.

    Raises: ValueError for fewer than 2 actions.
    """
    if actions < 2:
        raise ValueError(f"actions must be at least 2; got {actions}.")
    shape = 2, actions, 1
    probability, r_t, going_on, deviation = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    probability[0, :2], probability[1] = 1, 1
    going_on[0, LEFT] = 1
    r_t[1], deviation[1] = -0.1, 1
    return make(probability, r_t, going_on, np.ones(shape), 0, deviation)
