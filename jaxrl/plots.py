"""The picture of a run (the one adapter of Matplotlib)."""

import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxrl.metrics import EVALUATION, METRICS, read


def curve(run_dir, title: str = "", references=()) -> Path | None:
    """Draw curve.png in the run's folder: scores above, entropy and explained variance below.

    Args:
      run_dir: the run's folder.
      title: the picture's title.
      references: (name, agent steps, scores) of other curves to draw beside it.

    Returns: the picture's path, or None when there is nothing to draw yet.
    """
    run_dir = Path(run_dir)
    metrics, evaluation = read(run_dir / METRICS), read(run_dir / EVALUATION)
    if not metrics:
        return None
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    scores, diagnostics = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    draw_scores(scores, metrics, evaluation, references)
    scores.set_title(title, loc="left")
    draw_diagnostics(diagnostics, metrics)
    for axes in (scores, diagnostics):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path, temporary = run_dir / "curve.png", run_dir / ".curve.tmp.png"
    figure.savefig(temporary, dpi=120)
    os.replace(temporary, path)
    return path


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
    axes.set(ylabel="score (raw return of a whole game)")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="upper left", frameon=False)


def draw_diagnostics(axes, metrics: dict):
    """Entropy, and explained variance, of which 0 is as good as a constant and 1 is perfect."""
    steps = millions(metrics["agent_steps"])
    axes.plot(steps, metrics["entropy"], color="C2", label="entropy of π (nats)")
    axes.plot(steps, metrics["explained_variance"], color="C3", label="explained variance of v")
    top = max(1.0, *(value for value in metrics["entropy"] if value == value))
    axes.set(xlabel="agent steps (millions)", ylim=(-0.25, 1.35 * top))  # the first values explain far less than 0
    axes.legend(loc="upper right", frameon=False, ncols=2)


def millions(steps) -> list[float]:
    """Agent steps in millions."""
    return [step / 1e6 for step in steps]
