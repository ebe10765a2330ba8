"""Q-values from a state value and advantages."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp
from jaxrl.layers.softmax import below


def _sum(dq):
    return dq @ jnp.ones(dq.shape[-1], dq.dtype)  # a product is faster than a sum


def _mean_fwd(v, advantage):
    return v[..., None] + (advantage - advantage.mean(-1, keepdims=True)), None


def _mean_bwd(_, dq):
    total = _sum(dq)
    return total, dq - (total / dq.shape[-1])[..., None]


@custom_vjp
def _mean(v, advantage):
    return _mean_fwd(v, advantage)[0]


_mean.defvjp(_mean_fwd, _mean_bwd)


def _best(advantage):
    return jnp.argmax(advantage, -1, keepdims=True).astype(jnp.int32)


@jax.custom_jvp
def _largest(advantage):
    """The maximum; its gradient goes to the first entry that attains it. Autodiff would split it among ties."""
    return advantage.max(-1, keepdims=True)


@_largest.defjvp
def _largest_jvp(primals, tangents):
    (advantage,), (dadvantage,) = primals, tangents
    return _largest(advantage), jnp.sum(_at(_best(advantage), dadvantage), -1, keepdims=True)


def _max_fwd(v, advantage):
    return v[..., None] + below(_largest(advantage), advantage), _best(advantage)


def _max_bwd(best, dq):
    total = _sum(dq)
    return total, dq - _at(best, jnp.broadcast_to(total[..., None], dq.shape))


def _at(best, a):
    """a [..., A] at the best action, 0 elsewhere."""
    return jnp.where(lax.broadcasted_iota(jnp.int32, a.shape, a.ndim - 1) == best, a, jnp.zeros((), a.dtype))


@custom_vjp
def _max(v, advantage):
    return _max_fwd(v, advantage)[0]


_max.defvjp(_max_fwd, _max_bwd)

COMBINE = {"mean": _mean, "max": _max}


def dueling(v, advantage, combine="mean") -> jax.Array:
    """Q-values from a value and advantages, of which only the differences count.

        mean:  q_a = v + A_a − 1/|A| Σ_b A_b         dv = Σ_a dq_a      dA_a = dq_a − 1/|A| Σ_b dq_b
        max:   q_a = v + A_a − max_b A_b             dv = Σ_a dq_a      dA_a = dq_a − [a = argmax A] Σ_b dq_b

    Where several advantages tie for the maximum the first takes the gradient. Source: "Dueling network architectures"
    by Wang et al. (https://arxiv.org/abs/1511.06581), equations 8 (max) and 9 (mean).

    Args:
      v: [...].
      advantage: [..., A].
      combine: "mean" or "max".

    Returns: q [..., A].

    Raises: ValueError on shapes that do not fit or another `combine`, TypeError on arguments not floating-point.
    """
    v, advantage = checks.floating(v=v, advantage=advantage)
    if not jnp.ndim(advantage) or not advantage.shape[-1]:
        raise ValueError(f"advantage has shape {jnp.shape(advantage)}; expected [..., A] with at least one action.")
    checks.shape("v", v, advantage.shape[:-1], "advantage without its last axis")
    if combine not in tuple(COMBINE):
        raise ValueError(f'combine must be "mean" or "max"; got {combine!r}.')
    return COMBINE[combine](v, advantage)
