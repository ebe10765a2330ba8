"""Losses: scalars with derived gradients.

A loss is Σ weight · (loss of a row) over all rows, so that one argument masks, averages and takes importance weights.
A weight is one number for each row, or one for all; where it is left out it is 1 / (number of rows), and the loss is
the mean. It has a gradient like any other argument: the loss of its row, or of all.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks, log_softmax, sigmoid, softplus, tanh


def _actor_critic_fwd(logits, v, a, advantage, target, weight, entropy_coefficient, value_coefficient):
    log_pi = log_softmax(logits)
    pi = jnp.exp(log_pi)
    log_pi_a = jnp.take_along_axis(log_pi, a[..., None], -1)[..., 0]
    entropy = -jnp.sum(pi * log_pi, -1)
    error = target - v
    each = -log_pi_a * advantage - entropy_coefficient * entropy + value_coefficient * 0.5 * error * error
    residuals = (log_pi, a, advantage, error, weight, entropy_coefficient, value_coefficient)
    return jnp.sum(weight * each), residuals


def _actor_critic_bwd(residuals, dy):
    log_pi, a, advantage, error, weight, entropy_coefficient, value_coefficient = residuals
    pi = jnp.exp(log_pi)
    taken = jax.nn.one_hot(a, pi.shape[-1], dtype=pi.dtype)
    log_pi_a = jnp.sum(taken * log_pi, -1)
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


@jax.custom_vjp
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
      logits: [..., A].
      v: values [...].
      a: actions, int [...].
      advantage: A [...].
      target: G [...].
      weight: [...]; 0 masks a row.
      entropy_coefficient: β, a scalar (traced or not).
      value_coefficient: c, a scalar (traced or not).

    Returns: a scalar.

    Raises: ValueError on shapes that do not fit, TypeError on types that do not.
    """
    checks.floating(logits=logits, v=v, advantage=advantage, target=target, weight=weight)
    checks.integer("the actions taken", a=a)
    for name, array in {"v": v, "a": a, "advantage": advantage, "target": target, "weight": weight}.items():
        checks.shape(name, array, jnp.shape(logits)[:-1], "logits without its last axis")
    coefficients = (jnp.asarray(c, jnp.result_type(logits)) for c in (entropy_coefficient, value_coefficient))
    return _actor_critic(logits, v, a, advantage, target, weight, *coefficients)


def _weights(weight, rows, like):
    """The weight as given, or what makes the sum a mean."""
    if weight is None:
        return jnp.asarray(1 / max(math.prod(rows), 1), jnp.result_type(like))
    checks.floating(weight=weight)
    if jnp.ndim(weight):
        checks.shape("weight", weight, rows, "one number for each row, or one for all")
    return jnp.asarray(weight, jnp.result_type(like))


def _total(weight, each):
    """Σ weight · each."""
    return jnp.sum(weight * each) if weight.ndim else weight * jnp.sum(each)


def _dweight(weight, dy, each):
    """The gradient of the weight from the loss of each row."""
    return dy * (each if weight.ndim else jnp.sum(each))


def _over_entries(scale):
    """A number for each row, or one for all, in a form that multiplies rows of entries."""
    return scale[..., None] if scale.ndim else scale


def _same_shape(**arrays):
    """Raise unless all hold floating-point numbers and have the shape of the first."""
    checks.floating(**arrays)
    (first, shape), *others = ((name, jnp.shape(array)) for name, array in arrays.items())
    for name, _ in others:
        checks.shape(name, arrays[name], shape, f"that of {first}")


def _half_square(error):
    return 0.5 * (error * error)  # the square in brackets: XLA knows one, and (0.5 * error) * error is none


def _squared_fwd(prediction, target, weight):
    error = target - prediction
    return _total(weight, _half_square(error)), (error, weight)


def _squared_bwd(residuals, dy):
    error, weight = residuals
    dtarget = dy * weight * error
    return -dtarget, dtarget, _dweight(weight, dy, _half_square(error))


@jax.custom_vjp
def _squared(prediction, target, weight):
    return _squared_fwd(prediction, target, weight)[0]


_squared.defvjp(_squared_fwd, _squared_bwd)


