"""Layers with derived gradients: pure functions, each forward paired with its backward by `jax.custom_vjp`.

Images are NHWC and kernels HWIO; sequences are time-major; the LSTM's gates are i, f, g, o, the GRU's r, z, n.
Functions defined through `custom_vjp` have no forward-mode derivative (`jax.jvp`, `jax.jacfwd`); reverse mode works,
also twice, and so does the forward derivative of a gradient (`jax.hessian`).

Where floating-point arguments differ in type they are promoted, as by `jax.numpy`, and each gradient has its argument's
type. Normalisation alone keeps the type of x.

Everything public is here, by its own name: `layers.lstm` is the function, and `layers.lstm_cell` stands beside it. The
modules are its files. Where one has the name of its function, the function hides it: `import jaxrl.layers.lstm as x`
gives the function, and `from jaxrl.layers.lstm import NAME` reads from the file.
"""

from jaxrl.layers.activations import elu, gelu, leaky_relu, relu, sigmoid, softplus, tanh
from jaxrl.layers.conv import conv2d
from jaxrl.layers.conv_transpose import conv_transpose2d
from jaxrl.layers.dropout import dropout
from jaxrl.layers.dueling import dueling
from jaxrl.layers.embedding import embedding
from jaxrl.layers.gru import gru, gru_cell
from jaxrl.layers.linear import linear
from jaxrl.layers.lstm import lstm, lstm_cell, lstm_states
from jaxrl.layers.noisy import factorized_noise, noisy_linear
from jaxrl.layers.normalization import batch_norm, layer_norm
from jaxrl.layers.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from jaxrl.layers.softmax import log_softmax, softmax

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "conv_transpose2d",
    "dropout",
    "dueling",
    "elu",
    "embedding",
    "factorized_noise",
    "gelu",
    "global_avg_pool2d",
    "gru",
    "gru_cell",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "lstm",
    "lstm_cell",
    "lstm_states",
    "max_pool2d",
    "noisy_linear",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]
