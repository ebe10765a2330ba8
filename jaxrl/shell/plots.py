"""Figures: of a run, of several runs, and the frame in which a study draws its own (the one adapter of Matplotlib)."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxrl.agent import Column
from jaxrl.shell.files import replacing
from jaxrl.shell.inspection import BEFORE, around_deaths, lives_of
from jaxrl.shell.metrics import EVALUATION, METRICS, numbers, read


def curve(run_dir, title: str = "", shown: dict[str, Column] | None = None, references=()) -> Path | None:
    """Draw curve.png in the run's folder: scores above, what the algorithm reports of itself below.

    Args:
      run_dir: the run's folder.
      title: the figure's title.
      shown: which reports are drawn, and their names: `Agent.shown`.
      references: (name, agent steps, scores) of other curves to draw beside it.

    Returns: the figure's path, or None when there is nothing to draw yet.

    Raises: ValueError, with the file, for a table that is damaged.
    """
    run_dir = Path(run_dir)
    metrics, evaluation = read(run_dir / METRICS), read(run_dir / EVALUATION)
    if not metrics:
        return None
    for name in ("agent_steps", "score_mean_100", *(name for name in shown or {} if name in metrics)):
        numbers(metrics, name, run_dir / METRICS)
    for name in ("agent_steps", "mean", "standard_error") if evaluation else ():
        numbers(evaluation, name, run_dir / EVALUATION)
    figure, scores, diagnostics = panels(title, height_ratios=(3, 1))
    draw_scores(scores, metrics, evaluation, references)
    draw_diagnostics(diagnostics, metrics, shown or {})
    return save(figure, run_dir)


def comparison(folder, bands, references=(), title: str = "", by: str = "steps") -> Path:
    """Draw curve.png in a folder: the training scores of several groups of runs, and other curves dashed.

    Args:
      folder: where the figure goes.
      bands: (name, scores.Band) of each.
      references: (name, agent steps or core-hours, scores) of curves from elsewhere.
      title: the figure's title.
      by: "steps" or "core-hours", which run along the axis.

    Returns: the figure's path.
    """
    figure, axes = one_panel(title)
    scale = 1e-6 if by == "steps" else 1.0
    for name, band in bands:
        (line,) = axes.plot(scale * band.steps, band.mean, label=name)
        axes.fill_between(scale * band.steps, band.low, band.high, color=line.get_color(), alpha=0.2, linewidth=0)
    for name, steps, scores in references:
        axes.plot([scale * step for step in steps], scores, "o--", linewidth=1, markersize=3, label=name)
    label_scores(axes)
    axes.set(xlabel="agent steps (millions)" if by == "steps" else "core-hours")
    return save(figure, folder)


def one_panel(title: str):
    """A figure and its only panel."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    dress(axes)
    axes.set_title(title, loc="left")
    return figure, axes


