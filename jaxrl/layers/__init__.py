"""Layers with derived gradients: pure functions, each forward paired with its backward by `jax.custom_vjp`.

Images are NHWC and kernels HWIO; sequences are time-major; the LSTM's gates are i, f, g, o. Functions defined
through `custom_vjp` have no forward-mode derivative (`jax.jvp`); reverse mode works, also twice.
"""

from jaxrl.layers.activations import elu as elu
from jaxrl.layers.activations import sigmoid as sigmoid
from jaxrl.layers.activations import tanh as tanh
from jaxrl.layers.conv import conv2d as conv2d
from jaxrl.layers.linear import linear as linear
from jaxrl.layers.recurrent import lstm as lstm
from jaxrl.layers.recurrent import lstm_cell as lstm_cell
from jaxrl.layers.softmax import log_softmax as log_softmax
from jaxrl.layers.softmax import softmax as softmax
