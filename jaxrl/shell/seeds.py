"""The seeds of all environments of a run, from the one that the user gave: each purpose has games of its own.

Scripts that score a finished run play the games of their `--seed` itself, so that a published score can be had again.
"""

import numpy as np

PURPOSES = ("training", "evaluation", "video")  # the place of each is in its seeds: new ones come last


def seed_for(purpose: str, seed: int, agent_steps: int = 0, device: int = 0) -> int:
    """A seed for environments and for the actions in them: unrelated ones for any two different sets of arguments.

    Args:
      purpose: one of `PURPOSES`.
      seed: the user's, 0 or more.
      agent_steps: of the run, when the environments are made.
      device: which plays them.

    Returns: a whole number in 0 .. 2³⁰ - 1.
    """
    words = [seed, agent_steps, device, PURPOSES.index(purpose)]
    return int(np.random.SeedSequence(words).generate_state(1)[0] % 2**30)
