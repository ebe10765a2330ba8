"""The fault injector: writes that fail for a time, kills at chosen moments, and the comparison of two runs.

`full_disk` compiles a library (with the machine's C compiler) that is preloaded into a run: while a flag file exists,
each write to a file whose path holds the flag's text fails as on a full disk. `Run` is a training run in a process of
its own, to be killed while it imports, compiles, trains, writes a checkpoint, or removes an old one.
"""

import csv
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp

from jaxrl.agents import a3c
from jaxrl.shell import folder, launch
from jaxrl.shell.checkpoint import REMOVED, SUMS, UNFINISHED, steps_in

ROOT = Path(__file__).resolve().parents[1]
CLOCKS = ("seconds", "steps_per_second")
COMPILER = shutil.which("cc")
SHIM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd) {
  const char *flag = getenv("FAULT_FLAG");
  int at = flag ? open(flag, O_RDONLY) : -1;
  if (at < 0) return 0;
  char part[1024], name[64], path[4096];
  ssize_t n = read(at, part, sizeof part - 1);
  close(at);
  part[n > 0 ? n : 0] = 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  n = readlink(name, path, sizeof path - 1);
  if (n <= 0 || !part[0]) return 0;
  path[n] = 0;
  return strstr(path, part) != NULL;
}

#define SHIMMED(name, number, declared, ...)       \
  ssize_t name declared {                         \
    if (fails(fd)) { errno = ENOSPC; return -1; } \
    return syscall(number, __VA_ARGS__);          \
  }
