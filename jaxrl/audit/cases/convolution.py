"""Cases of the convolution and of the transposed one."""

import numpy as np

from jaxrl.audit.cases.case import SMALL, TESTED, TIMED


def _conv(name, x, w, outputs, text, kind=SMALL, bias=True, **settings) -> tuple:
    """Images of shape x, a kernel of shape w; the weights in the size of an initialiser's."""

    def make(draw):
        size = max(np.prod(w[:3]), 1) ** -0.5
        return draw.normal(*x), draw.normal(*w, scale=size), draw.normal(outputs) if bias else None

    return name, text, make, settings, kind


ASYMMETRIC = {"stride": (2, 3), "padding": ((0, 2), (1, 0)), "dilation": (2, 1), "groups": 2}
DILATED = {"stride": (2, 3), "padding": ((0, 3), (2, 1)), "dilation": (2, 1), "groups": 2}
UPSAMPLE = {"stride": (2, 3), "padding": ((0, 1), (1, 0)), "dilation": (2, 1), "groups": 2, "output_padding": (1, 0)}
ROWS = [
    _conv("conv2d", (320, 42, 42, 1), (3, 3, 1, 32), 32, "320x42x42x1>32 3x3/2", TIMED, stride=2, padding=1),
    _conv("conv2d", (320, 21, 21, 32), (3, 3, 32, 32), 32, "320x21x21x32>32 3x3/2", TIMED, stride=2, padding=1),
    _conv("conv2d", (320, 11, 11, 32), (3, 3, 32, 32), 32, "320x11x11x32>32 3x3/2", TIMED, stride=2, padding=1),
    _conv("conv2d", (320, 6, 6, 32), (3, 3, 32, 32), 32, "320x6x6x32>32 3x3/2", TIMED, stride=2, padding=1),
    _conv("conv2d", (32, 84, 84, 4), (8, 8, 4, 32), 32, "32x84x84x4>32 8x8/4", TIMED, stride=4),
    _conv("conv2d", (32, 20, 20, 32), (4, 4, 32, 64), 64, "32x20x20x32>64 4x4/2", TIMED, stride=2),
    _conv("conv2d", (32, 9, 9, 64), (3, 3, 64, 64), 64, "32x9x9x64>64 3x3", TIMED),
    _conv("conv2d", (2, 9, 7, 4), (3, 2, 2, 6), 6, "asymmetric", **ASYMMETRIC),
    _conv("conv2d", (2, 9, 10, 3), (3, 3, 3, 4), 4, "stride 4 of 10", stride=4),
    _conv("conv2d", (1, 6, 5, 3), (3, 2, 3, 4), 4, "batch of 1", bias=False, stride=2, padding=1),
    _conv("conv2d", (2, 7, 7, 8), (3, 3, 1, 8), 8, "depthwise", groups=8, padding=1),
    _conv("conv2d", (2, 9, 8, 3), (3, 3, 3, 4), 4, "dilated", dilation=(2, 3)),
    _conv("conv2d", (2, 7, 6, 3), (3, 4, 3, 4), 4, "SAME", stride=2, padding="SAME"),
    _conv("conv2d", (70, 11, 10, 8), (3, 3, 8, 16), 16, "by residues", stride=2, padding=1),
    _conv("conv2d", (2, 11, 11, 4), (3, 3, 4, 4), 4, "of the A3C network", TESTED, stride=2, padding=1),
    _conv("conv2d", (80, 14, 14, 4), (1, 2, 4, 64), 64, "residue without taps", TESTED, stride=3),
    _conv("conv2d", (70, 19, 17, 8), (3, 2, 4, 16), 16, "by residues, dilated", TESTED, **DILATED),
    _conv("conv2d", (2, 9, 8, 1), (3, 3, 1, 3), 3, "one channel", TESTED, stride=2, padding=1, dilation=(1, 2)),
    _conv("conv2d", (2, 13, 12, 4), (4, 4, 4, 3), 3, "of the Nature network", TESTED, stride=4, padding=1),
    _conv("conv2d", (2, 11, 9, 3), (4, 4, 3, 3), 3, "of blocks, cropped", TESTED, stride=(4, 2)),
    _conv("conv2d", (2, 7, 8, 3), (3, 3, 3, 5), 5, "three channels", TESTED, stride=(2, 1), padding=(1, 2)),
    _conv("conv2d", (1, 9, 7, 4), (3, 2, 2, 6), 6, "asymmetric, no bias", TESTED, bias=False, **ASYMMETRIC),
    _conv("conv2d", (2, 5, 6, 4), (3, 3, 4, 4), 4, "SAME of even and odd", TESTED, stride=2, padding="SAME"),
    _conv("conv2d", (2, 5, 6, 4), (2, 3, 4, 4), 4, "VALID", TESTED, padding="VALID"),
    _conv("conv2d", (2, 4, 4, 4), (2, 2, 4, 4), 4, "padding of more than the kernel", TESTED, padding=(3, 2)),
    _conv("conv2d", (0, 5, 5, 4), (3, 3, 4, 4), 4, "empty batch", TESTED, stride=2),
    _conv("conv_transpose2d", (32, 9, 9, 64), (4, 4, 32, 64), 32, "32x9x9x64>32 4x4/2", TIMED, stride=2),
    _conv("conv_transpose2d", (32, 20, 20, 32), (8, 8, 4, 32), 4, "32x20x20x32>4 8x8/4", TIMED, stride=4),
    _conv("conv_transpose2d", (2, 5, 4, 4), (3, 2, 3, 4), 6, "asymmetric", output_padding=(1, 2), **ASYMMETRIC),
    _conv("conv_transpose2d", (1, 4, 3, 3), (3, 3, 4, 3), 4, "batch of 1", bias=False, stride=2, padding=1),
    _conv("conv_transpose2d", (2, 3, 5, 4), (4, 3, 5, 4), 5, "SAME", stride=2, padding="SAME"),
    _conv("conv_transpose2d", (2, 5, 4, 3), (4, 4, 5, 3), 5, "4x4/2", TESTED, stride=2, padding=1),
    _conv("conv_transpose2d", (1, 5, 4, 4), (3, 2, 3, 4), 6, "asymmetric, batch of 1", TESTED, **UPSAMPLE),
    _conv("conv_transpose2d", (2, 3, 5, 4), (3, 3, 5, 4), 5, "SAME, 3x3", TESTED, bias=False, stride=2, padding="SAME"),
    _conv("conv_transpose2d", (0, 3, 5, 4), (3, 3, 5, 4), 5, "empty batch", TESTED, bias=False),
]
