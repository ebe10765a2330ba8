"""How this process was started, for sentences that say what to type next."""

import sys
from pathlib import Path


def called(name: str) -> str:
    """How a command of `jaxrl` is typed by whoever started this process: its script, where that was how.

    Args:
      name: of the command: an algorithm's, or "evaluate".

    Returns: "python experiments/NAME.py", "python -m jaxrl NAME" or "jaxrl NAME".
    """
    started = Path(sys.argv[0])
    script = started.parent / f"{name}.py"
    if started.suffix == ".py" and started.name != "__main__.py" and script.exists():
        return f"python {script}"
    return f"python -m jaxrl {name}" if started.name == "__main__.py" else f"jaxrl {name}"


def again() -> list[str]:
    """What follows `python` to start this program once more, before its arguments."""
    started = Path(sys.argv[0])
    return ["-m", "jaxrl"] if (started.parent.name, started.name) == ("jaxrl", "__main__.py") else [str(started)]
