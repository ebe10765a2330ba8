"""The evaluation script: scores and film of a checkpoint or of PyTorch's weights, and one sentence for a mistake."""

import dataclasses
import functools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imageio.v2 as imageio
import jax
import numpy as np
import pytest

from jaxrl import environments
from jaxrl.agents import a3c
from jaxrl.commands import evaluate as script
from jaxrl.networks import ActorCriticLSTM, pytorch_weights
from jaxrl.shell import files, frozen, metrics
from jaxrl.shell.checkpoint import Checkpoints
from jaxrl.shell.evaluation import Scores

ROOT = Path(__file__).resolve().parents[1]

NETWORK = ActorCriticLSTM(18)
OBSERVATION = np.zeros((1, 1, 42, 42, 1), np.float32)


def init_params(seed):
    memory, first = NETWORK.initial_memory(1), np.zeros((1, 1), bool)
    return NETWORK.init(jax.random.key(seed), OBSERVATION, memory, first)


def make_run(run_dir, protocol="machado", normalizer=None):
    """The folder that a run would have left, with two checkpoints of an agent that learnt nothing."""
    config = a3c.Config(protocol=protocol, num_envs=4, image_size=42)
    run_dir.mkdir()
    files.write_json(run_dir / "config.json", dataclasses.asdict(config) | {"algorithm": "a3c"})
    checkpoints = Checkpoints.create(run_dir / "checkpoints")
    for step in (100, 200):
        checkpoints.save(step, {"params": init_params(step), "normalizer": normalizer}, {"n": np.int32(step)})
    checkpoints.close()
    return run_dir


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def short_games(monkeypatch):
    """No game is longer than 150 steps."""
    monkeypatch.setattr(environments, "make", functools.partial(environments.make, max_episode_steps=150))


def evaluate(run_dir, **options) -> dict:
    config = script.Config(**{"run_dir": run_dir, "games": 3, "num_envs": 2, "video": False} | options)
    script.main(config)
    return json.loads(script.output_of(config).read_text())


def test_an_evaluation_plays_the_images_of_training_and_whole_games():
    trained = a3c.Config(life_loss=True, image_size=64, image_width=52, reward="root", normalization="exponential")
    rules = frozen.played_as(trained, None, "machado").rules
    assert (rules.height, rules.width, rules.stack) == (64, 52, 1) and rules.normalization == "exponential"
    assert not rules.episodic_life


def test_scores_of_a_run_with_all_they_depend_on(run_dir, short_games, capsys):
    result = evaluate(run_dir, video=True)
    out = capsys.readouterr().out
    assert len(result["scores"]) == len(result["lengths"]) == result["games"] == 3
    assert result["mean"] == pytest.approx(np.mean(result["scores"])) and result["median"] in result["scores"]
    assert result["standard_error"] == pytest.approx(np.std(result["scores"], ddof=1) / 3**0.5)
    assert result["checkpoint"] == 200 and result["params_digest"] == metrics.params_digest(init_params(200))
    rules = dataclasses.asdict(environments.PROTOCOLS["machado"]) | {"max_episode_steps": 150}
    assert result["protocol"] == json.loads(json.dumps(rules))
    assert (result["env"], result["seed"], result["greedy"]) == ("Riverraid-v5", 12345, False)
    assert {"jax", "envpool"} <= result["versions"].keys()
    assert f"mean {result['mean']:,.1f} ± " in out and "median" in out and "evaluation.json" in out and "3 games" in out
    with imageio.get_reader(run_dir / "evaluation.mp4") as film:
        assert film.count_frames() > 50
    again = evaluate(run_dir)
    assert again == result
    older = evaluate(run_dir, checkpoint=100, seed=1, output=run_dir / "other.json")
    assert older["checkpoint"] == 100 and older["params_digest"] == metrics.params_digest(init_params(100))
    assert older["scores"] != result["scores"] and json.loads((run_dir / "evaluation.json").read_text()) == result


def test_one_game_and_another_protocol(run_dir, short_games, tmp_path):
    """One game has no standard error, and JSON no NaN; nature's rules are seen through the run's picture."""
    text = evaluate(run_dir, games=1, protocol="nature", greedy=True, output=tmp_path / "scores.json")
    assert text["standard_error"] is None and text["greedy"] is True and text["num_envs"] == 1
    assert text["protocol"]["name"] == "nature" and text["protocol"]["height"] == 42


def test_weights_of_pytorch_play_as_our_own(run_dir, short_games, tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **pytorch_weights.to_state_dict(init_params(200)))
    result = evaluate(None, weights=path, env="Riverraid-v5", protocol="machado")
    ours = evaluate(run_dir, output=tmp_path / "ours.json")
    assert (result["scores"], result["lengths"]) == (ours["scores"], ours["lengths"])
    assert result["checkpoint"] is None and result["source"] == str(path)
    assert (tmp_path / "weights.evaluation.json").exists()


