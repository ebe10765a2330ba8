"""Two-dimensional convolution (cross-correlation, as in every deep-learning library). NHWC, HWIO.

The forward rule on one axis, with stride s, dilation d, padding p before and taps i:

    y[o] = Σ_i w[i] x[s o + d i − p]

An input position u is read by the pairs (o, i) with s o + d i − p = u, and a tap i meets x at s o + d i − p:

    dx[u] = Σ_(o, i): s o + d i − p = u  w[i] dy[o]          dw[i] = Σ_o x[s o + d i − p] dy[o]

Both are convolutions again. For dx split u by its residue r modulo s. Write u + p = s q + a with 0 ≤ a < s: only
taps with d i ≡ a (mod s) can reach u, and for those o = q − (d i − a) / s. So each residue is a dense
convolution, of stride 1, of dy with its own few taps, reversed; the s results are interleaved. Autodiff instead
inserts s − 1 zeros between the entries of dy and multiplies by them.
"""

import itertools
import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks

LAYOUT = ("NHWC", "HWIO", "NHWC")


class Geometry(NamedTuple):
    """Static parameters of a convolution: one (rows, columns) pair each; padding as (before, after) pairs."""

    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int


def _conv2d_fwd(geometry, x, w, b):
    y = forward(geometry, x, w)
    return (y if b is None else y + jnp.broadcast_to(b, y.shape)), (x, w, b is not None)


def _conv2d_bwd(geometry, residuals, dy):
    x, w, has_bias = residuals
    dx = input_gradient(geometry, x.shape, w, dy)
    dw = weight_gradient(geometry, x, w.shape, dy)
    return dx, dw, dy.sum((0, 1, 2)) if has_bias else None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv2d(geometry, x, w, b):
    return _conv2d_fwd(geometry, x, w, b)[0]


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
    checks.floating(x=x, w=w, b=b)
    checks.images(x)
    checks.shape("w", w, (None,) * 4, "a kernel [kh, kw, C / groups, O]")
    channels, outputs = x.shape[3], w.shape[3]
    if not isinstance(groups, int) or groups < 1 or channels % groups or outputs % groups:
        raise ValueError(
            f"groups must be a positive int that divides the {channels} input and the {outputs} output channels; "
            f"got {groups!r}."
        )
    checks.shape("w", w, (None, None, channels // groups, None), "its third axis is C / groups")
    if b is not None:
        checks.shape("b", b, (outputs,), "one number for each output channel of w")
    stride, dilation = pair_of("stride", stride), pair_of("dilation", dilation)
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, w.shape, strict=False))
    padding = pads_of(padding, x.shape[1:3], reach, stride)
    for axis, size, pads, needed in zip("HW", x.shape[1:3], padding, reach, strict=True):
        if size + sum(pads) < needed:
            raise ValueError(
                f"x has shape {x.shape}: its {axis} of {size} with padding {pads} is smaller than the {needed} "
                f"that the kernel w of shape {w.shape} with dilation {dilation} reaches over."
            )
    return _conv2d(Geometry(stride, padding, dilation, groups), x, w, b)


def pair_of(name, value, least=1):
    """An int of at least `least`, or a pair of them, as a pair."""
    pair = (value, value) if isinstance(value, int) else value
    ints = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(v, int) for v in pair)
    if not ints or min(pair) < least:
        kind = "a positive int" if least == 1 else f"an int of at least {least}"
        raise ValueError(f"{name} must be {kind} or a pair of them; got {value!r}.")
    return tuple(pair)


