"""Elementwise activations, each with its derivative in terms of its output where x then need not be kept.

A second derivative is autodiff of the rules, and must find the same slope at a kink as the first. `jnp.maximum` splits
a tie's gradient in half, so these rules use `larger` instead. Autodiff takes the slope of |x| at 0 as 1.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp


def _elu_fwd(x, alpha):
    y = jnp.where(x > 0, x, (alpha * jnp.expm1(jnp.minimum(x, 1))).astype(x.dtype))
    return y, y


def _elu_bwd(alpha, y, dy):
    return (dy * jnp.where(y > 0, 1, y + alpha).astype(dy.dtype),)


@partial(custom_vjp, nondiff_argnums=(1,))
def _elu(x, alpha):
    return _elu_fwd(x, alpha)[0]


_elu.defvjp(_elu_fwd, _elu_bwd)


@partial(custom_vjp, nondiff_argnums=(1,))
def _elu_known(x, alpha, y):
    return y


_elu_known.defvjp(lambda x, alpha, y: (y, y), lambda alpha, y, dy: (*_elu_bwd(alpha, y, dy), None))


def elu(x, alpha=1.0, known=None) -> jax.Array:
    """Exponential linear unit, elementwise.

        y = x  (x > 0),   α (eˣ − 1)  (x ≤ 0)
        dx = dy           dx = dy α eˣ = dy (y + α)

    The sign of y is that of x (α > 0), so y alone is kept. At the kink x = 0 the slope is α, the left one.
    Source: "Fast and accurate deep network learning by exponential linear units" by Clevert et al.
    (https://arxiv.org/abs/1511.07289).

    Args:
      x: any shape.
      alpha: a Python number above 0, the negated limit for x → −∞.
      known: y, where it was computed before. The gradient needs no more, so what computes x drops out of a compiled
        gradient. It is held constant, so that second derivatives are not to be taken.

    Raises: ValueError when alpha is not above 0 or known of another shape, TypeError when x is not floating-point.
    """
    (x,) = checks.floating(x=x)
    alpha = checks.positive(", or the output does not tell the branch", alpha=alpha)
    if known is None:
        return _elu(x, alpha)
    checks.shape("known", known, x.shape, "that of x")
    return _elu_known(x, alpha, lax.stop_gradient(known))


def plain_sigmoid(x):
    """What `sigmoid` computes, without its derived gradient: for rules, of which JAX takes derivatives forward too."""
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1, e) / (1 + e)


def _sigmoid_fwd(x):
    y = plain_sigmoid(x)
    return y, y


def _sigmoid_bwd(y, dy):
    return (dy * y * (1 - y),)


@custom_vjp
def _sigmoid(x):
    return _sigmoid_fwd(x)[0]


_sigmoid.defvjp(_sigmoid_fwd, _sigmoid_bwd)


def sigmoid(x) -> jax.Array:
    """Logistic function, elementwise, in the form whose exponential cannot overflow.

        y = 1 / (1 + e⁻ˣ)  (x ≥ 0),   eˣ / (1 + eˣ)  (x < 0)
        dx = dy y (1 − y)

    Args:
      x: any shape.

    Raises: TypeError when x is not floating-point.
    """
    (x,) = checks.floating(x=x)
    return _sigmoid(x)


def _tanh_fwd(x):
    y = jnp.tanh(x)
    return y, y


def _tanh_bwd(y, dy):
    return (dy * (1 - y * y),)


@custom_vjp
def _tanh(x):
    return _tanh_fwd(x)[0]


_tanh.defvjp(_tanh_fwd, _tanh_bwd)


def tanh(x) -> jax.Array:
    """Hyperbolic tangent, elementwise.

        y = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)
        dx = dy (1 − y²)

    The forward is XLA's rational approximation, which neither overflows for large x nor loses digits for small
    ones; sign(x) (1 − e^(−2|x|)) / (1 + e^(−2|x|)), the other stable form, took twice the time.

    Args:
      x: any shape.

    Raises: TypeError when x is not floating-point.
    """
    (x,) = checks.floating(x=x)
    return _tanh(x)


@jax.custom_jvp
def larger(a, b):
    """max(a, b) elementwise, of which a takes the derivative where they tie."""
    return jnp.maximum(a, b)


@larger.defjvp
def _larger_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    return jnp.maximum(a, b), jnp.where(b > a, db, da)


def _relu_fwd(x):
    y = larger(jnp.zeros_like(x), x)
    return y, y


def _relu_bwd(y, dy):
    return (jnp.where(y > 0, dy, jnp.zeros((), dy.dtype)),)


@custom_vjp
def _relu(x):
    return _relu_fwd(x)[0]


_relu.defvjp(_relu_fwd, _relu_bwd)


def relu(x) -> jax.Array:
    """Rectified linear unit, elementwise.

        y = max(x, 0)
        dx = dy  (y > 0),   0  (y = 0)

    At the kink x = 0 the slope is 0, the left one.

    Args:
      x: any shape.

    Raises: TypeError when x is not floating-point.
    """
    (x,) = checks.floating(x=x)
    return _relu(x)


def _leaky_relu_fwd(x, slope):
    above = x > 0
    return jnp.where(above, x, slope * x), above


def _leaky_relu_bwd(slope, above, dy):
    return (jnp.where(above, dy, slope * dy),)


@partial(custom_vjp, nondiff_argnums=(1,))
def _leaky_relu(x, slope):
    return _leaky_relu_fwd(x, slope)[0]


_leaky_relu.defvjp(_leaky_relu_fwd, _leaky_relu_bwd)


def leaky_relu(x, slope=0.01) -> jax.Array:
    """Rectified linear unit that lets a part of the negative side through, elementwise.

        y = x  (x > 0),   slope x  (x ≤ 0)
        dx = dy (x > 0),  slope dy (x ≤ 0)

    Only which side x is on is kept, one byte an entry. At the kink x = 0 the slope is the left one.

    Args:
      x: any shape.
      slope: a Python number.

    Raises: TypeError when x is not floating-point or the slope no number.
    """
    (x,) = checks.floating(x=x)
    slope = checks.number(slope=slope)
    return _leaky_relu(x, slope) if slope else _relu(x)  # 0 · ∞ is NaN


def plain_softplus(x):
    """What `softplus` computes, as `plain_sigmoid` is what `sigmoid` does."""
    return jnp.where(x < 0, 0, x) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _softplus_fwd(x):
    return plain_softplus(x), x


def _softplus_bwd(x, dy):
    return (dy * plain_sigmoid(x),)


@custom_vjp
def _softplus(x):
    return _softplus_fwd(x)[0]


_softplus.defvjp(_softplus_fwd, _softplus_bwd)


def softplus(x) -> jax.Array:
    """Smooth form of max(x, 0), elementwise, in the form whose exponential cannot overflow.

        y = log(1 + eˣ) = max(x, 0) + log(1 + e^(−|x|))
        dx = dy eˣ / (1 + eˣ) = dy σ(x)

    In terms of the output it would be dy (1 − e⁻ʸ); σ(x) takes less time, and x is no larger than y.

    Args:
      x: any shape.

    Raises: TypeError when x is not floating-point.
    """
    (x,) = checks.floating(x=x)
    return _softplus(x)


# Beyond ±10 the tanh of the approximation is ±1 to the last digit of float64, and x³ could overflow.
TANH_IS_ONE = 10.0
# Beyond ±40 Φ is 0 or 1 and Φ' is 0, also in float64. There x counts as ±40, because 0 · ∞ is NaN.
FAR = 40.0


ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


def _gelu_fwd(x, approximate):
    phi = _tanh_phi(x) if approximate else 0.5 * lax.erfc(-x * math.sqrt(0.5))
    return jnp.maximum(x, -FAR) * phi, (x, None if approximate else phi)


def _tanh_phi(x):
    z = jnp.clip(x, -TANH_IS_ONE, TANH_IS_ONE)
    return 0.5 * (1 + jnp.tanh(ROOT_2_OVER_PI * (z + 0.044715 * z * z * z)))


def _gelu_bwd(approximate, residuals, dy):
    x, phi = residuals
    if approximate:
        phi = _tanh_phi(x)
        z = jnp.clip(x, -TANH_IS_ONE, TANH_IS_ONE)
        slope = 2 * phi * (1 - phi) * ROOT_2_OVER_PI * (1 + 3 * 0.044715 * z * z)
    else:
        slope = jnp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return (dy * (phi + jnp.clip(x, -FAR, FAR) * slope),)


@partial(custom_vjp, nondiff_argnums=(1,))
def _gelu(x, approximate):
    return _gelu_fwd(x, approximate)[0]


_gelu.defvjp(_gelu_fwd, _gelu_bwd)


def gelu(x, approximate=False) -> jax.Array:
    """Gaussian error linear unit, elementwise: x times the probability that a normal sample is below it.

        y = x Φ(x)                     Φ(x) = ½ erfc(−x / √2),     Φ'(x) = e^(−x²/2) / √(2π)
        dx = dy (Φ(x) + x Φ'(x))
        approximate:                   Φ(x) = ½ (1 + tanh(p)),     p = √(2/π) (x + 0.044715 x³)
                                       Φ'(x) = 2 Φ (1 − Φ) √(2/π) (1 + 0.134145 x²)

    because ½ (1 − tanh²p) = 2 Φ (1 − Φ). x is kept, and the exact Φ too, which is costly to compute.

    Source: "Gaussian error linear units" by Hendrycks and Gimpel (https://arxiv.org/abs/1606.08415).

    Args:
      x: any shape.
      approximate: a Python bool; True for the form with tanh.

    Raises: TypeError when x is not floating-point.
    """
    checks.flag(approximate=approximate)
    (x,) = checks.floating(x=x)
    return _gelu(x, bool(approximate))
