"""Flax modules made of the derived layers. `apply` is pure: parameters in, activations out.

Images are [..., H, W, C]; uint8 images are scaled to [0, 1], floating-point ones are taken as they are.
Sequences are time-major, [T, B, ...].
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl import layers
from jaxrl.layers import initializers


class Conv2d(nn.Module):
    """`layers.conv2d` with its parameters w [k, k, C, features] and b [features]."""

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        w = self.param("w", initializers.glorot_uniform, shape)
        b = self.param("b", nn.initializers.zeros, (self.features,))
        return layers.conv2d(x, w, b, self.stride, self.padding)


class Linear(nn.Module):
    """`layers.linear` with its parameters w [I, features] and b [features]."""

    features: int
    w_init: nn.initializers.Initializer = initializers.glorot_uniform

    @nn.compact
    def __call__(self, x):
        w = self.param("w", self.w_init, (x.shape[-1], self.features))
        b = self.param("b", nn.initializers.zeros, (self.features,))
        return layers.linear(x, w, b)


class LSTM(nn.Module):
    """`layers.lstm` over a sequence x [T, B, I] with its parameters w_ih, w_hh and b (gates i, f, g, o)."""

    features: int

    @nn.compact
    def __call__(self, x, memory, first):
        h_0, c_0 = memory
        bound = initializers.uniform_hidden(self.features)
        w_ih = self.param("w_ih", bound, (x.shape[-1], 4 * self.features))
        w_hh = self.param("w_hh", bound, (self.features, 4 * self.features))
        b = self.param("b", nn.initializers.zeros, (4 * self.features,))
        return layers.lstm(x, h_0, c_0, w_ih, w_hh, b, first)


class ActorCriticLSTM(nn.Module):
    """The A3C-LSTM network of the origin: 4 convolutions of 3x3, stride 2, with ELU, an LSTM and two heads.

        x -> [conv 3x3/2, ELU] x 4 -> LSTM -> actor: logits [T, B, A],  critic: values [T, B]

    Source: "Asynchronous methods for deep reinforcement learning" by Mnih et al.
    (https://arxiv.org/abs/1602.01783), with the torso of pytorch-a3c.
    """

    num_actions: int
    features: int = 32
    hidden: int = 256

    def initial_memory(self, batch: int):
        """The LSTM's zero state (h, c), each [batch, hidden]."""
        return jnp.zeros((batch, self.hidden)), jnp.zeros((batch, self.hidden))

    @nn.compact
    def __call__(self, observation, memory, first):
        """Logits and values of a sequence, and the memory after it.

        Args:
          observation: [T, B, H, W, C].
          memory: (h, c), each [B, hidden], before the sequence.
          first: bool [T, B]; the memory is zeroed before a step that begins an episode.

        Returns: logits [T, B, A], values [T, B], memory.
        """
        steps_batch = observation.shape[:2]
        x = observation.reshape((-1,) + observation.shape[2:])
        if x.dtype == jnp.uint8:
            x = x.astype(jnp.float32) / 255.0
        for i in range(4):
            x = layers.elu(Conv2d(self.features, kernel=3, stride=2, padding=1, name=f"conv_{i}")(x))
        x = x.reshape(steps_batch + (-1,))
        x, memory = LSTM(self.hidden, name="lstm")(x, memory, first)
        logits = Linear(self.num_actions, initializers.normalized_columns(0.01), name="actor")(x)
        v = Linear(1, initializers.normalized_columns(1.0), name="critic")(x)
        return logits, v[..., 0], memory


def parameter_count(params) -> int:
    """How many numbers a tree of parameters holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
