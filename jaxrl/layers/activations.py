"""Elementwise activations, each with its derivative in terms of its output, so that x need not be kept."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.layers import checks


def _elu_fwd(x, alpha):
    y = jnp.where(x > 0, x, (alpha * jnp.expm1(jnp.minimum(x, 0))).astype(x.dtype))
    return y, y


def _elu_bwd(alpha, y, dy):
    return (dy * jnp.where(y > 0, 1, y + alpha).astype(dy.dtype),)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _elu(x, alpha):
    return _elu_fwd(x, alpha)[0]


_elu.defvjp(_elu_fwd, _elu_bwd)


def elu(x, alpha=1.0) -> jax.Array:
    """Exponential linear unit, elementwise.

        y = x  (x > 0),   α (eˣ − 1)  (x ≤ 0)
        dx = dy           dx = dy α eˣ = dy (y + α)

    The sign of y is that of x (α > 0), so y alone is kept. At the kink x = 0 the slope is α, the left one.
    Source: "Fast and accurate deep network learning by exponential linear units" by Clevert et al.
    (https://arxiv.org/abs/1511.07289).

    Args:
      x: any shape.
      alpha: a Python number above 0, the negated limit for x → −∞.

    Raises: ValueError when alpha is not above 0, TypeError when x is not floating-point.
    """
    checks.floating(x=x)
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, or the output does not tell the branch; got {alpha}.")
    return _elu(x, float(alpha))


def _sigmoid_fwd(x):
    e = jnp.exp(-jnp.abs(x))
    y = jnp.where(x >= 0, 1, e) / (1 + e)
    return y, y


def _sigmoid_bwd(y, dy):
    return (dy * y * (1 - y),)


@jax.custom_vjp
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
    checks.floating(x=x)
    return _sigmoid(x)


def _tanh_fwd(x):
    y = jnp.tanh(x)
    return y, y


def _tanh_bwd(y, dy):
    return (dy * (1 - y * y),)


@jax.custom_vjp
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
    checks.floating(x=x)
    return _tanh(x)
