"""Losses of an error: squared, Huber, of quantiles, and of the action that was taken."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp
from jaxrl.losses import choice
from jaxrl.losses.weighting import times, weighed


def _half_square(error):
    return 0.5 * (error * error)  # in brackets XLA sees a square; (0.5 * error) * error is not one


def _squared_fwd(prediction, target):
    error = target - prediction
    return _half_square(error), error


def _squared_bwd(error, dy):
    dtarget = times(dy, error)
    return -dtarget, dtarget


@custom_vjp
def _squared(prediction, target):
    return _squared_fwd(prediction, target)[0]


_squared.defvjp(_squared_fwd, _squared_bwd)


def squared_loss(prediction, target, weight=None, reduction=None) -> jax.Array:
    """Half the squared error.

        L = Σ weight ½ e²,  e = target − prediction        dprediction = −weight e        dtarget = weight e

    As Optax's l2_loss; PyTorch's mse_loss is twice it.

    Args:
      prediction: any shape.
      target: the same shape.
      weight: the same shape, or a scalar; None for the mean.
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or an unknown reduction, TypeError on arguments that are not
    floating-point.
    """
    prediction, target = checks.same_shape(prediction=prediction, target=target)
    return weighed(_squared, (prediction, target), prediction.shape, weight, reduction)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _huber_each(delta, error):
    if delta == math.inf:
        return _half_square(error)  # the other branch would give ∞ − ∞, which is NaN
    size = jnp.abs(error)
    return jnp.where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _huber_slope(delta, error):
    """clip(e, −δ, δ). At ±δ its own slope is 1, where autodiff would take the mean of 1 and 0."""
    return jnp.clip(error, -delta, delta)


@_huber_slope.defjvp
def _huber_slope_jvp(delta, primals, tangents):
    (error,), (derror,) = primals, tangents
    return _huber_slope(delta, error), jnp.where(jnp.abs(error) <= delta, derror, 0)


@_huber_each.defjvp
def _huber_each_jvp(delta, primals, tangents):
    (error,), (derror,) = primals, tangents
    return _huber_each(delta, error), _huber_slope(delta, error) * derror  # autodiff's is NaN at an infinite error


def _huber_fwd(delta, prediction, target):
    error = target - prediction
    return _huber_each(delta, error), error


def _huber_bwd(delta, error, dy):
    dtarget = times(dy, _huber_slope(delta, error))
    return -dtarget, dtarget


@partial(custom_vjp, nondiff_argnums=(0,))
def _huber(delta, prediction, target):
    return _huber_fwd(delta, prediction, target)[0]


_huber.defvjp(_huber_fwd, _huber_bwd)


def huber_loss(prediction, target, weight=None, delta=1.0, reduction=None) -> jax.Array:
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
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or a delta that is not above 0, TypeError on arguments that are not
    floating-point.
    """
    prediction, target = checks.same_shape(prediction=prediction, target=target)
    delta = checks.positive(delta=delta)
    return weighed(partial(_huber, delta), (prediction, target), prediction.shape, weight, reduction)


def _quantile_each(delta, theta, target, tau):
    """Σ_i mean_j of one row, and its derivative with respect to theta."""
    error = target[..., None, :] - theta[..., :, None]
    tilt = jnp.abs(_middle(tau, error) - (error < 0))
    each = jnp.sum(jnp.mean(times(tilt, _huber_each(delta, error)) / delta, -1), -1)
    return each, tilt * _huber_slope(delta, error) / delta


def _middle(tau, error):
    return jnp.broadcast_to(tau[:, None], error.shape)


def _quantile_fwd(delta, tau, theta, target):
    each, _ = _quantile_each(delta, theta, target, tau)
    return each, (tau, theta, target)


def _quantile_bwd(delta, residuals, dy):
    tau, theta, target = residuals
    _, slope = _quantile_each(delta, theta, target, tau)
    dy = dy[..., None]
    return None, -times(dy, jnp.mean(slope, -1)), times(dy, jnp.sum(slope, -2) / target.shape[-1])


@partial(custom_vjp, nondiff_argnums=(0,))
def _quantile(delta, tau, theta, target):
    return _quantile_fwd(delta, tau, theta, target)[0]


_quantile.defvjp(_quantile_fwd, _quantile_bwd)


