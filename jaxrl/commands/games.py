"""The options that commands which play whole games with a frozen agent share."""

import dataclasses
from pathlib import Path
from typing import Annotated

from jaxrl.agents.options import Count, Natural
from jaxrl.shell import cli


@dataclasses.dataclass(frozen=True)
class Games:
    """What is played, and how."""

    run_dir: Annotated[Path | None, cli.Positional] = None
    """Folder of a run."""
    env: str | None = None
    """Environment; by default the run's."""
    protocol: str | None = None
    """Rules: machado, nature, origin or control; by default the run's."""
    checkpoint: int | None = None
    """Agent step of the run's checkpoint; by default the newest."""
    greedy: bool = False
    """Take the best action; by default A3C's are sampled from the policy, and DQN's now and then random."""
    num_envs: Count = 20
    """Environments that play at once; each plays an equal share of the games."""
    seed: Natural = 12345
    """Seed of the environments and the actions; the same seed gives the same games."""
