"""Gaussian losses: negative log-likelihood, divergence, and the log-probability after tanh."""

import jax
import jax.numpy as jnp

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp
from jaxrl.losses.weighting import times, weighed

LOG_ROOT_2PI = 0.9189385332046727  # ½ log 2π
LOG_2 = 0.6931471805599453


def _over(a, log_std):
    """a e^(−log_std), with a factor that stays finite, and so do its derivatives: 0 · ∞ is NaN."""
    most = jnp.finfo(a.dtype).max
    within = -log_std < jnp.log(most)
    return a * jnp.where(within, jnp.exp(jnp.where(within, -log_std, 0)), most)


def _nll(z, log_std):
    half = 0.5 * z * z
    return jnp.sum(jnp.where(half == jnp.inf, half, half + log_std + LOG_ROOT_2PI), -1)  # a square outgrows log σ


def _gaussian_nll_fwd(x, mean, log_std):
    z = _over(x - mean, log_std)
    return _nll(z, log_std), (z, log_std)


def _gaussian_nll_bwd(residuals, dy):
    z, log_std = residuals
    dy = dy[..., None]
    dx = times(dy, _over(z, log_std))
    return dx, -dx, times(dy, 1 - z * z)


@custom_vjp
def _gaussian_nll(x, mean, log_std):
    return _gaussian_nll_fwd(x, mean, log_std)[0]


_gaussian_nll.defvjp(_gaussian_nll_fwd, _gaussian_nll_bwd)


def gaussian_nll(x, mean, log_std, weight=None, reduction=None) -> jax.Array:
    """Negative log-likelihood under a Gaussian with independent entries.

        L = Σ weight Σ_d [ ½ z_d² + log σ_d + ½ log 2π ],    z = (x − μ) / σ
        dx = weight z / σ        dμ = −weight z / σ        dlog σ = weight (1 − z²)

    PyTorch's gaussian_nll_loss takes σ², leaves ½ log 2π out unless told, and is the mean over d, not the sum.

    Args:
      x: [..., D].
      mean: μ [..., D].
      log_std: log σ [..., D].
      weight: [...], or a scalar; None for the mean.
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or an unknown reduction, TypeError on arguments that are not
    floating-point.
    """
    x, mean, log_std = checks.same_shape(x=x, mean=mean, log_std=log_std)
    checks.rows(x)
    return weighed(_gaussian_nll, (x, mean, log_std), x.shape[:-1], weight, reduction)


def _kl(log_ratio, z):
    """Of one row, from log σ_p − log σ_q and (μ_p − μ_q) / σ_q; e^2r − 1 − 2r without loss of digits near r = 0."""
    half = 0.5 * (jnp.expm1(2 * log_ratio) + z * z)
    return jnp.sum(jnp.where(half == jnp.inf, half, half - log_ratio), -1)  # an exponential outgrows its exponent


def _gaussian_kl_fwd(mean_p, log_std_p, mean_q, log_std_q):
    z = _over(mean_p - mean_q, log_std_q)
    log_ratio = log_std_p - log_std_q
    return _kl(log_ratio, z), (z, log_ratio, log_std_q)


def _gaussian_kl_bwd(residuals, dy):
    z, log_ratio, log_std_q = residuals
    dy = dy[..., None]
    dmean = times(dy, _over(z, log_std_q))
    narrower = jnp.expm1(2 * log_ratio)
    return dmean, times(dy, narrower), -dmean, -times(dy, narrower + z * z)


@custom_vjp
def _gaussian_kl(mean_p, log_std_p, mean_q, log_std_q):
    return _gaussian_kl_fwd(mean_p, log_std_p, mean_q, log_std_q)[0]


_gaussian_kl.defvjp(_gaussian_kl_fwd, _gaussian_kl_bwd)


def gaussian_kl(mean_p, log_std_p, mean_q, log_std_q, weight=None, reduction=None) -> jax.Array:
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
      reduction: None, "mean", "sum" or "none": see `jaxrl.losses`.

    Raises: ValueError on shapes that do not fit or an unknown reduction, TypeError on arguments that are not
    floating-point.
    """
    mean_p, log_std_p, mean_q, log_std_q = checks.same_shape(
        mean_p=mean_p, log_std_p=log_std_p, mean_q=mean_q, log_std_q=log_std_q
    )
    checks.rows(mean_p, "mean_p")
    return weighed(_gaussian_kl, (mean_p, log_std_p, mean_q, log_std_q), mean_p.shape[:-1], weight, reduction)


def _tanh_gaussian_fwd(u, mean, log_std):
    z = _over(u - mean, log_std)
    size = jnp.abs(u)
    log_slope = 2 * (LOG_2 - size - jnp.log1p(jnp.exp(-2 * size)))
    nll = _nll(z, log_std)
    return jnp.where(nll == jnp.inf, -nll, -nll - jnp.sum(log_slope, -1)), (u, z, log_std)


def _tanh_gaussian_bwd(residuals, dy):
    u, z, log_std = residuals
    dy = dy[..., None]
    dmean = times(dy, _over(z, log_std))
    return dy * 2 * jnp.tanh(u) - dmean, dmean, times(dy, z * z - 1)


@custom_vjp
def _tanh_gaussian(u, mean, log_std):
    return _tanh_gaussian_fwd(u, mean, log_std)[0]


_tanh_gaussian.defvjp(_tanh_gaussian_fwd, _tanh_gaussian_bwd)


def tanh_gaussian_log_prob(u, mean, log_std) -> jax.Array:
    """Log-probability of the action a = tanh(u), where u is Gaussian: the policy of soft actor-critic.

        log π(a) = log N(u; μ, σ) − Σ_d log(1 − tanh² u_d)            1 − tanh² u = da/du squeezes the density
        log(1 − tanh² u) = 2 (log 2 − |u| − log(1 + e^(−2|u|)))       which stays finite where 1 − tanh² u rounds to 0
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
    u, mean, log_std = checks.same_shape(u=u, mean=mean, log_std=log_std)
    checks.rows(u, "u")
    return _tanh_gaussian(u, mean, log_std)
