"""How a loss weighs its rows: Σ weight · (loss of a row), the mean where no weight is given. A weight of 0 masks."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.nearest import unknown

REDUCTIONS = "mean", "sum", "none"


def weighed(loss, inputs, rows, weight=None, reduction=None) -> jax.Array:
    """Σ weight · loss(*inputs), where `loss` gives one number for each of the rows; or what the reduction says.

    Half precision is computed in float32: in sums that cancel, as that of an entropy's gradient, it has no digits left.
    """
    if reduction is not None and reduction not in REDUCTIONS:
        raise unknown("reduction", reduction, REDUCTIONS)
    dtype = inputs[0].dtype
    inputs = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) if x.dtype == dtype else x for x in inputs]
    return _weighed(loss, inputs, rows, weight, reduction).astype(dtype)


def _weighed(loss, inputs, rows, weight, reduction):
    mean = weight is None if reduction is None else reduction == "mean"
    share = 1 / max(math.prod(rows), 1) if mean else 1.0
    if weight is None:
        each = loss(*inputs)
        return each if reduction == "none" else jnp.sum(each) * share
    weight = _weight(weight, rows, inputs[0].dtype)
    absent = is_absent(weight, loss(*map(lax.stop_gradient, inputs))) | (weight == 0) & _undefined(inputs, len(rows))
    each = jnp.where(absent, 0, loss(*(_held(absent, x) for x in inputs)))
    if reduction == "none":
        return weight * each
    return (jnp.sum(weight * each) if weight.ndim else weight * jnp.sum(each)) * share


@jax.custom_jvp
def times(scale, x):
    """scale · x, in which a scale of 0 masks an x that is infinite or NaN."""
    return scale * jnp.where(scale == 0, 0, x)  # the product last: what is added to it makes one operation with it


@times.defjvp
def _times_jvp(primals, tangents):
    (scale, x), (dscale, dx) = primals, tangents
    absent = is_absent(scale, x)
    return times(scale, x), dscale * jnp.where(absent, 0, x) + scale * jnp.where(absent, 0, dx)


def is_absent(scale, x):
    """Where the scale masks an x that is infinite or NaN: all derivatives of the product are 0 there."""
    return (scale == 0) & ~jnp.isfinite(x)


def _undefined(inputs, ndim):
    """Rows that hold a NaN: where a factor of 0 keeps their loss finite, its derivatives are not."""
    held = (jnp.isnan(x) for x in inputs if jnp.issubdtype(x.dtype, jnp.floating))
    return functools.reduce(jnp.logical_or, (jnp.any(x, tuple(range(ndim, x.ndim))) for x in held))


def _weight(weight, rows, dtype):
    (weight,) = checks.floating(weight=jnp.asarray(weight) * jnp.ones((), dtype))  # of bools and integers too
    if weight.ndim:
        checks.shape("weight", weight, rows, "one weight for each row, or one for all")
    return weight.astype(dtype)


def _held(absent, x):
    """x, through which nothing is differentiated in rows that are absent: there a derivative may be infinite or NaN.

    The value is that of x, so it costs nothing in a compiled function.
    """
    return jnp.where(absent[..., None] if x.ndim > absent.ndim else absent, lax.stop_gradient(x), x)