def squared_loss(prediction, target, weight=None) -> jax.Array:
    """Half the squared error.

        L = Σ weight ½ e²,  e = target − prediction        dprediction = −weight e        dtarget = weight e

    Args:
      prediction: any shape.
      target: the same shape.
      weight: the same shape, or a scalar; None for the mean.

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    _same_shape(prediction=prediction, target=target)
    return _squared(prediction, target, _weights(weight, jnp.shape(prediction), prediction))


def _huber_each(delta, error):
    size = jnp.abs(error)
    return jnp.where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta))


def _huber_fwd(delta, prediction, target, weight):
    error = target - prediction
    return _total(weight, _huber_each(delta, error)), (error, weight)


def _huber_bwd(delta, residuals, dy):
    error, weight = residuals
    dtarget = dy * weight * jnp.clip(error, -delta, delta)
    return -dtarget, dtarget, _dweight(weight, dy, _huber_each(delta, error))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _huber(delta, prediction, target, weight):
    return _huber_fwd(delta, prediction, target, weight)[0]


_huber.defvjp(_huber_fwd, _huber_bwd)


def huber_loss(prediction, target, weight=None, delta=1.0) -> jax.Array:
    """Squared error near the target, absolute error far from it.

        L = Σ weight ( ½ e²  (|e| ≤ δ),   δ (|e| − ½ δ)  (|e| > δ) ),      e = target − prediction
        dprediction = −weight clip(e, −δ, δ)               dtarget = weight clip(e, −δ, δ)

    Source: "Robust estimation of a location parameter" by Huber, Ann. Math. Statist. 35 (1964); in DQN the gradient
    is said to be "clipped" to [−1, 1], which is this loss.

    Args:
      prediction: any shape.
      target: the same shape.
      weight: the same shape, or a scalar; None for the mean.
      delta: δ, a Python number above 0.

    Raises: ValueError on shapes that do not fit or a delta that is not above 0, TypeError on arguments that are not
    floating-point.
    """
    _same_shape(prediction=prediction, target=target)
    if not delta > 0:
        raise ValueError(f"delta must be above 0; got {delta!r}.")
    return _huber(float(delta), prediction, target, _weights(weight, jnp.shape(prediction), prediction))


def _cross_entropy_fwd(logits, labels, weight):
    log_p = log_softmax(logits)
    each = -jnp.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    return _total(weight, each), (log_p, labels, weight)


def _cross_entropy_bwd(residuals, dy):
    log_p, labels, weight = residuals
    each = -jnp.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    label = jax.nn.one_hot(labels, log_p.shape[-1], dtype=log_p.dtype)
    dlogits = _over_entries(dy * weight) * (jnp.exp(log_p) - label)
    return dlogits, None, _dweight(weight, dy, each)


@jax.custom_vjp
def _cross_entropy(logits, labels, weight):
    return _cross_entropy_fwd(logits, labels, weight)[0]


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)


def softmax_cross_entropy(logits, labels, weight=None) -> jax.Array:
    """Negative log-likelihood of the right class, from logits.

        L = −Σ weight log p_label,   p = softmax(logits)           dlogits_k = weight (p_k − δ_{k, label})

    Args:
      logits: [..., K].
      labels: int [...], from 0 to K − 1.
      weight: [...], or a scalar; None for the mean.

    Raises: ValueError on shapes that do not fit, TypeError on types that do not.
    """
    checks.floating(logits=logits)
    checks.integer("the classes", labels=labels)
    checks.shape("labels", labels, jnp.shape(logits)[:-1], "logits without its last axis")
    return _cross_entropy(logits, jnp.asarray(labels), _weights(weight, jnp.shape(logits)[:-1], logits))


def _binary_each(logits, targets):
    zero = jnp.zeros((), logits.dtype)
    small = jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return small + targets * jnp.maximum(-logits, zero) + (1 - targets) * jnp.maximum(logits, zero)


def _binary_fwd(logits, targets, weight):
    return _total(weight, _binary_each(logits, targets)), (logits, targets, weight)


def _binary_bwd(residuals, dy):
    logits, targets, weight = residuals
    scale = dy * weight
    return scale * (sigmoid(logits) - targets), -scale * logits, _dweight(weight, dy, _binary_each(logits, targets))


@jax.custom_vjp
def _binary(logits, targets, weight):
    return _binary_fwd(logits, targets, weight)[0]


_binary.defvjp(_binary_fwd, _binary_bwd)


def binary_cross_entropy(logits, targets, weight=None) -> jax.Array:
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

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    _same_shape(logits=logits, targets=targets)
    return _binary(logits, targets, _weights(weight, jnp.shape(logits), logits))


LOG_ROOT_2PI = 0.9189385332046727  # ½ log 2π


def _over(a, log_std):
    """a e^(−log_std), and 0 where a is, for 0 · ∞ is no number."""
    return jnp.where(a == 0, a, a * jnp.exp(-log_std))


def _nll(z, log_std):
    return jnp.sum(0.5 * z * z + log_std + LOG_ROOT_2PI, -1)


def _gaussian_nll_fwd(x, mean, log_std, weight):
    z = _over(x - mean, log_std)
    return _total(weight, _nll(z, log_std)), (z, log_std, weight)


def _gaussian_nll_bwd(residuals, dy):
    z, log_std, weight = residuals
    scale = _over_entries(dy * weight)
    dx = scale * _over(z, log_std)
    return dx, -dx, scale * (1 - z * z), _dweight(weight, dy, _nll(z, log_std))


@jax.custom_vjp
def _gaussian_nll(x, mean, log_std, weight):
    return _gaussian_nll_fwd(x, mean, log_std, weight)[0]


_gaussian_nll.defvjp(_gaussian_nll_fwd, _gaussian_nll_bwd)


def gaussian_nll(x, mean, log_std, weight=None) -> jax.Array:
    """Negative log-likelihood under a Gaussian with independent entries.

        L = Σ weight Σ_d [ ½ z_d² + log σ_d + ½ log 2π ],    z = (x − μ) / σ
        dx = weight z / σ        dμ = −weight z / σ        dlog σ = weight (1 − z²)

    Args:
      x: [..., D].
      mean: μ [..., D].
      log_std: log σ [..., D].
      weight: [...], or a scalar; None for the mean.

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    _same_shape(x=x, mean=mean, log_std=log_std)
    return _gaussian_nll(x, mean, log_std, _weights(weight, jnp.shape(x)[:-1], x))


