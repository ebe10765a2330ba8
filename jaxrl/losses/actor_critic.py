"""The actor-critic loss: policy gradient, entropy and value error in one."""

import jax
import jax.numpy as jnp

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp
from jaxrl.losses import choice, weighting


def _actor_critic_fwd(logits, v, a, advantage, target, weight, entropy_coefficient, value_coefficient):
    log_pi = choice.log_probabilities(logits)
    pi = jnp.exp(log_pi)
    log_pi_a = choice.chosen(log_pi, a)
    entropy = -jnp.sum(pi * log_pi, -1)
    error = target - v
    each = -log_pi_a * advantage - entropy_coefficient * entropy + value_coefficient * 0.5 * error * error
    residuals = (log_pi, a, advantage, error, weight, entropy_coefficient, value_coefficient)
    return weighting.total(weight, each), residuals


def _actor_critic_bwd(residuals, dy):
    log_pi, a, advantage, error, weight, entropy_coefficient, value_coefficient = residuals
    pi = jnp.exp(log_pi)
    taken = jax.nn.one_hot(a, pi.shape[-1], dtype=pi.dtype)
    log_pi_a = choice.chosen(log_pi, a)
    entropy = -jnp.sum(pi * log_pi, -1)
    dlogits = advantage[..., None] * (pi - taken) + entropy_coefficient * pi * (log_pi + entropy[..., None])
    dv = -value_coefficient * error
    each = -log_pi_a * advantage - entropy_coefficient * entropy + value_coefficient * 0.5 * error * error
    scale = dy * weight
    return (
        scale[..., None] * dlogits,
        scale * dv,
        None,
        -scale * log_pi_a,
        -scale * dv,
        dy * each,
        -jnp.sum(scale * entropy),
        jnp.sum(scale * 0.5 * error * error),
    )


@custom_vjp
def _actor_critic(logits, v, a, advantage, target, weight, entropy_coefficient, value_coefficient):
    return _actor_critic_fwd(logits, v, a, advantage, target, weight, entropy_coefficient, value_coefficient)[0]


_actor_critic.defvjp(_actor_critic_fwd, _actor_critic_bwd)


def actor_critic_loss(
    logits, v, a, advantage, target, weight, entropy_coefficient=0.01, value_coefficient=0.5
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
      weight: [...]; 0 masks a row.
      entropy_coefficient: β, a scalar (traced or not).
      value_coefficient: c, a scalar (traced or not).

    Returns: a scalar.

    Raises: ValueError on shapes that do not fit, TypeError on types that do not.
    """
    logits, v, advantage, target, weight = checks.floating(
        logits=logits, v=v, advantage=advantage, target=target, weight=weight
    )
    checks.integer("the actions taken", a=a)
    for name, array in {"v": v, "a": a, "advantage": advantage, "target": target, "weight": weight}.items():
        checks.shape(name, array, jnp.shape(logits)[:-1], "logits without its last axis")
    coefficients = (jnp.asarray(c, jnp.result_type(logits)) for c in (entropy_coefficient, value_coefficient))
    a = choice.within(a, jnp.shape(logits)[-1])
    return _actor_critic(logits, v, a, advantage, target, weight, *coefficients)
