"""What a run writes to, so that a write that fails neither stops nor hangs it."""

import time
from collections.abc import Callable
from pathlib import Path

from jaxrl.shell.files import append
from jaxrl.shell.mistakes import reason

FAULTS = "faults.log"
PAUSES = (1, 2, 4, 8)  # seconds between the tries of a last write


class Sink:
    """One thing to write to: a failure is named once, what could not be written waits, and is tried again.

    Args:
      name: what is written, for sentences.
      write: `(*item)`, which may raise.
      tell: `(sentence)`.
      keep: how many items may wait for the next try, the newest ones; 0 where the item lives no longer.
      needed: whether a run that lacks it is incomplete.
    """

    def __init__(self, name: str, write: Callable, tell: Callable, keep: int | None = None, needed: bool = True):
        self.name, self.needed, self.failed = name, needed, None
        self._write, self._tell, self._keep, self._waiting = write, tell, keep, []

    def __call__(self, *item) -> bool:
        """Write an item, after those that wait. Returns whether all is written."""
        self._waiting.append(item)
        if self._keep is not None:
            self._waiting = self._waiting[-max(self._keep, 1) :]
        return self.retry()

    def retry(self) -> bool:
        """Try again what waits. Returns whether all is written."""
        try:
            while self._waiting:
                self._write(*self._waiting[0])
                self._waiting.pop(0)
                self._mend()
        except Exception as error:  # whatever it is: what it stops is this file
            self._fail(reason(error))
        return self.failed is None

    def insist(self, *item) -> bool:
        """Write the last item: a disk that is full for seconds is waited for."""
        written = self(*item)
        for pause in PAUSES:
            if written:
                break
            time.sleep(pause)
            written = self.retry() if self._waiting else self(*item)
        return written

    def demand(self):
        """Raise ValueError for what is still not written after one more try."""
        if not self.retry():
            raise ValueError(f"{self.missing()}.")

    def missing(self) -> str | None:
        """What is not written, in a sentence."""
        return self.failed and f"{self.name} could not be written ({self.failed})"

    def _fail(self, why: str):
        first, self.failed = self.failed is None, why
        if self._keep == 0:
            self._waiting = []
        if first:
            self._tell(f"{self.name} cannot be written ({why}); the run goes on, and it is tried again")

    def _mend(self):
        if self.failed is not None:
            self.failed = None
            self._tell(f"{self.name} can be written again")


def faults_of(run_dir: Path) -> Sink:
    """The file of a run's folder in which sentences are kept that a terminal may have lost."""

    def write(sentence: str):
        append(run_dir / FAULTS, f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {sentence}\n".encode())

    return Sink(FAULTS, write, tell=lambda sentence: None, keep=100, needed=False)
