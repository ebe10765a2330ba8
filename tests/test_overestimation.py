"""The script that compares what a Q-network predicts with what its policy gets."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import imageio.v2 as imageio
import jax
import numpy as np
import overestimation as script
import pytest
from matplotlib.figure import Figure

from jaxrl import environments, rollout
from jaxrl.agents import dqn
from jaxrl.algorithms.dqn import action_values, apply
from jaxrl.rollout import Row
from jaxrl.shell import files, folder, metrics
from jaxrl.shell.checkpoint import Checkpoints

CONFIG = dqn.Config(
    num_envs=4, image_size=36, frame_stack=2, hidden=(16,), distributional="c51", double=True, evaluation_epsilon=0.5
)  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """The folder that a run would have left, with two checkpoints of an agent that learnt nothing."""
    path = folder.new_run(dataclasses.replace(CONFIG, run_dir=tmp_path_factory.mktemp("runs") / "double"))
    agent, checkpoints = dqn.make(CONFIG, CONFIG.spec()), Checkpoints.create(path / "checkpoints")
    for step in (240, 480):
        params = agent.frozen(jax.jit(agent.init)(jax.random.key(step)))
        checkpoints.save(step, {"params": params, "normalizer": None}, {"n": np.int32(step)})
    checkpoints.close()
    return path


@pytest.fixture
def short_games(monkeypatch):
    """No game is longer than 100 steps."""
    monkeypatch.setattr(environments, "make", functools.partial(environments.make, max_episode_steps=100))


def change(run_dir, path, **options) -> Path:
    """A copy of a run's folder with other options."""
    shutil.copytree(run_dir, path)
    files.write_json(path / "config.json", folder.read_config(path) | options)
    return path


def measure(output, *run_dirs, **options) -> dict:
    script.main(script.Config(**{"run_dirs": run_dirs, "games": 3, "num_envs": 2, "output": output} | options))
    return json.loads((output / "overestimation.json").read_text())


def test_runs_are_compared_at_all_their_checkpoints(run_dir, short_games, tmp_path, capsys):
    single = change(run_dir, tmp_path / "single", double=False, seed=7)
    shutil.rmtree(single / "checkpoints" / "240")
    result = measure(tmp_path / "new" / "folder", run_dir, single)
    assert "envpool" in result["versions"] and "commit" in result
    double, other = result["runs"]
    assert double["name"] == "DQN double c51 3-step on Riverraid-v5, seed 0"
    assert other["name"] == "DQN c51 3-step on Riverraid-v5, seed 7"
    assert (result["games"], result["seed"], result["greedy"], double["gamma"]) == (3, 12345, False, 0.99)
    steps = script.load(run_dir).checkpoints
    assert [row["agent_steps"] for row in double["checkpoints"]] == [step for step, _ in steps] == [240, 480]
    for row, (_, params) in zip(double["checkpoints"], steps, strict=True):
        assert row["states"] == [100] * 3 and row["games_cut"] == 3
        assert row["predicted"] == pytest.approx(np.mean(row["predicted_by_game"]))
        assert row["overestimation"] == pytest.approx(row["predicted"] - np.mean(row["realised_by_game"]))
        assert row["standard_error"] > 0 and row["params_digest"] == metrics.params_digest(params)
    assert double["checkpoints"][0]["predicted"] != double["checkpoints"][1]["predicted"]
    assert double["checkpoints"][1:] == other["checkpoints"]  # the same parameters and seed, in a pool of its own
    assert imageio.imread(tmp_path / "new" / "folder" / "curve.png").shape[1] > 800
    assert "double at 480: predicted" in capsys.readouterr().out


def test_one_game_has_no_standard_error():
    got = script.compare(hand_made(), np.array([0, 1]), 0.9)
    assert got["standard_error"] is None and got["states"] == [4]


def test_values_are_those_of_the_states_that_are_acted_in(run_dir, short_games, monkeypatch):
    """Played again by the rollout of every evaluation: the same rows, each with the value of its own observation.

    The games end with the chunk; the value of their final observations is in the next one.
    """
    monkeypatch.setattr(script, "CHUNK", 100)
    run = script.load(run_dir)
    config, params, key = run.config, run.checkpoints[-1][1], jax.random.key(3)
    pools = [config.make_pool(2, 5, training=False) for _ in range(2)]
    policy = dqn.make(config, pools[0].spec).policy
    shown = []
    steps = script.play(config, params, pools[0], np.array([1, 1]), key, True, shown.append)
    act = rollout.acting_frozen(policy, params, greedy=True)
    actor = rollout.init(pools[1].reset(), (), None, key)
    _, seen = jax.jit(lambda actor: rollout.rollout(actor, act, pools[1].step, len(steps.value)))(actor)
    for name in ("r_t", "terminated", "done", "valid"):
        np.testing.assert_array_equal(getattr(steps.row, name), getattr(seen.row, name), err_msg=name)
    states = seen.observation.reshape(-1, *seen.observation.shape[2:])
    network = dqn.network_of(config, pools[0].spec)
    q = jax.jit(lambda: action_values(apply(network, params, states), config.hyperparameters))()
    np.testing.assert_allclose(steps.value.ravel(), q.max(-1), rtol=1e-4, atol=1e-5)
    assert shown == [0, 2] and len(steps.value) == 200 and steps.row.done[99].all()


