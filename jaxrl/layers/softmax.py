"""Softmax and its logarithm. The largest input is taken away first, so that no exponential overflows."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp


def _largest(x, axis):
    return lax.stop_gradient(jnp.max(x, axis, keepdims=True))  # whatever is taken away, the result is the same


def below(largest, x):
    """x less the largest of its entries: 0 for all that equal it, also where it is infinite, and ∞ − ∞ would be NaN."""
    return jnp.where((x == largest) & jnp.isinf(largest), 0, x - largest)


def _softmax_fwd(x, axis):
    e = jnp.exp(below(_largest(x, axis), x))
    y = e / jnp.sum(e, axis, keepdims=True)
    return y, y


def _softmax_bwd(axis, y, dy):
    return (y * (dy - jnp.sum(dy * y, axis, keepdims=True)),)


@partial(custom_vjp, nondiff_argnums=(1,))
def _softmax(x, axis):
    return _softmax_fwd(x, axis)[0]


_softmax.defvjp(_softmax_fwd, _softmax_bwd)


def softmax(x, axis=-1) -> jax.Array:
    """Normalised exponentials along an axis.

        y_i = e^(x_i) / Σ_j e^(x_j)
        ∂y_i/∂x_k = y_i (δ_ik − y_k)      so      dx_k = y_k (dy_k − Σ_i dy_i y_i)

    Where the largest input is infinite, all that equal it have the same part of the row and the others none.

    Args:
      x: any shape.
      axis: the axis that is normalised, a Python int.

    Raises: ValueError when x has no such axis or nothing along it, TypeError when it is not floating-point.
    """
    (x,) = checks.floating(x=x)
    return _softmax(x, checks.axis(axis, x))


def plain_log_softmax(x, axis=-1):
    """What `log_softmax` computes, as `plain_sigmoid` is what `sigmoid` does."""
    shifted = below(_largest(x, axis), x)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis, keepdims=True))


def _log_softmax_fwd(x, axis):
    y = plain_log_softmax(x, axis)
    return y, y


def _log_softmax_bwd(axis, y, dy):
    return (dy - jnp.exp(y) * jnp.sum(dy, axis, keepdims=True),)


@partial(custom_vjp, nondiff_argnums=(1,))
def _log_softmax(x, axis):
    return _log_softmax_fwd(x, axis)[0]


_log_softmax.defvjp(_log_softmax_fwd, _log_softmax_bwd)


def log_softmax(x, axis=-1) -> jax.Array:
    """Logarithm of the softmax along an axis.

        y_i = x_i − log Σ_j e^(x_j)
        ∂y_i/∂x_k = δ_ik − e^(y_k)        so      dx_k = dy_k − e^(y_k) Σ_i dy_i

    Where the largest input is infinite, all that equal it have the same part of the row and the others none.

    Args:
      x: any shape.
      axis: the axis that is normalised, a Python int.

    Raises: ValueError when x has no such axis or nothing along it, TypeError when it is not floating-point.
    """
    (x,) = checks.floating(x=x)
    return _log_softmax(x, checks.axis(axis, x))
