"""Batch and layer normalisation: one derivation, two choices of the axes that are averaged over.

With μ and v the mean and variance of x over n entries, r = 1 / √(v + ε), and scale and shift along the last axis,

    x̂ = r (x − μ)            y = scale x̂ + shift

Let g = dy scale, the cotangent of x̂. Since ∂μ/∂x = 1/n, ∂v/∂x = 2 (x − μ) / n and ∂r/∂v = −r³/2,

    dμ = −r Σ g              dv = −r³/2 Σ g (x − μ) = −r²/2 Σ g x̂          (through v nothing comes to μ: Σ (x − μ) = 0)
    dx = r g + dμ / n + dv 2 (x − μ) / n = r (g − mean(g) − x̂ mean(g x̂))
    dscale = Σ dy x̂         dshift = Σ dy                                         over all axes but the last

Sources: "Batch normalization" by Ioffe and Szegedy (https://arxiv.org/abs/1502.03167), "Layer normalization" by Ba et
al. (https://arxiv.org/abs/1607.06450).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp


class Group(NamedTuple):
    """What is averaged over: an axis of x [M, D], and the devices along a mapped axis, if one is named."""

    axis: int
    devices: str | None = None


ENTRIES = Group(1)
LONG = 1024  # entries of a row


def _like(a, x):
    """a, over the last axis, in the shape of x."""
    return jnp.broadcast_to(a, x.shape)


def _wide(*arrays):
    """Arrays of half precision in float32: sums of many entries need the digits."""
    return tuple(a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in arrays)


def _mean(group, a):
    """Mean of a [M, D] over a group; its axis stays with size 1.

    Along rows it is a product with ones, which is faster on a CPU, unless they are long: a product adds up a long row,
    or a column, with more rounding than a sum, which is a tree.
    """
    if group.axis == 1 and a.shape[1] <= LONG:
        ones = jnp.ones((a.shape[1], 1), a.dtype)
        mean = jnp.matmul(a, ones, precision=lax.Precision.HIGHEST) / a.shape[1]
    else:
        mean = jnp.mean(a, group.axis, keepdims=True)
    return mean if group.devices is None else lax.pmean(mean, group.devices)


def _moments(group, x):
    """Mean and variance of x [M, D], the mean as the sum of two numbers.

    What is left after a first mean is averaged again: that is what the rounding of the first mean left out. An infinite
    mean has none. Equal entries are to leave an exact 0, and what they leave is a number with the steps of the entries;
    so the second mean, which is rounded too, is taken to steps of 1/256 of those: + and − a number 256 times smaller.
    """
    near = lax.stop_gradient(_mean(group, x))
    left = jnp.where(jnp.isinf(near), 0, _mean(group, x - near) + near / 256 - near / 256)
    return near, left, _mean(group, jnp.square(x - near - left))


def _normalized(x, near, left, var, epsilon):
    """x̂ and r. An infinite variance gives r = 0 and x̂ = 0."""
    r = lax.rsqrt(var + epsilon)
    return (x - near - left) * r, r  # x − near is exact where x is close to it; the sum near + left would be rounded


def _normalize_fwd(group, epsilon, x, scale, bias):
    wide, scale_, bias_ = _wide(x, scale, bias)
    near, left, var = moments = _moments(group, wide)
    x_hat, _ = _normalized(wide, *moments, epsilon)
    y = _like(scale_, x) * x_hat + _like(bias_, x)
    return (y.astype(x.dtype), *lax.stop_gradient((near + left, var))), (x, moments, scale)


def _normalize_bwd(group, epsilon, residuals, cotangents):
    x, moments, scale = residuals
    wide, scale_, dy = _wide(x, scale, cotangents[0])
    x_hat, r = _normalized(wide, *moments, epsilon)
    g = dy * _like(scale_, x)
    dx = r * (g - _mean(group, g) - x_hat * _mean(group, g * x_hat))
    dscale, dbias = jnp.sum(dy * x_hat, 0), jnp.sum(dy, 0)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(scale.dtype)


@partial(custom_vjp, nondiff_argnums=(0, 1))
def _normalize(group, epsilon, x, scale, bias):
    return _normalize_fwd(group, epsilon, x, scale, bias)[0]


_normalize.defvjp(_normalize_fwd, _normalize_bwd)


def layer_norm(x, scale, bias, epsilon=1e-5) -> jax.Array:
    """Normalises the last axis of x to mean 0 and variance 1, then scales and shifts it.

        y = scale (x − μ) / √(v + ε) + bias          μ, v: mean and variance over the last axis
        dx = r (g − mean(g) − x̂ mean(g x̂)),          g = dy scale, r = 1 / √(v + ε), x̂ = r (x − μ)

    The derivation stands at the head of this module.

    Args:
      x: [..., D].
      scale: [D].
      bias: [D].
      epsilon: a Python number above 0.

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    x, scale, bias = _check(x, scale, bias)
    epsilon = checks.positive(epsilon=epsilon)
    if x.size == 0:
        return x
    return _normalize(ENTRIES, epsilon, x.reshape(-1, x.shape[-1]), scale, bias)[0].reshape(x.shape)


