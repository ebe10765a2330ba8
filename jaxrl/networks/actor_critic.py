"""Networks that act and judge: logits of a policy, and values."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxrl import layers
from jaxrl.layers import initializers
from jaxrl.networks.modules import LSTM, Conv2d, Linear, unit_range


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
        x = unit_range(lax.collapse(observation, 0, 2))
        for i in range(4):
            x = layers.elu(Conv2d(self.features, kernel=3, stride=2, padding=1, name=f"conv_{i}")(x))
        x = x.reshape(*observation.shape[:2], math.prod(x.shape[1:]))  # which of no image -1 is not
        x, memory = LSTM(self.hidden, name="lstm")(x, memory, first)
        logits = Linear(self.num_actions, initializers.normalized_columns(0.01), name="actor")(x)
        v = Linear(1, initializers.normalized_columns(1.0), name="critic")(x)
        return logits, v[..., 0], memory
