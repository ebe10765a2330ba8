"""Standard output and standard error that cannot end a run: a lost one goes on in silence, an unknown letter as "?"."""

import contextlib
import os
import sys

from jaxrl.shell.mistakes import reason


class Lasting:
    """A text stream that writes nowhere once it is lost: a pipe that was closed, a full disk, a terminal that has gone.

    Attributes:
      lost: why, or None.
    """

    def __init__(self, stream):
        self._stream, self.lost = stream, None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, if it can be written."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self):
        """Write out what is buffered, if it can be written."""
        self._try(self._stream.flush)

    def _try(self, call, *args):
        try:
            call(*args)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self.lost = reason(error)
            self._go_on_nowhere()

    def _go_on_nowhere(self):
        nowhere = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
        with contextlib.suppress(OSError, ValueError):  # what is still buffered goes there too when Python ends
            os.dup2(nowhere.fileno(), self._stream.fileno())
        self._stream = nowhere


@contextlib.contextmanager
def lasting():
    """Both streams are lasting ones in the block."""
    fill_closed_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and Lasting(stream) for stream in before)
    try:
        yield
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        sys.stdout, sys.stderr = before


def fill_closed_descriptors():
    """A process that was started without them would open its files under their numbers, and libraries print there."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def lost() -> str | None:
    """Why nothing that is printed is seen any more, or None."""
    return getattr(sys.stdout, "lost", None)
