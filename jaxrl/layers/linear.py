"""The affine map."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp


def _linear_fwd(x, w, b):
    y = x @ w
    return (y if b is None else y + jnp.broadcast_to(b, y.shape)), (x, w, b is not None)


def _linear_bwd(residuals, dy):
    x, w, has_bias = residuals
    rows = lax.collapse(dy, 0, dy.ndim - 1)
    dw = lax.collapse(x, 0, x.ndim - 1).T @ rows
    return dy @ w.T, dw, rows.sum(0) if has_bias else None


@custom_vjp
def _linear(x, w, b):
    return _linear_fwd(x, w, b)[0]


_linear.defvjp(_linear_fwd, _linear_bwd)


def linear(x, w, b) -> jax.Array:
    """Affine map of the last axis.

        y = x w + b

    With one row of x for each row of y, and the cotangent dy of the loss with respect to y,

        dx = dy wᵀ        dw = Σ_rows xᵀ dy        db = Σ_rows dy

    Args:
      x: [..., I].
      w: [I, O].
      b: [O], or None.

    Returns: [..., O].

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    x, w, b = checks.floating("b", x=x, w=w, b=b)
    checks.rows(x)
    checks.shape("w", w, (x.shape[-1], None), "its rows are the last axis of x")
    checks.optional_shape("b", b, (w.shape[1],), "one entry for each column of w")
    return _linear(x, w, b)
