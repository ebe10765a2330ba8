"""TensorBoard's event files (the one adapter of tensorboardX).

Its own writer hands events to a thread, which ends at the first error of the disk; the queue before it then blocks for
ever whoever writes. Here a row is one record, written by the caller: it is in the file, or the caller is told.
"""

import math
import os
import socket
import struct
import time
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from jaxrl.shell.files import append


class Events:
    """The event file of one process.

    With `resume_step`, TensorBoard hides what earlier files of the folder have after that step.
    """

    def __init__(self, run_dir, resume_step: int | None = None):
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{resume_step or 0}"
        self._path = Path(run_dir) / name
        self._header = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if resume_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._header += _record(Event(wall_time=time.time(), step=resume_step + 1, session_log=start))

    def write(self, group: str, row: dict):
        """Add the finite numbers of a row, at its `agent_steps`.

        Raises: OSError.
        """
        values = [
            Summary.Value(tag=f"{group}/{name}", simple_value=value)
            for name, value in row.items()
            if name != "agent_steps" and isinstance(value, int | float) and math.isfinite(value)
        ]
        event = Event(wall_time=time.time(), step=int(row["agent_steps"]), summary=Summary(value=values))
        append(self._path, self._header + _record(event))
        self._header = b""


def _record(event: Event) -> bytes:
    """Length, checksum of the length, the event, and its checksum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
