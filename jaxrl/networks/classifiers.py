"""Classifiers of images, from LeNet to DenseNet: proof that the layers compose.

The forms are those of "Dive into Deep Learning" by Zhang et al. (https://d2l.ai), chapters 7 and 8; where the published
network is wider or deeper than the book's (AlexNet, ResNet, DenseNet), it is that of torchvision, parameter for
parameter. `width` multiplies the channels and units of every hidden layer.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxrl import layers
from jaxrl.layers import checks
from jaxrl.networks.modules import BatchNorm, Conv2d, Dropout, Linear, unit_range

HE = nn.initializers.he_normal()  # keeps the size of activations through ReLUs


class Classifier(nn.Module):
    """Images [B, H, W, C] to logits [B, classes]; what every network here has.

    `training` is True while learning: batch statistics are used, the running ones updated, and dropout is on. It needs
    `apply(..., mutable=["batch_stats"], rngs={"dropout": key})` where the network has such layers.
    `smallest` is the least H and W that leave something behind the last pooling.
    """

    classes: int = 10
    width: float = 1.0
    smallest: ClassVar[int] = 1

    def wide(self, features: int) -> int:
        """The channels or units of a hidden layer, at this width."""
        return max(1, round(self.width * features))

    def images(self, x):
        """The input in the network's range.

        Raises: ValueError when it is not a batch of images, or its images are too small.
        """
        checks.images(x)
        if min(x.shape[1:3]) < self.smallest:
            raise ValueError(
                f"{type(self).__name__} needs images of {self.smallest}x{self.smallest} or larger; "
                f"got {x.shape[1]}x{x.shape[2]}."
            )
        return unit_range(x)


def conv_relu(x, features, kernel, stride=1, padding=0):
    """A convolution and a ReLU."""
    return layers.relu(Conv2d(features, kernel, stride, padding, w_init=HE)(x))


def conv_norm(x, training, features, kernel, stride=1, padding=0):
    """A convolution and batch normalisation, whose shift makes a bias unnecessary."""
    x = Conv2d(features, kernel, stride, padding, bias=False, w_init=HE)(x)
    return BatchNorm()(x, training)


def norm_relu_conv(x, training, features, kernel, padding=0):
    """The other way round: batch normalisation, a ReLU, a convolution."""
    x = layers.relu(BatchNorm()(x, training))
    return Conv2d(features, kernel, padding=padding, bias=False, w_init=HE)(x)


def dense_relu_dropout(x, training, features):
    """A dense layer, a ReLU, and dropout."""
    return Dropout(0.5)(layers.relu(Linear(features, HE)(x)), training)


def flat(x):
    """[B, H, W, C] to [B, H W C]."""
    return lax.collapse(x, 1)


class LeNet(Classifier):
    """LeNet-5, each hidden layer followed by tanh, and a dense layer as its output.

        x -> [conv 5x5, tanh, mean-pool 2x2] x 2 -> dense 120, tanh -> dense 84, tanh -> dense

    Source: "Gradient-based learning applied to document recognition" by LeCun et al., Proc. IEEE 86 (1998).
    """

    smallest: ClassVar[int] = 12

    @nn.compact
    def __call__(self, x, training=False):
        x = self.images(x)
        for features, padding in ((6, 2), (16, 0)):
            x = Conv2d(self.wide(features), 5, padding=padding)(x)
            x = layers.avg_pool2d(self.squash(x, training), 2)
        x = flat(x)
        for features in (120, 84):
            x = self.squash(Linear(self.wide(features))(x), training)
        return Linear(self.classes)(x)

    def squash(self, x, training):
        """What follows each hidden layer."""
        return layers.tanh(x)


class BatchNormLeNet(LeNet):
    """LeNet-5 with batch normalisation between each hidden layer and its tanh."""

    def squash(self, x, training):
        """What follows each hidden layer."""
        return layers.tanh(BatchNorm()(x, training))


class AlexNet(Classifier):
    """AlexNet in its form for one device.

        x -> conv 11x11/4, pool -> conv 5x5, pool -> conv 3x3 x 3, pool -> [dense 4096, dropout] x 2 -> dense

    with a ReLU after each hidden layer, and maxima over 3x3/2. Sources: "ImageNet classification with deep
    convolutional neural networks" by Krizhevsky et al. (2012); "One weird trick for parallelizing convolutional neural
    networks" by Krizhevsky (https://arxiv.org/abs/1404.5997), for this form.
    """

    smallest: ClassVar[int] = 63

    @nn.compact
    def __call__(self, x, training=False):
        x = conv_relu(self.images(x), self.wide(64), 11, stride=4, padding=2)
        x = conv_relu(layers.max_pool2d(x, 3, 2), self.wide(192), 5, padding=2)
        x = layers.max_pool2d(x, 3, 2)
        for features in (384, 256, 256):
            x = conv_relu(x, self.wide(features), 3, padding=1)
        x = flat(layers.max_pool2d(x, 3, 2))
        for _ in range(2):
            x = dense_relu_dropout(x, training, self.wide(4096))
        return Linear(self.classes)(x)


class VGG(Classifier):
    """VGG: blocks of 3x3 convolutions with ReLU, each ended by the maxima over 2x2; VGG-11 unless `blocks` differ.

        x -> [[conv 3x3, ReLU] x n -> pool] x 5 -> [dense 4096, ReLU, dropout] x 2 -> dense

    Source: "Very deep convolutional networks for large-scale image recognition" by Simonyan and Zisserman
    (https://arxiv.org/abs/1409.1556).
    """

    blocks: tuple = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))  # convolutions and channels of each

    @property
    def smallest(self) -> int:
        """Each pooling halves the image."""
        return 2 ** len(self.blocks)

    @nn.compact
    def __call__(self, x, training=False):
        x = self.images(x)
        for convolutions, features in self.blocks:
            for _ in range(convolutions):
                x = conv_relu(x, self.wide(features), 3, padding=1)
            x = layers.max_pool2d(x, 2)
        x = flat(x)
        for _ in range(2):
            x = dense_relu_dropout(x, training, self.wide(4096))
        return Linear(self.classes)(x)


class NiN(Classifier):
    """Network in network: each convolution is followed by two of 1x1, and the last block's channels are the classes.

        x -> [conv k, conv 1x1 x 2, pool 3x3/2] x 3 -> dropout -> conv 3x3, conv 1x1 x 2 -> mean over all positions

    with a ReLU after each convolution. Source: "Network in network" by Lin et al. (https://arxiv.org/abs/1312.4400).
    """

    smallest: ClassVar[int] = 67

    @nn.compact
    def __call__(self, x, training=False):
        x = self.images(x)
        for features, kernel, stride, padding in ((96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1)):
            x = self.block(x, self.wide(features), kernel, stride, padding)
            x = layers.max_pool2d(x, 3, 2)
        x = self.block(Dropout(0.5)(x, training), self.classes, 3, padding=1)
        return layers.global_avg_pool2d(x)

    def block(self, x, features, kernel, stride=1, padding=0):
        """A convolution, and the same small perceptron at every position."""
        x = conv_relu(x, features, kernel, stride, padding)
        return conv_relu(conv_relu(x, features, 1), features, 1)


# Channels of the four paths of each block: 1x1; 1x1 and 3x3; 1x1 and 5x5; pooling and 1x1. Table 1 of the source.
INCEPTIONS = (
    ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64)),
    (
        (192, (96, 208), (16, 48), 64),
        (160, (112, 224), (24, 64), 64),
        (128, (128, 256), (24, 64), 64),
        (112, (144, 288), (32, 64), 64),
        (256, (160, 320), (32, 128), 128),
    ),
    ((256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128)),
)


class GoogLeNet(Classifier):
    """GoogLeNet as published, without its auxiliary outputs and its local response normalisation.

        x -> conv 7x7/2, pool -> conv 1x1, conv 3x3, pool -> inception x 2, pool -> x 5, pool -> x 2
          -> mean over all positions -> dropout -> dense

    with a ReLU after each convolution, and maxima over 3x3/2. Source: "Going deeper with convolutions" by Szegedy et
    al. (https://arxiv.org/abs/1409.4842).
    """

    @nn.compact
    def __call__(self, x, training=False):
        x = conv_relu(self.images(x), self.wide(64), 7, stride=2, padding=3)
        x = conv_relu(layers.max_pool2d(x, 3, 2, 1), self.wide(64), 1)
        x = conv_relu(x, self.wide(192), 3, padding=1)
        for stage in INCEPTIONS:
            x = layers.max_pool2d(x, 3, 2, 1)
            for channels in stage:
                x = self.inception(x, *channels)
        x = Dropout(0.4)(layers.global_avg_pool2d(x), training)
        return Linear(self.classes)(x)

    def inception(self, x, one, three, five, pooled):
        """Four paths side by side, joined as channels."""
        reduced_3, reduced_5 = (conv_relu(x, self.wide(path[0]), 1) for path in (three, five))
        paths = (
            conv_relu(x, self.wide(one), 1),
            conv_relu(reduced_3, self.wide(three[1]), 3, padding=1),
            conv_relu(reduced_5, self.wide(five[1]), 5, padding=2),
            conv_relu(layers.max_pool2d(x, 3, 1, 1), self.wide(pooled), 1),
        )
        return jnp.concatenate(paths, -1)


class ResNet(Classifier):
    """Residual network of two-layer blocks; ResNet-18 unless `blocks` differ.

        x -> conv 7x7/2, pool 3x3/2 -> stages of residual blocks -> mean over all positions -> dense

    A stage has twice the channels of the one before it, and half the positions. Source: "Deep residual learning for
    image recognition" by He et al. (https://arxiv.org/abs/1512.03385).
    """

    blocks: tuple = (2, 2, 2, 2)  # of each stage

    @nn.compact
    def __call__(self, x, training=False):
        x = layers.relu(conv_norm(self.images(x), training, self.wide(64), 7, stride=2, padding=3))
        x = layers.max_pool2d(x, 3, 2, 1)
        for stage, count in enumerate(self.blocks):
            for number in range(count):
                stride = 2 if stage and not number else 1
                x = self.residual(x, training, self.wide(64 * 2**stage), stride)
        return Linear(self.classes)(layers.global_avg_pool2d(x))

    def residual(self, x, training, features, stride):
        """y = ReLU(x + f(x)); where the shape changes, x goes through a convolution of 1x1."""
        y = layers.relu(conv_norm(x, training, features, 3, stride, padding=1))
        y = conv_norm(y, training, features, 3, padding=1)
        if stride != 1 or x.shape[-1] != features:
            x = conv_norm(x, training, features, 1, stride)
        return layers.relu(x + y)


class DenseNet(Classifier):
    """Densely connected network with bottlenecks; DenseNet-121 unless `blocks` differ.

        x -> conv 7x7/2, pool 3x3/2 -> dense blocks, with a transition between two
          -> batch normalisation, ReLU -> mean over all positions -> dense

    A layer sees the outputs of all layers of its block before it and adds `growth` channels. Source: "Densely connected
    convolutional networks" by Huang et al. (https://arxiv.org/abs/1608.06993).
    """

    blocks: tuple = (6, 12, 24, 16)  # layers of each
    growth: int = 32

    @property
    def smallest(self) -> int:
        """The stem quarters the image, rounding up; each transition halves it, rounding down."""
        return 4 * 2 ** (len(self.blocks) - 1) - 3

    @nn.compact
    def __call__(self, x, training=False):
        growth = self.wide(self.growth)
        x = layers.relu(conv_norm(self.images(x), training, 2 * growth, 7, stride=2, padding=3))
        x = layers.max_pool2d(x, 3, 2, 1)
        for block, count in enumerate(self.blocks):
            if block:  # the transition: half the channels, half the positions
                x = layers.avg_pool2d(norm_relu_conv(x, training, x.shape[-1] // 2, 1), 2)
            for _ in range(count):
                y = norm_relu_conv(x, training, 4 * growth, 1)
                x = jnp.concatenate([x, norm_relu_conv(y, training, growth, 3, padding=1)], -1)
        x = layers.relu(BatchNorm()(x, training))
        return Linear(self.classes)(layers.global_avg_pool2d(x))


VISION = {
    "lenet": LeNet,
    "batch_norm_lenet": BatchNormLeNet,
    "alexnet": AlexNet,
    "vgg11": VGG,
    "nin": NiN,
    "googlenet": GoogLeNet,
    "resnet18": ResNet,
    "densenet121": DenseNet,
}
