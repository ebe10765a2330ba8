"""Actor-critic networks: the logits of a policy, and values."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxrl import layers
from jaxrl.networks import heads, torsos
from jaxrl.networks.modules import LSTM, unit_range


class ActorCriticLSTM(nn.Module):
    """The A3C-LSTM network of pytorch-a3c, and the same for observations that are features.

        images:    x -> [conv 3x3/2, ELU] x 4 ------> LSTM -> actor: logits [T, B, A],  critic: values [T, B]
        features:  x -> hidden layers, each with ELU -> LSTM -> the same

    Source: "Asynchronous methods for deep reinforcement learning" by Mnih et al.
    (https://arxiv.org/abs/1602.01783), with the torso of pytorch-a3c.

    Attributes:
      num_actions: A.
      features: channels of each convolution.
      hidden: width of the LSTM.
      widths: of the hidden layers between features and the LSTM.
    """

    num_actions: int
    features: int = 32
    hidden: int = 256
    widths: tuple[int, ...] = ()

    def initial_memory(self, batch: int):
        """The LSTM's zero state (h, c), each [batch, hidden]."""
        return jnp.zeros((batch, self.hidden)), jnp.zeros((batch, self.hidden))

    @nn.compact
    def __call__(self, observation, memory, first):
        """Logits and values of a sequence, and the memory after it.

        Args:
          observation: [T, B, H, W, C] or [T, B, F].
          memory: (h, c), each [B, hidden], before the sequence.
          first: bool [T, B]; the memory is zeroed before a step that begins an episode.

        Returns: logits [T, B, A], values [T, B], memory.

        Raises: ValueError on an observation of another form.
        """
        x = unit_range(lax.collapse(observation, 0, 2))
        if torsos.is_images(x):
            x = torsos.a3c_convolutions(x, self.features)
        else:
            x = torsos.mlp(x, self.widths, activation=layers.elu)
        x, memory = LSTM(self.hidden, name="lstm")(x.reshape(*first.shape, x.shape[-1]), memory, first)
        return *heads.policy_and_value(x, self.num_actions), memory