def _kl(log_ratio, z):
    """Of one row, from log σ_p − log σ_q and (μ_p − μ_q) / σ_q; e^2r − 1 − 2r without loss of digits near r = 0."""
    return jnp.sum(0.5 * (jnp.expm1(2 * log_ratio) + z * z) - log_ratio, -1)


def _gaussian_kl_fwd(mean_p, log_std_p, mean_q, log_std_q, weight):
    z = _over(mean_p - mean_q, log_std_q)
    log_ratio = log_std_p - log_std_q
    return _total(weight, _kl(log_ratio, z)), (z, log_ratio, log_std_q, weight)


def _gaussian_kl_bwd(residuals, dy):
    z, log_ratio, log_std_q, weight = residuals
    scale = _over_entries(dy * weight)
    dmean = scale * _over(z, log_std_q)
    narrower = jnp.expm1(2 * log_ratio)
    return dmean, scale * narrower, -dmean, -scale * (narrower + z * z), _dweight(weight, dy, _kl(log_ratio, z))


@jax.custom_vjp
def _gaussian_kl(mean_p, log_std_p, mean_q, log_std_q, weight):
    return _gaussian_kl_fwd(mean_p, log_std_p, mean_q, log_std_q, weight)[0]


_gaussian_kl.defvjp(_gaussian_kl_fwd, _gaussian_kl_bwd)


