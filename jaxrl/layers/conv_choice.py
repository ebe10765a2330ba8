"""Which form of a convolution is taken when: measured, so this is what another processor or a new jaxlib may change.

Time over that of XLA's own form, from `benchmarks/layers.py` on 2 cores of a Zen 4 CPU with the settings of
`jaxrl.shell.runtime` ("over residues": over that of dx by residues; "over fused": over that within fusions):

    form                              layer                                               ratio
    y by patches                      1 channel, 3x3/2                                    0.43
    dw by patches                     1 channel, 3x3/2                                    0.7
    by patches                        32 channels, 3x3/2                                  3
    dx by residues                    32 channels, 3x3/2, 21x21                           0.13 to 0.5
                                      32 channels, 3x3/2, 11x11                           0.7
                                      32 channels, 3x3/2, 6x6                             1.1
    dx in one product                 1 channel, 3x3/2                                    0.2, over residues
                                      9x9, 3x3: 165 % of the positions covered            0.6, over residues
                                      20x20, 4x4/2: 123 % of the positions covered        1.1, over residues
    dx in blocks                      4 channels, 8x8/4                                   0.4
    dw in blocks                      4 channels, 8x8/4                                   0.75
    dx, dw in blocks                  32 channels, 8x8/4                                  1.1
    dw in parts, rows as one          320 images, 32 channels, 3x3/2, 21x21               0.6
                                      320 images, 32 channels, 3x3/2, 11x11               0.7
    dw in parts                       where all of dy fits into the cache                 1.15
    y alone, outside fusions          Nature network, 32 images                           0.5, over fused
                                      Nature network, 64 images                           0.87, over fused
                                      A3C network: 32 output channels                     1.1, over fused

XLA's own dx may win on small layers, but XLA:CPU (jaxlib 0.10.2) ends the process over it on some shapes: `jax.grad` of
a plain convolution of [1, 6, 6, 4] with a kernel of 2x4, stride (2, 4) and padding (1, 2) does. A CPU never takes it.
On other backends the vendor's kernels, which XLA's own forms reach, are taken for everything.
"""

import math

import jax

from jaxrl.layers import conv_forms as forms

FEW_INPUTS = 32  # entries that one output reads: taps times channels
FEW_CHANNELS = 4
MUCH_BEYOND = 150  # percent: positions of the input over those that the stride times the output covers
MANY_OUTPUTS = 64
CACHED = 2**18  # entries of dy
VECTOR = 16  # entries that the processor works on at once
MANY_PARTS = 20  # each is compiled by itself


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def outside_fusion(w_shape) -> bool:
    """Whether an inference-only forward pass is compiled as a call of its own, outside XLA's fusions.

    XLA:CPU runs convolutions slower within fusions of many layers.
    """
    return _on_cpu() and w_shape[3] >= MANY_OUTPUTS


def forward(geometry, x, w):
    """y [B, H', W', O] without the bias."""
    if _by_patches(geometry, w.shape):
        return forms.forward_by_patches(geometry, x, w)
    return forms.convolution(geometry, x, w)


def _by_patches(geometry, w_shape) -> bool:
    return _on_cpu() and geometry.groups == 1 and math.prod(w_shape[:3]) <= FEW_INPUTS


def input_gradient(geometry, x_shape, w, dy):
    """dx [B, H, W, C]."""
    if _in_one_product(geometry, x_shape, w.shape, dy.shape):
        return forms.input_gradient_in_one_product(geometry, x_shape, w, dy)
    if _in_blocks(geometry, w.shape):
        return forms.input_gradient_of_blocks(geometry, x_shape, w, dy, input_gradient)
    if _on_cpu():
        return forms.input_gradient_by_residues(geometry, x_shape, w, dy)
    return forms.dilated_input_gradient(geometry, x_shape, w, dy)


def _in_one_product(geometry, x_shape, w_shape, dy_shape) -> bool:
    """Whether there are few input channels, or dx by residues would spend much of its work beyond the ends of dy."""
    covered = math.prod((*geometry.stride, *dy_shape[1:3]))
    beyond = 100 * math.prod(x_shape[1:3]) > MUCH_BEYOND * covered
    return _by_patches(geometry, w_shape) or (_on_cpu() and geometry.groups == 1 and beyond)


def _in_blocks(geometry, w_shape) -> bool:
    stride, _, dilation, groups = geometry
    whole = all(k % s == 0 for k, s in zip(w_shape, stride, strict=False)) and stride != (1, 1)
    return _on_cpu() and whole and w_shape[2] <= FEW_CHANNELS and dilation == (1, 1) and groups == 1


def weight_gradient(geometry, x, w_shape, dy):
    """dw [kh, kw, C / g, O]."""
    if _by_patches(geometry, w_shape):
        return forms.weight_gradient_by_patches(geometry, x, w_shape, dy)
    if _in_blocks(geometry, w_shape):
        return forms.weight_gradient_of_blocks(geometry, x, w_shape, dy, _correlations)
    return _correlations(geometry, x, w_shape, dy)


def _correlations(geometry, x, w_shape, dy):
    """dw from a few examples at a time, whose dy stays in the processor's cache while all of x is held against it."""
    rows_as_one = _on_cpu() and geometry.groups == geometry.dilation[1] == 1
    return forms.sum_of_correlations(geometry, x, w_shape, dy, _examples_at_a_time(dy.shape), rows_as_one)


def _examples_at_a_time(dy_shape) -> int | None:
    """All examples, or a multiple of VECTOR: as many as have their dy in a quarter of the cache.

    None where their number is a symbol of `jax.export`.
    """
    if not isinstance(dy_shape[0], int):
        return None
    if not _on_cpu() or math.prod(dy_shape) <= CACHED:
        return max(dy_shape[0], 1)
    fitting = CACHED // (4 * math.prod(dy_shape[1:]))
    return VECTOR * max(fitting // VECTOR, -(-dy_shape[0] // (VECTOR * MANY_PARTS)), 1)