def pads_of(padding, sizes, reach, stride):
    """Padding in any of its forms as ((top, bottom), (left, right))."""
    if padding == "VALID":
        return ((0, 0), (0, 0))
    if padding == "SAME":
        short = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, reach, stride, strict=True)]
        return tuple((n // 2, n - n // 2) for n in short)
    pairs = (padding, padding) if isinstance(padding, int) else padding
    if isinstance(pairs, (tuple, list)) and len(pairs) == 2:
        pairs = tuple((p, p) if isinstance(p, int) else tuple(p) for p in pairs)
        if all(len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p) for p in pairs):
            return pairs
    raise ValueError(
        'padding must be an int, (h, w), ((top, bottom), (left, right)), none below 0, "SAME" or "VALID"; '
        f"got {padding!r}."
    )


# Which form computes what, by shape: measured with `benchmarks/layers.py` on 2 cores of a Zen 4 CPU, 320 images, with
# the flags of jaxrl.runtime, as a ratio of times to XLA's own form. Patches: forward 0.43 and weight gradient 0.7 for
# one channel and 3x3, but 3 for 32 channels. Input gradient by residues: 0.13 (21x21), 0.4 (11x11), 0.6 (6x6) for 32
# channels, but 3 for few channels, where interleaving costs more than multiplying by zeros. Weight gradient of blocks:
# 0.75 for 4 channels and 8x8/4, but 1.15 for 32 channels.
FEW_INPUTS = 32  # taps times channels that one output reads
FEW_CHANNELS = 4
# Below this many outputs the s² small convolutions cost more than the multiplications by zero that they save.
FEW_OUTPUTS = 2**15


def forward(geometry, x, w):
    """y [B, H', W', O] without the bias."""
    if _by_patches(geometry, w.shape):
        return _forward_by_patches(geometry, x, w)
    stride, padding, dilation, groups = geometry
    return lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, dimension_numbers=LAYOUT, feature_group_count=groups
    )


def _by_patches(geometry, w_shape):
    return geometry.groups == 1 and math.prod(w_shape[:3]) <= FEW_INPUTS


def _forward_by_patches(geometry, x, w):
    """y as one product: [kh kw C, B H' W']ᵀ times [kh kw C, O]."""
    size = _output_size(geometry, x.shape, w.shape)
    patches = _patches(geometry, x, w.shape, size)
    y = lax.dot_general(patches, w.reshape(-1, w.shape[3]), (((0,), (0,)), ((), ())))
    return y.reshape(x.shape[0], *size, w.shape[3])


def _output_size(geometry, x_shape, w_shape):
    """(H', W')."""
    each = zip(x_shape[1:3], geometry.padding, w_shape, geometry.dilation, geometry.stride, strict=False)
    return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, p, k, d, s in each)


def _patches(geometry, x, w_shape, size):
    """What each tap and channel sees, for every output position: [kh kw C, B H' W'].

    The positions stand last, so that each row is written in one go; forward and backward share it when compiled.
    """
    x = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))

    def seen(i, j, c):
        first = (i * geometry.dilation[0], j * geometry.dilation[1])
        each = zip(first, geometry.stride, size, strict=True)
        rows, cols = (slice(f, f + s * (n - 1) + 1, s) for f, s, n in each)
        return x[:, rows, cols, c].reshape(-1)

    return jnp.stack([seen(*tap) for tap in itertools.product(*map(range, w_shape[:3]))])


def input_gradient(geometry, x_shape, w, dy):
    """dx [B, H, W, C]: for each residue of the input position modulo the stride one dense convolution of dy."""
    stride, padding, dilation, groups = geometry
    w = _swap_channels(w, groups)
    if x_shape[3] <= FEW_CHANNELS or dy.size < FEW_OUTPUTS:
        return _dilated_input_gradient(geometry, x_shape, w, dy)
    return interleave(lambda *residues: _phase(geometry, x_shape, w, dy, residues), stride, x_shape[1:3])


def interleave(phase, stride, sizes):
    """[B, H, W, C] from `phase(r, c)` [B, ⌈H / s⌉, ⌈W / s⌉, C], its rows and columns of residue r and c modulo s."""
    phases = [[phase(r, c) for c in range(stride[1])] for r in range(stride[0])]
    if stride == (1, 1):
        return phases[0][0]
    image = jnp.stack([jnp.stack(row, 3) for row in phases], 2)
    batch, rows, _, cols, _, channels = image.shape
    image = image.reshape(batch, rows * stride[0], cols * stride[1], channels)
    return image[:, : sizes[0], : sizes[1]]


