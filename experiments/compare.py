"""Draw the training scores of several runs, and published curves beside them, in one picture.

python experiments/compare.py runs/ONE runs/OTHER --output results/NAME
"""

import csv
import dataclasses
import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import evaluate
import tyro

from jaxrl import cli, experiment, metrics, plots, training

FRAMES_PER_STEP = 4


@dataclasses.dataclass(frozen=True)
class Config:
    """Draw curve.png from the metrics.csv of runs."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""
    output: Path = Path(".")
    """Folder for the picture."""
    references: Path | None = None
    """A CSV file of published curves with the columns agent, frames (4 an agent step), mean and protocol."""
    protocol: str = "Nature CNN"
    """Draw those in whose protocol this text stands."""
    agents: tuple[str, ...] = ("DQN", "QR-DQN", "Rainbow")
    """Which of them to draw."""
    title: str = ""
    """Title of the picture."""


def main(config: Config):
    """Read, draw, and say where the picture is."""
    if not config.run_dirs:
        raise ValueError("give the folders of one or more runs.")
    if not config.output.is_dir():
        raise ValueError(f"--output {config.output} is not a folder.")
    runs = [curve_of(run_dir) for run_dir in config.run_dirs]
    last = max(steps[-1] for _, steps, _ in runs)
    published = references(config, last) if config.references else []
    print(f"the picture is {plots.comparison(config.output, runs, published, config.title)}")


def curve_of(run_dir: Path):
    """(name, agent steps, scores) of a run in training.

    Raises: ValueError for a folder without.
    """
    script = evaluate.SCRIPTS.get(training.read_config(run_dir).get("algorithm"))
    columns = metrics.read(run_dir / metrics.METRICS)
    if script is None or not columns:
        raise ValueError(f"{run_dir} has no scores of a run to draw.")
    name = experiment.saved_config(script.Config, run_dir).name
    return name, columns["agent_steps"], columns["score_mean_100"]


def references(config: Config, last: float):
    """The published curves up to the last step that is drawn.

    Raises: ValueError for an agent that is not in the file under the protocol.
    """
    with config.references.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for agent in config.agents:
        of_agent = [row for row in rows if row["agent"] == agent and config.protocol in row["protocol"]]
        if not of_agent:
            known = ", ".join(sorted({row["agent"] for row in rows}))
            raise ValueError(f"{config.references} has no {agent!r} with {config.protocol!r}; its agents are {known}.")
        points = [(float(row["frames"]) / FRAMES_PER_STEP, float(row["mean"])) for row in of_agent]
        if near := [point for point in points if point[0] <= last]:
            found.append((f"{agent}, published", *map(list, zip(*near, strict=True))))
    return found


if __name__ == "__main__":
    cli.run(main, Config)
