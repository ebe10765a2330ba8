"""One process of a race: it runs a row of the benchmark when it is asked to, and says how long that took.

Requests and answers are lines of JSON on standard input and output: {"row": name, "variant": which, "repeats": n} is
answered with seconds, or with null where there is no such row.
"""

import json
import sys
import time
from collections.abc import Callable


def serve(prepare: Callable[[str, str], Callable | None]):
    """Answer requests until the input ends.

    Args:
      prepare: gives for the name of a row, and a variant of it, a function without arguments that runs it once and
        waits for its result, or None.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    ready, row = {}, None
    for line in sys.stdin:
        request = json.loads(line)
        if request["row"] != row:
            ready, row = {}, request["row"]  # one row's arrays at a time
        variant = request["variant"]
        if variant not in ready:
            ready[variant] = prepare(row, variant)
        print(json.dumps(_seconds(ready[variant], request["repeats"])), file=answers, flush=True)


def _seconds(run, repeats):
    if run is None:
        return None
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return time.perf_counter() - start
