"""jaxrl: reinforcement learning in JAX with every gradient derived by hand.

Importing it changes nothing in the process, and brings nothing with it. `load` gives the agent that a run trained. The
rooms, each of which imports only from those before it:

    layers, losses, returns, parallel -> networks -> environments -> agent, rollout -> replay, sum_tree
        -> tabular -> algorithms -> agents -> shell -> audit -> commands
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrl.shell.player import Player

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(run_dir: "str | os.PathLike", checkpoint: int | None = None) -> "Player":
    """The agent that a run trained, ready to act on observations. A game of it:

        import gymnasium
        import jaxrl

        player = jaxrl.load("runs/NAME")
        env = gymnasium.make("CartPole-v1")
        observation, _ = env.reset(seed=0)
        player.reset()
        over = False
        while not over:
            action = player.act(observation[None])[0]
            observation, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated

    Several environments at once: `player.reset(num_envs)`, then `player.act(observations, first)`, where `first` says
    of each whether its observation begins an episode. See `jaxrl.shell.player.Player`.

    Args:
      run_dir: the run's folder.
      checkpoint: agent step of one of its checkpoints; by default the newest.

    Returns: a `Player`.

    Raises: ValueError for a folder that is none of a run's, or parameters that are not finite; OSError.
    """
    from jaxrl.shell import player  # here: it brings JAX and the environments

    return player.load(run_dir, checkpoint)
