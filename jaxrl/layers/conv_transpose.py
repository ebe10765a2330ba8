"""Transposed two-dimensional convolution: the linear map whose matrix is the transpose of a convolution's. NHWC.

Read conv2d, with kernel w and without its bias, as y = A x, with A a matrix made of w. Its input gradient is Aᵀ dy;
the transposed convolution is that map, taken as a forward pass: y = Aᵀ x + b. Nothing new has to be derived,

    dx = A dy                          the convolution itself
    dw[i, j] = Σ dy[s o + d i − p] x[o]    the convolution's weight gradient, with dy where it reads its input and x
                                       where it gets its cotangent: ⟨x, A dy⟩ is the same sum either way
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.layers import checks
from jaxrl.layers.conv_choice import forward, input_gradient, weight_gradient
from jaxrl.layers.conv_forms import Geometry
from jaxrl.layers.derived import custom_vjp


def _conv_transpose2d_fwd(geometry, sizes, x, w, b):
    shape = (x.shape[0], *sizes, w.shape[2] * geometry.groups)
    y = input_gradient(geometry, shape, w, x)
    return (y if b is None else y + jnp.broadcast_to(b, shape)), (x, w, b is not None)


def _conv_transpose2d_bwd(geometry, sizes, residuals, dy):
    x, w, has_bias = residuals
    dx = forward(geometry, dy, w)
    dw = weight_gradient(geometry, dy, w.shape, x)
    return dx, dw, dy.sum((0, 1, 2)) if has_bias else None


@partial(custom_vjp, nondiff_argnums=(0, 1))
def _conv_transpose2d(geometry, sizes, x, w, b):
    return _conv_transpose2d_fwd(geometry, sizes, x, w, b)[0]


_conv_transpose2d.defvjp(_conv_transpose2d_fwd, _conv_transpose2d_bwd)


def conv_transpose2d(x, w, b, stride=1, padding=0, dilation=1, groups=1, output_padding=0) -> jax.Array:
    """Transposed convolution, which upsamples: every input position adds a scaled copy of the kernel to the output.

        y[n, u, v, k] = b[k] + Σ w[i, j, k, c] x[n, o, q, c]    over the taps and positions with s o + d i − p = u,
                                                                s q + d j − p = v

    The derivation of its gradients stands at the head of this module.

    Args:
      x: [B, H, W, C].
      w: [kh, kw, O / groups, C], the kernel of the convolution from O to C channels that this is the transpose of.
      b: [O], or None.
      stride: int or (h, w).
      padding: in any form of `conv2d`; it is cut off the output. "SAME" gives out = s in where the kernel reaches that
        far.
      dilation: int or (h, w), the distance between taps.
      groups: int that divides C and O.
      output_padding: int or (h, w) from 0 up to stride − 1: rows and columns added at the end, because a
        strided convolution makes one output size from several input sizes.

    Returns: [B, H', W', O] with H' = s (H − 1) + d (kh − 1) + 1 − top − bottom + output_padding.

    Raises: ValueError on shapes or parameters that do not fit, TypeError on arguments that are not floating-point.
    """
    x, w, b = checks.floating("b", x=x, w=w, b=b)
    checks.images(x)
    checks.shape("w", w, (None, None, None, x.shape[3]), "[kh, kw, O / groups, C] with the channels of x last")
    checks.kernel(w)
    if not checks.is_int(groups) or groups < 1 or x.shape[3] % groups:
        raise ValueError(f"groups must be a positive int that divides the {x.shape[3]} input channels; got {groups!r}.")
    checks.optional_shape("b", b, (w.shape[2] * groups,), "one entry for each output channel")
    stride, dilation = checks.pair_of("stride", stride), checks.pair_of("dilation", dilation)
    extra = checks.pair_of("output_padding", output_padding, least=0)
    if any(e >= s for e, s in zip(extra, stride, strict=True)):
        raise ValueError(f"output_padding must be less than the stride {stride}; got {output_padding!r}.")
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, w.shape, strict=False))
    full = tuple(s * (n - 1) + r for s, n, r in zip(stride, x.shape[1:3], reach, strict=True))
    grown = tuple(s * n for s, n in zip(stride, x.shape[1:3], strict=True))
    padding = checks.pads_of(padding, grown, reach, stride)
    sizes = tuple(n - sum(p) + e for n, p, e in zip(full, padding, extra, strict=True))
    if min(sizes) < 1 or 0 in x.shape[1:3]:
        raise ValueError(f"x has shape {x.shape}: with padding {padding} nothing is left of the output {full}.")
    return _conv_transpose2d(Geometry(stride, padding, dilation, int(groups)), sizes, x, w, b)
