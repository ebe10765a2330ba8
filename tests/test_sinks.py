"""Disks and terminals that fail: training goes on, what failed is named once, and what waited is written."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import faults
import numpy as np
import pytest
from faults import python, train
from test_metrics import events

from jaxrl.agents import a3c
from jaxrl.shell import files, launch, mistakes, plots, record, sinks, terminal
from jaxrl.shell.checkpoint import Checkpoints, steps_in
from jaxrl.shell.evaluation import BackgroundEvaluator
from jaxrl.shell.metrics import RunLog
from jaxrl.shell.sinks import FAULTS, Sink

FULL = OSError(28, "No space left on device")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "whole")


class Disk:
    """A disk that is full at the given calls, counted from 0."""

    def __init__(self, full):
        self.full, self.calls, self.written = set(full), -1, []

    def __call__(self, *item):
        self.calls += 1
        if self.calls in self.full:
            raise FULL
        self.written.append(item)


def test_a_failure_is_named_once_and_what_waited_is_written_in_order():
    disk, told = Disk({1, 2}), []
    sink = Sink("metrics.csv", disk, told.append)
    assert [sink(n) for n in range(2)] == [True, False] and sink.missing() and disk.written == [(0,)]
    assert [sink(n) for n in range(2, 4)] == [False, True] and disk.written == [(0,), (1,), (2,), (3,)]
    assert sink.missing() is None and [text.split(" (")[0] for text in told] == [
        "metrics.csv cannot be written", "metrics.csv can be written again"
    ]  # fmt: skip


def test_of_what_is_drawn_again_only_the_newest_waits_and_what_lives_no_longer_does_not():
    for keep, expected in ((1, [(2,)]), (0, [(2,)])):
        disk = Disk({0, 1})
        sink = Sink("curve.png", disk, lambda sentence: None, keep=keep)
        for n in range(3):
            sink(n)
        assert disk.written == expected and sink.missing() is None
    sink = Sink("a checkpoint", Disk({0}), lambda sentence: None, keep=0)
    assert not sink(0) and sink.missing() and sink.retry() is False


def test_a_last_write_waits_for_a_disk_that_is_full_for_seconds(monkeypatch):
    slept = []
    monkeypatch.setattr(sinks.time, "sleep", slept.append)
    for keep in (0, None):
        disk = Disk({0, 1})
        assert Sink("x", disk, lambda sentence: None, keep=keep).insist(1) and disk.written == [(1,)]
    assert slept == [1, 2, 1, 2]


def test_a_row_is_whole_or_not_there(tmp_path):
    """The file may grow by five bytes more: what was written of the row is taken back."""
    path, limits = tmp_path / "x.csv", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_text("head\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large: .*x.csv"):
            files.append(path, b"1,2,3,4,5,6\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "head\n"
    files.append(path, b"1,2\n")
    assert path.read_text() == "head\n1,2\n"


def test_a_run_goes_on_whatever_cannot_be_written(whole, tmp_path, monkeypatch, capsys):
    """Rows, events, the figure, evaluations and a checkpoint fail for a time; at the end nothing is missing."""

    def failing(owner, name, full, error=FULL):
        original, calls = getattr(owner, name), []

        def call(*args):
            calls.append(args)
            if len(calls) - 1 in full:
                raise error
            return original(*args)

        monkeypatch.setattr(owner, name, call)

    monkeypatch.setattr(sinks, "PAUSES", (0, 0, 0, 0))
    failing(RunLog, "write", {1, 2, 3})
    failing(RunLog, "write_evaluation", {0})
    failing(record.Events, "write", {0, 2})
    failing(Checkpoints, "save", {0, 2, 3})
    failing(plots, "curve", {0}, TypeError("'<' not supported"))
    run = train(tmp_path / "run")
    monkeypatch.undo()
    said = (run / FAULTS).read_text()
    for name in ("metrics.csv", "evaluation.csv", "TensorBoard's file", "a checkpoint", "curve.png"):
        assert f"{name} cannot be written" in said and f"{name} can be written again" in said, name
    assert "TypeError" in said and "No space left" in said and "cannot be written" in capsys.readouterr().out
    assert faults.rows(run) == faults.rows(whole) and len(steps_in(run / "checkpoints")) == 2
    assert faults.evaluations(run).items() <= faults.evaluations(whole).items()
    steps = {int(row["agent_steps"]) for row in faults.rows(run)}
    assert {step for tag, step, _ in events(run) if tag == "train/loss"} == steps


def test_what_is_missing_at_the_end_is_said(tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise FULL

    monkeypatch.setattr(sinks, "PAUSES", (0,))
    monkeypatch.setattr(Checkpoints, "save", fail)
    monkeypatch.setattr(plots, "curve", fail)
    with pytest.raises(launch.Incomplete, match="is not complete: a checkpoint could not be written .*No space left"):
        train(tmp_path / "run", evaluation_games=0)
    assert "curve.png could not be written" in capsys.readouterr().out


def test_an_evaluation_that_fails_ends_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("no emulator")

    monkeypatch.setattr(BackgroundEvaluator, "_evaluate", fail)
    assert "failed (RuntimeError: no emulator)" in (train(tmp_path / "run", total_steps=80) / FAULTS).read_text()


@pytest.mark.skipif(faults.COMPILER is None or sys.platform != "linux", reason="the shim is compiled C, for Linux")
def test_a_disk_that_is_full_for_a_second_costs_nothing(tmp_path):
    """The real thing: every write to the run's folder fails, whoever makes it; then there is room again."""
    environment, flag = faults.full_disk(tmp_path)
    options = ["--env", "CartPole-v1", "--total-steps", 60_000, "--checkpoint-every", 20_000, "--log-every", 1000,
               "--evaluation-games", 2, "--no-video"]  # fmt: skip
    run = faults.Run("a3c", options, tmp_path / "run", environment)
    process = run.start()
    while process.poll() is None and not run.trains({"log": 0}):
        time.sleep(0.01)
    faults.fill(flag, f"{run.run_dir}/")
    while process.poll() is None and "metrics.csv cannot be written" not in run.log.read_text():
        time.sleep(0.01)
    time.sleep(0.5)
    flag.unlink()
    assert process.wait(600) == 0
    said = run.log.read_text()
    assert "metrics.csv can be written again" in said and "Traceback" not in said
    steps = [int(row["agent_steps"]) for row in faults.rows(run.run_dir)]
    assert steps == sorted(set(steps)) and len(steps) == 60 and steps[-1] == steps_in(run.run_dir / "checkpoints")[-1]


