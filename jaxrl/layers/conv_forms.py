"""The forms in which a convolution and its two gradients can be computed: mathematics, true of every machine.

The derivation stands at the head of `conv.py`: dx by residues, and dw as a correlation, are its last two equations. Two
more forms serve layers of few channels: all patches as one matrix, and blocks of positions as channels. Which form is
taken when is in `conv_choice.py`.
"""

import itertools
import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

LAYOUT = ("NHWC", "HWIO", "NHWC")


class Geometry(NamedTuple):
    """Static parameters of a convolution: one (rows, columns) pair each; padding as (before, after) pairs."""

    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int


DENSE = Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)


def convolution(geometry, x, w):
    """y [B, H', W', O] without the bias, as XLA has it."""
    stride, padding, dilation, groups = geometry
    return lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, dimension_numbers=LAYOUT, feature_group_count=groups
    )


def forward_by_patches(geometry, x, w):
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
    """What each tap and channel reads, for every output position: [kh kw C, B H' W'].

    The positions come last, so that each row is written at once; forward and backward share it when compiled.
    """
    x = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))

    def seen(i, j, c):
        first = (i * geometry.dilation[0], j * geometry.dilation[1])
        each = zip(first, geometry.stride, size, strict=True)
        rows, cols = (slice(f, f + s * (n - 1) + 1, s) for f, s, n in each)
        return x[:, rows, cols, c].reshape(-1)

    return jnp.stack([seen(*tap) for tap in itertools.product(*map(range, w_shape[:3]))])


def input_gradient_by_residues(geometry, x_shape, w, dy):
    """dx [B, H, W, C]: for each residue of the input position modulo the stride one dense convolution of dy."""
    w = _swap_channels(w, geometry.groups)
    phase = lambda *residues: _phase(geometry, x_shape, w, dy, residues)  # noqa: E731
    return interleave(phase, geometry.stride, x_shape[1:3])


