"""Exceptions as sentences, and which of them were raised for the user.

A ValueError that this project raises says what was wrong with what it was given; so does an OSError, of a file. The
same types come out of libraries and out of our own faults (`zip(strict=True)`, a shape that does not fit), and must
not be shown as the user's mistake. They are told apart by the line that raised: a `raise` in a file of this project.
"""

import dis
import traceback
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(f"{ROOT / folder}/" for folder in ("jaxrl", "experiments", "benchmarks"))
RAISE = dis.opmap["RAISE_VARARGS"]
MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "bad_alloc", "Unable to allocate")


def is_for_user(error: BaseException) -> bool:
    """Whether an exception says what the user, or the machine, is to change."""
    if isinstance(error, OSError) and error.errno is not None:
        return True
    return isinstance(error, ValueError | OSError) and _raised_here(error.__traceback__) or is_memory(error)


def is_memory(error: BaseException) -> bool:
    """Whether memory that was asked for was not there."""
    unsaid = not _raised_here(error.__traceback__)
    return isinstance(error, MemoryError) or unsaid and any(word in str(error) for word in MEMORY)


def reason(error: BaseException) -> str:
    """Why, in one line: for a file its name and what the system says of it."""
    if is_memory(error):
        return "there is not enough memory for it"
    if isinstance(error, OSError) and error.errno is not None:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part is not None)
    text = " ".join(str(error).split()).removesuffix(".")
    return text if is_for_user(error) else f"{type(error).__name__}: {text[:300]}"


def sentence(error: BaseException) -> str:
    """What is printed of an exception: one line for the user's, the traceback before it for any other."""
    if is_memory(error):
        return "error: there is not enough memory for this; make --num-envs, the images or the network smaller."
    if is_for_user(error):
        why = reason(error)
        return f"error: {why}" if why.endswith("?") else f"error: {why}."
    trace = "".join(traceback.format_exception(error))
    return (
        f"{trace}error: not a mistake of yours, but a fault of jaxrl or of a library ({reason(error)}); "
        "please report the lines above. What the last checkpoint holds is kept."
    )


def _raised_here(trace: TracebackType | None) -> bool:
    """Whether the innermost frame is of this project, and stands at a `raise`."""
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return code.co_filename.startswith(OURS) and code.co_code[trace.tb_lasti] == RAISE
