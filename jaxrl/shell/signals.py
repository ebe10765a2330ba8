"""What Ctrl-C, SIGTERM and SIGHUP do. Scripts import this first: it takes a millisecond, and what follows seconds."""

import contextlib
import os
import signal
import sys
import threading

GRACE = 10.0  # seconds in which a KeyboardInterrupt must have ended the process
SHOW_CURSOR = b"\x1b[?25h"


def end_at_once(signum=signal.SIGINT, frame=None):
    """End the process without a word, whatever its threads do; the exit code is that of the signal, 130 of Ctrl-C."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), SHOW_CURSOR)
    os._exit(128 + signum)


def quiet(name: str):
    """In a script (`name` is its `__name__`): Ctrl-C ends it at once, while libraries are imported and options read."""
    if name == "__main__":
        signal.signal(signal.SIGINT, end_at_once)


@contextlib.contextmanager
def handled(handlers: dict):
    """These handlers in the block, in the main thread, where alone they can be set; before and after it, others."""
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def interrupting():
    """In the block Ctrl-C raises KeyboardInterrupt; a second one, or one that a library swallows, ends the process."""

    def interrupt(signum, frame):
        signal.signal(signum, end_at_once)
        last_resort = threading.Timer(GRACE, end_at_once)
        last_resort.daemon = True
        last_resort.start()
        raise KeyboardInterrupt

    return handled({signal.SIGINT: interrupt})


class Stop:
    """Whether a run was asked to stop: the first signal asks, the second ends the process at once.

    Attributes:
      asked: a signal came.
      begun: there is something to save; before, the first signal ends the process too.
    """

    def __init__(self):
        self.asked = self.begun = False

    def __call__(self, signum, frame):
        if self.asked or not self.begun:
            end_at_once(signum)
        self.asked = True


@contextlib.contextmanager
def stopping():
    """A Stop that Ctrl-C, SIGTERM and SIGHUP set in the block; `nohup`, which ignores SIGHUP, is left alone."""
    stop, numbers = Stop(), [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    with handled(dict.fromkeys(numbers, stop)):
        yield stop
