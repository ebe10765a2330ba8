"""Tables, TensorBoard and the terminal: what is written can be read, cut and gone on with."""

import struct

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from jaxrl.agent import Column
from jaxrl.shell import metrics
from jaxrl.shell.events import Events
from jaxrl.shell.metrics import Progress, RunLog, params_digest, read

ROW = {"agent_steps": 1000, "seconds": 1.5, "loss": 0.25, "score_mean_100": float("nan"), "params_digest": "80c9a7"}
EVALUATION = {"agent_steps": 1000, "games": 10, "mean": 1200.0, "standard_error": 30.5}


def row(step):
    return ROW | {"agent_steps": step}


def events(run_dir):
    """(tag, step, value) of every event, as TensorBoard shows them: what a purge hides is left out."""
    found = []
    for path in sorted(run_dir.glob("events.out.*"), key=lambda path: path.stat().st_mtime_ns):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack("<Q", data[at : at + 8])
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            if event.HasField("session_log"):
                found = [(tag, step, value) for tag, step, value in found if step < event.step]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


def test_rows_and_events(tmp_path):
    log, written = RunLog(tmp_path), Events(tmp_path)
    for step in (1000, 2000):
        log.write(row(step))
        written.write("train", row(step))
    log.write_evaluation(EVALUATION)
    written.write("evaluation", EVALUATION)
    assert (tmp_path / "metrics.csv").read_text().count("agent_steps") == 1  # flushed before close, and one header
    table = read(tmp_path / "metrics.csv")
    assert table["agent_steps"] == [1000.0, 2000.0] and table["loss"] == [0.25, 0.25]
    assert np.isnan(table["score_mean_100"]).all() and table["params_digest"] == ["80c9a7", "80c9a7"]
    assert read(tmp_path / "evaluation.csv")["mean"] == [1200.0]
    seen = events(tmp_path)
    assert ("train/loss", 2000, 0.25) in seen and ("evaluation/mean", 1000, 1200.0) in seen
    assert not [tag for tag, _, _ in seen if "digest" in tag or "score" in tag or "agent_steps" in tag]


def test_numbers_survive_the_table(tmp_path):
    value = 0.1 + 0.2
    RunLog(tmp_path).write({"agent_steps": 1, "x": value, "tiny": 1e-300})
    assert read(tmp_path / "metrics.csv") == {"agent_steps": [1.0], "x": [value], "tiny": [1e-300]}


def test_a_resumed_log_takes_back_the_rows_after_the_checkpoint(tmp_path):
    log, written = RunLog(tmp_path), Events(tmp_path)
    for step in (1000, 2000, 3000):
        log.write(row(step))
        written.write("train", row(step))
        log.write_evaluation(EVALUATION | {"agent_steps": step})
    for name in ("metrics.csv", "evaluation.csv"):
        with (tmp_path / name).open("a") as file:
            file.write("4")  # of 4000,...: killed while writing
    assert read(tmp_path / "metrics.csv")["agent_steps"] == [1000, 2000, 3000]
    log = RunLog(tmp_path, resume_step=2000)
    assert (
        read(tmp_path / "metrics.csv")["agent_steps"]
        == read(tmp_path / "evaluation.csv")["agent_steps"]
        == [1000, 2000]
    )
    log.write(row(2500))
    Events(tmp_path, resume_step=2000).write("train", row(2500))
    assert read(tmp_path / "metrics.csv")["agent_steps"] == [1000, 2000, 2500]
    assert [step for tag, step, _ in events(tmp_path) if tag == "train/loss"] == [1000, 2000, 2500]
    assert not list(tmp_path.glob("*.tmp"))


def test_resuming_before_anything_was_written(tmp_path):
    (tmp_path / "metrics.csv").write_text("agent_st")
    log = RunLog(tmp_path, resume_step=0)
    log.write(row(1))
    assert read(tmp_path / "metrics.csv")["agent_steps"] == [1]
    assert read(tmp_path / "evaluation.csv") == {}


def test_other_columns_are_refused(tmp_path):
    log = RunLog(tmp_path)
    log.write(ROW)
    with pytest.raises(
        ValueError, match=r"metrics\.csv has the columns agent_steps, .*; a row with .*extra does not fit"
    ):
        log.write(ROW | {"extra": 1})


def test_a_digest_tells_any_difference():
    params = {"conv": {"w": np.arange(4, dtype=np.float32)}, "b": np.zeros(2, np.float32)}
    digest = params_digest(params)
    assert digest == "1f850513cf36ed8c"  # what it was when it was first written down
    assert params_digest({"conv": {"w": jnp.arange(4.0)}, "b": jnp.zeros(2)}) == digest
    others = [
        {"conv": {"w": np.array([0, 1, 2, np.nextafter(np.float32(3), np.float32(4))], np.float32)}, "b": params["b"]},
        {"conv": {"w": params["conv"]["w"].reshape(2, 2)}, "b": params["b"]},
        {"conv": {"w": params["conv"]["w"].astype(np.float64)}, "b": params["b"]},
        {"conf": params["conv"], "b": params["b"]},
        {"conv": params["conv"], "b": -params["b"]},
    ]
    assert len({digest, *map(params_digest, others)}) == 6


SHOWN = {"agent_steps": 3000, "steps_per_second": 1812.3, "score_mean_100": float("nan"), "loss": 1.2345}


def test_without_a_terminal_a_plain_line_at_most_every_30_seconds(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    clock = iter([100.0, 110.0, 120.0, 150.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(clock))
    with Progress(10_000, start=1000, shown={"loss": Column("loss", ".3g")}) as progress:
        progress.update(SHOWN)
        progress.update(SHOWN | {"agent_steps": 4000})
        progress.note("evaluation [at] 3,000")
        progress.update(SHOWN | {"agent_steps": 5000, "score_mean_100": 1234.5})
    assert capsys.readouterr().out.splitlines() == [
        "3,000/10,000 steps, ETA 0:00:35  steps/s 1,812  score -  loss 1.23",
        "evaluation [at] 3,000",
        "5,000/10,000 steps, ETA 0:01:02  steps/s 1,812  score 1,234  loss 1.23",
    ]


def test_on_a_terminal_a_bar(capsys, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with Progress(100, unit="games") as progress:
        progress.show(50, "half")
        progress.note("a note [x]")
    out = capsys.readouterr().out
    assert "50/100 games, ETA 0:00:0" in out and "━" in out and "half" in out and "a note [x]\n" in out


def test_nothing_done_has_no_eta(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with Progress(5, unit="games") as progress:
        progress.show(0)
    assert capsys.readouterr().out == "0/5 games, ETA -\n"


def test_more_than_all_is_done_at_once(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with Progress(5) as progress:
        progress.show(6)
    assert capsys.readouterr().out == "6/5 steps, ETA 0:00:00\n"