def _infer_fwd(epsilon, x, scale, bias, mean, var):
    wide, scale_, bias_, mean_, var_ = _wide(x, scale, bias, mean, var)
    slope = scale_ * lax.rsqrt(var_ + epsilon)
    y = _like(slope, x) * (wide - _like(mean_, x)) + _like(bias_, x)  # slope · x − slope · mean would lose digits
    return y.astype(x.dtype), (x, scale, mean, var)


def _infer_bwd(epsilon, residuals, dy):
    x, scale, mean, var = residuals
    wide, scale_, mean_, var_, dy = _wide(x, scale, mean, var, dy)
    rows = tuple(range(x.ndim - 1))
    r = lax.rsqrt(var_ + epsilon)
    dbias = jnp.sum(dy, rows)
    dscale = r * jnp.sum(dy * (wide - _like(mean_, x)), rows)
    dmean, dvar = -scale_ * r * dbias, -0.5 * scale_ * r * r * dscale
    dx = _like(scale_ * r, x) * dy
    kinds = (scale.dtype, scale.dtype, mean.dtype, var.dtype)
    return dx.astype(x.dtype), *(d.astype(k) for d, k in zip((dscale, dbias, dmean, dvar), kinds, strict=True))


@partial(custom_vjp, nondiff_argnums=(0,))
def _infer(epsilon, x, scale, bias, mean, var):
    return _infer_fwd(epsilon, x, scale, bias, mean, var)[0]


_infer.defvjp(_infer_fwd, _infer_bwd)


def batch_norm(x, scale, bias, mean, var, training=True, momentum=0.9, epsilon=1e-5, axis_name=None):
    """Normalises every channel over the batch and all positions; in inference with the running statistics.

        training:   y = scale (x − μ) / √(v + ε) + bias        μ, v: mean and variance over all axes but the last
                    mean ← m mean + (1 − m) μ                  var ← m var + (1 − m) v n / (n − 1)
        inference:  y = scale (x − mean) / √(var + ε) + bias

    In training dx = r (g − mean(g) − x̂ mean(g x̂)) as derived at the head of this module. In inference y is affine in x,

        dx = scale r dy      dmean = −Σ scale r dy      dvar = −½ r² scale dscale      r = 1 / √(var + ε)

    y has the type of x, whatever the others have. The running statistics are returned, not kept anywhere; no gradient
    flows through the new ones. An empty batch leaves them as they are. The new variance has the factor n / (n − 1) as
    in PyTorch, whose momentum is 1 − m; Flax's has it not.

    Args:
      x: [..., C].
      scale: [C].
      bias: [C].
      mean: [C], the running mean.
      var: [C], the running variance.
      training: a Python bool.
      momentum: m, the part of the running statistics that stays.
      epsilon: a Python number above 0.
      axis_name: of a mapped axis (`jax.pmap`, `jax.shard_map`, `jax.vmap`), over which μ and v and the two means of
        the gradient are taken too: each device holds its part of one batch. None for the device's own part. Under
        `jax.vmap` gradients must be taken within it.

    Returns: (y [..., C], (mean [C], var [C])).

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    mean, var = checks.floating(mean=mean, var=var)
    x, scale, bias = _check(x, scale, bias, mean=mean, var=var)
    epsilon = checks.positive(epsilon=epsilon)
    checks.flag(training=training)
    if not training:
        return _infer(epsilon, x, scale, bias, mean, var), (mean, var)
    if x.size == 0:
        return x, (mean, var)
    rows = x.reshape(-1, x.shape[-1])
    y, *batch = _normalize(Group(0, axis_name), epsilon, rows, scale, bias)
    n = rows.shape[0] * (1 if axis_name is None else lax.axis_size(axis_name))
    batch[1] *= n / max(n - 1, 1)
    now = (s[0].astype(mean.dtype) for s in batch)
    running = tuple(momentum * old + (1 - momentum) * new for old, new in zip((mean, var), now, strict=True))
    return y.reshape(x.shape), running


def _check(x, scale, bias, **running):
    """x, which keeps its type, and scale and bias in one."""
    (x,), (scale, bias) = checks.floating(x=x), checks.floating(scale=scale, bias=bias)
    checks.rows(x)
    for name, vector in {"scale": scale, "bias": bias, **running}.items():
        checks.shape(name, vector, (x.shape[-1],), "one entry for each entry of the last axis of x")
    return x, scale, bias