def test_the_runs_normaliser_plays_on(run_dir, tmp_path, monkeypatch):
    """Where the protocol has one: its mean over the training's environments, for each of the evaluation's."""
    seen = []
    monkeypatch.setattr(script, "play", lambda *args: seen.append(args[6]) or Scores([1.0], [1]))
    state = environments.init_normalizer(4)
    learnt = state._replace(mean=state.mean + np.arange(4.0, dtype=np.float32), std=state.std + 2)
    origin = make_run(tmp_path / "origin", "origin", learnt)
    for run, options in [(origin, {}), (origin, {"protocol": "machado"}), (run_dir, {"protocol": "origin"})]:
        evaluate(run, games=1, output=tmp_path / "scores.json", **options)
    np.testing.assert_array_equal(seen[0].mean, [1.5])
    np.testing.assert_array_equal(seen[0].std, [2.0])
    assert seen[1:] == [None, None]


def test_scores_are_printed_before_they_are_written(run_dir, tmp_path, monkeypatch, capsys):
    """The disk is full: the file is named, and the work of an hour is on the terminal. The same without an encoder."""

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(script, "play", lambda *args: Scores([1.0, 3.0], [1, 1]))
    monkeypatch.setattr(script.video, "record", fail)
    output = tmp_path / "scores.json"
    script.main(script.Config(run_dir, output=output))
    assert "no video was made: No space left" in capsys.readouterr().out and output.exists()
    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*scores\.json"):
        script.main(script.Config(run_dir, output=output))
    assert "mean 2.0 ± 1.0" in capsys.readouterr().out


def test_bad_input_is_one_sentence(run_dir, tmp_path):
    damaged = shutil.copytree(run_dir, tmp_path / "damaged")
    (damaged / "checkpoints" / "200" / "policy" / "_METADATA").write_text("")
    broken = shutil.copytree(run_dir, tmp_path / "broken")
    files.write_json(broken / "config.json", {"env": "Riverraid-v5"})
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(run_dir / "config.json", empty)
    weights = tmp_path / "weights.npz"
    np.savez(weights, **pytorch_weights.to_state_dict(init_params(0)))
    cases = [
        ({"weights": weights}, "either the folder of a run or --weights FILE"),
        ({"run_dir": None}, "either the folder of a run or --weights FILE"),
        ({"run_dir": None, "weights": weights, "checkpoint": 3}, "--checkpoint is a step of a run"),
        ({"run_dir": None, "weights": tmp_path / "none.npz"}, "no weights file"),
        ({"run_dir": None, "weights": weights, "env": "Pong-v5", "protocol": "machado"}, "18 actions; Pong-v5 has 6"),
        ({"run_dir": None, "weights": weights, "protocol": "nature"}, "conv_0/w of shape .*nature needs"),
        ({"games": 0}, "--games must be above 0; got 0"),
        ({"num_envs": -2}, "--num-envs must be above 0; got -2"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"env": "Riverrad-v5"}, "Riverraid-v5"),
        ({"protocol": "machdo"}, "machado"),
        ({"env": "Pong-v5"}, "learnt the actions 0 to 17 of Riverraid-v5, and Pong-v5 has 0 to 5"),
        ({"checkpoint": 150}, "no checkpoint 150; it has 100, 200"),
        ({"run_dir": damaged}, "checkpoint 200 .*damaged.* 100 is whole"),
        ({"run_dir": broken}, "config.json is damaged: there is no algorithm None"),
        ({"run_dir": empty}, "no checkpoint folder"),
        ({"run_dir": tmp_path / "nowhere"}, "not the folder of a run"),
        ({"output": tmp_path}, "is a folder; give the name of a file"),
        ({"output": tmp_path / "nowhere" / "scores.json"}, "nowhere is not a folder that can be written to"),
    ]
    for options, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            evaluate(options.pop("run_dir", run_dir), **options)
        assert "\n" not in str(caught.value).strip(), message
    assert evaluate(damaged, checkpoint=100, games=1)["checkpoint"] == 100


def test_the_command_line(run_dir, tmp_path):
    line = [sys.executable, ROOT / "experiments" / "evaluate.py", run_dir, "--games", "1", "--no-video"]
    output = tmp_path / "scores.json"
    done = subprocess.run([*line, "--output", output], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""
    assert "mean" in done.stdout and output.exists()


def test_ctrl_c_ends_it_at_once(run_dir, tmp_path):
    line = [sys.executable, ROOT / "experiments" / "evaluate.py", run_dir, "--games", "500", "--output", tmp_path / "x"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "/500 games" in process.stdout.readline()  # compiled, and playing
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 130 and err == "" and list(tmp_path.iterdir()) == []
