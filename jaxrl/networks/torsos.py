"""Torsos: what makes features of an observation. Functions to call within a module, whose layers they name.

A torso takes observations [B, ...] of its kind, floating-point (`modules.unit_range`), and gives features [B, F].
"""

import math

import flax.linen as nn

from jaxrl import layers
from jaxrl.layers.initializers import glorot_uniform
from jaxrl.networks.modules import Conv2d, Linear

HE = nn.initializers.he_uniform()  # keeps the size of activations through ReLUs


def a3c_convolutions(x, features: int, activation=layers.elu, w_init=glorot_uniform):
    """Images [B, H, W, C] through four convolutions of 3x3, stride 2, each with ELU: pytorch-a3c's torso."""
    for i in range(4):
        x = activation(Conv2d(features, kernel=3, stride=2, padding=1, w_init=w_init, name=f"conv_{i}")(x))
    return flat(x)


def nature_convolutions(x):
    """Images [B, H, W, C] through convolutions of 8x8/4 (32), 4x4/2 (64) and 3x3 (64), each with ReLU.

    Source: "Human-level control through deep reinforcement learning" by Mnih et al. (doi:10.1038/nature14236).
    """
    for i, (features, kernel, stride) in enumerate(((32, 8, 4), (64, 4, 2), (64, 3, 1))):
        x = layers.relu(Conv2d(features, kernel, stride, w_init=HE, name=f"conv_{i}")(x))
    return flat(x)


def mlp(x, widths: tuple[int, ...], linear=Linear, activation=layers.relu):
    """Features [B, F] through hidden layers of these widths; `linear(width, name=...)` makes each."""
    for i, width in enumerate(widths):
        x = activation(linear(width, name=f"hidden_{i}")(x))
    return x


def flat(x):
    """[B, ...] as [B, F]; not by a size of -1, which cannot be inferred for an empty batch."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def is_images(x) -> bool:
    """Whether observations [B, ...] are images [B, H, W, C], and not features [B, F].

    Raises: ValueError when they are neither.
    """
    if x.ndim not in (2, 4):
        raise ValueError(f"observations have shape {x.shape}; expected images [B, H, W, C] or features [B, F].")
    return x.ndim == 4
