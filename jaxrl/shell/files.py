"""Files that are whole or not there: written under a temporary name, then renamed."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, to write to; it is renamed to `path` when the block ends well.

    Whatever happens, nothing is left under the temporary name.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text: str):
    """Write a text file."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path, content: dict):
    """Write a JSON file."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")
