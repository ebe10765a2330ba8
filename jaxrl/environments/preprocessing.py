"""Pictures, as the agents of this project's origin saw them. Pure JAX, frames [..., H, W, C].

Resizing follows OpenCV's INTER_LINEAR (and OpenGL's, and PyTorch's `align_corners=False`): pixels are areas, so
the centre of target pixel i lies at (i + 1/2) s - 1/2 in the source, with s = source / target; nothing is smoothed
before shrinking; beyond the edge the last pixel goes on.
"""

import jax
import jax.numpy as jnp
import numpy as np

ROWS = slice(34, 194)  # the playing field of Riverraid, 160 x 160: no score above it, no fuel gauge below


def bilinear_matrix(source: int, target: int) -> np.ndarray:
    """The matrix of bilinear interpolation of a line of `source` pixels to `target` ones.

        x_i = (i + 1/2) source/target - 1/2,   f = ⌊x_i⌋
        (M p)_i = (1 - x_i + f) p_f + (x_i - f) p_f+1,   with f and f + 1 held within 0 .. source - 1

    Returns: float32 [target, source], every row sums to 1.
    Raises: ValueError where a size is not positive.
    """
    if source < 1 or target < 1:
        raise ValueError(f"an image has at least one pixel, got a resize from {source} to {target}")
    x = (np.arange(target) + 0.5) * source / target - 0.5
    low = np.floor(x).astype(int)
    matrix = np.zeros((target, source))
    for neighbour, weight in ((low, 1 - (x - low)), (low + 1, x - low)):
        np.add.at(matrix, (np.arange(target), neighbour.clip(0, source - 1)), weight)
    return matrix.astype(np.float32)


def origin_frame(frame: jax.Array) -> jax.Array:
    """A screen as the A3C-LSTM of the origin sees it.

    Crop to the playing field, halve to 80 x 80, shrink to 42 x 42 (both bilinear), mean of the colours, over 255.
    All of it is linear, so the mean is taken first, and both resizes are one matrix, M = M_80→42 M_160→80, applied
    to rows and to columns: M g Mᵀ. The original rounds to whole grey levels after each resize; this does not.

    Args:
        frame: uint8 [..., 210, 160, 3].

    Returns: float32 [..., 42, 42, 1] in [0, 1].
    """
    field = frame[..., ROWS, :, :].astype(jnp.int32).sum(-1).astype(jnp.float32) / (3 * 255)
    matrix = bilinear_matrix(80, 42) @ bilinear_matrix(160, 80)
    return jnp.einsum("ih,...hw,jw->...ij", matrix, field, matrix, precision="highest")[..., None]