def input_gradient_in_one_product(geometry, x_shape, w, dy):
    """dx from [B H' W', kh kw C]: what each tap and channel passes back, added up where it reads."""
    back = dy.reshape(-1, dy.shape[3]) @ w.reshape(-1, w.shape[3]).T
    back = back.reshape(*dy.shape[:3], *w.shape[:3])

    def phase(*residues):
        rows, cols = (list(_reached(geometry, x_shape, w.shape, dy.shape, axis, r)) for axis, r in enumerate(residues))
        counts = (-(-n // s) for n, s in zip(x_shape[1:3], geometry.stride, strict=True))
        total = jnp.zeros((x_shape[0], *counts, x_shape[3]), dy.dtype)
        for (i, high), (j, wide) in itertools.product(rows, cols):
            margins = ((0, 0, 0), (*high, 0), (*wide, 0), (0, 0, 0))
            total += lax.pad(back[:, :, :, i, j], jnp.zeros((), dy.dtype), margins)
        return total

    return interleave(phase, geometry.stride, x_shape[1:3])


def _reached(geometry, x_shape, w_shape, dy_shape, axis, residue):
    """The taps that reach positions of a residue, and for each how an axis of dy is padded to lie on these."""
    s, d, p = geometry.stride[axis], geometry.dilation[axis], geometry.padding[axis][0]
    a, count = (residue + p) % s, -(-x_shape[1 + axis] // s)
    for i in range(w_shape[axis]):
        if (d * i) % s == a:
            first = (residue + p - d * i) // s  # the entry of dy that belongs to the first of these positions
            yield i, (-first, count + first - dy_shape[1 + axis])


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


def dilated_input_gradient(geometry, x_shape, w, dy):
    """dx as one convolution of dy with s − 1 zeros between its entries, the kernel reversed."""
    stride, padding, dilation, groups = geometry
    w = _swap_channels(w, groups)
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


def weight_gradient_by_patches(geometry, x, w_shape, dy):
    """dw [kh, kw, C, O] as one product of the patches with dy."""
    patches = _patches(geometry, x, w_shape, dy.shape[1:3])
    return (patches @ dy.reshape(-1, dy.shape[3])).reshape(w_shape)


def sum_of_correlations(geometry, x, w_shape, dy, size, rows_as_one):
    """dw [kh, kw, C / g, O], summed over parts of the batch of `size` examples; None for all at once."""
    parts = [slice(None)] if size is None else (slice(i, i + size) for i in range(0, max(x.shape[0], 1), size))
    return sum(_correlation(geometry, x[part], w_shape, dy[part], rows_as_one) for part in parts)


def _correlation(geometry, x, w_shape, dy, rows_as_one):
    """dw as a convolution of x whose kernel is dy: its positions are taps, and the batch is what is summed over.

    With `rows_as_one`, for neighbouring taps without groups, a row of x is one row of W · C entries, of which every
    C-th belongs to the same channel: the batch then goes last, as the convolution wants it, by transposing a matrix.
    """
    stride, padding, dilation, groups = geometry
    step = x.shape[3] if rows_as_one else 1
    pads = []
    for axis, unit in enumerate((1, step)):
        span = dilation[axis] * (w_shape[axis] - 1) + stride[axis] * (dy.shape[1 + axis] - 1) + 1
        before = padding[axis][0]
        pads.append((before * unit, (span - before - x.shape[1 + axis]) * unit))
    dw = lax.conv_general_dilated(
        x.reshape(*x.shape[:2], x.shape[2] * step, x.shape[3] // step),
        dy,
        dilation,
        pads,
        rhs_dilation=(stride[0], stride[1] * step),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=groups,
    )
    return dw.reshape(w_shape)


# A kernel of k taps and stride s, where s divides k, is one of k / s taps and stride 1 once each block of s x s
# positions is taken for one position with s² times the channels.


def _blocks(geometry, w_shape, dy):
    """(rows, columns) of the input, taps of the kernel, and channels, in blocks."""
    taps = tuple(k // s for k, s in zip(w_shape, geometry.stride, strict=False))
    size = tuple(n + t - 1 for n, t in zip(dy.shape[1:3], taps, strict=True))
    return size, taps, math.prod(geometry.stride) * w_shape[2]


def _margins(geometry, x_shape, size):
    """How x is padded to whole blocks, or cut where no window reaches: for `lax.pad`."""
    each = zip(geometry.padding, geometry.stride, size, x_shape[1:3], strict=True)
    return ((0, 0, 0), *((p[0], s * n - p[0] - length, 0) for p, s, n, length in each), (0, 0, 0))


def weight_gradient_of_blocks(geometry, x, w_shape, dy, dense):
    """dw with blocks of positions as channels; `dense(DENSE, x, w_shape, dy)` gives dw for stride 1."""
    (rows, cols), (th, tw), channels = _blocks(geometry, w_shape, dy)
    sh, sw = geometry.stride
    x = lax.pad(x, jnp.zeros((), x.dtype), _margins(geometry, x.shape, (rows, cols)))
    x = x.reshape(x.shape[0], rows, sh, cols, sw, w_shape[2]).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(x.shape[0], rows, cols, channels)
    dw = dense(DENSE, x, (th, tw, channels, w_shape[3]), dy)
    return dw.reshape(th, tw, sh, sw, *w_shape[2:]).transpose(0, 2, 1, 3, 4, 5).reshape(w_shape)


def input_gradient_of_blocks(geometry, x_shape, w, dy, dense):
    """dx with blocks of positions as channels; `dense(DENSE, x_shape, w, dy)` gives dx for stride 1."""
    (rows, cols), (th, tw), channels = _blocks(geometry, w.shape, dy)
    sh, sw = geometry.stride
    blocks = w.reshape(th, sh, tw, sw, *w.shape[2:]).transpose(0, 2, 1, 3, 4, 5).reshape(th, tw, channels, w.shape[3])
    dx = dense(DENSE, (x_shape[0], rows, cols, channels), blocks, dy)
    dx = dx.reshape(x_shape[0], rows, cols, sh, sw, x_shape[3]).transpose(0, 1, 3, 2, 4, 5)
    dx = dx.reshape(x_shape[0], rows * sh, cols * sw, x_shape[3])
    margins = [(-before, -after, 0) for before, after, _ in _margins(geometry, x_shape, (rows, cols))]
    return lax.pad(dx, jnp.zeros((), dx.dtype), margins)
