"""Images as the agent of this project's origin saw them. Pure JAX; frames are [..., H, W, C].

Resizing is OpenCV's INTER_LINEAR (PyTorch's bilinear with `align_corners=False`): pixels are areas, so the
centre of target pixel i lies at (i + 1/2) s - 1/2 in the source, with s = source / target; nothing is
smoothed before shrinking; beyond an edge its pixel goes on.
"""

import jax
import jax.numpy as jnp
import numpy as np

ROWS = slice(34, 194)  # Riverraid's river, 160 x 160 pixels


def bilinear_matrix(source: int, target: int) -> np.ndarray:
    """The matrix M of the linear interpolation of a line p of `source` pixels to `target` ones.

        x_i = (i + 1/2) source / target - 1/2,      f = ⌊x_i⌋
        (M p)_i = (1 - (x_i - f)) p_f + (x_i - f) p_f+1,      f and f + 1 held within 0 .. source - 1

    Returns: float32 [target, source]; each row sums to 1.
    Raises: ValueError for a size below 1.
    """
    if source < 1 or target < 1:
        raise ValueError(f"a line has at least one pixel, got a resize from {source} to {target}")
    x = (np.arange(target) + 0.5) * source / target - 0.5
    low = np.floor(x).astype(int)
    matrix = np.zeros((target, source))
    for neighbour, weight in ((low, 1 - (x - low)), (low + 1, x - low)):
        np.add.at(matrix, (np.arange(target), neighbour.clip(0, source - 1)), weight)
    return matrix.astype(np.float32)


def origin_frame(frame: jax.Array) -> jax.Array:
    """A screen as the A3C-LSTM of the origin saw it.

    Crop to the river, halve to 80 x 80, shrink to 42 x 42 (both bilinear), mean of the colours, over 255. All
    of it is linear, so that the mean can come first, and both resizes are one matrix M = M₈₀→₄₂ M₁₆₀→₈₀ for
    rows and columns: M g Mᵀ. The origin rounded to whole grey levels after each resize; this does not round.

    Args:
        frame: uint8 [..., 210, 160, 3].

    Returns: float32 [..., 42, 42, 1] in [0, 1].
    """
    grey = frame[..., ROWS, :, :].astype(jnp.int32).sum(-1).astype(jnp.float32) / (3 * 255)
    matrix = bilinear_matrix(80, 42) @ bilinear_matrix(160, 80)
    return jnp.einsum("ih,...hw,jw->...ij", matrix, grey, matrix, precision="highest")[..., None]
