"""Planning in a known world, dynamic programming: the values of a policy, and the best policy. S&B chapter 4.

    q(s, a) = Σ_k p_k (r_k + γ_k v(s_k))          v_π(s) = Σ_a π(a|s) q(s, a)          v*(s) = max_a q(s, a)

A policy is a table of probabilities [S, A]. A sweep computes every state once, from the values before the sweep, or, in
place, from the newest values, state by state. A common mistake is to bootstrap from a terminal state: here γ_k is 0
there, whatever the table of values says. Another is to keep one of several equally good actions, so that rounding
decides which, now so and now so, and policy iteration does not end.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.losses.weighting import times
from jaxrl.tabular import policies
from jaxrl.tabular.worlds import World, present, uniform

MOST = 300_000  # sweeps; more says that there is no end
MOST_POLICIES = 1_000  # a handful is usual


class Plan(NamedTuple):
    """Values [S], a policy [S, A], and the sweeps of each evaluation."""

    v: jax.Array
    policy: jax.Array
    sweeps: list[int]


def action_values(world: World, v) -> jax.Array:
    """q(s, a) = Σ_k p_k (r_k + γ_k v(s_k)), [S, A], from v [S]; −∞ for an action that a state has not."""
    q = jnp.sum(world.probability * (world.r_t + times(world.discount_t, v[world.s_t])), 2)
    return jnp.where(present(world), q, -jnp.inf)


def expectation(policy, q) -> jax.Array:
    """Σ_a π(a|s) q(s, a), [S]: (4.4)."""
    return jnp.sum(times(policy, q), 1)


def state_of(world: World, s) -> World:
    """The part of a world that one state has, as a world of one state."""
    return world._replace(**{
        name: leaf[s][None] for name, leaf in world._asdict().items() if name != "s_0" and leaf is not None
    })  # fmt: skip


@partial(jax.jit, static_argnames=("value", "in_place"))
def sweep_until(world: World, policy, v, threshold, value, in_place: bool):
    """Sweeps until no value changes by `threshold` or more: v, and how many sweeps, the last one included."""

    def sweep(v):
        if not in_place:
            return value(policy, action_values(world, v))

        def at(s, v):
            return v.at[s].set(value(policy[s][None], action_values(state_of(world, s), v))[0])

        return lax.fori_loop(0, len(v), at, v)

    def body(carry):
        v, sweeps, _ = carry
        new = sweep(v)
        return new, sweeps + 1, jnp.max(jnp.abs(new - v))

    def more(carry):
        return (carry[2] >= threshold) & (carry[1] < MOST)

    return lax.while_loop(more, body, (v, 0, jnp.asarray(jnp.inf, v.dtype)))[:2]


def evaluate(world: World, policy, v=None, threshold: float = 1e-3, in_place: bool = False):
    """The values of a policy by sweeps: S&B section 4.1.

    Args:
      world: the table.
      policy: probabilities [S, A].
      v: first values [S]; 0 where None.
      threshold: sweeps end when no value changes by this much.
      in_place: whether a sweep uses its own newest values.

    Returns: v [S], and the number of sweeps.

    Raises: ValueError for a policy of another shape, a threshold that is not above 0, and where sweeps do not end.
    """
    _check(world, policy, threshold)
    v = jnp.zeros(len(policy), world.r_t.dtype) if v is None else jnp.asarray(v, world.r_t.dtype)
    return _until(world, policy, v, threshold, expectation, in_place)


def _until(world, policy, v, threshold, value, in_place):
    v, sweeps = sweep_until(world, policy, v, threshold, value, in_place)
    if sweeps >= MOST:
        raise ValueError(
            f"the values still change by {threshold} after {MOST:,} sweeps; use a gamma below 1 or a larger threshold."
        )
    return v, int(sweeps)


def transition_matrix(world: World, policy) -> jax.Array:
    """P[s, s'] = Σ_a π(a|s) Σ_k p_k γ_k [s_k = s'], [S, S]: its rows add up to less than 1 where episodes end."""
    weight = policy[:, :, None] * world.probability * world.discount_t
    start = jnp.zeros((len(policy), len(policy)), weight.dtype)
    return jax.vmap(lambda row, s_t, w: row.at[s_t.ravel()].add(w.ravel()))(start, world.s_t, weight)


def reward_vector(world: World, policy) -> jax.Array:
    """r[s] = Σ_a π(a|s) Σ_k p_k r_k, [S]."""
    return jnp.sum(policy[:, :, None] * world.probability * world.r_t, (1, 2))


def solve(world: World, policy) -> jax.Array:
    """The values of a policy by one linear system, (I − P) v = r: [S].

    Raises: ValueError for a policy of another shape, and where the system has no solution: an episode that never ends
    under the policy, with γ = 1.
    """
    _check(world, policy, 1.0)
    matrix = transition_matrix(world, policy)
    v = jnp.linalg.solve(jnp.eye(len(matrix), dtype=matrix.dtype) - matrix, reward_vector(world, policy))
    if not jnp.isfinite(v).all():
        raise ValueError("the policy has no finite values: with gamma 1 every episode must end.")
    return v


def improve(world: World, v) -> jax.Array:
    """The greedy policy, [S, A], with all of the best actions: S&B section 4.2."""
    return jax.vmap(lambda q: policies.greedy(q, policies.TOLERANCE))(action_values(world, v))


def policy_iteration(world: World, policy=None, threshold: float = 1e-3, in_place: bool = False) -> Plan:
    """Evaluate, improve, until the policy stays: S&B section 4.3. Values are kept from one policy to the next.

    Args:
      world: the table.
      policy: the first one [S, A]; that of equal probabilities where None.
      threshold, in_place: as `evaluate` has them.

    Returns: the values, the policy, and the sweeps of each evaluation.

    Raises: ValueError as `evaluate` does, and where the policy still changes after a thousand improvements.
    """
    policy = uniform(world) if policy is None else policy
    v, counts = None, []
    while len(counts) < MOST_POLICIES:
        v, sweeps = evaluate(world, policy, v, threshold, in_place)
        counts.append(sweeps)
        better = improve(world, v)
        if bool(jnp.all(better == policy)):
            return Plan(v, policy, counts)
        policy = better
    raise ValueError(f"the policy still changes after {MOST_POLICIES:,} improvements; use a smaller threshold.")


def best(policy, q) -> jax.Array:
    """max_a q(s, a), [S]; the policy has no part in it."""
    del policy
    return jnp.max(q, 1)


def value_iteration(world: World, v=None, threshold: float = 1e-3, in_place: bool = False) -> Plan:
    """Sweeps of v(s) ← max_a q(s, a), (4.10), and the greedy policy at the end: S&B section 4.4.

    Args, raises: as `evaluate`.

    Returns: the values, the policy, and the number of sweeps, alone in a list.
    """
    policy = uniform(world)
    _check(world, policy, threshold)
    v = jnp.zeros(len(policy), world.r_t.dtype) if v is None else jnp.asarray(v, world.r_t.dtype)
    v, sweeps = _until(world, policy, v, threshold, best, in_place)
    return Plan(v, improve(world, v), [sweeps])


def _check(world, policy, threshold):
    if jnp.shape(policy) != world.probability.shape[:2]:
        raise ValueError(f"a policy is of the shape {world.probability.shape[:2]} here; got {jnp.shape(policy)}.")
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0; got {threshold}.")