def _phase(geometry, x_shape, w, dy, residues):
    """The rows and columns of dx with these residues, [B, ⌈H / s⌉, ⌈W / s⌉, C]; zero past the input's end."""
    taps, pads, spacing = [], [], []
    for axis, r in enumerate(residues):
        s, d, p = geometry.stride[axis], geometry.dilation[axis], geometry.padding[axis][0]
        a = (r + p) % s
        mine = [i for i in range(w.shape[axis]) if (d * i) % s == a]
        count = -(-x_shape[1 + axis] // s)
        gap = d // math.gcd(d, s)
        if mine:
            before = (d * mine[-1] - a) // s - (r + p - a) // s
            pads.append((before, count + (len(mine) - 1) * gap - before - dy.shape[1 + axis]))
        taps.append(mine[::-1])
        spacing.append(gap)
    if not all(taps):
        counts = (-(-n // s) for n, s in zip(x_shape[1:3], geometry.stride, strict=True))
        return jnp.zeros((x_shape[0], *counts, x_shape[3]), dy.dtype)
    kernel = _taken(_taken(w, 0, taps[0]), 1, taps[1])
    return lax.conv_general_dilated(
        dy,
        kernel,
        (1, 1),
        pads,
        rhs_dilation=spacing,
        dimension_numbers=LAYOUT,
        feature_group_count=geometry.groups,
    )


def _taken(w, axis, taps):
    """The kernel's taps, which are evenly spaced and descend, as a slice reversed."""
    step = taps[0] - taps[1] if len(taps) > 1 else 1
    return lax.rev(lax.slice_in_dim(w, taps[-1], taps[0] + 1, step, axis), (axis,))


def _dilated_input_gradient(geometry, x_shape, w, dy):
    """dx as one convolution of dy with s − 1 zeros between its entries, the kernel reversed."""
    stride, padding, dilation, groups = geometry
    pads = []
    for axis in range(2):
        reach = dilation[axis] * (w.shape[axis] - 1)
        before = reach - padding[axis][0]
        stretched = (dy.shape[1 + axis] - 1) * stride[axis] + 1
        pads.append((before, x_shape[1 + axis] + reach - before - stretched))
    return lax.conv_general_dilated(
        dy,
        w[::-1, ::-1],
        (1, 1),
        pads,
        lhs_dilation=stride,
        rhs_dilation=dilation,
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


def _swap_channels(w, groups):
    """Kernel [kh, kw, C / g, O] as [kh, kw, O / g, C], group by group."""
    kh, kw, c, o = w.shape
    w = w.reshape(kh, kw, c, groups, o // groups)
    return w.transpose(0, 1, 4, 3, 2).reshape(kh, kw, o // groups, groups * c)


def weight_gradient(geometry, x, w_shape, dy):
    """dw [kh, kw, C / g, O]."""
    if _by_patches(geometry, w_shape):
        patches = _patches(geometry, x, w_shape, dy.shape[1:3])
        return (patches @ dy.reshape(-1, dy.shape[3])).reshape(w_shape)
    (sh, sw), _, dilation, groups = geometry
    whole = w_shape[0] % sh == 0 and w_shape[1] % sw == 0 and (sh, sw) != (1, 1)
    if x.shape[3] <= FEW_CHANNELS and whole and dilation == (1, 1) and groups == 1:
        return _weight_gradient_of_blocks(geometry, x, w_shape, dy)
    return _correlation(geometry, x, w_shape, dy)


def _correlation(geometry, x, w_shape, dy):
    """dw as a convolution of x whose kernel is dy: its positions are taps, and the batch is what is summed over."""
    stride, padding, dilation, groups = geometry
    pads = []
    for axis in range(2):
        span = dilation[axis] * (w_shape[axis] - 1) + stride[axis] * (dy.shape[1 + axis] - 1) + 1
        before = padding[axis][0]
        pads.append((before, span - before - x.shape[1 + axis]))
    return lax.conv_general_dilated(
        x,
        dy,
        dilation,
        pads,
        rhs_dilation=stride,
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=groups,
    )


def _weight_gradient_of_blocks(geometry, x, w_shape, dy):
    """dw with blocks of s x s positions as channels: k taps of stride s become k / s taps of stride 1."""
    (sh, sw), padding, _, _ = geometry
    th, tw, channels = w_shape[0] // sh, w_shape[1] // sw, sh * sw * w_shape[2]
    rows, cols = dy.shape[1] + th - 1, dy.shape[2] + tw - 1
    ends = (s * n - p[0] - size for s, n, p, size in zip((sh, sw), (rows, cols), padding, x.shape[1:3], strict=True))
    margins = ((p[0], end, 0) for p, end in zip(padding, ends, strict=True))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *margins, (0, 0, 0)))
    x = x.reshape(x.shape[0], rows, sh, cols, sw, w_shape[2]).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(x.shape[0], rows, cols, channels)
    dense = Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    dw = _correlation(dense, x, (th, tw, channels, w_shape[3]), dy)
    return dw.reshape(th, tw, sh, sw, *w_shape[2:]).transpose(0, 2, 1, 3, 4, 5).reshape(w_shape)
