"""The script that draws several runs, and published curves, in one picture."""

from dataclasses import replace
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from jaxrl.agents import a3c, dqn
from jaxrl.commands import compare as script
from jaxrl.shell import files, folder, plots, scores

REFERENCES = """agent,frames,mean,protocol
DQN,1000000,100,Nature CNN
DQN,4000000,400,Nature CNN
DQN,8000000,800,Nature CNN
DQN,1000000,7,IMPALA CNN
Rainbow,8000000,900,Nature CNN
"""


def run_with_scores(config, path, scores, **evaluation) -> Path:
    """The folder of a run that ended each 1,000 steps, which took 36 seconds, with a score."""
    path = folder.new_run(replace(config, run_dir=path))
    rows = [f"{1000 * (n + 1)},{36 * (n + 1)},{score}\n" for n, score in enumerate(scores)]
    (path / "metrics.csv").write_text("".join(["agent_steps,seconds,score_mean_100\n", *rows]))
    if evaluation:
        rows = "500,1.0,3\n1000,{mean},{games}\n".format(**evaluation)
        (path / "evaluation.csv").write_text(f"agent_steps,mean,games\n{rows}")
    return path


@pytest.fixture
def runs(tmp_path):
    return (
        run_with_scores(dqn.Config(double=True), tmp_path / "double", [10.0, 30.0]),
        run_with_scores(a3c.Config(), tmp_path / "a3c", [20.0, 25.0, 1000.0]),
    )


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: the arguments of the figures."""
    found = []
    monkeypatch.setattr(plots, "comparison", lambda *args, draw=plots.comparison: found.append(args) or draw(*args))
    return found


def test_runs_are_drawn_with_their_names(runs, tmp_path, drawn, capsys):
    script.main(script.Config(runs, tmp_path, title="Two runs"))
    ((folder, curves, published, title, _),) = drawn
    assert [(name, band.steps.tolist(), band.mean.tolist()) for name, band in curves] == [
        ("DQN double 3-step", [1000, 2000], [10, 30]), (a3c.Config().name, [1000, 2000, 3000], [20, 25, 1000])
    ]  # fmt: skip
    assert (folder, list(published), title) == (tmp_path, [], "Two runs")
    assert imageio.imread(tmp_path / "curve.png").shape[1] > 800 and "curve.png" in capsys.readouterr().out


def test_seeds_are_one_curve_and_other_options_are_named(tmp_path, drawn):
    """A seed is as long as it likes; the evaluation that counts is the newest, or that of evaluate.py."""
    base, other = a3c.Config(), a3c.Config(life_loss=True, gamma=0.5)
    folders = [
        run_with_scores(base, tmp_path / "0", [10.0, 30.0, 70.0], mean=4.0, games=10),
        run_with_scores(other, tmp_path / "1", [1.0, 2.0]),
        run_with_scores(replace(base, seed=1, total_steps=9), tmp_path / "2", [20.0, 50.0], mean=6, games=9),
        run_with_scores(replace(base, seed=2), tmp_path / "3", [30.0, 10.0, 0.0], mean=6, games=9),
    ]
    scored = {"mean": 14.0, "games": 100, "checkpoint": 1000, "env": base.env}
    files.write_json(folders[3] / "evaluation.json", scored)
    files.write_json(folders[2] / "evaluation.json", scored | {"env": "Pong-v5"})  # not the run's game
    files.write_json(folders[0] / "evaluation.json", scored | {"checkpoint": 999})  # an older checkpoint
    script.main(script.Config(tuple(folders), tmp_path, by="core-hours"))
    (seeds, seeds_band), (alone, alone_band) = drawn[0][1]
    assert (seeds, alone) == ("A3C-LSTM, 3 seeds", "A3C-LSTM --life-loss --gamma 0.5")
    cores = folder.read_config(folders[0])["made_with"][0]["cores"]
    np.testing.assert_allclose(seeds_band, [[0.01 * cores, 0.02 * cores], [20, 30], [10, 10], [30, 50]])
    np.testing.assert_allclose(alone_band.mean, [1, 2])
    late, early = ([3000, 4000], [5, 7]), ([1000, 3000], [1, 3])
    np.testing.assert_array_equal(scores.band([late, early]).steps, [1000, 3000])  # those of the one that ends first
    np.testing.assert_array_equal(scores.band([late, early]).mean, [np.nan, 4])
    table = files.read_json(tmp_path / "comparison.json")
    assert table["A3C-LSTM"]["frozen"] == [4, 6, 14] and table["A3C-LSTM"]["games"] == [10, 9, 100]
    assert table["A3C-LSTM"]["frozen_iqm"] == 8 and table["A3C-LSTM"]["frozen_interval"] == [4, 14]
    row = next(line for line in (tmp_path / "comparison.md").read_text().splitlines() if "gamma" in line)
    assert row == "| A3C-LSTM --life-loss --gamma 0.5 | 1 | 2,000 | 2.0 | – | – | – | – | 0 |"


def test_the_interquartile_mean_and_its_interval():
    """By hand: of eight scores the middle four; a game is drawn from itself: where its seeds agree nothing varies."""
    assert scores.interquartile_mean([0, 1, 2, 100], [3, 4, 5, -100]) == 2.5
    assert scores.interval([[1, 1, 1, 1], [3, 3, 3, 3]]) == (2, 2)
    assert np.isnan(scores.interval([[1.0, 2.0], [3.0]])).all()
    low, high = scores.interval([np.random.default_rng(0).normal(5, 1, 100)])
    assert low < 5 < high and 0.3 < high - low < 0.7  # the standard error of this mean is about 0.12


def test_published_curves_end_with_the_runs(tmp_path):
    """Frames are 4 an agent step; a curve that begins later, or under another protocol, is left out."""
    file = tmp_path / "published.csv"
    file.write_text(REFERENCES)
    config = script.Config((), references=file, agents=("DQN", "Rainbow"))
    assert script.references(config, 1_500_000) == [("DQN, published", [250_000, 1_000_000], [100, 400])]
    other = replace(config, protocol="IMPALA", agents=("DQN",))
    assert script.references(other, 1_500_000) == [("DQN, published", [250_000], [7])]


def test_bad_input_is_one_sentence(runs, tmp_path):
    file = tmp_path / "published.csv"
    file.write_text(REFERENCES)
    empty = run_with_scores(dqn.Config(), tmp_path / "empty", [])
    other = run_with_scores(dqn.Config(), tmp_path / "other", [1.0])
    files.write_json(other / "config.json", folder.read_config(other) | {"algorithm": "sarsa"})
    cases = [
        ({"run_dirs": ()}, "give the folders"),
        ({"run_dirs": (tmp_path,)}, "is not the folder of a run"),
        ({"run_dirs": (empty,)}, "has no scores"),
        ({"run_dirs": (other,)}, "there is no algorithm .sarsa."),
        ({"output": tmp_path / "none"}, "is not a folder"),
        ({"references": file, "agents": ("DQM",)}, "has no 'DQM' with 'Nature CNN'; its agents are DQN, Rainbow"),
        ({"references": tmp_path / "none.csv"}, "none.csv"),
        ({"references": file, "by": "core-hours"}, "has no column core_hours"),
    ]
    for options, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            script.main(script.Config(**{"run_dirs": runs, "output": tmp_path} | options))
        assert "\n" not in str(caught.value).strip(), message
