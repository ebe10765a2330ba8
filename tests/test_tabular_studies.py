"""The three studies in tables: they run, write what they found beside what is known, and draw it."""

import dataclasses
import json

import bandits
import dynamic_programming
import imageio.v2 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import temporal_difference

from jaxrl.shell import tables
from jaxrl.tabular import prediction, worlds
from jaxrl.tabular.learning import Rates

SMALL = {
    bandits: bandits.Config(runs=20, steps=60, regret_runs=10, horizon=200),
    dynamic_programming: dynamic_programming.Config(),
    temporal_difference: temporal_difference.Config(
        examples=("walk", "cliff"), runs=3, cliff_episodes=100, groups_episodes=100
    ),
}


@pytest.mark.parametrize("script", SMALL, ids=lambda script: script.NAME)
def test_a_study_writes_what_it_found(script, tmp_path, monkeypatch, capsys):
    if script is temporal_difference:
        monkeypatch.setattr(script, "STEPS", (1, 4))
        monkeypatch.setattr(script, "LAMBDAS", (0.0, 0.8))
        monkeypatch.setattr(script, "METHODS_ON_CLIFF", {"Q-learning": script.METHODS["Q-learning"]})
    script.main(dataclasses.replace(SMALL[script], output=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{script.NAME}.json", f"{script.NAME}.png"]
    result = json.loads((tmp_path / f"{script.NAME}.json").read_text())
    out = capsys.readouterr().out
    assert (
        len(result["rows"]) > 8
        and result["machine"]
        and "jax" in result["versions"]
        and "output" not in result["config"]
    )
    assert all(row["what"] in out and isinstance(row["found"], int | float) for row in result["rows"])
    assert imageio.imread(tmp_path / f"{script.NAME}.png").shape[1] > 800


def test_the_exact_figures_of_dynamic_programming_are_met(tmp_path):
    dynamic_programming.main(dynamic_programming.Config(threshold=1e-8, gamma=0.95, lake="8x8", output=tmp_path))
    rows = json.loads((tmp_path / "dynamic_programming.json").read_text())["rows"]
    known = [row for row in rows if row["known"] is not None]
    assert len(known) == 6
    for row in known:
        assert row["found"] == pytest.approx(row["known"], abs=1e-5), row["what"]


def test_groups_bias_and_maze_have_their_rows(monkeypatch):
    monkeypatch.setattr(temporal_difference, "PLANNED", (0, 2))
    config = dataclasses.replace(SMALL[temporal_difference], bias_runs=20)
    for name, start in {"groups": "1,000 states, Monte Carlo", "bias": "bias, Q-learning", "maze": "maze"}.items():
        rows, draws = temporal_difference.run(name, config)
        assert rows[0].what.startswith(start) and len(draws) == 1
        figure, axes = temporal_difference.plots.several("", 1, 1)
        draws[0](axes[0])
        assert len(axes[0].lines) >= 3


def test_every_run_has_its_own_key():
    key, means = jax.random.key(0), jnp.zeros((20, 4))
    _, rewards = bandits.play(bandits.bandits.ucb, bandits.bandits.normal, means, key, 10)
    assert len(np.unique(rewards)) == rewards.size
    world = worlds.maximisation_bias()
    record, *_ = temporal_difference.play(temporal_difference.METHODS["Sarsa"], world, Rates(0.1, 0.5), key, 30, 10)
    assert len(np.unique(record.score, axis=0)) == 10
    streams = prediction.record(worlds.walk(5), worlds.uniform(worlds.walk(5)), key, 10, 5, 500)
    assert len(np.unique(streams.s_t[:, :20], axis=0)) == 10


def test_rows_stand_below_each_other():
    rows = [tables.Row("a", 1.23456789, 1234.0, "S&B"), tables.Row("longer", 5.0, None)]
    assert tables.lines(rows) == [
        "         found  known  source", "a       1.2346  1,234  S&B", "longer       5      –",
    ]  # fmt: skip
