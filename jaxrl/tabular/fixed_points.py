"""Where linear prediction ends, exactly: the limits of gradient Monte Carlo and of semi-gradient TD(0). S&B chapter 9.

With the share μ(s) of time that a policy spends in each state, D = diag(μ), features X and v = X w:

    Monte Carlo    minimises Σ_s μ(s) (v_π(s) − v(s))²:      Xᵀ D X w = Xᵀ D v_π
    TD(0)          makes its expected change 0, (9.12):      Xᵀ D (I − P) X w = Xᵀ D r

The second is not the minimum of the first: S&B bound its error by 1 / (1 − γ) times the least (9.14). A gradient that
also goes through the bootstrap minimises Σ_s μ(s) E[δ² | s] instead, and ends in a third place.
"""

import jax.numpy as jnp
from jax import Array

from jaxrl.tabular.planning import reward_vector, transition_matrix
from jaxrl.tabular.worlds import World


def on_policy(world: World, policy) -> Array:
    """The share of time spent in each state over many episodes: μ [S], (9.2) and (9.3).

    η = h + Pᵀ η with h the first state, P without discounting; μ = η / Σ η.
    """
    undiscounted = world._replace(discount_t=(world.discount_t > 0).astype(world.discount_t.dtype))
    matrix = transition_matrix(undiscounted, policy)
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    visits = jnp.linalg.solve(eye - matrix.T, eye[world.s_0])
    return visits / jnp.sum(visits)


def monte_carlo(features, v, mu) -> Array:
    """Weights [D] of the least error Σ_s μ(s) (v(s) − w · x(s))², from features [S, D], v [S] and μ [S]."""
    weighted = features * mu[:, None]
    return jnp.linalg.solve(weighted.T @ features, weighted.T @ v)


def td(features, world: World, policy, mu) -> Array:
    """Weights [D] that semi-gradient TD(0) leaves as they are on average."""
    weighted = features * mu[:, None]
    after = features - transition_matrix(world, policy) @ features
    return jnp.linalg.solve(weighted.T @ after, weighted.T @ reward_vector(world, policy))


def value_error(w, features, v, mu) -> Array:
    """The root of the mean squared value error, sqrt(Σ_s μ(s) (v(s) − w · x(s))²), (9.1): weighted by μ."""
    return jnp.sqrt(jnp.sum(mu * (v - features @ w) ** 2))


def groups(states: int, count: int) -> Array:
    """State aggregation: x(s) says in which of `count` groups of neighbours a state is, [S, count]. S&B section 9.3.

    Raises: ValueError when the groups would not be of one size.
    """
    if count < 1 or states % count:
        raise ValueError(f"{states} states do not make {count} groups of one size.")
    return jnp.repeat(jnp.eye(count), states // count, axis=0)
