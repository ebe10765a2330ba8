"""Several hosts, here processes of this machine: what one process of as many devices learns, to the bit."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest
from test_num_seeds import SMALL
from test_run import A3C, rows

from jaxrl.agents import a3c, dqn
from jaxrl.environments.pool import available_cores
from jaxrl.shell import cli, hosts, launch
from jaxrl.shell.checkpoint import steps_in

OPTIONS = ["--env=CartPole-v1", "--num-envs=4", "--hidden=8", "--widths", "8", "--log-every=120", "--seed=3",
           "--num-workers=1", "--checkpoint-every=240", "--evaluation-games=0", "--no-video",
           "--no-learning-rate-decay"]  # fmt: skip
TOGETHER = pytest.mark.skipif(available_cores() < 2, reason="each process has a core of its own")


def environment():
    """A user's, where a host has one device."""
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}


def command(*arguments):
    return [sys.executable, str(A3C), *arguments]


@TOGETHER
def test_two_processes_learn_what_one_of_two_devices_learns(tmp_path):
    """And resumed, what they would have learnt uninterrupted."""
    one, run_dir, two = tmp_path / "one", tmp_path / "two", ["--local-processes", "2"]
    alone = command(*OPTIONS, "--device-count=2", "--total-steps=480", "--run-dir", str(one))
    devices = environment() | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run(alone, env=devices, check=True, timeout=150, capture_output=True)
    begun = command(*OPTIONS, *two, "--total-steps=240", "--run-dir", str(run_dir))
    subprocess.run(begun, env=environment(), check=True, timeout=150, capture_output=True)
    resumed = command("--resume", str(run_dir), *two, "--total-steps=480")
    out = subprocess.run(resumed, env=environment(), check=True, timeout=150, capture_output=True, text=True).stdout
    found, whole = rows(run_dir), rows(one)
    shared = [name for name in found[0] if name not in ("games", "score_mean_100")]  # of the first host's games alone
    assert [[row[name] for name in shared] for row in found] == [[row[name] for name in shared] for row in whole]
    assert len(found) == 4 and out.count("agent steps done") == 1  # one of them speaks


@TOGETHER
def test_a_lost_host_ends_the_others_with_a_sentence(tmp_path):
    run_dir, port = tmp_path / "run", hosts.free_port()
    arguments = [*OPTIONS, "--num-hosts=2", f"--coordinator=localhost:{port}", "--run-dir", str(run_dir)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    first, second = (subprocess.Popen(command(*arguments, f"--host-id={number}"), **pipes) for number in range(2))
    try:
        while first.poll() is None and not steps_in(run_dir / "checkpoints"):
            time.sleep(0.1)
        second.send_signal(signal.SIGKILL)
        _, err = first.communicate(timeout=200)
    finally:
        for process in (first, second):
            process.kill()
            process.stderr.close()
            process.wait()
    sentence = err.splitlines()[-1]
    assert first.returncode == 1 and sentence.startswith("error: another host is lost, or this one failed (")
    assert "--resume" in sentence and "Traceback" not in err


def test_one_host_agrees_with_itself():
    tree = {"a": np.arange(3), "key": jax.random.split(jax.random.key(0), 2)}
    assert hosts.is_first() and hosts.total(7) == 7 and hosts.any_of(True) and not hosts.any_of(False)
    assert hosts.gathered(tree) is tree and hosts.own(tree, 2) is tree


def test_a_host_takes_its_own_of_what_was_gathered(monkeypatch):
    """The second of three hosts with two devices each."""
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    np.testing.assert_array_equal(hosts.own(np.arange(6), 2), [2, 3])
    (shape,) = jax.tree.leaves(hosts.shapes_of_all([jax.ShapeDtypeStruct((2, 5), np.float32)]))
    assert shape.shape == (6, 5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(SMALL, num_hosts=2, num_seeds=2), "give --num-hosts or it"),
        (replace(SMALL, num_hosts=2), "each trains on all its devices: --device-count 2"),
        (replace(SMALL, num_hosts=3, device_count=2), "2 devices of 3 hosts; the nearest number that does is 6"),
        (replace(dqn.preset(None, "CartPole-v1"), num_hosts=2, device_count=2), "give --no-save-replay"),
    ],
)
def test_mistakes_are_one_sentence(config, message):
    with pytest.raises(ValueError, match=message):
        launch.agent_of(dqn if config.algorithm == "dqn" else a3c, config)


def test_too_many_processes_and_hosts_that_cannot_be_met():
    with pytest.raises(ValueError, match="--local-processes must be at most"):
        hosts.start_local(10_000, [], False)
    hosts.join(1, None, None)  # there is nobody to meet
    with pytest.raises(ValueError, match="the 2 hosts could not be joined .*--coordinator HOST:PORT"):
        hosts.join(2, None, None)


def test_an_option_is_taken_out_in_either_form():
    arguments = ["--a", "1", "--local-processes", "2", "--b=3"]
    assert cli.without("--local-processes", arguments) == ["--a", "1", "--b=3"]
    assert cli.without("--b", arguments) == ["--a", "1", "--local-processes", "2"]
