"""Heads: what makes an output of features [..., F]. Functions to call within a module, whose layers they name."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl import layers
from jaxrl.layers.initializers import normalized_columns
from jaxrl.networks.modules import Linear


def policy_and_value(x, num_actions: int):
    """Logits [..., A] of a policy that is nearly uniform at the start, and values [...]."""
    logits = Linear(num_actions, normalized_columns(0.01), name="actor")(x)
    v = Linear(1, normalized_columns(1.0), name="critic")(x)
    return logits, v[..., 0]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def scale_gradient(x, factor: float):
    """x itself, whose gradient is multiplied: y = x, dx = factor · dy."""
    return x


scale_gradient.defvjp(lambda x, factor: (x, None), lambda factor, _, dy: (factor * dy,))


def action_outputs(x, num_actions: int, outputs: int, hidden: int, dueling: str, linear, last):
    """K outputs for each action, [B, A, K], of features [B, F].

        plain:    hidden layer, ReLU, linear
        dueling:  a value [B, K] and advantages [B, A, K], each from its own hidden layer, joined by `layers.dueling`
                  for each of the K outputs

    Args:
      num_actions, outputs: A and K.
      hidden: width of the hidden layers.
      dueling: "none", "mean" or "max".
      linear, last: `(width, name=...)`, which make hidden layers and last ones.

    Source: "Dueling network architectures" by Wang et al. (https://arxiv.org/abs/1511.06581).
    """

    def head(name, actions):
        y = layers.relu(linear(hidden, name=f"{name}_hidden")(x))
        return last(actions * outputs, name=name)(y).reshape(y.shape[0], actions, outputs)

    if dueling == "none":
        return head("q", num_actions)
    v, advantage = head("value", 1), head("advantage", num_actions)
    return jnp.swapaxes(layers.dueling(v[:, 0], jnp.swapaxes(advantage, 1, 2), dueling), 1, 2)
