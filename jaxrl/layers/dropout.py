"""Dropout."""

import numbers
from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp


def _dropout_fwd(rate, x, key):
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return _thinned(rate, keep, x), keep


def _dropout_bwd(rate, keep, dy):
    return _thinned(rate, keep, dy), None


def _thinned(rate, keep, x):
    return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))


@partial(custom_vjp, nondiff_argnums=(0,))
def _dropout(rate, x, key):
    return _dropout_fwd(rate, x, key)[0]


_dropout.defvjp(_dropout_fwd, _dropout_bwd)


def dropout(x, key, rate=0.5, deterministic=False) -> jax.Array:
    """Zeroes each entry with probability `rate`, and divides the others by 1 − rate, so that the mean stays.

        y = m x / (1 − rate)            m ~ Bernoulli(1 − rate), one for each entry
        dx = m dy / (1 − rate)

    Only the mask is kept, one byte an entry. Source: "Dropout" by Srivastava et al., JMLR 15 (2014).

    Args:
      x: any shape.
      key: a PRNG key of `jax.random`; the same key gives the same mask. Not read when deterministic.
      rate: a Python number, 0 ≤ rate ≤ 1; 1 gives zeros, and no gradient.
      deterministic: a Python bool; True returns x as it is, for evaluation.

    Raises: ValueError when the rate is out of range, TypeError when x is not floating-point or `key` is not
    a PRNG key.
    """
    (x,) = checks.floating(x=x)
    if not (isinstance(rate, numbers.Real) and 0 <= rate <= 1):
        raise ValueError(f"rate must be a Python number from 0 to 1; got {rate!r}.")
    checks.flag(deterministic=deterministic)
    if deterministic or rate == 0:
        return x
    checks.key(key)
    if rate == 1:
        return jnp.zeros_like(x)
    return _dropout(float(rate), x, key)
