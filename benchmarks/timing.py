"""What the benchmarks of whole algorithms share: timings in turn, and the file of the figures."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from jaxrl.shell import files, provenance


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
    """Write the figures as JSON, with the options and what they were measured on; the file's own path stays out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    measured_on = provenance.measured_on("envpool")
    options = {name: value for name, value in dataclasses.asdict(config).items() if name != "output"}
    files.write_json(path, figures | {"config": options} | measured_on)
    print(f"figures are in {path}")
