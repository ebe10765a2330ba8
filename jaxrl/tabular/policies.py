"""How to act on values: probabilities of actions, and an action drawn from them. For one state; `vmap` batches it."""

import jax
import jax.numpy as jnp

TOLERANCE = 1e-6  # relative; values that differ by less are equal but for the rounding of float32


def greedy(q, tolerance: float = 0.0) -> jax.Array:
    """Equal probabilities for all of the best actions.

        π(a) = 1 / |M| where a ∈ M,   M = {a: q[a] ≥ max q − tolerance · max(1, |max q|)}

    All maximisers are kept: to take the first of them prefers action 0 wherever nothing is known yet, and a tie that
    rounding breaks now so and now so would keep policy iteration from ending.

    Args:
      q: values [A]; −∞ for an action that the state has not.
      tolerance: what counts as equal.

    Returns: probabilities [A].

    Raises: ValueError when q is not a vector.
    """
    _vector("greedy", q)
    best = jnp.max(q)
    margin = tolerance * jnp.maximum(1.0, jnp.abs(best)) if tolerance else 0.0  # of an infinite value there is none
    among = q >= best - margin
    return among / jnp.sum(among)


def epsilon_greedy(q, epsilon) -> jax.Array:
    """With probability ε any action, otherwise one of the best: S&B section 2.2.

        π(a) = ε / |A(s)| + (1 − ε) greedy(q)[a]

    Args:
      q: values [A]; −∞ for an action that the state has not.
      epsilon: [].

    Returns: probabilities [A].

    Raises: ValueError when q is not a vector.
    """
    present = q > -jnp.inf
    return epsilon * present / jnp.sum(present) + (1.0 - epsilon) * greedy(q)


def draw(key, probability) -> jax.Array:
    """An index drawn with these probabilities, by one uniform number u: the first i with Σ_{j≤i} p_j > u Σ_j p_j.

    Args:
      key: of `jax.random`.
      probability: [N], not negative; what has 0 is never drawn.

    Returns: int32 [].

    Raises: ValueError when the probabilities are not a vector.
    """
    _vector("draw", probability)
    return draw_below(key, jnp.cumsum(probability))


def draw_below(key, reached) -> jax.Array:
    """`draw`, from the sums Σ_{j≤i} p_j, [N], where they are known: of long rows they cost more than the draw."""
    return jnp.sum(reached <= jax.random.uniform(key, (), reached.dtype) * reached[-1], dtype=jnp.int32)


def _vector(name, values):
    if jnp.ndim(values) != 1:
        raise ValueError(f"{name} takes a vector (vmap it over states); got {jnp.shape(values)}.")
