"""Optimisers (Optax) with what every agent puts around one: a clipped gradient, a learning rate that may decay."""

from collections.abc import Callable

import optax

from jaxrl.agents.options import RunConfig


def clipped(config: RunConfig, rule: Callable[..., optax.GradientTransformation], counts=False):
    """`rule(learning_rate)` behind a bound on the gradient's global norm.

    Args:
      config: with `learning_rate`, `learning_rate_decay` (linearly to 0 over `total_updates`) and `max_grad_norm`.
      rule: such as `optax.adam`.
      counts: the statistics must count the updates, as those of RMSProp do not by themselves.

    Returns: an optax.GradientTransformation.
    """
    rate = config.learning_rate
    if config.learning_rate_decay:
        rate = optax.linear_schedule(rate, 0.0, config.total_updates)
    elif counts:
        rate = optax.constant_schedule(rate)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), rule(rate))
