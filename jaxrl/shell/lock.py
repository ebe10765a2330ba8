"""One process a run: the kernel's lock on its folder, which ends with the process however it ends."""

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where there is no lock
    fcntl = None

OWNER = "process"


@contextlib.contextmanager
def held(run_dir: Path):
    """The folder is this process's in the block; it is made when missing.

    A file system that has no locks gives none.

    Raises: ValueError, with the number of the process that has it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    folder = os.open(run_dir, os.O_RDONLY)
    try:
        _take(folder, run_dir)
        yield
    finally:
        os.close(folder)


def sign(run_dir: Path):
    """Leave this process's number in the folder, for the sentence that refuses another."""
    with contextlib.suppress(OSError):
        (run_dir / OWNER).write_text(f"{os.getpid()}\n")


def _take(folder: int, run_dir: Path):
    try:
        if fcntl:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{run_dir} is being trained by process {_owner(run_dir)}; wait for it, or stop it.") from None
    except OSError:  # a network's file system without locks
        pass


def _owner(run_dir: Path) -> str:
    with contextlib.suppress(OSError):
        return (run_dir / OWNER).read_text(errors="replace").strip() or "?"
    return "?"
