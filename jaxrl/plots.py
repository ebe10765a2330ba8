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
    millions = [step / 1e6 for step in metrics["agent_steps"]]
    scores.plot(millions, metrics["score_mean_100"], color="C0", label="training, mean of the last 100 games")
    if evaluation:
        scores.errorbar(
            [step / 1e6 for step in evaluation["agent_steps"]],
            evaluation["mean"],
            yerr=evaluation["standard_error"],
            fmt="o",
            markersize=4,
            capsize=2,
            color="C1",
            label="frozen checkpoint, mean and standard error",
        )
    for name, steps, values in references:
        scores.plot([step / 1e6 for step in steps], values, linestyle="--", linewidth=1, label=name)
    scores.set(ylabel="score (raw return of a whole game)", title=title, ylim=(0, None))
    scores.legend(loc="upper left", frameon=False)
    diagnostics.plot(millions, metrics["entropy"], color="C2", label="entropy (nats)")
    diagnostics.plot(millions, metrics["explained_variance"], color="C3", label="explained variance of values")
    diagnostics.set(xlabel="agent steps (millions)", ylim=(-0.1, None))
    diagnostics.legend(loc="upper right", frameon=False, ncols=2)
    for axes in (scores, diagnostics):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path = run_dir / "curve.png"
    temporary = run_dir / "curve.tmp.png"
    figure.savefig(temporary, dpi=120)
    os.replace(temporary, path)
    return path
