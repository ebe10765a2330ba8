"""One side of a race: a process that runs a row of the benchmark when it is asked to, and says how long it took.

Requests and answers are lines of JSON on standard input and output: {"row": name, "repeats": n} is answered with
seconds, or with null where this contestant has no such row.
"""

import json
import sys
import time
from collections.abc import Callable


def serve(prepare: Callable[[str], Callable | None]):
    """Answer requests until the input ends.

    Args:
      prepare: gives for the name of a row a function without arguments that runs it once and waits for its result,
        or None.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    ready = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["row"]
        if name not in ready:
            ready.clear()  # one row's arrays at a time
            ready[name] = prepare(name)
        print(json.dumps(_seconds(ready[name], request["repeats"])), file=answers, flush=True)


def _seconds(run, repeats):
    if run is None:
        return None
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return time.perf_counter() - start
