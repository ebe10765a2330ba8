"""How a loss weighs its rows: Σ weight · (loss of a row), the mean where no weight is given. A weight of 0 masks."""

import math

import jax
import jax.numpy as jnp

from jaxrl.layers import checks


def weighed(loss, inputs, rows, weight=None) -> jax.Array:
    """Σ weight · loss(*inputs), where `loss` gives one number for each of the rows."""
    if weight is None:
        return jnp.sum(loss(*inputs)) * (1 / max(math.prod(rows), 1))
    weight = _weight(weight, rows, inputs[0])
    each = loss(*(_masked(x, weight) for x in inputs))
    return jnp.sum(times(weight, each)) if weight.ndim else weight * jnp.sum(finite(weight, each))


@jax.custom_jvp
def times(scale, x):
    """scale · x, in which a scale of 0 masks an x that is infinite or NaN."""
    return jnp.where(scale == 0, 0, scale * x)


@times.defjvp
def _times_jvp(primals, tangents):
    (scale, x), (dscale, dx) = primals, tangents
    return times(scale, x), dscale * finite(scale, x) + scale * dx


def finite(scale, x):
    """x, with 0 for what is not finite where the scale is 0."""
    return jnp.where((scale == 0) & ~jnp.isfinite(x), 0, x)


def _weight(weight, rows, like):
    (weight,) = checks.floating(weight=weight)
    if jnp.ndim(weight):
        checks.shape("weight", weight, rows, "one weight for each row, or one for all")
    return weight.astype(like.dtype)


def _masked(x, weight):
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    mask = weight == 0
    return _later(x, mask[..., None] if 0 < mask.ndim < x.ndim else mask)


@jax.custom_vjp
def _guard(x, mask):
    """x, whose gradient counts as 0 where it is masked and not finite."""
    return x


def _guard_fwd(x, mask):
    return _guard(x, mask), mask  # guarded again, for the next derivative


def _guard_bwd(mask, dx):
    return jnp.where(mask & ~jnp.isfinite(dx), 0, dx), None


_guard.defvjp(_guard_fwd, _guard_bwd)


@jax.custom_vjp
def _later(x, mask):
    """`_guard` from the second derivative on: in the first, the products of the losses mask."""
    return x


_later.defvjp(lambda x, mask: (_guard(x, mask), None), lambda _, dx: (dx, None))
