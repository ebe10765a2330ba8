"""Pooling over windows of an image, and over all of it. NHWC.

A window on one axis, with stride s, padding p before and taps i = 0 .. k − 1, reads x at u = s o + i − p. The other
way round, write u + p = s q + a with 0 ≤ a < s: position u is read by output o = q − m through tap i = a + s m, for
every m that makes i a tap. So dx at the positions of one residue a is a sum of dy shifted by m, and the s results
are interleaved, as in the convolution.
"""

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.layers import checks
from jaxrl.layers.activations import larger
from jaxrl.layers.conv_forms import interleave
from jaxrl.layers.derived import custom_vjp


class Window(NamedTuple):
    """Static parameters: one (rows, columns) pair each; padding as (before, after) pairs; sizes (H, W) of the input."""

    window: tuple
    stride: tuple
    padding: tuple
    sizes: tuple

    def tiles(self):
        """Whether every position is in one window and no more, and there is no padding."""
        each = zip(self.sizes, self.window, self.stride, self.padding, strict=True)
        return all(k == s and n % k == 0 and not any(p) for n, k, s, p in each)

    def taps(self):
        """All taps (i, j), row by row."""
        return [(i, j) for i in range(self.window[0]) for j in range(self.window[1])]

    def outputs(self):
        """(H', W')."""
        each = zip(self.sizes, self.padding, self.window, self.stride, strict=True)
        return tuple((n + sum(p) - k) // s + 1 for n, p, k, s in each)

    def inside(self):
        """For each axis [H'] the first tap within the image, and the one after the last."""
        each = zip(self.sizes, self.padding, self.window, self.stride, self.outputs(), strict=True)
        starts = [(np.arange(o) * s - p[0], n, k) for n, p, k, s, o in each]
        return [(np.maximum(-first, 0), np.minimum(n - first, k)) for first, n, k in starts]

    def firsts(self):
        """For each axis and (residue r, tap i) that go together: which output reads position r, (r + p − i) / s."""
        each = zip(self.window, self.stride, self.padding, strict=True)
        return [
            {(r, i): (r + p[0] - i) // s for r in range(s) for i in range(k) if (r + p[0] - i) % s == 0}
            for k, s, p in each
        ]


def _tap(window, x, tap):
    """What tap (i, j) reads of the padded x, for every output: [B, H', W', C]."""
    ends = (i + s * (o - 1) + 1 for i, s, o in zip(tap, window.stride, window.outputs(), strict=True))
    rows, cols = (slice(i, end, s) for i, end, s in zip(tap, ends, window.stride, strict=True))
    return x[:, rows, cols]


def _spread(window, of_tap, *arrays):
    """dx [B, H, W, C] from `of_tap(number, *arrays)`, the cotangent that goes through a tap, of arrays [B, H', W', C].

    The arrays are padded with zeros once, and each tap takes a slice: padding them anew for each tap takes XLA:CPU six
    times as long.
    """
    counts = [-(-n // s) for n, s in zip(window.sizes, window.stride, strict=True)]
    firsts = window.firsts()
    margins = [
        (max(0, -min(first.values())), max(0, max(first.values()) + count - size))
        for first, count, size in zip(firsts, counts, window.outputs(), strict=True)
    ]
    padded = [jnp.pad(array, ((0, 0), *margins, (0, 0))) for array in arrays]

    def phase(*residues):
        total = jnp.zeros((arrays[0].shape[0], *counts, arrays[0].shape[3]), arrays[0].dtype)
        for number, tap in enumerate(window.taps()):
            starts = [first.get(key) for first, key in zip(firsts, zip(residues, tap, strict=True), strict=True)]
            if None not in starts:
                each = zip(starts, margins, counts, strict=True)
                rows, cols = (slice(start + m[0], start + m[0] + count) for start, m, count in each)
                total = total + of_tap(number, *(array[:, rows, cols] for array in padded))
        return total

    return interleave(phase, window.stride, window.sizes)


def _max_fwd(window, x):
    """The largest entry of each window, and the index of the first tap that reads it."""
    padded = jnp.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=-jnp.inf)
    seen = [_tap(window, padded, tap) for tap in window.taps()]
    y = reduce(larger, seen)
    # The maximum first, then its index: fused into one loop, as XLA:CPU would do, they take three times as long.
    y = jax.lax.optimization_barrier(y)
    index = jnp.zeros(y.shape, jnp.uint8 if len(seen) <= 256 else jnp.int32)
    for number, entry in reversed(list(enumerate(seen))):
        index = jnp.where((entry == y) | (entry != entry), jnp.asarray(number, index.dtype), index)
    if any(map(any, window.padding)):
        index = jnp.where(y == -jnp.inf, _first_inside(window, index), index)
    return y, index


def _first_inside(window, index):
    """The first tap of each window that is not in the padding: of entries that are all −∞, as padding is too."""
    (rows, _), (cols, _) = window.inside()
    first = rows[:, None] * window.window[1] + cols
    return jnp.broadcast_to(first[None, :, :, None].astype(index.dtype), index.shape)


def _max_bwd(window, index, dy):
    zero = jnp.zeros((), dy.dtype)
    return (_spread(window, lambda number, dy, index: jnp.where(index == number, dy, zero), dy, index),)


@partial(custom_vjp, nondiff_argnums=(0,))
def _max(window, x):
    return _max_fwd(window, x)[0]


_max.defvjp(_max_fwd, _max_bwd)


def max_pool2d(x, window, stride=None, padding=0) -> jax.Array:
    """Largest entry of each window.

        y[n, o, v, c] = max_ij x[n, s o + i − p, s v + j − p, c]                        with x = −∞ outside
        dx[n, u, w, c] = Σ dy[n, o, v, c] over the windows (o, v) whose maximum stands at (u, w)

    Where several entries of a window tie, the first in row-major order gets the whole gradient; NaN is the largest of
    all. Only the index of the
    winning tap is kept for the backward pass, one byte an output (four where a window has more than 256 taps).

    Args:
      x: [B, H, W, C].
      window: int or (h, w).
      stride: int or (h, w); None for the window, so that windows do not overlap.
      padding: int, (h, w), ((top, bottom), (left, right)), "SAME" or "VALID"; each less than the window.

    Returns: [B, H', W', C] with H' = ⌊(H + top + bottom − h) / s⌋ + 1.

    Raises: ValueError on shapes or parameters that do not fit, TypeError when x is not floating-point.
    """
    (x,) = checks.floating(x=x)
    return _max(_window(x, window, stride, padding), x)


def _over_count(window, count_padding, a):
    """a [B, H', W', C] over the number of entries of each window."""
    if count_padding or not any(map(any, window.padding)):
        return a / len(window.taps())
    rows, cols = (end - first for first, end in window.inside())
    return a / jnp.broadcast_to((rows[:, None] * cols)[None, :, :, None].astype(a.dtype), a.shape)


def _avg_fwd(window, count_padding, x):
    padded = jnp.pad(x, ((0, 0), *window.padding, (0, 0)))
    total = sum(_tap(window, padded, tap) for tap in window.taps())
    return _over_count(window, count_padding, total), None


def _avg_bwd(window, count_padding, _, dy):
    each = _over_count(window, count_padding, dy)
    return (_repeated(window, each) if window.tiles() else _spread(window, lambda number, each: each, each),)


def _repeated(window, a):
    """a [B, H', W', C] at each position of its window, [B, H, W, C], where windows tile the image."""
    batch, rows, cols, channels = a.shape
    (h, w), sizes = window.window, window.sizes
    a = jnp.broadcast_to(a[:, :, None, :, None], (batch, rows, h, cols, w, channels))
    return a.reshape(batch, *sizes, channels)


@partial(custom_vjp, nondiff_argnums=(0, 1))
def _avg(window, count_padding, x):
    return _avg_fwd(window, count_padding, x)[0]


_avg.defvjp(_avg_fwd, _avg_bwd)


def avg_pool2d(x, window, stride=None, padding=0, count_padding=True) -> jax.Array:
    """Mean of each window. Padding counts as zeros, so the divisor N is the whole window, h w; or it does not count.

        y[n, o, v, c] = 1/N[o, v] Σ_ij x[n, s o + i − p, s v + j − p, c]                with x = 0 outside
        dx[n, u, w, c] = Σ dy[n, o, v, c] / N[o, v] over the windows (o, v) that read (u, w)

    Arguments, result and errors are those of `max_pool2d`, but for one more argument. Nothing is kept for the backward
    pass.

    Args:
      count_padding: a Python bool; with False N[o, v] is the number of entries of the image in the window.
    """
    checks.flag(count_padding=count_padding)
    (x,) = checks.floating(x=x)
    return _avg(_window(x, window, stride, padding), count_padding, x)


def _global_avg_fwd(sizes, x):
    return x.mean((1, 2)), None


def _global_avg_bwd(sizes, _, dy):
    each = dy / max(sizes[0] * sizes[1], 1)
    return (jnp.broadcast_to(each[:, None, None], (each.shape[0], *sizes, each.shape[1])),)


@partial(custom_vjp, nondiff_argnums=(0,))
def _global_avg(sizes, x):
    return _global_avg_fwd(sizes, x)[0]


_global_avg.defvjp(_global_avg_fwd, _global_avg_bwd)


def global_avg_pool2d(x) -> jax.Array:
    """Mean over all positions of an image: [B, H, W, C] to [B, C].

        y[n, c] = 1/(H W) Σ_uw x[n, u, w, c]              dx[n, u, w, c] = dy[n, c] / (H W)

    Raises: ValueError when x is not [B, H, W, C] with an H and W above 0, TypeError when it is not floating-point.
    """
    (x,) = checks.floating(x=x)
    checks.images(x)
    if 0 in x.shape[1:3]:
        raise ValueError(f"x has shape {x.shape}: there is no mean over an image without positions.")
    return _global_avg(x.shape[1:3], x)


def _window(x, window, stride, padding) -> Window:
    checks.images(x)
    window = checks.pair_of("window", window)
    stride = window if stride is None else checks.pair_of("stride", stride)
    padding = checks.pads_of(padding, x.shape[1:3], window, stride)
    for axis, size, pads, reach in zip("HW", x.shape[1:3], padding, window, strict=True):
        if max(pads) >= reach:
            raise ValueError(f"padding {pads} along {axis} must be less than the window of {reach}.")
        if size + sum(pads) < reach:
            raise ValueError(
                f"x has shape {x.shape}: its {axis} of {size} with padding {pads} is less than the window of {reach}."
            )
    return Window(window, stride, padding, x.shape[1:3])
