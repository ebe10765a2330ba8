"""The script that draws several runs, and published curves, in one picture."""

import dataclasses
from pathlib import Path

import compare as script
import imageio.v2 as imageio
import pytest

from jaxrl.agents import a3c, dqn
from jaxrl.shell import files, folder, plots

REFERENCES = """agent,frames,mean,protocol
DQN,1000000,100,Nature CNN
DQN,4000000,400,Nature CNN
DQN,8000000,800,Nature CNN
DQN,1000000,7,IMPALA CNN
Rainbow,8000000,900,Nature CNN
"""


def run_with_scores(config, path, scores) -> Path:
    """The folder of a run that ended each 1,000 steps with a score."""
    path = folder.new_run(dataclasses.replace(config, run_dir=path))
    rows = [f"{1000 * (n + 1)},{score}\n" for n, score in enumerate(scores)]
    (path / "metrics.csv").write_text("".join(["agent_steps,score_mean_100\n", *rows]))
    return path


@pytest.fixture
def runs(tmp_path):
    return (
        run_with_scores(dqn.Config(double=True), tmp_path / "double", [10.0, 30.0]),
        run_with_scores(a3c.Config(), tmp_path / "a3c", [20.0, 25.0, 1000.0]),
    )


def test_runs_are_drawn_with_their_names(runs, tmp_path, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(plots, "comparison", lambda *args, draw=plots.comparison: drawn.append(args) or draw(*args))
    script.main(script.Config(runs, tmp_path, title="Two runs"))
    ((folder, curves, published, title),) = drawn
    assert curves == [
        ("DQN double 3-step", [1000, 2000], [10, 30]), (a3c.Config().name, [1000, 2000, 3000], [20, 25, 1000])
    ]  # fmt: skip
    assert (folder, list(published), title) == (tmp_path, [], "Two runs")
    assert imageio.imread(tmp_path / "curve.png").shape[1] > 800 and "curve.png" in capsys.readouterr().out


def test_published_curves_end_with_the_runs(tmp_path):
    """Frames are 4 an agent step; a curve that begins later, or under another protocol, is left out."""
    file = tmp_path / "published.csv"
    file.write_text(REFERENCES)
    config = script.Config((), references=file, agents=("DQN", "Rainbow"))
    assert script.references(config, 1_500_000) == [("DQN, published", [250_000, 1_000_000], [100, 400])]
    other = dataclasses.replace(config, protocol="IMPALA", agents=("DQN",))
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
    ]
    for options, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            script.main(script.Config(**{"run_dirs": runs, "output": tmp_path} | options))
        assert "\n" not in str(caught.value).strip(), message
