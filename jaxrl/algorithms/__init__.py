"""The algorithms: one file each, pure functions over one NamedTuple of state."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Policy(NamedTuple):
    """How an agent acts, whatever algorithm trained it.

    Attributes:
      initial_memory: `(num_envs) -> memory`, what the agent carries from step to step.
      act: `(params, memory, observation [N, ...], first [N], key, greedy) -> (a [N] int32, memory)`. The memory
        is zeroed where `first` says that the observation begins an episode; `greedy` is a static bool.
    """

    initial_memory: Callable[[int], Any]
    act: Callable[..., tuple]
