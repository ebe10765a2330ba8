"""Two-dimensional convolution (cross-correlation, as in every deep-learning library). NHWC, HWIO.

The forward rule on one axis, with stride s, dilation d, padding p before and taps i:

    y[o] = Σ_i w[i] x[s o + d i − p]

An input position u is read by the pairs (o, i) with s o + d i − p = u, and a tap i meets x at s o + d i − p:

    dx[u] = Σ_(o, i): s o + d i − p = u  w[i] dy[o]          dw[i] = Σ_o x[s o + d i − p] dy[o]

Both are convolutions again. For dx split u by its residue r modulo s. Write u + p = s q + a with 0 ≤ a < s: only
taps with d i ≡ a (mod s) can reach u, and for those o = q − (d i − a) / s. So each residue is a dense
convolution, of stride 1, of dy with its own few taps, reversed; the s results are interleaved. Autodiff instead
inserts s − 1 zeros between the entries of dy and multiplies by them. `conv_forms.py` holds these forms,
and `conv_choice.py` says which is taken when.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from jaxrl.layers import checks
from jaxrl.layers.conv_choice import forward, input_gradient, outside_fusion, weight_gradient
from jaxrl.layers.conv_forms import Geometry
from jaxrl.layers.derived import custom_vjp


def _conv2d_fwd(geometry, x, w, b):
    y = forward(geometry, x, w)
    return (y if b is None else y + jnp.broadcast_to(b, y.shape)), (x, w, b is not None)


def _conv2d_bwd(geometry, residuals, dy):
    x, w, has_bias = residuals
    dx = input_gradient(geometry, x.shape, w, dy)
    dw = weight_gradient(geometry, x, w.shape, dy)
    return dx, dw, dy.sum((0, 1, 2)) if has_bias else None


@partial(custom_vjp, nondiff_argnums=(0,))
def _conv2d(geometry, x, w, b):
    if not outside_fusion(w.shape):
        return _conv2d_fwd(geometry, x, w, b)[0]
    with set_xla_metadata(inlineable="false"):
        return jax.jit(_conv2d_fwd, static_argnums=0)(geometry, x, w, b)[0]


_conv2d.defvjp(_conv2d_fwd, _conv2d_bwd)


def conv2d(x, w, b, stride=1, padding=0, dilation=1, groups=1) -> jax.Array:
    """Two-dimensional convolution.

        y[n, o, v, k] = b[k] + Σ_i Σ_j Σ_c w[i, j, c, k] x[n, s o + d i − p, s v + d j − p, c]

    with x = 0 outside; the derivation of its gradients stands at the head of this module. With groups > 1 the
    input and output channels are cut into that many blocks, and each output block sees its input block only.

    Args:
      x: [B, H, W, C].
      w: [kh, kw, C / groups, O].
      b: [O], or None.
      stride: int or (h, w).
      padding: int, (h, w), ((top, bottom), (left, right)), "SAME" (out = ⌈in / stride⌉) or "VALID" (none).
      dilation: int or (h, w), the distance between taps.
      groups: int that divides C and O.

    Returns: [B, H', W', O] with H' = ⌊(H + top + bottom − d (kh − 1) − 1) / s⌋ + 1.

    Raises: ValueError on shapes or parameters that do not fit, TypeError on arguments that are not floating-point.
    """
    x, w, b = checks.floating("b", x=x, w=w, b=b)
    checks.images(x)
    checks.shape("w", w, (None,) * 4, "a kernel [kh, kw, C / groups, O]")
    checks.kernel(w)
    channels, outputs = x.shape[3], w.shape[3]
    if not checks.is_int(groups) or groups < 1 or channels % groups or outputs % groups:
        raise ValueError(
            f"groups must be a positive int that divides the {channels} input and the {outputs} output channels; "
            f"got {groups!r}."
        )
    checks.shape("w", w, (None, None, channels // groups, None), "its third axis is C / groups")
    checks.optional_shape("b", b, (outputs,), "one entry for each output channel of w")
    stride, dilation = checks.pair_of("stride", stride), checks.pair_of("dilation", dilation)
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, w.shape, strict=False))
    padding = checks.pads_of(padding, x.shape[1:3], reach, stride)
    for axis, size, pads, needed in zip("HW", x.shape[1:3], padding, reach, strict=True):
        if size + sum(pads) < needed:
            raise ValueError(
                f"x has shape {x.shape}: its {axis} of {size} with padding {pads} is smaller than the {needed} "
                f"that the kernel w of shape {w.shape} with dilation {dilation} reaches over."
            )
    return _conv2d(Geometry(stride, padding, dilation, int(groups)), x, w, b)
