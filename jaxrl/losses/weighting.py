"""How a loss weighs its rows: Σ weight · (loss of a row), the mean where no weight is given."""

import math

import jax.numpy as jnp

from jaxrl.layers import checks


def weights(weight, rows, like):
    """The weight as given, or what makes the sum a mean."""
    if weight is None:
        return jnp.asarray(1 / max(math.prod(rows), 1), jnp.result_type(like))
    (weight,) = checks.floating(weight=weight)
    if jnp.ndim(weight):
        checks.shape("weight", weight, rows, "one weight for each row, or one for all")
    return jnp.asarray(weight, jnp.result_type(like))


def total(weight, each):
    """Σ weight · each, in which a weight of 0 masks an infinite loss: 0 · ∞ is NaN."""
    each = each if weight.ndim else jnp.sum(each)
    limit = jnp.finfo(each.dtype).max
    return jnp.sum(weight * jnp.where(weight == 0, jnp.clip(each, -limit, limit), each))


def dweight(weight, dy, each):
    """The gradient of the weight from the loss of each row."""
    return dy * (each if weight.ndim else jnp.sum(each))


def over_entries(scale):
    """One factor for each row, or one for all, in a shape that multiplies rows of entries."""
    return scale[..., None] if scale.ndim else scale
