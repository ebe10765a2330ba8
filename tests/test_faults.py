"""A run that cannot be lost: spoilt parameters, two processes, resumptions that fail, kills, other machines."""

import dataclasses
import json
import os
import random
import re
import shutil
from pathlib import Path

import faults
import jax
import numpy as np
import pytest
from faults import SMALL, python, resume, train

from jaxrl.agents import a3c
from jaxrl.shell import checkpoint, files, folder, lock, loop, record
from jaxrl.shell.checkpoint import steps_in


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """With checkpoints a little after 80, 160 and 240 steps."""
    return train(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copied")


def test_the_last_good_checkpoint_can_be_resumed_with_what_is_advised(copied):
    last = steps_in(copied / "checkpoints")[-1]
    with pytest.raises(loop.NotFinite, match=f"smaller --learning-rate or --max-grad-norm .* checkpoint .* {last}"):
        resume(copied, total_steps=400, learning_rate=1e38, max_grad_norm=1e38)
    params = [value for name, value in faults.checkpoint(copied, last).items() if "param" in name]
    assert len(params) > 5 and all(np.isfinite(value).all() for value in params)
    resume(copied, total_steps=320, learning_rate=1e-3, max_grad_norm=0.5)
    assert steps_in(copied / "checkpoints")[-1] >= 320


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_parameters_are_looked_at_before_they_are_saved(bad):
    good = {"w": np.ones(3, np.float32)}
    record.check_parameters(good, good, 7)
    with pytest.raises(loop.NotFinite, match="parameters are not finite .* agent step 7"):
        record.check_parameters({"w": np.float32([1, bad])}, {"w": np.float32([1, bad])}, 7)


def test_a_checkpoint_whose_next_update_is_not_finite_is_not_the_last_good_one(whole, tmp_path, monkeypatch):
    original = loop.check_finite

    first, second, _ = steps_in(whole / "checkpoints")

    def fail_later(report, agent_steps):
        spoilt = agent_steps > second
        original({name: value * np.nan for name, value in report.items()} if spoilt else report, agent_steps)

    monkeypatch.setattr(loop, "check_finite", fail_later)
    with pytest.raises(loop.NotFinite, match=rf"is at agent step {first} \(the one after it .* is removed\)"):
        train(tmp_path / "run")
    assert steps_in(tmp_path / "run" / "checkpoints") == [first]


def test_a_run_belongs_to_one_process(tmp_path):
    run = tmp_path / "run"
    with lock.held(run):
        lock.sign(run)
        with pytest.raises(ValueError, match=f"run is being trained by process {os.getpid()}"), lock.held(run):
            pass
    with lock.held(run):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = f"""
import os
from pathlib import Path
from jaxrl.shell import lock
with lock.held(Path({str(tmp_path)!r})):
    os._exit(9)
"""
    assert python(code).returncode == 9
    with lock.held(tmp_path):
        pass


def test_a_resumption_that_fails_changes_nothing(copied):
    newest = steps_in(copied / "checkpoints")[-1]
    (copied / "checkpoints" / str(newest) / "policy" / "_METADATA").write_text("")
    before = (copied / "config.json").read_bytes(), (copied / "metrics.csv").read_bytes()
    for total_steps, message in [(999, "damaged"), (100, f"100 is less than the {newest}")]:
        with pytest.raises(ValueError, match=message):
            resume(copied, total_steps=total_steps)
    assert before == ((copied / "config.json").read_bytes(), (copied / "metrics.csv").read_bytes())


def test_config_json_is_json_for_every_reader(tmp_path):
    run = folder.new_run(dataclasses.replace(SMALL, run_dir=tmp_path / "run", max_grad_norm=float("inf")))
    text = (run / "config.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["max_grad_norm"] == "inf"
    assert folder.saved_config(a3c.Config, run).max_grad_norm == float("inf")


def test_what_a_kill_left_is_mended_when_the_run_is_opened(whole, copied):
    """The newest without sums; an old one half removed; a checkpoint and files half written; an evaluation cut."""
    checkpoints = copied / "checkpoints"
    *_, old, newest = steps_in(checkpoints)
    (checkpoints / str(newest) / checkpoint.SUMS).unlink()
    os.rename(checkpoints / str(old), checkpoints / f"{old}{checkpoint.REMOVED}")
    (checkpoints / f"{old}{checkpoint.REMOVED}" / "_CHECKPOINT_METADATA").unlink()
    (checkpoints / "400.orbax-checkpoint-tmp-1").mkdir()
    (copied / ".curve.tmp.png").write_text("half")
    lines = (copied / "evaluation.csv").read_text().splitlines(keepends=True)
    (copied / "evaluation.csv").write_text("".join(lines[:-1]))
    assert faults.litter(copied)
    resume(copied)
    ours, theirs = (faults.evaluations(run)[str(newest)] for run in (copied, whole))
    assert not faults.litter(copied) and ours == theirs
    sums = (checkpoints / str(newest) / checkpoint.SUMS).read_text()
    assert sums == (whole / "checkpoints" / str(newest) / checkpoint.SUMS).read_text()


def test_a_run_killed_before_its_first_checkpoint_begins_anew(whole, tmp_path):
    """Under the same command, and under --resume; another run, or one whose checkpoints are lost, is refused."""
    for again in (train, resume):
        run = shutil.copytree(whole, tmp_path / again.__name__)
        shutil.rmtree(run / "checkpoints")
        refusal = "exists; resume with" if again is train else "has no checkpoint to resume"
        with pytest.raises(ValueError, match=refusal):
            again(run)
        lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
        due = next(n for n, row in enumerate(faults.rows(run)) if int(row["agent_steps"]) >= SMALL.checkpoint_every)
        (run / "metrics.csv").write_text("".join(lines[: due + 2]))  # the row of the first checkpoint is written before
        with pytest.raises(ValueError, match="exists; resume with"):
            train(run, seed=1)
        again(run)
        assert not faults.differences(whole, run)


def test_a_run_killed_at_its_checkpoints_equals_the_uninterrupted_one(tmp_path):
    """The short form of `make torture`, in processes of their own."""
    options = ["--env", "CartPole-v1", "--total-steps", 12_000, "--checkpoint-every", 3000, "--log-every", 1000,
               "--evaluation-games", 1, "--no-video"]  # fmt: skip
    alone, killed = (faults.Run("a3c", options, tmp_path / name) for name in ("alone", "killed"))
    alone.finish()
    rng = random.Random(0)
    assert killed.kill("training", rng)
    killed.kill("writing", rng)  # milliseconds, which may pass unseen on a busy machine
    killed.finish()
    assert not faults.differences(alone.run_dir, killed.run_dir) + faults.litter(killed.run_dir)


def test_a_run_that_goes_on_under_other_conditions_says_so(copied, capsys):
    resume(copied)
    assert "conditions" not in capsys.readouterr().out
    saved = folder.read_config(copied)
    saved["made_with"][-1] |= {"cores": 64, "versions": saved["made_with"][-1]["versions"] | {"jax": "0.1"}}
    files.write_json(copied / "config.json", saved)
    resume(copied)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "conditions" in line]
    assert "cores 64, now" in line and f"jax 0.1, now {jax.__version__}" in line


def test_each_promise_of_the_docs_has_its_test():
    named = set(re.findall(r"`(test_\w+)`", (faults.ROOT / "docs" / "reliability.md").read_text()))
    known = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))))
    assert len(named) > 25 and not named - known
