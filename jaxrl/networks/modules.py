"""Single layers as Flax modules, which hold their parameters and running statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl import layers
from jaxrl.layers import checks, initializers


class Conv2d(nn.Module):
    """`layers.conv2d` with its parameters w [k, k, C, features] and, unless `bias` is False, b [features]."""

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True
    w_init: nn.initializers.Initializer = initializers.glorot_uniform

    @nn.compact
    def __call__(self, x):
        checks.widths(features=self.features, kernel=self.kernel)
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        w = self.param("w", self.w_init, shape)
        b = self.param("b", nn.initializers.zeros, (self.features,)) if self.bias else None
        return layers.conv2d(x, w, b, self.stride, self.padding)


class Linear(nn.Module):
    """`layers.linear` with its parameters w [I, features] and b [features]."""

    features: int
    w_init: nn.initializers.Initializer = initializers.glorot_uniform

    @nn.compact
    def __call__(self, x):
        checks.widths(features=self.features)
        w = self.param("w", self.w_init, (x.shape[-1], self.features))
        b = self.param("b", nn.initializers.zeros, (self.features,))
        return layers.linear(x, w, b)


class NoisyLinear(nn.Module):
    """`layers.noisy_linear`; without noise where `apply` gets no key of it.

        rngs={"noise": key}         one draw for the whole batch, as in learning
        rngs={"row_noise": key}     a draw for each row of x [B, I], as for environments that explore side by side:
                                    y = x w + b + n_out ∘ ((n_in ∘ x) w_σ + b_σ),  which is two products, where B
                                    noisy weights would be B times as many

    Its parameters start as in "Noisy networks for exploration" by Fortunato et al. (https://arxiv.org/abs/1706.10295),
    section 3.2: w and b uniform in ±1/√I, the sizes of their noise `sigma` / √I.
    """

    features: int
    sigma: float = 0.5

    @nn.compact
    def __call__(self, x):
        checks.widths(features=self.features)
        inputs = x.shape[-1]
        uniform, size = initializers.uniform_hidden(inputs), nn.initializers.constant(self.sigma / inputs**0.5)
        w, w_sigma = (self.param(n, init, (inputs, self.features)) for n, init in (("w", uniform), ("w_sigma", size)))
        b, b_sigma = (self.param(n, init, (self.features,)) for n, init in (("b", uniform), ("b_sigma", size)))
        if self.has_rng("row_noise"):
            keys = jax.random.split(self.make_rng("row_noise"), len(x))
            noise_in, noise_out = jax.vmap(lambda key: layers.factorized_noise(key, inputs, self.features))(keys)
            return layers.linear(x, w, b) + noise_out * layers.linear(noise_in * x, w_sigma, b_sigma)
        if not self.has_rng("noise"):
            return layers.linear(x, w, b)
        noise = layers.factorized_noise(self.make_rng("noise"), inputs, self.features)
        return layers.noisy_linear(x, w, b, w_sigma, b_sigma, *noise)


class LSTM(nn.Module):
    """`layers.lstm` over a sequence x [T, B, I] with its parameters w_ih, w_hh and b (gates i, f, g, o).

    Weights start by `w_init`, or uniform in ±1/√features; biases at 0, those of the forget gates at `forget_bias`.
    """

    features: int
    w_init: nn.initializers.Initializer | None = None
    forget_bias: float = 0.0

    @nn.compact
    def __call__(self, x, memory, first, known=None, keep=False):
        """y [T, B, features] and the memory after; with `keep` also `layers.lstm_states`, which `known` takes."""
        checks.widths(features=self.features)
        h_0, c_0 = memory
        w_init = self.w_init or initializers.uniform_hidden(self.features)
        w_ih = self.param("w_ih", w_init, (x.shape[-1], 4 * self.features))
        w_hh = self.param("w_hh", w_init, (self.features, 4 * self.features))
        b = self.param("b", lambda key: jnp.repeat(jnp.array([0.0, self.forget_bias, 0.0, 0.0]), self.features))
        if not keep:
            return layers.lstm(x, h_0, c_0, w_ih, w_hh, b, first, known)
        y, cells, gates = layers.lstm_states(x, h_0, c_0, w_ih, w_hh, b, first)
        return y, (y[-1], cells[-1]), (y, cells, gates)


class BatchNorm(nn.Module):
    """`layers.batch_norm` over the last axis, with its parameters scale and bias.

    The running statistics mean and var are variables of the collection `batch_stats`. With training=True they are
    updated, and `apply` must be told `mutable=["batch_stats"]`; with training=False they are what x is normalised with.
    With `axis_name` the statistics are those of all devices of a mapped axis.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, training=False):
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        y, running = layers.batch_norm(
            x, scale, bias, mean.value, var.value, training, self.momentum, self.epsilon, self.axis_name
        )
        if training and not self.is_initializing():
            mean.value, var.value = running
        return y


class Dropout(nn.Module):
    """`layers.dropout` with training=True, for which `apply` needs `rngs={"dropout": key}`; x itself otherwise."""

    rate: float = 0.5

    @nn.compact
    def __call__(self, x, training=False):
        return layers.dropout(x, self.make_rng("dropout"), self.rate) if training else x


def unit_range(images) -> jax.Array:
    """uint8 images as float32 in [0, 1]; others as they are."""
    return images.astype(jnp.float32) / 255.0 if images.dtype == jnp.uint8 else images


def parameter_count(params) -> int:
    """How many values a tree of parameters (or of their shapes) holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