def several(title: str, rows: int, columns: int, heights=None):
    """A figure and its panels in rows and columns, as one list, row by row; `heights` of the rows are in inches."""
    heights = heights or [3.9] * rows
    figure = Figure(figsize=(5.2 * columns, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel().tolist()
    for axes in all_axes:
        dress(axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure, all_axes


def dress(axes):
    """What all panels have."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def text_panel(width: int, height: int, texts) -> np.ndarray:
    """White pixels uint8 [height, width, 3] with (x, y, text) written on them, y from the top to the text's middle."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    for x, y, text in texts:
        figure.text(x / width, 1 - y / height, text, fontsize=8, va="center")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def inspection(folder, title: str, games, found: dict) -> Path:
    """Draw inspection.png: expectations around a lost life, lives, actions and rewards.

    Args:
      folder: where the figure goes.
      title: the figure's title.
      games, found: see `inspection.watch` and `inspection.summary`.

    Returns: the figure's path.
    """
    figure, (values, lengths, actions, rewards) = several(title, 2, 2)
    draw_around_deaths(values, around_deaths(games))
    of_life = [[len(game.v[life]) for game in games for n, life in enumerate(lives_of(game)) if n == i]
               for i in range(len(found["lives"]))]  # fmt: skip
    lengths.boxplot(of_life)
    lengths.set(xlabel="life", ylabel="length (agent steps)", ylim=(0, None))
    names = list(found["actions"])
    actions.barh(names, [each["taken"] for each in found["actions"].values()])
    actions.invert_yaxis()
    actions.set(xlabel="share of the steps in which an action is taken")
    rewards.bar(list(found["rewards"]), [each["a_game"] for each in found["rewards"].values()])
    rewards.set(xlabel="reward", ylabel="times a game")
    return save(figure, folder, "inspection.png")


def draw_around_deaths(axes, v):
    """The median and the middle half of `around_deaths` over deaths, as far as there are any."""
    known = ~np.isnan(v).all(0)
    axes.set(xlabel="agent steps after the step that loses a life", ylabel="expected return")
    if known.any():
        low, middle, high = np.nanpercentile(v[:, known], (25, 50, 75), axis=0)
        steps = np.flatnonzero(known) - BEFORE
        axes.plot(steps, middle, label="median")
        axes.fill_between(steps, low, high, alpha=0.25, linewidth=0, label="middle half")
        axes.axvline(0, color="gray", linewidth=1)
        axes.legend(frameon=False)


def panels(title: str, height_ratios=(1, 1)):
    """A figure and its two panels, one above the other, over the same axis."""
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=height_ratios)
    upper.set_title(title, loc="left")
    dress(upper)
    dress(lower)
    return figure, upper, lower


def save(figure, folder, name: str = "curve.png") -> Path:
    """Write a figure into a folder."""
    path = Path(folder) / name
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path


def draw_grid(axes, values, words, title: str):
    """Values of cells as colours, [rows, columns], with a word in each; a NaN stays white."""
    axes.grid(False)
    axes.imshow(values, cmap="viridis", aspect="equal")
    low, high = min(v for row in values for v in row if v == v), max(v for row in values for v in row if v == v)
    for row, line in enumerate(words):
        for column, word in enumerate(line):
            dark = values[row][column] < (low + high) / 2
            axes.text(column, row, word, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set(xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=10)


def rectangle(x, y, width, height, colour: str) -> Rectangle:
    """A filled rectangle, for `axes.add_patch`."""
    return Rectangle((x, y), width, height, color=colour, linewidth=0)


def draw_scores(axes, metrics: dict, evaluation: dict, references):
    """Training scores, evaluations with their standard errors, and other curves."""
    axes.plot(millions(metrics["agent_steps"]), metrics["score_mean_100"], label="training, mean of the last 100 games")
    if evaluation:
        axes.errorbar(
            millions(evaluation["agent_steps"]), evaluation["mean"], yerr=evaluation["standard_error"],
            fmt="o", markersize=4, capsize=2, label="frozen checkpoint, mean and standard error",
        )  # fmt: skip
    for name, steps, values in references:
        axes.plot(millions(steps), values, linestyle="--", linewidth=1, label=name)
    label_scores(axes)


def label_scores(axes):
    """An axis of scores, which begins at 0 where none is negative."""
    axes.set(ylabel="score (raw return of a whole game)")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="best", frameon=False)


def draw_diagnostics(axes, metrics: dict, shown: dict[str, Column]):
    """What the algorithm reports of itself, as far as it names it for a figure."""
    drawn = {name: column for name, column in shown.items() if column.figure and name in metrics}
    low, top = 0.0, 1.0
    for number, (name, column) in enumerate(drawn.items()):
        axes.plot(millions(metrics["agent_steps"]), metrics[name], color=f"C{2 + number}", label=column.figure)
        known = [max(value, column.lowest) for value in metrics[name] if value == value]
        low, top = min([low, *known]), max([top, *known])
    axes.set(xlabel="agent steps (millions)", ylim=(1.1 * low, top + 0.35 * (top - low)))
    if drawn:
        axes.legend(loc="upper right", frameon=False, ncols=2)


def millions(steps) -> list[float]:
    """Agent steps in millions."""
    return [step / 1e6 for step in steps]