SHIMMED(write, SYS_write, (int fd, const void *data, size_t n), fd, data, n)
SHIMMED(writev, SYS_writev, (int fd, const struct iovec *data, int n), fd, data, n)
SHIMMED(pwrite, SYS_pwrite64, (int fd, const void *data, size_t n, off_t at), fd, data, n, at)
SHIMMED(pwrite64, SYS_pwrite64, (int fd, const void *data, size_t n, off64_t at), fd, data, n, at)
SHIMMED(pwritev, SYS_pwritev, (int fd, const struct iovec *data, int n, off_t at), fd, data, n, at, 0)
"""


def full_disk(folder: Path) -> tuple[dict, Path]:
    """What to add to the environment of a process, and the flag: while that file exists, paths that hold its text fail.

    A flag is to be renamed into its place, so that it is never seen empty; see `fill`.
    """
    source, library, flag = folder / "shim.c", folder / "shim.so", folder / "flag"
    source.write_text(SHIM)
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "FAULT_FLAG": str(flag)}, flag


def fill(flag: Path, part: str):
    """From now on writes fail to files whose path holds this text, until the flag is removed."""
    new = flag.with_suffix(".new")
    new.write_text(part)
    os.replace(new, flag)


SMALL = dataclasses.replace(
    a3c.preset(None, "CartPole-v1"), num_envs=4, num_workers=1, t_max=5, hidden=8, widths=(8,), total_steps=240,
    log_every=40, checkpoint_every=80, evaluation_games=2, video=False,
)  # fmt: skip


def train(run_dir: Path, **options) -> Path:
    """A run of a second or two, in this process."""
    launch.train(a3c, dataclasses.replace(SMALL, run_dir=run_dir, **options))
    return run_dir


def resume(run_dir: Path, **options) -> Path:
    """Go on with it, as `--resume` does."""
    launch.train(a3c, dataclasses.replace(folder.saved_config(a3c.Config, run_dir), **options))
    return run_dir


def python(code: str, **options) -> subprocess.CompletedProcess:
    """Run some lines in a process of their own."""
    captured = {"capture_output": "stdout" not in options}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, **captured, **options)


class Run:
    """A training run in its own process, with standard output and error in a file.

    Args:
      script: "a3c" or another of experiments/.
      options: those of the run, without its folder.
      run_dir: its folder.
      environment: what to add to that of this process.
    """

    def __init__(self, script: str, options, run_dir: Path, environment: dict | None = None):
        self.script, self.options, self.run_dir = script, list(map(str, options)), run_dir
        self.log = run_dir.with_suffix(".log")
        kept = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAXRL_RUNTIME")}
        cache = Path(tempfile.gettempdir(), f"jaxrl-torture-{os.getuid()}")
        own = {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
        self.environment = kept | own | (environment or {})

    def start(self) -> subprocess.Popen:
        """Begin, or resume what has a checkpoint; without one the same command begins anew."""
        saved = steps_in(self.run_dir / "checkpoints")
        options = ["--resume", str(self.run_dir)] if saved else [*self.options, "--run-dir", str(self.run_dir)]
        command = [sys.executable, ROOT / "experiments" / f"{self.script}.py", *options]
        with self.log.open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment)

    def finish(self, timeout: float = 600) -> str:
        """Run to the end. Returns what was printed, by all its processes."""
        process = self.start()
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        text = self.log.read_text()
        assert code == 0, f"exit {code}: {text[-2000:]}"
        return text

    def kill(self, moment: str, rng: random.Random, timeout: float = 600) -> bool:
        """Start, and kill at a moment, or within a second or less after it. Returns whether it came before the end."""
        before, process = self._mark(), self.start()
        came, lag = MOMENTS[moment]
        deadline = time.monotonic() + timeout
        while process.poll() is None and not came(self, before) and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(lag * rng.random())
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return alive

    def _mark(self) -> dict:
        """What there is before a process begins."""
        size = self.log.stat().st_size if self.log.exists() else 0
        return {"log": size, "steps": steps_in(self.run_dir / "checkpoints")}

    def said(self, text: str, before: dict) -> bool:
        """Whether the newest process has printed a text."""
        with self.log.open("rb") as log:
            log.seek(before["log"])
            return text.encode() in log.read()

    def trains(self, before: dict) -> bool:
        """Whether the newest process has written a row, to a table that it may have made shorter before."""
        return self.said("the run is in", before) and self.said(" steps, ETA", before)

    def writes(self, before: dict) -> bool:
        """Whether a checkpoint is being written."""
        return any((self.run_dir / "checkpoints").glob(UNFINISHED))

    def cleans(self, before: dict) -> bool:
        """Whether a checkpoint has its name and not its sums, or an old one is being removed."""
        folder = self.run_dir / "checkpoints"
        new = [step for step in steps_in(folder) if step not in before["steps"]]
        return any(folder.glob(f"*{REMOVED}")) or any(not (folder / str(step) / SUMS).exists() for step in new[-1:])


MOMENTS: dict[str, tuple[Callable, float]] = {  # when it has come, and the seconds in which the kill strikes
    "imports": (lambda run, before: True, 3.0),
    "compiling": (lambda run, before: run.said("the run is in", before), 2.0),
    "training": (lambda run, before: run.trains(before), 1.0),
    "writing": (lambda run, before: run.writes(before), 0.04),
    "cleaning": (lambda run, before: run.cleans(before), 0.002),
}


def rows(run_dir: Path) -> list[dict]:
    """metrics.csv without its clocks."""
    with (run_dir / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in CLOCKS} for row in csv.DictReader(file)]


def checkpoint(run_dir: Path, step: int) -> dict:
    """Every array of a checkpoint, the clock aside."""
    found = {}
    for item in ("policy", "training"):
        with ocp.CheckpointManager((run_dir / "checkpoints").absolute(), item_names=("policy", "training")) as manager:
            args = ocp.args.Composite(**{item: ocp.args.StandardRestore()})
            found |= {f"{item} {name}": value for name, value in manager.restore(step, args=args)[item].items()}
    return {name: value for name, value in found.items() if "seconds" not in name}


def evaluations(run_dir: Path) -> dict:
    """The lines of evaluation.csv by their steps."""
    path = run_dir / "evaluation.csv"
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    return {line.partition(",")[0]: line for line in lines}


def options(run_dir: Path) -> dict:
    """config.json but for when and on what it was run, and where."""
    saved = json.loads((run_dir / "config.json").read_text())
    return {name: value for name, value in saved.items() if name not in ("made_with", "run_dir")}


def differences(run: Path, other: Path) -> list[str]:
    """What two runs differ in, to the bit: rows, options, all arrays of all checkpoints, evaluations that both have."""
    steps = steps_in(run / "checkpoints")
    found = [] if rows(run) == rows(other) else ["metrics.csv"]
    found += [] if options(run) == options(other) else ["config.json"]
    found += [] if steps == steps_in(other / "checkpoints") else ["the checkpoints' steps"]
    for step in steps if not found else ():
        ours, theirs = checkpoint(run, step), checkpoint(other, step)
        names = ours.keys() | theirs.keys()
        found += [f"{step}: {name}" for name in sorted(names) if not _same(ours.get(name), theirs.get(name))]
    scores, others = evaluations(run), evaluations(other)
    found += [f"evaluation at {step}" for step in scores.keys() & others.keys() if scores[step] != others[step]]
    return found


def _same(a, b) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def litter(run_dir: Path) -> list[str]:
    """What a killed process left in a run's folder and nobody removed; checkpoints without sums too."""
    folder = run_dir / "checkpoints"
    left = [*run_dir.glob(".*.tmp*"), *folder.glob(UNFINISHED), *folder.glob(f"*{REMOVED}")]
    without_sums = [step for step in steps_in(folder) if not (folder / str(step) / SUMS).exists()]
    return [*map(str, left), *(f"{step} has no sums" for step in without_sums)]
