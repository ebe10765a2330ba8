"""The actor-critic loss: policy gradient, entropy and value error in one."""

import jax
import jax.numpy as jnp

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp
from jaxrl.layers.softmax import plain_log_softmax
from jaxrl.losses import choice
from jaxrl.losses.weighting import times, weighed


def _actor_critic_fwd(logits, v, a, advantage, target, entropy_coefficient, value_coefficient):
    log_pi = plain_log_softmax(logits)
    pi = jnp.exp(log_pi)
    log_pi_a = choice.chosen(log_pi, a)
    entropy = -jnp.sum(times(pi, log_pi), -1)
    error = target - v
    each = -times(advantage, log_pi_a) - entropy_coefficient * entropy + times(value_coefficient, 0.5 * error * error)
    return each, (log_pi, a, advantage, error, entropy_coefficient, value_coefficient)


def _actor_critic_bwd(residuals, dy):
    log_pi, a, advantage, error, entropy_coefficient, value_coefficient = residuals
    pi = jnp.exp(log_pi)
    taken = jax.nn.one_hot(a, pi.shape[-1], dtype=pi.dtype)
    log_pi_a = choice.chosen(log_pi, a)
    entropy = -jnp.sum(times(pi, log_pi), -1)
    dlogits = times(pi - taken, advantage[..., None])
    dlogits += times(entropy_coefficient[..., None] * pi, log_pi + entropy[..., None])
    dtarget = times(dy, times(value_coefficient, error))
    return (
        times(dy[..., None], dlogits),
        -dtarget,
        None,
        -times(dy, log_pi_a),
        dtarget,
        -times(dy, entropy),
        times(dy, 0.5 * error * error),
    )


@custom_vjp
def _actor_critic(logits, v, a, advantage, target, entropy_coefficient, value_coefficient):
    return _actor_critic_fwd(logits, v, a, advantage, target, entropy_coefficient, value_coefficient)[0]


_actor_critic.defvjp(_actor_critic_fwd, _actor_critic_bwd)


def actor_critic_loss(
    logits, v, a, advantage, target, weight=None, entropy_coefficient=0.01, value_coefficient=0.5, reduction=None
) -> jax.Array:
    """Policy gradient with entropy, and value error.

        L = Σ weight [ −log π(a) A − β H(π) + ½ c (G − v)² ],     π = softmax(logits),  H = −Σ_k π_k log π_k

    With ∂log π_a/∂z_k = δ_ak − π_k and ∂H/∂z_k = −π_k (log π_k + H), a row's gradients before its weight are

        dlogits_k = A (π_k − δ_ak) + β π_k (log π_k + H)              dv = −c (G − v)
        dA = −log π_a      dG = c (G − v)      dβ = −H      dc = ½ (G − v)²

    The advantage and the target are arguments like any other: stop their gradient where they are made.
    Source: "Asynchronous methods for deep reinforcement learning" by Mnih et al.
    (https://arxiv.org/abs/1602.01783).

    Args:
      logits: [..., A]; −∞ for an action that cannot be taken.
      v: values [...].
      a: actions, int [...], from 0 to A − 1; one beyond an end counts as that end.
      advantage: A [...].
      target: G [...].
      weight: [...], or a scalar; None for the mean.
      entropy_coefficient: β, a scalar (traced or not).
      value_coefficient: c, a scalar (traced or not).
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Returns: a scalar.

    Raises: ValueError on shapes that do not fit or an unknown reduction, TypeError on types that do not.
    """
    logits, v, advantage, target = checks.floating(logits=logits, v=v, advantage=advantage, target=target)
    checks.integer("the actions taken", a=a)
    for name, array in {"v": v, "a": a, "advantage": advantage, "target": target}.items():
        checks.shape(name, array, logits.shape[:-1], "logits without its last axis")
    coefficients = {"entropy_coefficient": entropy_coefficient, "value_coefficient": value_coefficient}
    for name, coefficient in coefficients.items():
        checks.shape(name, coefficient, (), "one number for all rows")
    # One for each row, because a masked row must have no part in their gradients.
    coefficients = [jnp.broadcast_to(jnp.asarray(c, logits.dtype), v.shape) for c in coefficients.values()]
    a = choice.within(a, logits.shape[-1])
    return weighed(_actor_critic, (logits, v, a, advantage, target, *coefficients), v.shape, weight, reduction)
