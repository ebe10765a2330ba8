"""Forward plus backward of every layer and of two whole networks: derived, by autodiff, and in PyTorch.

    python benchmarks/layers.py
    python benchmarks/layers.py --torch-python OTHER_ENVIRONMENT/bin/python

Each contestant is a process of its own, for JAX's settings are those of a process; they run the same row in turn, one
at a time, and the ratio is the median over the rounds.
"""

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from jaxrl import cli, metrics, training
from jaxrl.layers.audit import table


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


class Contestant:
    """A process that runs rows; see `contestant.py`."""

    def __init__(self, command, **environment):
        inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=inherited | environment)

    def seconds(self, row: str, repeats: int) -> float | None:
        """How long so many runs took, or None where this contestant has no such row."""
        self._process.stdin.write(json.dumps({"row": row, "repeats": repeats}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(map(str, self._process.args))} ended while it ran {row}.")
        return json.loads(answer)

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def contestants(config: Config, rows_file: Path) -> dict[str, Contestant]:
    """Who runs: the derived layers and autodiff with jaxrl's settings, autodiff with JAX's own, and PyTorch."""
    jax = [sys.executable, HERE / "contestant_jax.py"]
    found = {
        "derived": Contestant([*jax, "derived"]),
        "autodiff": Contestant([*jax, "autodiff"]),
        "autodiff, default flags": Contestant([*jax, "autodiff"], JAXRL_RUNTIME="off"),
    }
    has_torch = subprocess.run([config.torch_python, "-c", "import torch"], capture_output=True).returncode == 0
    if has_torch:
        found["pytorch"] = Contestant([config.torch_python, HERE / "contestant_torch.py", rows_file])
    return found


def race(row: str, running: dict[str, Contestant], config: Config) -> dict:
    """Milliseconds of each contestant, and the derived one's ratio to each: medians over the rounds."""
    repeats = {}
    for name, contestant in running.items():
        first = contestant.seconds(row, 1)
        if first is not None:  # the first run compiled
            single = min(contestant.seconds(row, 1) for _ in range(3))
            repeats[name] = max(1, math.ceil(config.sample_seconds / single))
    samples = {name: [] for name in repeats}
    for _ in range(config.rounds):
        for name, count in repeats.items():
            samples[name].append(running[name].seconds(row, count) / count)
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
        try:
            with metrics.Progress(len(rows), unit="rows") as progress:
                for done, row in enumerate(rows, 1):
                    results[row] = race(row, running, config)
                    progress.note(f"{row:42}" + "".join(f"{_cell(results[row], name):>25}" for name in running))
                    progress.show(done)
        finally:
            for contestant in running.values():
                contestant.close()
    print("in brackets: the derived layer's time over that contestant's, in the same rounds")
    config.output.parent.mkdir(parents=True, exist_ok=True)
    measured = {"rounds": config.rounds, "machine": table.machine(), "versions": table.versions()}
    training.write_json(config.output, {"rows": results} | measured)
    print(f"figures are in {config.output}")


def _cell(result: dict, name: str) -> str:
    if name not in result["ratio"]:
        return "-"
    ratio = "" if name == "derived" else f" ({result['ratio'][name]:.2f})"
    return f"{result['milliseconds'][name]:.3g}{ratio}"


if __name__ == "__main__":
    cli.run(main, Config)
