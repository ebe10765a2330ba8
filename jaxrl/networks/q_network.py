"""Q-networks: a value for each action, or a distribution of its return."""

from functools import partial

import flax.linen as nn

from jaxrl.layers.initializers import normalized_columns
from jaxrl.networks import heads, torsos
from jaxrl.networks.modules import Linear, NoisyLinear, unit_range


class QNetwork(nn.Module):
    """K outputs for each action: its value (K = 1), the logits of a distribution (C51), or quantiles (QR-DQN).

        images:    x -> `torsos.nature_convolutions` -> hidden layers -> `heads.action_outputs` [B, A, K]
        features:  x ---------------------------------> hidden layers -> the same

    Weights before a ReLU start as in "Delving deep into rectifiers" by He et al. (https://arxiv.org/abs/1502.01852),
    section 2.2, those of the heads near 0; noisy layers have an initialiser of their own.

    Attributes:
      num_actions: A.
      outputs: K.
      hidden: widths of the hidden layers, at least one; the last is that of the heads.
      dueling: "none", "mean" or "max".
      noisy: hidden layers and heads carry learnt noise; `apply` then takes rngs={"noise": key} for one draw of it, or
        {"row_noise": key} for one of each observation, and without there is no noise.
      dueling_gradient: what the gradient from the two heads of `dueling` into the layers before them is multiplied by.
    """

    num_actions: int
    outputs: int = 1
    hidden: tuple[int, ...] = (512,)
    dueling: str = "none"
    noisy: bool = False
    dueling_gradient: float = 1.0

    @nn.compact
    def __call__(self, observation):
        """Outputs [B, A, K] of images [B, H, W, C] or features [B, F].

        Raises: ValueError on an observation of another form, or without a hidden layer.
        """
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must name the width of at least one layer, each above 0; got {self.hidden!r}.")
        linear = NoisyLinear if self.noisy else partial(Linear, w_init=torsos.HE)
        last = NoisyLinear if self.noisy else partial(Linear, w_init=normalized_columns(0.01))  # values start near 0
        x = unit_range(observation)
        x = torsos.nature_convolutions(x) if torsos.is_images(x) else x
        x = torsos.mlp(x, self.hidden[:-1], linear)
        x = x if self.dueling_gradient == 1.0 else heads.scale_gradient(x, self.dueling_gradient)
        return heads.action_outputs(x, self.num_actions, self.outputs, self.hidden[-1], self.dueling, linear, last)
