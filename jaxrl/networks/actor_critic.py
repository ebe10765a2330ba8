"""Actor-critic networks: the logits of a policy, and values."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxrl import layers
from jaxrl.layers.initializers import glorot_uniform
from jaxrl.networks import heads, torsos
from jaxrl.networks.modules import LSTM, Linear, unit_range


class Initialization(NamedTuple):
    """How the weights of the torso and of the LSTM start (None for its own way), and its forget gates' biases."""

    torso: nn.initializers.Initializer
    lstm: nn.initializers.Initializer | None
    forget_bias: float


INITIALIZATIONS = {
    "uniform": Initialization(glorot_uniform, None, 0.0),
    "orthogonal": Initialization(nn.initializers.orthogonal(2**0.5), nn.initializers.orthogonal(), 1.0),
}


class Kept(NamedTuple):
    """What the backward pass needs of a forward pass, which acting has done: for T steps of B environments.

    Attributes:
      activations: the output of each ELU, [T, B, ...].
      states: `layers.lstm_states`, [T, B, ...] a leaf.
    """

    activations: tuple[jax.Array, ...]
    states: tuple[jax.Array, jax.Array, jax.Array]


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
      initialization: "uniform", as pytorch-a3c starts, or "orthogonal", with the LSTM's forget gates open (bias 1).
    """

    num_actions: int
    features: int = 32
    hidden: int = 256
    widths: tuple[int, ...] = ()
    initialization: str = "uniform"

    def initial_memory(self, batch: int):
        """The LSTM's zero state (h, c), each [batch, hidden]."""
        return jnp.zeros((batch, self.hidden)), jnp.zeros((batch, self.hidden))

    @nn.compact
    def __call__(self, observation, memory, first, known: Kept | None = None, keep: bool = False):
        """Logits and values of a sequence, and the memory after it.

        The gradient of a sequence that the same parameters acted in needs no second forward pass: with `known` what
        acting kept takes the place of the convolutions and of the loop over time. For first derivatives only.

        Args:
          observation: [T, B, H, W, C] or [T, B, F].
          memory: (h, c), each [B, hidden], before the sequence.
          first: bool [T, B]; the memory is zeroed before a step that begins an episode.
          known: what `keep` gave of the same parameters and arguments, step by step.
          keep: return that too; nothing is differentiated then.

        Returns: logits [T, B, A], values [T, B], memory; with `keep` also a Kept.

        Raises: ValueError on an observation of another form.
        """
        start, outputs = INITIALIZATIONS[self.initialization], []
        of_acting = iter(() if known is None else known.activations)

        def elu(x):
            y = next(of_acting, None)
            outputs.append(layers.elu(x, known=None if y is None else lax.collapse(y, 0, 2)))
            return outputs[-1]

        x = unit_range(lax.collapse(observation, 0, 2))
        if torsos.is_images(x):
            x = torsos.a3c_convolutions(x, self.features, elu, start.torso)
        else:
            x = torsos.mlp(x, self.widths, partial(Linear, w_init=start.torso), elu)
        x = x.reshape(*first.shape, x.shape[-1])
        lstm = LSTM(self.hidden, start.lstm, start.forget_bias, name="lstm")
        if not keep:
            x, memory = lstm(x, memory, first, None if known is None else known.states)
            return *heads.policy_and_value(x, self.num_actions), memory
        x, memory, states = lstm(x, memory, first, keep=True)
        activations = tuple(y.reshape(*first.shape, *y.shape[1:]) for y in outputs)
        return *heads.policy_and_value(x, self.num_actions), memory, Kept(activations, states)
