"""Draw the training scores of several runs, and published curves beside them, in one figure.

python experiments/compare.py runs/ONE runs/OTHER --output results/NAME
"""

from jaxrl.shell import signals

signals.quiet(__name__)

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrl.agents import AGENTS
from jaxrl.shell import cli, folder, metrics, plots

FRAMES_PER_STEP = 4


@dataclasses.dataclass(frozen=True)
class Config:
    """Draw curve.png from the metrics.csv of runs."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""
    output: Path = Path(".")
    """Folder for the figure."""
    references: Path | None = None
    """A CSV file of published curves with the columns agent, frames (4 an agent step), mean and protocol."""
    protocol: str = "Nature CNN"
    """Draw those in whose protocol this text stands."""
    agents: tuple[str, ...] = ("DQN", "QR-DQN", "Rainbow")
    """Which of them to draw."""
    title: str = ""
    """Title of the figure."""


def main(config: Config):
    """Read, draw, and say where the figure is."""
    if not config.run_dirs:
        raise ValueError("give the folders of one or more runs.")
    if not config.output.is_dir():
        raise ValueError(f"--output {config.output} is not a folder.")
    runs = [curve_of(run_dir) for run_dir in config.run_dirs]
    last = max(steps[-1] for _, steps, _ in runs)
    published = references(config, last) if config.references else []
    print(f"the figure is {plots.comparison(config.output, runs, published, config.title)}")


def curve_of(run_dir: Path):
    """(name, agent steps, scores) of a run in training.

    Raises: ValueError for a folder without.
    """
    algorithm = AGENTS[folder.algorithm_of(run_dir, AGENTS)]
    path = run_dir / metrics.METRICS
    columns = metrics.read(path)
    if not columns:
        raise ValueError(f"{run_dir} has no scores of a run to draw.")
    name = folder.saved_config(algorithm.Config, run_dir).name
    return name, *(metrics.numbers(columns, each, path) for each in ("agent_steps", "score_mean_100"))


def references(config: Config, last: float):
    """The published curves up to the last step that is drawn.

    Raises: ValueError for an agent that is not in the file under the protocol.
    """
    table = metrics.read(config.references)
    for name in ("agent", "protocol", "frames", "mean"):
        if name not in table:
            raise ValueError(f"{config.references} has no column {name}, or no rows; it has {', '.join(table)}.")
    for name in ("frames", "mean"):
        metrics.numbers(table, name, config.references)
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    found = []
    for agent in config.agents:
        of_agent = [row for row in rows if row["agent"] == agent and config.protocol in str(row["protocol"])]
        if not of_agent:
            known = ", ".join(sorted({str(row["agent"]) for row in rows}))
            raise ValueError(f"{config.references} has no {agent!r} with {config.protocol!r}; its agents are {known}.")
        points = [(row["frames"] / FRAMES_PER_STEP, row["mean"]) for row in of_agent]
        if near := [point for point in points if point[0] <= last]:
            found.append((f"{agent}, published", *map(list, zip(*near, strict=True))))
    return found


if __name__ == "__main__":
    cli.run(main, Config)