SAY = """
from jaxrl.shell import terminal
with terminal.lasting():
    for _ in range(3000):
        print("ε ± a line of a log")
    print("at the end", file=__import__("sys").stderr)
    assert terminal.lost(), "not lost"
"""


@pytest.mark.parametrize("where", ["full", "closed"])
def test_a_lost_output_ends_nothing(where):
    if where == "full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    read, write = os.pipe()
    os.close(read)
    target = open("/dev/full", "w") if where == "full" else os.fdopen(write, "w")
    with target:
        done = python(SAY, stdout=target, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stderr == b"at the end\n", done.stderr


def test_letters_that_a_terminal_lacks_are_replaced():
    done = python(SAY.replace("assert terminal", "#"), env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stdout.startswith(b"? ? a line") and done.stderr == b"at the end\n"


def test_a_process_without_its_streams_opens_no_file_under_their_numbers(tmp_path):
    code = f"""
from pathlib import Path
from jaxrl.shell import terminal
with terminal.lasting():
    print("nowhere")
    file = open({str(tmp_path / "x")!r}, "w")
    print(file.fileno() > 2, file=file)
"""
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code], cwd=faults.ROOT, check=True)
    assert (tmp_path / "x").read_text() == "True\n"


def test_a_run_notes_in_its_folder_that_its_output_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "lost", lambda: "Broken pipe")
    run = train(tmp_path / "run", total_steps=40, evaluation_games=0)
    assert (run / FAULTS).read_text().count("standard output is lost (Broken pipe)") == 1


def library_fault():
    np.zeros(3).reshape(2, 2)


def own_fault():
    list(zip([1], [1, 2], strict=True))


def for_the_user():
    files.append(Path("/none/x"), b"")


def typed_wrong():
    a3c.preset("natur", "CartPole-v1")


@pytest.mark.parametrize(
    ("fault", "users"), [(library_fault, False), (own_fault, False), (for_the_user, True), (typed_wrong, True)]
)
def test_only_what_was_raised_for_the_user_is_shown_as_his_mistake(fault, users):
    with pytest.raises((ValueError, OSError)) as caught:
        fault()
    assert mistakes.is_for_user(caught.value) == users
    assert ("Traceback" in mistakes.sentence(caught.value)) != users
    assert "/none/x: No such file" in mistakes.sentence(caught.value) or fault is not for_the_user
