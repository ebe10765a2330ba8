"""The experiment with classifiers: that it learns, what it holds out, and one sentence for a mistake."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v2 as imageio
import jax
import numpy as np
import pytest
import vision as script
from matplotlib.figure import Figure

from jaxrl.networks import VISION
from jaxrl.shell.metrics import params_digest

datasets = pytest.importorskip("sklearn.datasets", reason="the images come with scikit-learn")

SHORT = {"epochs": 3}


def train(run_dir, **options) -> dict:
    script.main(script.Config(**SHORT | {"run_dir": run_dir} | options))
    return json.loads((run_dir / "result.json").read_text())


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "lenet"
    train(path)
    return path


@pytest.fixture
def result(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def numbered(labels) -> script.Digits:
    """A made-up set in which the image of row n is one pixel of brightness n."""
    labels = np.asarray(labels)
    return script.Digits(np.arange(len(labels), dtype=np.float32).reshape(-1, 1, 1, 1), labels)


def test_lenet_learns_within_seconds(run_dir, result):
    history = result["history"]
    assert result["accuracy"] == history[-1]["accuracy"] > 0.6 and result["seconds"] == history[-1]["seconds"]
    assert [row["epoch"] for row in history] == [1, 2, 3] and history[0]["loss"] > 2 * history[-1]["loss"]
    assert result["parameters"] == 61_706 and {"jax", "scikit-learn"} <= result["versions"].keys()
    assert script.Config(**result["config"]) == script.Config(**SHORT)
    assert sorted(path.name for path in run_dir.iterdir()) == ["curve.png", "result.json"]
    assert imageio.imread(run_dir / "curve.png").shape[1] > 800


def test_the_same_seed_gives_the_same_numbers_to_the_bit(result, tmp_path):
    same, other = train(tmp_path / "same"), train(tmp_path / "other", seed=1)
    figures = [[(row["loss"], row["accuracy"]) for row in r["history"]] for r in (result, same, other)]
    assert figures[0] == figures[1] and result["params_digest"] == same["params_digest"]
    assert figures[0] != figures[2] and result["params_digest"] != other["params_digest"]


def test_running_statistics_are_learnt_and_used():
    """Batch normalisation's: at their start, 0 and 1, the trained network knows little."""
    config = script.Config(network="batch_norm_lenet", epochs=2)
    network = VISION[config.network](script.CLASSES)
    train_set, held_out = script.standardized(*script.split(script.digits(config.size)))
    *_, (state, row) = script.learn(config, network, train_set, held_out)
    start = script.init(network, script.optax.adam(0.0), held_out.images[:1], config.seed)
    assert params_digest(start.params) != params_digest(state.params)
    classify = jax.jit(lambda s, x: network.apply({"params": s.params, "batch_stats": s.batch_stats}, x).argmax(-1))
    assert row["accuracy"] == np.mean(classify(state, held_out.images) == held_out.labels) > 0.6
    untouched = state._replace(batch_stats=start.batch_stats)
    assert row["accuracy"] > np.mean(classify(untouched, held_out.images) == held_out.labels) + 0.1


def test_the_images():
    data = script.digits(16)
    assert data.images.shape == (1797, 16, 16, 1) and data.images.dtype == np.float32
    assert data.images.min() == 0 and data.images.max() == 1 and data.labels.dtype == np.int32
    np.testing.assert_allclose(script.digits(8).images[..., 0], datasets.load_digits().images / 16, atol=1e-6)


def test_a_fifth_of_every_class_is_held_out_and_the_rest_is_learnt():
    labels = script.digits(8).labels
    kept, held_out = script.split(numbered(labels))
    rows = [set(part.images.ravel().astype(int)) for part in (kept, held_out)]
    assert not rows[0] & rows[1] and rows[0] | rows[1] == set(range(1797))
    assert (len(kept.labels), len(held_out.labels)) == (1438, 359)
    for part in (kept, held_out):
        np.testing.assert_array_equal(part.labels, labels[part.images.ravel().astype(int)])
    fifths = np.bincount(held_out.labels) / np.bincount(labels)
    np.testing.assert_allclose(fifths, 0.2, atol=0.01)
    np.testing.assert_array_equal(script.split(numbered(labels))[1].images, held_out.images)


def test_brightness_is_measured_on_the_training_images_alone():
    train_set, held_out = numbered(np.zeros(4)), numbered(np.zeros(9))
    learnt, tested = script.standardized(train_set, held_out)
    assert learnt.images.mean() == pytest.approx(0) and learnt.images.std() == pytest.approx(1)
    np.testing.assert_allclose(tested.images, (held_out.images - 1.5) / np.std([0, 1, 2, 3]), rtol=1e-6)


def test_an_epoch_is_whole_batches_in_random_order():
    data = numbered(np.arange(10) % 3)
    first, second = (list(script.batches(np.random.default_rng(seed), data, 4, 0)) for seed in (0, 1))
    rows = np.concatenate([batch.images.ravel() for batch in first]).astype(int)
    assert [len(batch.labels) for batch in first] == [4, 4] and len(set(rows)) == 8
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in first]), rows % 3)
    assert not np.array_equal(rows, np.concatenate([batch.images.ravel() for batch in second]))


