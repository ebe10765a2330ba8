"""The figure of a run: what is in it, and that it is an image."""

import imageio.v2 as imageio
import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxrl.agents import dqn, off_policy
from jaxrl.algorithms import actor_critic
from jaxrl.shell import plots
from jaxrl.shell.metrics import RunLog

METRICS = {
    "agent_steps": [500_000, 1_000_000, 2_000_000],
    "score_mean_100": [float("nan"), 800.0, 1500.0],
    "entropy": [2.9, 2.5, 1.5],
    "explained_variance": [-40.0, 0.3, 0.8],
}
EVALUATION = {"agent_steps": [1_000_000, 2_000_000], "mean": [700.0, 1400.0], "standard_error": [50.0, float("nan")]}


@pytest.fixture
def run_dir(tmp_path):
    log = RunLog(tmp_path)
    for values in zip(*METRICS.values(), strict=True):
        log.write(dict(zip(METRICS, values, strict=True)))
    for values in zip(*EVALUATION.values(), strict=True):
        log.write_evaluation(dict(zip(EVALUATION, values, strict=True)))
    return tmp_path


def test_a_run_gets_its_curve(run_dir):
    path = plots.curve(run_dir)
    assert path == run_dir / "curve.png"
    plain = imageio.imread(path)
    assert plain.shape[0] > 500 and plain.shape[1] > 800
    for options in [{"title": "a title"}, {"references": [("another", [0, 2e6], [100, 900])]}]:
        assert not np.array_equal(plain, imageio.imread(plots.curve(run_dir, **options))), options
    assert [p.name for p in run_dir.iterdir() if "tmp" in p.name] == []


def test_nothing_to_draw_yet(tmp_path):
    assert plots.curve(tmp_path) is None
    (tmp_path / "metrics.csv").write_text("agent_steps,score_mean_100\n")
    assert plots.curve(tmp_path) is None and not (tmp_path / "curve.png").exists()


def test_scores_are_drawn_over_millions_of_steps():
    axes = Figure().subplots()
    plots.draw_scores(axes, METRICS, EVALUATION, [("the origin", [4e6], [2000])])
    training, points, reference = axes.lines[0], axes.lines[1], axes.lines[-1]
    np.testing.assert_array_equal(training.get_xydata(), [[0.5, np.nan], [1, 800], [2, 1500]])
    np.testing.assert_array_equal(points.get_xydata(), [[1, 700], [2, 1400]])
    np.testing.assert_array_equal(reference.get_xydata(), [[4, 2000]])
    low, high = axes.collections[0].get_segments()[0][:, 1]
    assert (low, high) == (650, 750)
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    assert "the origin" in labels and len(labels) == 3
    assert axes.get_ylim()[0] == 0 and "score" in axes.get_ylabel()


def test_negative_scores_are_seen():
    axes = Figure().subplots()
    plots.draw_scores(axes, METRICS | {"score_mean_100": [-20.0, -10.0, 5.0]}, {}, ())
    assert axes.get_ylim()[0] < -20


def test_diagnostics_are_seen_whatever_the_first_values_explain():
    axes = Figure().subplots()
    plots.draw_diagnostics(axes, METRICS, actor_critic.SHOWN)
    low, high = axes.get_ylim()
    assert -1 < low < 0 and 2.9 < high < 5
    assert "millions" in axes.get_xlabel()
    assert any("nats" in text.get_text() for text in axes.get_legend().get_texts())


def test_values_below_zero_are_seen():
    axes = Figure().subplots()
    metrics = {"agent_steps": [1e6, 2e6], "q_mean": [float("nan"), -7.0], "td_error": [0.1, 0.2]}
    plots.draw_diagnostics(axes, metrics, off_policy.SHOWN | dqn.SHOWN)
    assert axes.get_ylim()[0] < -7 and axes.get_ylim()[1] > 1
