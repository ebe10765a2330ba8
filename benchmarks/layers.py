"""Forward plus backward of every layer and of two whole networks: derived, by autodiff, and in PyTorch.

Beside them the floor: what no code can do without, which is to read and write the arrays, or the matrix products.

    python benchmarks/layers.py
    python benchmarks/layers.py --torch-python OTHER_ENVIRONMENT/bin/python

JAX's settings are those of a process, so autodiff with its default settings is a process of its own, and PyTorch too;
the derived layers and autodiff with jaxrl's settings share one. All run the same row in turn, one at a time, and the
ratio is the median over the rounds.
"""

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jaxrl.shell import cli, files, metrics, provenance

HERE = Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Config:
    """Time the layers; keep the machine quiet meanwhile."""

    only: str = ""
    """Time only rows whose name contains this."""
    rounds: int = 15
    """Rounds, in each of which every contestant runs once."""
    sample_seconds: float = 0.05
    """How long a contestant runs in a round, at least."""
    torch_python: Path = Path(sys.executable)
    """Python that has PyTorch, for its column; left out where it has not."""
    output: Path = HERE.parent / "build" / "layers.json"
    """File for the figures as JSON."""


class Process:
    """A process that runs rows; see `contestant.py`."""

    def __init__(self, *command, **environment):
        inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(list(command), stdin=pipe, stdout=pipe, text=True, env=inherited | environment)

    def seconds(self, variant: str, row: str, repeats: int) -> float | None:
        """How long so many runs took, or None where there is no such row."""
        self._process.stdin.write(json.dumps({"row": row, "variant": variant, "repeats": repeats}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(map(str, self._process.args))} ended while it ran {row}.")
        return json.loads(answer)


def contestants(config: Config, rows_file: Path) -> dict[str, Callable]:
    """Who runs, each a function of (row, repeats) that gives seconds; the processes end with this one."""
    jax = (sys.executable, HERE / "contestant_jax.py")
    ours, plain = Process(*jax), Process(*jax, JAXRL_RUNTIME="off")
    found = {
        "derived": partial(ours.seconds, "derived"),
        "autodiff": partial(ours.seconds, "autodiff"),
        "autodiff, default flags": partial(plain.seconds, "autodiff"),
        "floor": partial(ours.seconds, "floor"),
    }
    if subprocess.run([config.torch_python, "-c", "import torch"], capture_output=True).returncode == 0:
        torch = Process(config.torch_python, HERE / "contestant_torch.py", rows_file)
        found["pytorch"] = partial(torch.seconds, "pytorch")
    return found


def race(row: str, running: dict[str, Callable], config: Config) -> dict:
    """Milliseconds of each contestant, and the derived one's ratio to each: medians over the rounds."""
    repeats = {}
    for name, seconds in running.items():
        if seconds(row, 1) is not None:  # the first run compiles
            single = min(seconds(row, 1) for _ in range(3))
            repeats[name] = max(1, math.ceil(config.sample_seconds / single))
    samples = {name: [] for name in repeats}
    order = list(repeats)
    for _ in range(config.rounds):
        for name in order:
            time.sleep(0.02)  # until the threads of the one before have stopped waiting for more work
            samples[name].append(running[name](row, repeats[name]) / repeats[name])
        order.append(order.pop(0))
    ratios = {
        name: statistics.median(ours / theirs for ours, theirs in zip(samples["derived"], values, strict=True))
        for name, values in samples.items()
    }
    return {"milliseconds": {name: 1e3 * statistics.median(v) for name, v in samples.items()}, "ratio": ratios}


def main(config: Config):
    """Run all rows, print the table, and write the figures down."""
    described = subprocess.run(
        [sys.executable, HERE / "contestant_jax.py", "describe"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    rows = [row for row in json.loads(described) if config.only in row]
    if not rows:
        raise SystemExit(f'no row has "{config.only}" in its name; the rows are:\n' + "\n".join(json.loads(described)))
    with tempfile.TemporaryDirectory() as folder:
        rows_file = Path(folder) / "rows.json"
        rows_file.write_text(described)
        running = contestants(config, rows_file)
        print(f"{'forward and backward, ms':42}" + "".join(f"{name:>25}" for name in running))
        results = {}
        with metrics.Progress(len(rows), unit="rows") as progress:
            for done, row in enumerate(rows, 1):
                results[row] = race(row, running, config)
                progress.note(f"{row:42}" + "".join(f"{_cell(results[row], name):>25}" for name in running))
                progress.show(done)
    print("in brackets: the derived layer's time over that contestant's, in the same rounds")
    config.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(config.output, {"rows": results, "rounds": config.rounds} | provenance.measured_on("numpy"))
    print(f"figures are in {config.output}")


def _cell(result: dict, name: str) -> str:
    if name not in result["ratio"]:
        return "-"
    ratio = "" if name == "derived" else f" ({result['ratio'][name]:.2f})"
    return f"{result['milliseconds'][name]:.3g}{ratio}"


if __name__ == "__main__":
    cli.run(main, Config)
