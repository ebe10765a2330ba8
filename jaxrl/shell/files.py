"""Files that are whole or not there, and rows that are whole or not there; what cannot be written is named."""

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".{stem}.tmp{suffix}"
TEMPORARIES = TEMPORARY.format(stem="*", suffix="*")  # what a killed process leaves


@contextlib.contextmanager
def replacing(path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, to write to; it is renamed to `path` when the block ends well.

    Whatever happens, nothing is left under the temporary name.

    Raises: OSError, with the file's name, when it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(TEMPORARY.format(stem=path.stem, suffix=path.suffix))
    with naming(path):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path):
    """Give an OSError of the block the name of the file that was meant: a failed write has none, or a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from None


def write_text(path, text: str):
    """Write a text file."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path, content: dict):
    """Write a JSON file; a number that is not finite, which JSON does not have, is written as "inf" or "nan"."""
    write_text(path, json_text(content))


def read_json(path) -> dict:
    """What a JSON file holds. Raises ValueError, with the file's name, where it is not an object in JSON."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested without end
        raise ValueError(f"{path} is damaged: {error}.") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no object, but {str(found)[:40]}.")
    return found


def json_text(content: dict) -> str:
    """What `write_json` writes."""
    return json.dumps(_finite(content), indent=2, default=str, allow_nan=False) + "\n"


def append(path, data: bytes):
    """Add a whole record to a file, or nothing of it.

    Raises: OSError, with the file's name.
    """
    with naming(path), open(path, "ab", buffering=0) as file:
        size = file.tell()
        try:
            while (done := file.tell() - size) < len(data):  # a full disk takes a part first, and then says why
                file.write(data[done:])
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(size)
            raise


def drop_temporaries(folder: Path):
    """Remove what a killed process was writing."""
    for left in folder.glob(TEMPORARIES):
        left.unlink(missing_ok=True)


def _finite(content):
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return str(content) if isinstance(content, float) and not math.isfinite(content) else content