def quantile_huber_loss(theta, target, tau, weight=None, delta=1.0, reduction=None) -> jax.Array:
    """Quantile regression with the Huber loss: theta_i goes to the tau_i quantile of the targets.

        L = Σ weight Σ_i 1/M Σ_j |τ_i − [e_ij < 0]| H_δ(e_ij) / δ,       e_ij = target_j − θ_i
        dθ_i = −weight 1/M Σ_j |τ_i − [e_ij < 0]| clip(e_ij, −δ, δ) / δ
        dtarget_j = weight 1/M Σ_i |τ_i − [e_ij < 0]| clip(e_ij, −δ, δ) / δ

    with H_δ the Huber loss of an error. τ takes no gradient. RLax's loss is δ times this one.
    Source: "Distributional reinforcement learning with quantile regression" by Dabney et al.
    (https://arxiv.org/abs/1710.10044), equation 10.

    Args:
      theta: quantiles [..., N].
      target: samples or quantiles of the target [..., M].
      tau: [N], between 0 and 1; (i + ½) / N for QR-DQN.
      weight: [...], or a scalar; None for the mean.
      delta: δ, a finite Python number above 0.
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or a delta that is not above 0 and finite, TypeError on arguments that
    are not floating-point.
    """
    theta, target, tau = checks.floating(theta=theta, target=target, tau=tau)
    rows = jnp.shape(theta)[:-1]
    checks.shape("target", target, (*rows, None), "the rows of theta")
    if not target.shape[-1]:
        raise ValueError(f"target has shape {target.shape}: there is no mean over no targets.")
    checks.shape("tau", tau, jnp.shape(theta)[-1:], "one entry for each quantile of theta")
    delta = checks.positive(delta=delta)
    if delta == math.inf:
        raise ValueError(f"delta must be above 0 and finite, because the loss is divided by it; got {delta!r}.")
    tau = lax.stop_gradient(tau)  # in the gradient of a gradient too
    return weighed(partial(_quantile, delta, tau), (theta, target), rows, weight, reduction)


def _q_learning_fwd(delta, actions, q_tm1, a_tm1, target):
    error = target - choice.chosen(q_tm1, a_tm1)
    return _huber_each(delta, error), (error, a_tm1)


def _q_learning_bwd(delta, actions, residuals, dy):
    error, a_tm1 = residuals
    dtarget = times(dy, _huber_slope(delta, error))
    taken = jax.nn.one_hot(a_tm1, actions, dtype=dtarget.dtype)
    return times(taken, -dtarget[..., None]), None, dtarget


@partial(custom_vjp, nondiff_argnums=(0, 1))
def _q_learning(delta, actions, q_tm1, a_tm1, target):
    return _q_learning_fwd(delta, actions, q_tm1, a_tm1, target)[0]


_q_learning.defvjp(_q_learning_fwd, _q_learning_bwd)


def q_learning_loss(q_tm1, a_tm1, target, weight=None, delta=1.0, reduction=None) -> jax.Array:
    """Huber loss of the value of the action taken: the semi-gradient of Q-learning, as the target is held.

        L = Σ weight H_δ(e),   e = target − q_tm1[a_tm1]           dq_tm1[a] = −weight clip(e, −δ, δ) [a = a_tm1]

    δ = ∞ gives the squared loss. Stop the gradient of the target where it is made. Source: "Human-level control through
    deep reinforcement learning" by Mnih et al. (doi:10.1038/nature14236).

    Args:
      q_tm1: values of the actions [..., A].
      a_tm1: the actions taken, int [...], from 0 to A − 1; one beyond an end counts as that end.
      target: [...].
      weight: [...] (importance weights), or a scalar; None for the mean.
      delta: δ, a Python number above 0; float("inf") for half the squared error.
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or a delta that is not above 0, TypeError on types that do not.
    """
    q_tm1, target = checks.floating(q_tm1=q_tm1, target=target)
    checks.integer("the actions taken", a_tm1=a_tm1)
    rows = jnp.shape(q_tm1)[:-1]
    for name, array in {"a_tm1": a_tm1, "target": target}.items():
        checks.shape(name, array, rows, "q_tm1 without its last axis")
    delta = checks.positive(delta=delta)
    actions = jnp.shape(q_tm1)[-1]
    a_tm1 = choice.within(a_tm1, actions)
    return weighed(partial(_q_learning, delta, actions), (q_tm1, a_tm1, target), rows, weight, reduction)