def test_images_move_whole_and_no_farther_than_asked():
    image = np.zeros((7, 7, 1), np.float32)
    image[3, 3], image[3, 4] = 1, 2
    images = np.broadcast_to(image, (400, 7, 7, 1)) - 5
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(script.shifted(rng, images, 0), images)
    moves = set()
    for moved in script.shifted(rng, images, 2) + 5:
        (row, col, _) = np.argwhere(moved == 1)[0]
        moves.add((row - 3, col - 3))
        assert moved[row, col + 1] == 2 and moved.sum() == 3
    assert moves == {(r, c) for r in range(-2, 3) for c in range(-2, 3)}


@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_accuracy_counts_each_image_once(batch_size):
    labels = np.arange(10)
    data = numbered(np.where(labels < 7, labels, -1))  # the last three are never right

    def classify(_, images):
        assert len(images) == batch_size
        return images.ravel().astype(int)

    assert script.accuracy(classify, None, data, batch_size) == pytest.approx(0.7)


@pytest.mark.parametrize("name", VISION)
def test_each_network_has_defaults_that_fit(name):
    config = script.config_of_network(["--network", name]) or script.Config()
    assert config.network == name
    script.check(config)
    images = jax.ShapeDtypeStruct((1, config.size, config.size, 1), np.float32)
    jax.eval_shape(VISION[name](script.CLASSES, config.width).init, jax.random.key(0), images)


def test_bad_input_is_one_sentence(run_dir, tmp_path, monkeypatch):
    cases = [
        ({"network": "resnet81"}, "no network 'resnet81'; did you mean resnet18 or"),
        ({"network": "vgg11", "size": 16}, "VGG needs images of 32x32 or larger; got 16x16"),
        ({"epochs": -1}, "--epochs must be above 0; got -1"),
        ({"width": 0.0}, "--width must be above 0 and finite; got 0.0"),
        ({"batch_size": 0}, "--batch-size must be above 0; got 0"),
        ({"batch_size": 1439}, "--batch-size must not exceed the 1438 training images"),
        ({"learning_rate": float("nan")}, "--learning-rate must be above 0 and finite; got nan"),
        ({"size": 7}, "--size must be at least 8"),
        ({"shift": 8.0}, "--shift must be at least 0 and below 8; got 8.0"),
        ({"shift": -0.5}, "--shift must be at least 0"),
        ({"seed": -1}, "--seed must be at least 0; got -1"),
        ({"run_dir": run_dir}, "exists; give another --run-dir"),
        ({"run_dir": Path("/proc/none/run")}, "/proc/none"),
        ({"learning_rate": 1e38}, "the loss is (nan|inf) in epoch 1; take a smaller --learning-rate"),
    ]
    for number, (options, message) in enumerate(cases):
        with pytest.raises((ValueError, OSError), match=message) as caught:
            train(options.pop("run_dir", tmp_path / str(number)), **options)
        assert "\n" not in str(caught.value).strip(), message
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match=re.escape("pip install -e '.[vision]'")):
        train(tmp_path / "none")


def test_a_network_brings_its_own_defaults():
    config = script.config_of_network(["--network", "nin"])
    assert (config.network, config.size, config.width) == ("nin", 72, 0.25)
    assert script.config_of_network([]) is None and script.config_of_network(["--network", "none"]) is None


def test_ctrl_c_keeps_what_was_reached(tmp_path):
    run = tmp_path / "run"
    line = [sys.executable, script.__file__, "--epochs", "10000", "--run-dir", run]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 180
        while not (run / "result.json").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=180)
    finally:
        process.kill()
    result = json.loads((run / "result.json").read_text())
    assert process.returncode == 130 and err == "" and f"reached is in {run}" in out
    assert 1 <= len(result["history"]) < 10000 and not (run / "curve.png").exists()


HISTORY = [{"epoch": n, "loss": 2.0 / n, "accuracy": 1 - 0.5 / n} for n in (1, 2, 3, 4)]


def test_a_classifier_gets_its_curve(tmp_path):
    path = script.draw_curve(tmp_path, HISTORY)
    plain = imageio.imread(path)
    assert plain.shape[0] > 500 and plain.shape[1] > 800
    assert not np.array_equal(plain, imageio.imread(script.draw_curve(tmp_path, HISTORY, "a title")))
    assert [p.name for p in tmp_path.iterdir()] == ["curve.png"]


def test_errors_and_loss_are_drawn_over_epochs():
    upper, lower = Figure().subplots(2, 1)
    script.draw_errors(upper, HISTORY)
    script.draw_loss(lower, HISTORY)
    np.testing.assert_allclose(upper.lines[0].get_xydata(), [[1, 50], [2, 25], [3, 50 / 3], [4, 12.5]])
    np.testing.assert_allclose(lower.lines[0].get_xydata(), [[1, 2], [2, 1], [3, 2 / 3], [4, 0.5]])
    assert upper.get_ylim() == (0, 20) and lower.get_yscale() == "log"
    script.draw_errors(upper, HISTORY[:1])
    assert upper.get_ylim()[1] > 50
