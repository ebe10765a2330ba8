"""Memory is known before it is asked for."""

import dataclasses
import os
from pathlib import Path

import pytest
from faults import SMALL

from jaxrl.agents import a3c, memory
from jaxrl.shell import launch

PONG = {"env": "Pong-v5", "protocol": "machado"}


def test_the_memory_of_a_container_counts(tmp_path):
    """Of control groups within one another the tightest: 1000 - 600 + 100 of files, and 5000 above it."""
    group = tmp_path / "outer" / "inner"
    group.mkdir(parents=True)
    for where, most, now in ((group, 1000, 600), (group.parent, 9000, 4000), (tmp_path, "max", 0)):
        (where / "memory.max").write_text(f"{most}\n")
        (where / "memory.current").write_text(f"{now}\n")
        (where / "memory.stat").write_text("anon 1\ninactive_file 100\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/outer/inner\n")
    assert memory.of_container(tmp_path, own) == 500
    (group / "memory.max").write_text("max\n")
    assert memory.of_container(tmp_path, own) == 5100
    assert memory.of_container(tmp_path / "none", tmp_path / "none") is None
    old = tmp_path / "v1" / "memory"
    old.mkdir(parents=True)
    for name, value in {"limit_in_bytes": 700, "usage_in_bytes": 300, "stat": "total_inactive_file 50"}.items():
        (old / f"memory.{name}").write_text(f"{value}\n")
    assert memory.of_container(tmp_path / "v1", tmp_path / "none") == 450


def test_memory_is_known_without_proc(monkeypatch):
    monkeypatch.setattr(memory, "Path", lambda name: Path("/none") / Path(name).relative_to("/"))
    assert memory.of_machine() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PONG | {"num_envs": 2 * 10**8}, r"--num-envs 2\d+ with .*; --num-envs \d+ or"),
        (PONG | {"image_size": 30_000}, r"30000x30000x1 needs .* --image-size \d+ would"),
        ({"num_envs": 2 * 10**9}, r"--num-envs 2\d+ needs .* GiB, and .* are free; --num-envs \d+ would fit"),
        ({"hidden": 10**6}, r"network and its optimiser need .* GiB, and .* are free"),
    ],
)
def test_options_that_need_more_memory_than_there_is_are_refused(options, message):
    with pytest.raises(memory.NotEnough, match=message):
        launch.agent_of(a3c, dataclasses.replace(SMALL, **options))
