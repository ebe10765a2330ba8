"""Flax modules made of the derived layers. `apply` is pure: parameters in, activations out.

Images are [..., H, W, C]; uint8 images are scaled to [0, 1], floating-point ones are taken as they are.
Sequences are time-major, [T, B, ...].
"""

from jaxrl.networks.actor_critic import ActorCriticLSTM as ActorCriticLSTM
from jaxrl.networks.classifiers import VGG as VGG
from jaxrl.networks.classifiers import VISION as VISION
from jaxrl.networks.classifiers import AlexNet as AlexNet
from jaxrl.networks.classifiers import BatchNormLeNet as BatchNormLeNet
from jaxrl.networks.classifiers import DenseNet as DenseNet
from jaxrl.networks.classifiers import GoogLeNet as GoogLeNet
from jaxrl.networks.classifiers import LeNet as LeNet
from jaxrl.networks.classifiers import NiN as NiN
from jaxrl.networks.classifiers import ResNet as ResNet
from jaxrl.networks.modules import LSTM as LSTM
from jaxrl.networks.modules import BatchNorm as BatchNorm
from jaxrl.networks.modules import Conv2d as Conv2d
from jaxrl.networks.modules import Dropout as Dropout
from jaxrl.networks.modules import Linear as Linear
from jaxrl.networks.modules import NoisyLinear as NoisyLinear
from jaxrl.networks.modules import parameter_count as parameter_count
from jaxrl.networks.q_network import QNetwork as QNetwork
