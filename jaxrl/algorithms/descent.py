"""One network and its optimiser: the state of the simplest learner, and a step of it."""

from typing import Any, NamedTuple

import optax


class State(NamedTuple):
    """The parameters, and the optimiser's statistics."""

    params: Any
    optimizer: Any


def init(params, optimizer: optax.GradientTransformation) -> State:
    """Before the first update."""
    return State(params, optimizer.init(params))


def descend(params, statistics, gradient, optimizer: optax.GradientTransformation):
    """One step of the optimiser.

    Returns: the parameters and the optimiser's statistics after it.
    """
    updates, statistics = optimizer.update(gradient, statistics, params)
    return optax.apply_updates(params, updates), statistics
