"""Target networks: an older copy of parameters, from which targets are taken, so that they move slowly."""

import jax
from jax import lax


def update_target(target, params, updates, period: int = 0, rate: float = 1.0):
    """The target network's parameters after an update of the online ones.

        period > 0:  θ' := θ every `period` updates         period = 0:  θ' := θ' + rate (θ − θ')

    Args:
      target, params: θ' and θ.
      updates: int32 [], how many updates were made, this one included.

    Returns: θ'.

    Sources: "Human-level control through deep reinforcement learning" by Mnih et al. (doi:10.1038/nature14236) for
    the period; "Continuous control with deep reinforcement learning" by Lillicrap et al.
    (https://arxiv.org/abs/1509.02971) for the rate.
    """
    if period:
        return lax.cond(updates % period == 0, lambda: params, lambda: target)
    return jax.tree.map(lambda old, new: old + rate * (new - old), target, params)
