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

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks


def _like(a, x):
    """a, over the last axis, in the shape of x."""
    return jnp.broadcast_to(a, x.shape)


def _wide(*arrays):
    """Arrays of half precision in float32: sums of many numbers need the digits."""
    return tuple(a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in arrays)


def _normalized(x, mean, var, epsilon):
    """x̂ and r. A variance beyond the largest number gives r = 0 and x̂ = 0."""
    r = lax.rsqrt(var + epsilon)
    return (x - mean) * r, r


def _normalize_fwd(axes, epsilon, x, scale, bias):
    wide, scale_, bias_ = _wide(x, scale, bias)
    size = max(_count(x, axes), 1)
    mean = jnp.sum(wide / size, axes, keepdims=True)
    var = jnp.sum(jnp.square(wide - mean) / size, axes, keepdims=True)
    x_hat, _ = _normalized(wide, mean, var, epsilon)
    y = _like(scale_, x) * x_hat + _like(bias_, x)
    return (y.astype(x.dtype), mean, var), (x, mean, var, scale)


def _normalize_bwd(axes, epsilon, residuals, cotangents):
    x, mean, var, scale = residuals
    size = max(_count(x, axes), 1)
    wide, scale_, dy = _wide(x, scale, cotangents[0])
    x_hat, r = _normalized(wide, mean, var, epsilon)
    rows = tuple(range(x.ndim - 1))
    dscale, dbias = jnp.sum(dy * x_hat, rows), jnp.sum(dy, rows)
    g = dy * _like(scale_, x)
    dx = r * (g - jnp.sum(g, axes, keepdims=True) / size - x_hat * (jnp.sum(g * x_hat, axes, keepdims=True) / size))
    # The statistics themselves are outputs too: dμ / n and dv 2 (x − μ) / n.
    dx = dx + cotangents[1] / size + cotangents[2] * (2 / size) * (wide - mean)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(scale.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _normalize(axes, epsilon, x, scale, bias):
    return _normalize_fwd(axes, epsilon, x, scale, bias)[0]


_normalize.defvjp(_normalize_fwd, _normalize_bwd)


def _count(x, axes) -> int:
    """How many entries are averaged."""
    count = 1
    for a in axes:
        count *= x.shape[a]
    return count


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
    _check(x, epsilon, scale=scale, bias=bias)
    return _normalize((x.ndim - 1,), float(epsilon), x, scale, bias)[0]


def _infer_fwd(epsilon, x, scale, bias, mean, var):
    wide, scale_, bias_, mean_, var_ = _wide(x, scale, bias, mean, var)
    slope = scale_ * lax.rsqrt(var_ + epsilon)
    y = _like(slope, x) * wide + _like(bias_ - slope * mean_, x)
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


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _infer(epsilon, x, scale, bias, mean, var):
    return _infer_fwd(epsilon, x, scale, bias, mean, var)[0]


_infer.defvjp(_infer_fwd, _infer_bwd)


def batch_norm(x, scale, bias, mean, var, training=True, momentum=0.9, epsilon=1e-5):
    """Normalises every channel over the batch and all positions; in inference with the running statistics.

        training:   y = scale (x − μ) / √(v + ε) + bias        μ, v: mean and variance over all axes but the last
                    mean ← m mean + (1 − m) μ                  var ← m var + (1 − m) v n / (n − 1)
        inference:  y = scale (x − mean) / √(var + ε) + bias

    In training dx = r (g − mean(g) − x̂ mean(g x̂)) as derived at the head of this module. In inference y is affine in x,

        dx = scale r dy      dmean = −Σ scale r dy      dvar = −½ r² scale dscale      r = 1 / √(var + ε)

    The running statistics are returned, not kept anywhere; no gradient flows through the new ones. An empty batch
    leaves them as they are.

    Args:
      x: [..., C].
      scale: [C].
      bias: [C].
      mean: [C], the running mean.
      var: [C], the running variance.
      training: a Python bool.
      momentum: m, the part of the running statistics that stays.
      epsilon: a Python number above 0.

    Returns: (y [..., C], (mean [C], var [C])).

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    _check(x, epsilon, scale=scale, bias=bias, mean=mean, var=var)
    if not isinstance(training, bool):
        raise TypeError(f"training must be True or False, known when the function is traced; got {training!r}.")
    if not training:
        return _infer(float(epsilon), x, scale, bias, mean, var), (mean, var)
    axes = tuple(range(x.ndim - 1))
    y, batch_mean, batch_var = _normalize(axes, float(epsilon), x, scale, bias)
    count = _count(x, axes)
    if count == 0:
        return y, (mean, var)
    batch_var = batch_var * (count / max(count - 1, 1))
    batch = (lax.stop_gradient(s).reshape(-1).astype(mean.dtype) for s in (batch_mean, batch_var))
    return y, tuple(momentum * old + (1 - momentum) * new for old, new in zip((mean, var), batch, strict=True))


def _check(x, epsilon, **vectors):
    checks.floating(x=x, **vectors)
    if not jnp.ndim(x):
        raise ValueError("x has shape (); expected [..., D], at least one axis.")
    for name, vector in vectors.items():
        checks.shape(name, vector, (x.shape[-1],), "one number for each entry of the last axis of x")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0; got {epsilon!r}.")
