"""What the benchmarks of whole algorithms share: timings in turn, and the file of the figures."""

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

from jaxrl import training
from jaxrl.layers.audit import table

ROOT = Path(__file__).resolve().parents[1]


def in_turn(parts: dict[str, Callable], turns: int, repeats: int) -> dict[str, list]:
    """What `part(turns)` gave, for every part and repeat; each repeat begins with another part.

    Before that `part(1)` compiles.
    """
    for part in parts.values():
        part(1)
    found, order = {name: [] for name in parts}, list(parts)
    for _ in range(repeats):
        for name in order:
            found[name].append(parts[name](turns))
        order.append(order.pop(0))
    return found


def write(path: Path, figures: dict, config):
    """Write the figures as JSON, with the options and what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    versions = table.versions(("jax", "jaxlib", "envpool"))
    measured_on = {"versions": versions, "machine": table.machine(), "commit": commit()}
    training.write_json(path, figures | {"config": dataclasses.asdict(config)} | measured_on)
    print(f"figures are in {path}")


def commit() -> str | None:
    """The commit of the working tree, marked where files have changed since; None where there is no git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
