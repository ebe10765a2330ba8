"""Train for an hour in a process of its own, and watch its memory, file descriptors and threads.

    make soak                                   # A3C and DQN, one hour each
    make soak ARGS="--minutes 2 --warm-up 0.5"

Figures go to results/soak.json: memory after warm-up as MB an hour (the slope of a straight line through all samples),
and the most and fewest file descriptors and threads.
"""

import dataclasses
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
from faults import ROOT, Run

from jaxrl.shell import cli, files, provenance

SHARED = ("--total-steps", 2**31 - 1, "--no-video")
KINDS = {  # as users run them, but for a replay that is full before the first sample that counts
    "a3c": ("--env", "Riverraid-v5", *SHARED),
    "dqn": ("--env", "Pong-v5", "--replay-size", 50_000, *SHARED),
}
MOST = 5.0  # MB an hour


@dataclasses.dataclass(frozen=True)
class Config:
    """Watch A3C and DQN train."""

    minutes: float = 60.0
    """Of each."""
    warm_up: float = 20.0
    """Minutes before the first sample that counts."""
    every: float = 5.0
    """Seconds between two samples."""
    only: str = ""
    """a3c or dqn; by default both."""
    output: Path = ROOT / "results"
    """Folder of soak.json."""


def main(config: Config):
    """Watch each, print and write what came of it."""
    path = config.output / "soak.json"
    found = files.read_json(path) if path.exists() else {}
    for kind in [name for name in KINDS if config.only in ("", name)]:
        found[kind] = figures(watch(kind, config), config) | provenance.measured_on("envpool")
        print(kind, {name: value for name, value in found[kind].items() if name != "samples"}, flush=True)
        files.write_json(path, found)


def watch(kind: str, config: Config) -> list[tuple]:
    """(seconds, MB, file descriptors, threads) of a run."""
    run = Run(kind, KINDS[kind], Path(tempfile.mkdtemp(prefix=f"jaxrl-soak-{kind}-")) / "run")
    process, began, samples = run.start(), time.monotonic(), []
    try:
        while process.poll() is None and (seconds := time.monotonic() - began) < 60 * config.minutes:
            samples.append((round(seconds, 1), *state_of(process.pid)))
            time.sleep(config.every)
        if process.poll() is not None:
            raise ValueError(f"the run ended by itself: {run.log.read_text()[-1000:]}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(300)
    shutil.rmtree(run.run_dir.parent)
    return samples


def state_of(pid: int) -> tuple[float, int, int]:
    """MB of memory, file descriptors and threads of a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(lines["Threads"])


def figures(samples: list[tuple], config: Config) -> dict:
    """What the samples after warm-up say."""
    seconds, memory, descriptors, threads = np.array([row for row in samples if row[0] >= 60 * config.warm_up]).T
    slope = float(np.polyfit(seconds / 3600, memory, 1)[0])
    return {
        "minutes": config.minutes, "warm_up": config.warm_up, "mb": round(float(memory[-1]), 1),
        "mb_an_hour": round(slope, 2), "flat": slope < MOST,
        "descriptors": [int(descriptors.min()), int(descriptors.max())],
        "threads": [int(threads.min()), int(threads.max())], "samples": samples,
    }  # fmt: skip


if __name__ == "__main__":
    cli.run(main, Config)