def hand_made() -> script.Steps:
    """Games of 3 and 2 steps, the second cut, and one that is not over; beside it one of 4, cut, and another."""
    rng = np.random.default_rng(0)
    value, r_t = rng.normal(size=(2, 10, 2)).astype(np.float32)
    ends = {(2, 0): True, (5, 0): False, (3, 1): False, (7, 1): True}  # (row, environment): terminated
    terminated, done, valid = np.zeros((10, 2), bool), np.zeros((10, 2), bool), np.ones((10, 2), bool)
    for (t, i), over in ends.items():
        done[t, i], terminated[t, i], valid[t + 1, i], r_t[t + 1, i] = True, over, False, 0.0
    return script.Steps(value, Row(None, None, r_t, terminated, done, valid))


def by_loop(steps, games, gamma):
    """Means of v and of returns summed forward, over games given as (environment, first row, last row)."""
    predicted, realised = [], []
    for i, first, last in games:
        for t in range(first, last + 1):
            rest = sum(gamma ** (k - t) * steps.row.r_t[k, i] for k in range(t, last + 1))
            if not steps.row.terminated[last, i]:
                rest += gamma ** (last + 1 - t) * steps.value[last + 1, i]
            predicted.append(steps.value[t, i])
            realised.append(rest)
    return np.mean(predicted), np.mean(realised)


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_a_hand_made_case(gamma):
    steps = hand_made()
    got = script.compare(steps, np.array([2, 1]), gamma)
    predicted, realised = by_loop(steps, [(0, 0, 2), (0, 4, 5), (1, 0, 3)], gamma)
    assert got["predicted"] == pytest.approx(predicted, rel=1e-5)
    assert got["realised"] == pytest.approx(realised, rel=1e-5)
    assert got["overestimation"] == pytest.approx(predicted - realised, rel=1e-5)
    assert (got["states"], got["games_cut"]) == ([3, 2, 4], 2)
    for n, game in enumerate([(0, 0, 2), (0, 4, 5), (1, 0, 3)]):
        ours = got["predicted_by_game"][n], got["realised_by_game"][n]
        np.testing.assert_allclose(ours, by_loop(steps, [game], gamma), rtol=1e-5)
    assert script.compare(steps, np.array([1, 2]), gamma)["states"] == [3, 4, 3]


def test_the_standard_error_of_games_of_one_length_is_that_of_their_means():
    mean = np.array([1.0, 4.0, 2.0, 3.0])
    got = script.standard_error(5 * mean, np.full(4, 5), mean.mean())
    assert got == pytest.approx(np.std(mean, ddof=1) / 2)


def test_predicted_is_solid_and_realised_dashed():
    rows = [
        {"agent_steps": n * 500_000, "predicted": 2.0 * n, "realised": n, "overestimation": n, "standard_error": error}
        for n, error in ((1, None), (2, 0.5))
    ]
    upper, lower = Figure().subplots(2, 1)
    script.draw_values(upper, lower, [{"name": name, "checkpoints": rows} for name in ("DQN", "DQN double")])
    predicted, realised, other = upper.lines[:3]
    np.testing.assert_array_equal(predicted.get_xydata(), [[0.5, 2], [1, 4]])
    np.testing.assert_array_equal(realised.get_xydata(), [[0.5, 1], [1, 2]])
    assert (predicted.get_linestyle(), realised.get_linestyle()) == ("-", "--")
    assert predicted.get_color() == realised.get_color() != other.get_color()
    low, high = lower.collections[0].get_segments()[1][:, 1]
    assert (low, high) == (1.5, 2.5)
    labels = [text.get_text() for text in upper.get_legend().get_texts()]
    assert labels[:2] == ["DQN", "DQN double"] and len(labels) == 4
    assert "value" in upper.get_ylabel() and "millions" in lower.get_xlabel() and "realised" in lower.get_ylabel()


def test_bad_input_is_one_sentence(run_dir, tmp_path):
    a3c = change(run_dir, tmp_path / "a3c", algorithm="a3c")
    bare = change(run_dir, tmp_path / "bare")
    shutil.rmtree(bare / "checkpoints")
    empty = change(run_dir, tmp_path / "empty")
    for step in (path for path in (empty / "checkpoints").iterdir() if path.is_dir()):
        shutil.rmtree(step)
    file = tmp_path / "file"
    file.touch()
    cases = [
        ({"run_dirs": ()}, "give the folder of one or more runs"),
        ({"run_dirs": (run_dir, tmp_path)}, "is not the folder of a run"),
        ({"run_dirs": (a3c,)}, "a3c is not the folder of a run of dqn"),
        ({"run_dirs": (bare,)}, "no checkpoint folder"),
        ({"run_dirs": (empty,)}, "holds no checkpoint"),
        ({"games": 0}, "--games must be above 0"),
        ({"num_envs": -1}, "--num-envs must be above 0"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"output": file}, "is a file; give a folder"),
    ]
    for options, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            measure(**{"output": tmp_path / "out", "run_dirs": (run_dir,)} | options)
        assert "\n" not in str(caught.value).strip(), message
    assert not (tmp_path / "out").exists()