def gaussian_kl(mean_p, log_std_p, mean_q, log_std_q, weight=None) -> jax.Array:
    """Kullback-Leibler divergence KL(p ‖ q) between Gaussians with independent entries.

        L = Σ weight Σ_d [ ½ (e^(2 ρ_d) − 1 + z_d²) − ρ_d ],    ρ = log σ_p − log σ_q,   z = (μ_p − μ_q) / σ_q
        dμ_p = weight z / σ_q        dlog σ_p = weight (e^(2ρ) − 1)
        dμ_q = −weight z / σ_q       dlog σ_q = −weight (e^(2ρ) − 1 + z²)

    Args:
      mean_p: [..., D].
      log_std_p: [..., D].
      mean_q: [..., D].
      log_std_q: [..., D].
      weight: [...], or a scalar; None for the mean.

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    _same_shape(mean_p=mean_p, log_std_p=log_std_p, mean_q=mean_q, log_std_q=log_std_q)
    return _gaussian_kl(mean_p, log_std_p, mean_q, log_std_q, _weights(weight, jnp.shape(mean_p)[:-1], mean_p))


LOG_2 = 0.6931471805599453


def _tanh_gaussian_fwd(u, mean, log_std):
    z = _over(u - mean, log_std)
    log_slope = 2 * (LOG_2 - u - softplus(-2 * u))
    return -_nll(z, log_std) - jnp.sum(log_slope, -1), (u, z, log_std)


def _tanh_gaussian_bwd(residuals, dy):
    u, z, log_std = residuals
    dy = dy[..., None]
    dmean = dy * _over(z, log_std)
    return dy * 2 * tanh(u) - dmean, dmean, dy * (z * z - 1)


@jax.custom_vjp
def _tanh_gaussian(u, mean, log_std):
    return _tanh_gaussian_fwd(u, mean, log_std)[0]


_tanh_gaussian.defvjp(_tanh_gaussian_fwd, _tanh_gaussian_bwd)


def tanh_gaussian_log_prob(u, mean, log_std) -> jax.Array:
    """Log-probability of the action a = tanh(u), where u is Gaussian: the policy of soft actor-critic.

        log π(a) = log N(u; μ, σ) − Σ_d log(1 − tanh² u_d)            1 − tanh² u = da/du squeezes the density
        log(1 − tanh² u) = 2 (log 2 − u − softplus(−2u))              which stays finite where 1 − tanh² u rounds to 0
        du = −z / σ + 2 tanh u        dμ = z / σ        dlog σ = z² − 1             z = (u − μ) / σ

    u is the argument, and not a, because u cannot be had back from a rounded a. Source: "Soft actor-critic" by Haarnoja
    et al. (https://arxiv.org/abs/1801.01290), appendix C.

    Args:
      u: the action before the tanh [..., D].
      mean: μ [..., D].
      log_std: log σ [..., D].

    Returns: [...].

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    _same_shape(u=u, mean=mean, log_std=log_std)
    return _tanh_gaussian(u, mean, log_std)


def _cross_entropy_to_fwd(logits, p, weight):
    log_q = log_softmax(logits)
    return _total(weight, -jnp.sum(p * log_q, -1)), (log_q, p, weight)


def _cross_entropy_to_bwd(residuals, dy):
    log_q, p, weight = residuals
    scale = _over_entries(dy * weight)
    dlogits = scale * (jnp.exp(log_q) * jnp.sum(p, -1, keepdims=True) - p)
    return dlogits, -scale * log_q, _dweight(weight, dy, -jnp.sum(p * log_q, -1))


@jax.custom_vjp
def _cross_entropy_to(logits, p, weight):
    return _cross_entropy_to_fwd(logits, p, weight)[0]


_cross_entropy_to.defvjp(_cross_entropy_to_fwd, _cross_entropy_to_bwd)


def categorical_cross_entropy(logits, p, weight=None) -> jax.Array:
    """Cross-entropy of a predicted distribution to a given one.

        L = −Σ weight Σ_k p_k log q_k,   q = softmax(logits)
        dlogits_k = weight (q_k Σ_j p_j − p_k)          dp_k = −weight log q_k

    It is the loss of C51, where p is a projected target: "A distributional perspective on reinforcement learning" by
    Bellemare et al. (https://arxiv.org/abs/1707.06887).

    Args:
      logits: [..., K].
      p: [..., K], probabilities.
      weight: [...], or a scalar; None for the mean.

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    _same_shape(logits=logits, p=p)
    return _cross_entropy_to(logits, p, _weights(weight, jnp.shape(logits)[:-1], logits))


def _quantile_each(delta, theta, target, tau):
    """Σ_i mean_j of one row, and its derivative with respect to theta."""
    error = target[..., None, :] - theta[..., :, None]
    tilt = jnp.abs(_middle(tau, error) - (error < 0))
    each = jnp.sum(jnp.mean(tilt * _huber_each(delta, error) / delta, -1), -1)
    return each, tilt * jnp.clip(error, -delta, delta) / delta


def _middle(tau, error):
    return jnp.broadcast_to(tau[:, None], error.shape)


def _quantile_fwd(delta, theta, target, tau, weight):
    each, _ = _quantile_each(delta, theta, target, tau)
    return _total(weight, each), (theta, target, tau, weight)


def _quantile_bwd(delta, residuals, dy):
    theta, target, tau, weight = residuals
    each, slope = _quantile_each(delta, theta, target, tau)
    scale = _over_entries(dy * weight)
    dtheta = -scale * jnp.mean(slope, -1)
    return dtheta, scale * (jnp.sum(slope, -2) / target.shape[-1]), None, _dweight(weight, dy, each)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _quantile(delta, theta, target, tau, weight):
    return _quantile_fwd(delta, theta, target, tau, weight)[0]


_quantile.defvjp(_quantile_fwd, _quantile_bwd)


def quantile_huber_loss(theta, target, tau, weight=None, delta=1.0) -> jax.Array:
    """Quantile regression with the Huber loss: theta_i goes to the tau_i quantile of the targets.

        L = Σ weight Σ_i 1/M Σ_j |τ_i − [e_ij < 0]| H_δ(e_ij) / δ,       e_ij = target_j − θ_i
        dθ_i = −weight 1/M Σ_j |τ_i − [e_ij < 0]| clip(e_ij, −δ, δ) / δ
        dtarget_j = weight 1/M Σ_i |τ_i − [e_ij < 0]| clip(e_ij, −δ, δ) / δ

    with H_δ the Huber loss of an error. τ takes no gradient. Source: "Distributional reinforcement learning with
    quantile regression" by Dabney et al. (https://arxiv.org/abs/1710.10044), equation 10.

    Args:
      theta: quantiles [..., N].
      target: samples or quantiles of the target [..., M].
      tau: [N], between 0 and 1; (i + ½) / N for QR-DQN.
      weight: [...], or a scalar; None for the mean.
      delta: δ, a Python number above 0.

    Raises: ValueError on shapes that do not fit or a delta that is not above 0, TypeError on arguments that are not
    floating-point.
    """
    checks.floating(theta=theta, target=target, tau=tau)
    rows = jnp.shape(theta)[:-1]
    checks.shape("target", target, (*rows, None), "the rows of theta")
    checks.shape("tau", tau, jnp.shape(theta)[-1:], "one number for each quantile of theta")
    if not delta > 0:
        raise ValueError(f"delta must be above 0; got {delta!r}.")
    tau = lax.stop_gradient(tau)  # in the gradient of a gradient too
    return _quantile(float(delta), theta, target, tau, _weights(weight, rows, theta))


def _q_learning_fwd(delta, actions, q_tm1, a_tm1, target, weight):
    error = target - jnp.take_along_axis(q_tm1, a_tm1[..., None], -1)[..., 0]
    return _total(weight, _huber_each(delta, error)), (error, a_tm1, weight)


def _q_learning_bwd(delta, actions, residuals, dy):
    error, a_tm1, weight = residuals
    dtarget = dy * weight * jnp.clip(error, -delta, delta)
    taken = jax.nn.one_hot(a_tm1, actions, dtype=dtarget.dtype)
    return -dtarget[..., None] * taken, None, dtarget, _dweight(weight, dy, _huber_each(delta, error))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _q_learning(delta, actions, q_tm1, a_tm1, target, weight):
    return _q_learning_fwd(delta, actions, q_tm1, a_tm1, target, weight)[0]


_q_learning.defvjp(_q_learning_fwd, _q_learning_bwd)


def q_learning_loss(q_tm1, a_tm1, target, weight=None, delta=1.0) -> jax.Array:
    """Huber loss of the value of the action taken: the semi-gradient of Q-learning, as the target is held.

        L = Σ weight H_δ(e),   e = target − q_tm1[a_tm1]           dq_tm1[a] = −weight clip(e, −δ, δ) [a = a_tm1]

    δ = ∞ gives the squared loss. Stop the gradient of the target where it is made. Source: "Human-level control through
    deep reinforcement learning" by Mnih et al. (doi:10.1038/nature14236).

    Args:
      q_tm1: values of the actions [..., A].
      a_tm1: the actions taken, int [...].
      target: [...].
      weight: [...] (importance weights), or a scalar; None for the mean.
      delta: δ, a Python number above 0; float("inf") for half the squared error.

    Raises: ValueError on shapes that do not fit or a delta that is not above 0, TypeError on types that do not.
    """
    checks.floating(q_tm1=q_tm1, target=target)
    checks.integer("the actions taken", a_tm1=a_tm1)
    rows = jnp.shape(q_tm1)[:-1]
    for name, array in {"a_tm1": a_tm1, "target": target}.items():
        checks.shape(name, array, rows, "q_tm1 without its last axis")
    if not delta > 0:
        raise ValueError(f"delta must be above 0; got {delta!r}.")
    actions = jnp.shape(q_tm1)[-1]
    return _q_learning(float(delta), actions, q_tm1, jnp.asarray(a_tm1), target, _weights(weight, rows, q_tm1))
