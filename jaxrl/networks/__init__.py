"""Flax modules made of the derived layers. `apply` is pure: parameters in, activations out.

Images are [..., H, W, C]; uint8 images are scaled to [0, 1], floating-point ones are taken as they are.
Sequences are time-major, [T, B, ...].
"""

from jaxrl.networks.actor_critic import ActorCriticLSTM
from jaxrl.networks.classifiers import VGG, VISION, AlexNet, BatchNormLeNet, DenseNet, GoogLeNet, LeNet, NiN, ResNet
from jaxrl.networks.modules import LSTM, BatchNorm, Conv2d, Dropout, Linear, NoisyLinear, parameter_count
from jaxrl.networks.q_network import QNetwork

__all__ = [
    "ActorCriticLSTM",
    "AlexNet",
    "BatchNorm",
    "BatchNormLeNet",
    "Conv2d",
    "DenseNet",
    "Dropout",
    "GoogLeNet",
    "LeNet",
    "Linear",
    "LSTM",
    "NiN",
    "NoisyLinear",
    "parameter_count",
    "QNetwork",
    "ResNet",
    "VGG",
    "VISION",
]
