"""Layers with derived gradients: pure functions, each forward paired with its backward by `jax.custom_vjp`.

Images are NHWC and kernels HWIO; sequences are time-major; the LSTM's gates are i, f, g, o, the GRU's r, z, n.
Functions defined through `custom_vjp` have no forward-mode derivative (`jax.jvp`, `jax.jacfwd`); reverse mode works,
also twice, and so does the forward derivative of a gradient (`jax.hessian`).

Where floating-point arguments differ in type they are promoted, as by `jax.numpy`, and each gradient has its argument's
type. Normalisation alone keeps the type of x.
"""

from jaxrl.layers.activations import elu as elu
from jaxrl.layers.activations import gelu as gelu
from jaxrl.layers.activations import leaky_relu as leaky_relu
from jaxrl.layers.activations import relu as relu
from jaxrl.layers.activations import sigmoid as sigmoid
from jaxrl.layers.activations import softplus as softplus
from jaxrl.layers.activations import tanh as tanh
from jaxrl.layers.conv import conv2d as conv2d
from jaxrl.layers.conv_transpose import conv_transpose2d as conv_transpose2d
from jaxrl.layers.dropout import dropout as dropout
from jaxrl.layers.dueling import dueling as dueling
from jaxrl.layers.embedding import embedding as embedding
from jaxrl.layers.gru import gru as gru
from jaxrl.layers.gru import gru_cell as gru_cell
from jaxrl.layers.linear import linear as linear
from jaxrl.layers.lstm import lstm as lstm
from jaxrl.layers.lstm import lstm_cell as lstm_cell
from jaxrl.layers.lstm import lstm_states as lstm_states
from jaxrl.layers.noisy import factorized_noise as factorized_noise
from jaxrl.layers.noisy import noisy_linear as noisy_linear
from jaxrl.layers.normalization import batch_norm as batch_norm
from jaxrl.layers.normalization import layer_norm as layer_norm
from jaxrl.layers.pooling import avg_pool2d as avg_pool2d
from jaxrl.layers.pooling import global_avg_pool2d as global_avg_pool2d
from jaxrl.layers.pooling import max_pool2d as max_pool2d
from jaxrl.layers.softmax import log_softmax as log_softmax
from jaxrl.layers.softmax import softmax as softmax
