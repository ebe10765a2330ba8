"""Draw the training scores of several runs, and published curves beside them, in one figure; print their scores.

jaxrl compare runs/ONE runs/OTHER --output results/NAME
"""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np

from jaxrl.agents import AGENTS
from jaxrl.agents.options import RunConfig, option
from jaxrl.shell import cli, files, folder, metrics, plots, scores

FRAMES_PER_STEP = 4
NO_DIFFERENCE = {  # between seeds, or between the folders of one run
    "seed", "num_seeds", "run_dir", "resume", "preset", "total_steps", "log_every", "checkpoint_every",
    "evaluation_games", "video",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Draw curve.png from the metrics.csv of runs, and write their scores as a table.

    Runs that differ in their seeds alone are one curve with a band from the lowest seed to the highest.
    """

    run_dirs: Annotated[tuple[Path, ...], cli.Positional]
    """Folders of runs; that of a run of several seeds stands for all of them."""
    output: Path = Path(".")
    """Folder for the figure curve.png and the tables comparison.md and comparison.json."""
    by: Literal["steps", "core-hours"] = "steps"
    """What runs along the axis: agent steps, or hours of training times cores."""
    references: Path | None = None
    """A CSV file of published curves with the columns agent, frames (4 an agent step; with --by core-hours the column
    core_hours), mean and protocol."""
    protocol: str = "Nature CNN"
    """Draw those in whose protocol this text stands."""
    agents: tuple[str, ...] = ("DQN", "QR-DQN", "Rainbow")
    """Which of them to draw."""
    title: str = ""
    """Title of the figure."""


class Run(NamedTuple):
    """A run as it is compared.

    Attributes:
      folder, config: where it is, and its options.
      cores: with how many it was trained, or None for a run that does not say.
      commit: of the code that trained it first.
      steps, seconds, curve: rows of metrics.csv: agent steps, seconds of training, mean of the last 100 games.
      score, games: mean score of the newest frozen checkpoint that was evaluated, and over how many games; or NaN, 0.
    """

    folder: Path
    config: RunConfig
    cores: int | None
    commit: str | None
    steps: list[float]
    seconds: list[float]
    curve: list[float]
    score: float
    games: int


def main(config: Config):
    """Read, draw, and say where the figure is."""
    if not config.run_dirs:
        raise ValueError("give the folders of one or more runs.")
    if not config.output.is_dir():
        raise ValueError(f"--output {config.output} is not a folder.")
    groups = grouped([run_of(part) for run_dir in config.run_dirs for part in parts_of(run_dir)])
    bands = [(label(name, runs), scores.band([along(config.by, run) for run in runs])) for name, runs in groups.items()]
    last = max(band.steps[-1] for _, band in bands)
    published = references(config, last) if config.references else []
    rows = {name: summary(runs) for name, runs in groups.items()}
    print(table := page(rows))
    files.write_text(config.output / "comparison.md", table)
    files.write_json(config.output / "comparison.json", rows)
    print(f"the figure is {plots.comparison(config.output, bands, published, config.title, config.by)}")


def parts_of(run_dir: Path) -> list[Path]:
    """The folders of the seeds in that of a run of several, or the folder itself."""
    config = folder.saved_config(AGENTS[folder.algorithm_of(run_dir, AGENTS)].Config, run_dir)
    return [folder.place(part) for part in folder.of_seeds(config, run_dir)] if config.num_seeds > 1 else [run_dir]


def run_of(run_dir: Path) -> Run:
    """What there is of a run. Raises ValueError for a folder without scores, or one that is damaged."""
    algorithm = AGENTS[folder.algorithm_of(run_dir, AGENTS)]
    path = run_dir / metrics.METRICS
    columns = metrics.read(path)
    if not columns:
        raise ValueError(f"{run_dir} has no scores of a run to draw.")
    config = folder.saved_config(algorithm.Config, run_dir)
    made = folder.made_with(run_dir)
    curves = [metrics.numbers(columns, each, path) for each in ("agent_steps", "seconds", "score_mean_100")]
    return Run(run_dir, config, made.get("cores"), made.get("commit"), *curves, *frozen_score(run_dir, config))


def frozen_score(run_dir: Path, config: RunConfig) -> tuple[float, int]:
    """Mean score and games of the newest checkpoint that was scored on the run's game, by itself or `evaluate`."""
    path = run_dir / metrics.EVALUATION
    table = metrics.read(path)
    own = {name: metrics.numbers(table, name, path)[-1] for name in ("agent_steps", "mean", "games")} if table else {}
    path = run_dir / "evaluation.json"
    found = files.read_json(path) if path.exists() else {}
    if found and not all(isinstance(found.get(name), int | float) for name in ("mean", "games", "checkpoint")):
        raise ValueError(f"{path} is damaged: it has no mean over a number of games of a checkpoint.")
    if found.get("env") == config.env and found["checkpoint"] >= own.get("agent_steps", 0):
        return float(found["mean"]), int(found["games"])
    return (own["mean"], int(own["games"])) if own else (math.nan, 0)


def grouped(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs that differ in their seeds alone, by name, in the order of the first of each."""
    groups = {}
    for run in runs:
        base = next(each for each in runs if each.config.name == run.config.name)
        groups.setdefault(name_of(run, base), []).append(run)
    return groups


def name_of(run: Run, base: Run) -> str:
    """The algorithm's name, and the options in which a run is unlike the first one of that name."""
    before, after = dataclasses.asdict(base.config), dataclasses.asdict(run.config)
    unlike = {name: value for name, value in after.items() if name not in NO_DIFFERENCE and before[name] != value}
    return " ".join([run.config.name, *(written(option(name), value) for name, value in unlike.items())])


def written(name: str, value) -> str:
    """An option as on the command line."""
    if isinstance(value, bool):
        return name if value else name.replace("--", "--no-", 1)
    return f"{name} {value}"


def label(name: str, runs: list[Run]) -> str:
    """How a group is named in the figure."""
    return name if len(runs) == 1 else f"{name}, {len(runs)} seeds"


def along(axis: str, run: Run) -> tuple:
    """A run's curve as (agent steps or core-hours, scores). Raises ValueError where the cores are not known."""
    if axis == "steps":
        return run.steps, run.curve
    if not run.cores:
        raise ValueError(f"{run.folder} does not say with how many cores it was trained; draw it --by steps.")
    return np.array(run.seconds) * run.cores / 3600, run.curve


def summary(runs: list[Run]) -> dict:
    """What a row of the table says of a group."""
    curves, frozen = [run.curve[-1] for run in runs], [run.score for run in runs]
    return {
        "seeds": [run.config.seed for run in runs],
        "agent_steps": [int(run.steps[-1]) for run in runs],
        "training": curves,
        "frozen": frozen,
        "games": [run.games for run in runs],
        "frozen_iqm": float(scores.interquartile_mean(frozen)),
        "frozen_interval": scores.interval([frozen]),
        "commits": [run.commit for run in runs],
    }


def page(rows: dict[str, dict]) -> str:
    """The table in Markdown."""
    lines = [
        "Training: mean of the last 100 games, as the mean over seeds. Frozen: newest checkpoint that was scored,",
        "as the interquartile mean over seeds with its bootstrap interval.",
        "",
        "| | seeds | agent steps | training | lowest to highest | frozen | 95% | lowest to highest | games each |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        steps, games = min(row["agent_steps"]), min(row["games"])
        cells = [name, len(row["seeds"]), f"{steps:,}", number(np.mean(row["training"])), extremes(row["training"])]
        cells += [number(row["frozen_iqm"]), between(row["frozen_interval"]), extremes(row["frozen"]), games]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """A score, or a dash for none; scores below 100 with a digit after the point."""
    return "–" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"


def extremes(values) -> str:
    """Lowest and highest of several."""
    return between((min(values), max(values))) if len(values) > 1 else "–"


def between(pair) -> str:
    """An interval."""
    return "–" if math.isnan(pair[0]) else f"{number(pair[0])} to {number(pair[1])}"


def references(config: Config, last: float):
    """The published curves up to the end of what is drawn.

    Raises: ValueError for an agent that is not in the file under the protocol.
    """
    table = metrics.read(config.references)
    axis, unit = ("frames", FRAMES_PER_STEP) if config.by == "steps" else ("core_hours", 1)
    for name in ("agent", "protocol", axis, "mean"):
        if name not in table:
            raise ValueError(f"{config.references} has no column {name}, or no rows; it has {', '.join(table)}.")
    for name in (axis, "mean"):
        metrics.numbers(table, name, config.references)
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    found = []
    for agent in config.agents:
        of_agent = [row for row in rows if row["agent"] == agent and config.protocol in str(row["protocol"])]
        if not of_agent:
            known = ", ".join(sorted({str(row["agent"]) for row in rows}))
            raise ValueError(f"{config.references} has no {agent!r} with {config.protocol!r}; its agents are {known}.")
        points = [(row[axis] / unit, row["mean"]) for row in of_agent]
        if near := [point for point in points if point[0] <= last]:
            found.append((f"{agent}, published", *map(list, zip(*near, strict=True))))
    return found
