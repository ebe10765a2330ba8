"""The picture of a run, of an agent or of a classifier (the one adapter of Matplotlib)."""

import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxrl.metrics import EVALUATION, METRICS, read


def curve(run_dir, title: str = "", references=()) -> Path | None:
    """Draw curve.png in the run's folder: scores above, what the algorithm reports of itself below.

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
    figure, scores, diagnostics = panels(title, height_ratios=(3, 1))
    draw_scores(scores, metrics, evaluation, references)
    draw_diagnostics(diagnostics, metrics)
    return save(figure, run_dir)


def classifier_curve(run_dir, history: list[dict], title: str = "") -> Path:
    """Draw curve.png in the folder of a classifier's run: held-out errors above, the training loss below.

    Args:
      run_dir: the run's folder.
      history: for each epoch its number "epoch", the "loss" of training, and the "accuracy" on held-out images.
      title: the picture's title.

    Returns: the picture's path.
    """
    figure, errors, loss = panels(title)
    draw_errors(errors, history)
    draw_loss(loss, history)
    return save(figure, run_dir)


def overestimation(folder, runs: list[dict], title: str = "") -> Path:
    """Draw curve.png in a folder: predicted and realised values above, the difference of the two below.

    Args:
      folder: where the picture goes.
      runs: for each its "name" and its "checkpoints", with "agent_steps", "predicted", "realised", "overestimation"
        and the "standard_error" of that, which may be None.
      title: the picture's title.

    Returns: the picture's path.
    """
    figure, values, difference = panels(title, height_ratios=(2, 1))
    draw_values(values, difference, runs)
    return save(figure, folder)


def updates_curve(run_dir, rows: list[dict], title: str = "") -> Path:
    """Draw curve.png in a folder: updates until learnt against the number of states, a line for each kind of replay.

    Args:
      run_dir: the folder.
      rows: for each "replay" and number of "states" the "median" over seeds, and its "quartiles" (low, high).
      title: the picture's title.

    Returns: the picture's path.
    """
    figure, axes = one_panel(title)
    draw_updates(axes, rows)
    return save(figure, run_dir)


def comparison(folder, runs, references=(), title: str = "") -> Path:
    """Draw curve.png in a folder: the training scores of several runs, and other curves dashed.

    Args:
      folder: where the picture goes.
      runs: (name, agent steps, scores) of each.
      references: the same of curves from elsewhere.
      title: the picture's title.

    Returns: the picture's path.
    """
    figure, axes = one_panel(title)
    for (name, steps, scores), style in [*((run, "-") for run in runs), *((r, "o--") for r in references)]:
        axes.plot(millions(steps), scores, style, linewidth=1.5 if style == "-" else 1, markersize=3, label=name)
    label_scores(axes)
    axes.set(xlabel="agent steps (millions)")
    return save(figure, folder)


def one_panel(title: str):
    """A figure and its only panel."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    dress(axes)
    axes.set_title(title, loc="left")
    return figure, axes


def dress(axes):
    """What all panels have."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def panels(title: str, height_ratios=(1, 1)):
    """A figure and its two panels, one above the other, over the same axis."""
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=height_ratios)
    upper.set_title(title, loc="left")
    dress(upper)
    dress(lower)
    return figure, upper, lower


def save(figure, run_dir) -> Path:
    """Write curve.png under a temporary name, and rename it."""
    path, temporary = Path(run_dir) / "curve.png", Path(run_dir) / ".curve.tmp.png"
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
    label_scores(axes)


def label_scores(axes):
    """An axis of scores, which begins at 0 where none is negative."""
    axes.set(ylabel="score (raw return of a whole game)")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="best", frameon=False)


DIAGNOSTICS = {  # column of metrics.csv: its name in the picture
    "entropy": "entropy of π (nats)",
    "explained_variance": "explained variance of v",
    "q_mean": "mean of max Q",
    "td_error": "mean error",
}


def draw_diagnostics(axes, metrics: dict):
    """What the algorithm reports of `DIAGNOSTICS`; of explained variance, 0 is as good as a constant, 1 is perfect."""
    low, top = 0.0, 1.0
    for number, (name, label) in enumerate(DIAGNOSTICS.items()):
        if name in metrics:
            axes.plot(millions(metrics["agent_steps"]), metrics[name], color=f"C{2 + number % 2}", label=label)
            known = [value for value in metrics[name] if value == value]
            if name == "explained_variance":  # the first values explain far less than 0
                known = [max(value, -0.25) for value in known]
            low, top = min([low, *known]), max([top, *known])
    axes.set(xlabel="agent steps (millions)", ylim=(1.1 * low, top + 0.35 * (top - low)))
    axes.legend(loc="upper right", frameon=False, ncols=2)


def draw_errors(axes, history: list[dict]):
    """The part of held-out images that is wrong; 20% at the top, unless it ends worse."""
    wrong = [100 * (1 - row["accuracy"]) for row in history]
    axes.plot([row["epoch"] for row in history], wrong, label="held-out images, wrong")
    axes.set(ylabel="wrong (%)", ylim=(0, max(20, 1.2 * wrong[-1])))
    axes.legend(loc="upper right", frameon=False)


def draw_loss(axes, history: list[dict]):
    """The mean training loss of each epoch."""
    epochs, losses = [row["epoch"] for row in history], [row["loss"] for row in history]
    axes.plot(epochs, losses, color="C1", label="cross-entropy in training")
    axes.set(xlabel="epochs", ylabel="loss (nats)", yscale="log")
    axes.legend(loc="upper right", frameon=False)


def draw_values(values, difference, runs: list[dict]):
    """One colour a run: solid is predicted, dashed is realised; and the difference with its standard errors."""
    for number, run in enumerate(runs):
        columns = {name: [row[name] for row in run["checkpoints"]] for name in run["checkpoints"][0]}
        steps, style = millions(columns["agent_steps"]), {"color": f"C{number}", "marker": "o", "markersize": 4}
        values.plot(steps, columns["predicted"], label=run["name"], **style)
        values.plot(steps, columns["realised"], linestyle="--", **style)
        error = [value or 0.0 for value in columns["standard_error"]]
        difference.errorbar(steps, columns["overestimation"], yerr=error, capsize=2, **style)
    for name, linestyle in [("predicted, max q", "-"), ("realised, discounted return", "--")]:
        values.plot([], [], color="0.3", linestyle=linestyle, label=name)
    difference.axhline(0.0, color="0.3", linewidth=1)
    values.set(ylabel="value of visited states")
    difference.set(xlabel="agent steps (millions)", ylabel="predicted − realised")
    values.legend(frameon=False)


def draw_updates(axes, rows: list[dict]):
    """Medians with their quartiles; what each state multiplies by the same factor is a straight line."""
    for name in dict.fromkeys(row["replay"] for row in rows):
        mine = sorted((row for row in rows if row["replay"] == name), key=lambda row: row["states"])
        states = [row["states"] for row in mine]
        axes.plot(states, [row["median"] for row in mine], marker="o", markersize=4, label=name)
        axes.fill_between(states, *zip(*(row["quartiles"] for row in mine), strict=True), alpha=0.25, linewidth=0)
    ticks = sorted({row["states"] for row in rows})
    labels = [f"{n}\n{2 ** (n + 1) - 2:,}" for n in ticks]
    axes.set(xlabel="states n, and transitions in the memory", ylabel="updates until learnt", yscale="log")
    axes.set_xticks(ticks, labels)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="upper left", frameon=False, title="replay (median, quartiles)", alignment="left")


def millions(steps) -> list[float]:
    """Agent steps in millions."""
    return [step / 1e6 for step in steps]
