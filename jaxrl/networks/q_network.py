"""Networks that judge actions: a value of each, or a distribution of its return."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxrl import layers
from jaxrl.layers.initializers import normalized_columns
from jaxrl.networks.modules import Conv2d, Linear, NoisyLinear, unit_range


class QNetwork(nn.Module):
    """K numbers for each action: its value (K = 1), the logits of a distribution (C51), or quantiles (QR-DQN).

        pictures:  x -> conv 8x8/4 (32), conv 4x4/2 (64), conv 3x3 (64), each with ReLU -> hidden layers -> heads
        features:  x -> hidden layers -> heads
        plain:     heads = linear -> [B, A, K]
        dueling:   a value [B, K] and advantages [B, A, K], each from its own last hidden layer, joined by
                   `layers.dueling` for each of the K numbers

    Weights before a ReLU start as in "Delving deep into rectifiers" by He et al. (https://arxiv.org/abs/1502.01852),
    section 2.2, those of the heads near 0; noisy layers have a start of their own.

    Sources: the torso of "Human-level control through deep reinforcement learning" by Mnih et al.
    (doi:10.1038/nature14236); "Dueling network architectures" by Wang et al. (https://arxiv.org/abs/1511.06581).

    Attributes:
      num_actions: A.
      outputs: K.
      hidden: widths of the hidden layers, at least one.
      dueling: "none", "mean" or "max".
      noisy: hidden layers and heads carry learnt noise; `apply` then takes rngs={"noise": key}, and none for no noise.
    """

    num_actions: int
    outputs: int = 1
    hidden: tuple[int, ...] = (512,)
    dueling: str = "none"
    noisy: bool = False

    @nn.compact
    def __call__(self, observation):
        """Numbers [B, A, K] from pictures [B, H, W, C] or features [B, F].

        Raises: ValueError on an observation of another form, or without a hidden layer.
        """
        if observation.ndim not in (2, 4):
            raise ValueError(
                f"observation has shape {observation.shape}; expected pictures [B, H, W, C] or features [B, F]."
            )
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must name the width of at least one layer, each above 0; got {self.hidden!r}.")
        he = nn.initializers.he_uniform()
        hidden = NoisyLinear if self.noisy else partial(Linear, w_init=he)
        last = NoisyLinear if self.noisy else partial(Linear, w_init=normalized_columns(0.01))  # values start near 0
        x = unit_range(observation)
        if x.ndim == 4:
            for i, (features, kernel, stride) in enumerate(((32, 8, 4), (64, 4, 2), (64, 3, 1))):
                x = layers.relu(Conv2d(features, kernel, stride, w_init=he, name=f"conv_{i}")(x))
            x = lax.collapse(x, 1)
        for i, width in enumerate(self.hidden[:-1]):
            x = layers.relu(hidden(width, name=f"hidden_{i}")(x))

        def head(name, actions):
            y = layers.relu(hidden(self.hidden[-1], name=f"{name}_hidden")(x))
            return last(actions * self.outputs, name=name)(y).reshape(len(y), actions, self.outputs)

        if self.dueling == "none":
            return head("q", self.num_actions)
        v, advantage = head("value", 1), head("advantage", self.num_actions)
        return jnp.swapaxes(layers.dueling(v[:, 0], jnp.swapaxes(advantage, 1, 2), self.dueling), 1, 2)
