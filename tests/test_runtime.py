"""What is asked of the machine before JAX starts: the flags, and memory that is kept in huge pages."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import jaxlib
import pytest

from jaxrl.shell.runtime import JAXLIB_VERSIONS

ROOT = Path(__file__).resolve().parents[1]
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
on_linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")

# Page faults of the third round of taking 200 MB from the C library and writing to it, and the huge pages in use.
ROUNDS = """
import ctypes, resource
from jaxrl.shell import runtime
runtime.prepare()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(200_000_000)
    ctypes.memset(block, 1, 200_000_000)
    huge = sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHuge"))
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, huge)
"""


def run(code, **environment):
    base = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAXRL_RUNTIME")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=base | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@on_linux
def test_freed_memory_is_kept_in_huge_pages():
    faults, huge = map(int, run(ROUNDS))
    assert faults < 100  # of 4 KB each, 200 MB would be 48,828
    if HUGE_PAGES.exists() and "[never]" not in HUGE_PAGES.read_text():
        assert huge > 150_000  # kB


@on_linux
def test_the_settings_can_be_switched_off():
    faults, _ = map(int, run(ROUNDS, JAXRL_RUNTIME="off"))
    assert faults > 50


def test_importing_changes_nothing_in_the_process():
    """No flag, and no heap of huge pages: one that is grown adds 4 GiB of addresses."""
    code = """
import os, re
size = lambda: int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
import jax, flax, optax, matplotlib, rich, tyro, orbax.checkpoint, envpool, gymnasium, ale_py
before, environ = size(), dict(os.environ)
import jaxrl.layers, jaxrl.agents, jaxrl.shell.launch
print(dict(os.environ) == environ, size() - before < 2**20)
"""
    assert run(code) == ["True", "True"]


FLAG = "--xla_cpu_experimental_ynn_fusion_type"


def test_flags_reach_xla_and_no_child():
    """XLA says on which flags it was started; the environment is as before."""
    code = """
import os
from jaxrl.shell import runtime
with runtime.xla_flags():
    print(os.environ.get("XLA_FLAGS"))
runtime.prepare()
print(os.environ.get("XLA_FLAGS"))
"""
    inside, after = run(code)
    assert after == "None" and (FLAG in inside or not jaxlib.__version__.startswith(JAXLIB_VERSIONS))


def test_flags_that_are_given_win():
    code = "import os; from jaxrl.shell import runtime; runtime.prepare(); print(os.environ['XLA_FLAGS'])"
    given = f"{FLAG}=LIBRARY_FUSION_TYPE_DOT"
    assert run(code, XLA_FLAGS=given) == [given]


@on_linux
def test_a_resumed_run_keeps_its_number_of_threads(tmp_path):
    """However many cores there are: XLA cuts its work into as many pieces, and bits depend on the pieces."""
    code = f"""
from pathlib import Path
from jaxrl.agents import a3c
from jaxrl.shell import files, folder
config = a3c.Config(run_dir=Path({str(tmp_path / "run")!r}))
run = folder.new_run(config)
saved = folder.read_config(run)
saved["made_with"][0]["cores"] = 3
files.write_json(run / "config.json", saved)
"""
    run(code)
    code = f"""
from pathlib import Path
from jaxrl.agents import a3c
from jaxrl.shell import folder, provenance, runtime
config = folder.saved_config(a3c.Config, Path({str(tmp_path / "run")!r}))
runtime.prepare(folder.threads_of(config))
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
print(sum(name.startswith("tf_XLAEigen") for name in names), provenance.conditions()["cores"])
"""
    assert run(code) == ["3", "3"]
