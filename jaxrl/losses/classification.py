"""Cross-entropies: from labels, from probabilities, and from bits."""

import jax
import jax.numpy as jnp

from jaxrl.layers import checks
from jaxrl.layers.activations import plain_sigmoid
from jaxrl.layers.derived import custom_vjp
from jaxrl.layers.softmax import plain_log_softmax
from jaxrl.losses import choice
from jaxrl.losses.weighting import times, weighed


def _cross_entropy_fwd(logits, labels):
    log_p = plain_log_softmax(logits)
    return -choice.chosen(log_p, labels), (log_p, labels)


def _cross_entropy_bwd(residuals, dy):
    log_p, labels = residuals
    label = jax.nn.one_hot(labels, log_p.shape[-1], dtype=log_p.dtype)
    return times(dy[..., None], jnp.exp(log_p) - label), None


@custom_vjp
def _cross_entropy(logits, labels):
    return _cross_entropy_fwd(logits, labels)[0]


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)


def softmax_cross_entropy(logits, labels, weight=None, reduction=None) -> jax.Array:
    """Negative log-likelihood of the right class, from logits.

        L = −Σ weight log p_label,   p = softmax(logits)           dlogits_k = weight (p_k − δ_{k, label})

    Args:
      logits: [..., K].
      labels: int [...], from 0 to K − 1; one beyond an end counts as that end.
      weight: [...], or a scalar; None for the mean.
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or an unknown reduction, TypeError on types that do not.
    """
    (logits,) = checks.floating(logits=logits)
    checks.integer("the classes", labels=labels)
    checks.shape("labels", labels, jnp.shape(logits)[:-1], "logits without its last axis")
    labels = choice.within(labels, logits.shape[-1])
    return weighed(_cross_entropy, (logits, labels), logits.shape[:-1], weight, reduction)


def _binary_each(logits, targets):
    small, below = jnp.log1p(jnp.exp(-jnp.abs(logits))), logits < 0
    return small + times(targets, jnp.where(below, -logits, 0)) + times(1 - targets, jnp.where(below, 0, logits))


def _binary_fwd(logits, targets):
    return _binary_each(logits, targets), (logits, targets)


def _binary_bwd(residuals, dy):
    logits, targets = residuals
    return times(dy, plain_sigmoid(logits) - targets), -times(dy, logits)


@custom_vjp
def _binary(logits, targets):
    return _binary_fwd(logits, targets)[0]


_binary.defvjp(_binary_fwd, _binary_bwd)


def binary_cross_entropy(logits, targets, weight=None, reduction=None) -> jax.Array:
    """Negative log-likelihood of a yes or no, from its logit.

        L = −Σ weight [ t log σ(z) + (1 − t) log σ(−z) ]
          = Σ weight [ log(1 + e^(−|z|)) + t max(−z, 0) + (1 − t) max(z, 0) ]
        dz = weight (σ(z) − t)             dt = −weight z

    The second line is the first because −log σ(z) = softplus(−z) = log(1 + e^(−|z|)) + max(−z, 0); it has one
    exponential, which cannot overflow, and loses no digits where the loss is small.

    Args:
      logits: z, any shape.
      targets: t, the same shape, between 0 and 1.
      weight: the same shape, or a scalar; None for the mean.
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or an unknown reduction, TypeError on arguments that are not
    floating-point.
    """
    logits, targets = checks.same_shape(logits=logits, targets=targets)
    return weighed(_binary, (logits, targets), logits.shape, weight, reduction)


def _cross_entropy_to_fwd(logits, p):
    log_q = plain_log_softmax(logits)
    return -jnp.sum(times(p, log_q), -1), (log_q, p)


def _cross_entropy_to_bwd(residuals, dy):
    log_q, p = residuals
    dy = dy[..., None]
    dlogits = times(dy, jnp.exp(log_q) * jnp.sum(p, -1, keepdims=True) - p)
    return dlogits, -times(dy, log_q)


@custom_vjp
def _cross_entropy_to(logits, p):
    return _cross_entropy_to_fwd(logits, p)[0]


_cross_entropy_to.defvjp(_cross_entropy_to_fwd, _cross_entropy_to_bwd)


def categorical_cross_entropy(logits, p, weight=None, reduction=None) -> jax.Array:
    """Cross-entropy of a predicted distribution to a given one.

        L = −Σ weight Σ_k p_k log q_k,   q = softmax(logits)
        dlogits_k = weight (q_k Σ_j p_j − p_k)          dp_k = −weight log q_k

    It is the loss of C51, where p is a projected target: "A distributional perspective on reinforcement learning" by
    Bellemare et al. (https://arxiv.org/abs/1707.06887).

    Args:
      logits: [..., K].
      p: [..., K], probabilities.
      weight: [...], or a scalar; None for the mean.
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or an unknown reduction, TypeError on arguments that are not
    floating-point.
    """
    logits, p = checks.same_shape(logits=logits, p=p)
    return weighed(_cross_entropy_to, (logits, p), logits.shape[:-1], weight, reduction)
