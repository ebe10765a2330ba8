"""Ctrl-C, SIGTERM and a closed terminal, at any moment."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import faults
import pytest
from faults import python, resume, train

from jaxrl.shell.checkpoint import steps_in
from jaxrl.shell.evaluation import BackgroundEvaluator
from jaxrl.shell.metrics import Progress


def test_a_terminal_that_is_closed_saves_the_run(tmp_path, monkeypatch, capsys):
    shown, sent = Progress.update, []

    def show(progress, row):
        shown(progress, row)
        if not sent:  # a second one would end the process
            sent.append(os.kill(os.getpid(), signal.SIGHUP))

    monkeypatch.setattr(Progress, "update", show)
    before = signal.getsignal(signal.SIGHUP)
    run = train(tmp_path / "run", evaluation_games=0)
    assert 40 < steps_in(run / "checkpoints")[-1] < 80 and "and saved; go on with" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGHUP) is before


@pytest.mark.skipif(sys.platform != "linux", reason="what is loaded is read from /proc")
@pytest.mark.parametrize("library", ["_multiarray_umath", "optree|ml_dtypes|libjax"])
def test_ctrl_c_while_libraries_are_imported_is_quiet(library, tmp_path):
    run = faults.Run("a3c", ["--env", "CartPole-v1"], tmp_path / "run")
    process = run.start()
    while not re.search(library, Path(f"/proc/{process.pid}/maps").read_text()):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and run.log.read_text() == ""


SWALLOWED = """
import signal
from jaxrl.shell import signals
signals.GRACE = 0.2
with signals.interrupting():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        pass  # as a callback of a library does
    signal.pause()
"""
TWICE = """
import signal, threading
from jaxrl.shell import signals
with signals.stopping() as stop:
    stop.begun = True
    signal.raise_signal(signal.SIGTERM)
    assert stop.asked
    threading.Thread(target=signal.pause).start()  # a thread that would keep the process
    signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("code", [SWALLOWED, TWICE])
def test_the_process_ends_whatever_holds_it(code):
    done = python(code, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_nohup_is_left_alone():
    code = """
import signal
from jaxrl.shell import signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with signals.stopping() as stop:
    signal.raise_signal(signal.SIGHUP)
    print(stop.asked)
"""
    assert python(code).stdout == b"False\n"


def test_ctrl_c_in_the_last_evaluation_says_that_training_is_complete(tmp_path, monkeypatch, capsys):
    def evaluate(evaluator, *job):
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.01)
            evaluator._check_stop(0)

    monkeypatch.setattr(BackgroundEvaluator, "_evaluate", evaluate)
    run = train(tmp_path / "run", checkpoint_every=240)
    assert " agent steps done" in (out := capsys.readouterr().out) and "training is complete" in out
    monkeypatch.undo()
    assert not (run / "evaluation.csv").exists()
    assert list(map(int, faults.evaluations(resume(run)))) == steps_in(run / "checkpoints")  # and it is made up
