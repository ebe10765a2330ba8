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
from jaxrl.layers.derived import custom_vjp

BATCH, ENTRIES = 0, 1  # what is averaged over, as an axis of x [M, D]


def _like(a, x):
    """a, over the last axis, in the shape of x."""
    return jnp.broadcast_to(a, x.shape)


def _wide(*arrays):
    """Arrays of half precision in float32: sums of many entries need the digits."""
    return tuple(a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in arrays)


def _mean(axis, a, scale=1.0):
    """Mean of scale · a, for a [M, D], over an axis, which stays with size 1.

    As a product it takes half the time of a reduction on CPUs; scale, along that axis, is a part of the product.
    """
    weights = jnp.full(a.shape[axis], 1 / max(a.shape[axis], 1), a.dtype) * scale
    return jnp.expand_dims(jnp.tensordot(a, weights, (axis, 0), precision="highest"), axis)


def _normalized(x, mean, var, epsilon):
    """x̂ and r. An infinite variance gives r = 0 and x̂ = 0."""
    r = lax.rsqrt(var + epsilon)
    return (x - mean) * r, r


def _normalize_fwd(axis, epsilon, x, scale, bias):
    wide, scale_, bias_ = _wide(x, scale, bias)
    mean = _mean(axis, wide)
    var = _mean(axis, jnp.square(wide - mean))
    x_hat, _ = _normalized(wide, mean, var, epsilon)
    y = _like(scale_, x) * x_hat + _like(bias_, x)
    return (y.astype(x.dtype), mean, var), (x, mean, var, scale)


def _normalize_bwd(axis, epsilon, residuals, cotangents):
    x, mean, var, scale = residuals
    wide, scale_, dy = _wide(x, scale, cotangents[0])
    x_hat, r = _normalized(wide, mean, var, epsilon)
    dyx = dy * x_hat
    mean_dy, mean_dyx = _mean(BATCH, dy)[0], _mean(BATCH, dyx)[0]
    if axis == BATCH:
        mean_g, mean_gx = (scale_ * mean_dy)[None], (scale_ * mean_dyx)[None]
    else:
        mean_g, mean_gx = _mean(axis, dy, scale_), _mean(axis, dyx, scale_)
    dx = r * (dy * _like(scale_, x) - mean_g - x_hat * mean_gx)
    # The statistics are outputs too, with cotangents of their own: dμ / n and dv 2 (x − μ) / n.
    dx = dx + cotangents[1] / x.shape[axis] + cotangents[2] * (2 / x.shape[axis]) * (wide - mean)
    rows = x.shape[0]
    return dx.astype(x.dtype), (rows * mean_dyx).astype(scale.dtype), (rows * mean_dy).astype(scale.dtype)


@partial(custom_vjp, nondiff_argnums=(0, 1))
def _normalize(axis, epsilon, x, scale, bias):
    return _normalize_fwd(axis, epsilon, x, scale, bias)[0]


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
    x, scale, bias = _check(x, epsilon, scale, bias)
    if x.size == 0:
        return x
    return _normalize(ENTRIES, float(epsilon), x.reshape(-1, x.shape[-1]), scale, bias)[0].reshape(x.shape)


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


def batch_norm(x, scale, bias, mean, var, training=True, momentum=0.9, epsilon=1e-5):
    """Normalises every channel over the batch and all positions; in inference with the running statistics.

        training:   y = scale (x − μ) / √(v + ε) + bias        μ, v: mean and variance over all axes but the last
                    mean ← m mean + (1 − m) μ                  var ← m var + (1 − m) v n / (n − 1)
        inference:  y = scale (x − mean) / √(var + ε) + bias

    In training dx = r (g − mean(g) − x̂ mean(g x̂)) as derived at the head of this module. In inference y is affine in x,

        dx = scale r dy      dmean = −Σ scale r dy      dvar = −½ r² scale dscale      r = 1 / √(var + ε)

    y has the type of x, whatever the others have. The running statistics are returned, not kept anywhere; no gradient
    flows through the new ones. An empty batch leaves them as they are.

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
    mean, var = checks.floating(mean=mean, var=var)
    x, scale, bias = _check(x, epsilon, scale, bias, mean=mean, var=var)
    if not isinstance(training, bool):
        raise TypeError(f"training must be True or False, known when the function is traced; got {training!r}.")
    if not training:
        return _infer(float(epsilon), x, scale, bias, mean, var), (mean, var)
    if x.size == 0:
        return x, (mean, var)
    rows = x.reshape(-1, x.shape[-1])
    y, batch_mean, batch_var = _normalize(BATCH, float(epsilon), rows, scale, bias)
    batch_var = batch_var * (len(rows) / max(len(rows) - 1, 1))
    batch = (lax.stop_gradient(s)[0].astype(mean.dtype) for s in (batch_mean, batch_var))
    running = tuple(momentum * old + (1 - momentum) * new for old, new in zip((mean, var), batch, strict=True))
    return y.reshape(x.shape), running


def _check(x, epsilon, scale, bias, **running):
    """x, which keeps its type, and scale and bias in one."""
    (x,), (scale, bias) = checks.floating(x=x), checks.floating(scale=scale, bias=bias)
    checks.rows(x)
    for name, vector in {"scale": scale, "bias": bias, **running}.items():
        checks.shape(name, vector, (x.shape[-1],), "one entry for each entry of the last axis of x")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0; got {epsilon!r}.")
    return x, scale, bias
