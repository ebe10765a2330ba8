"""Several hosts, or processes of one, that train together: each plays its own environments, one writes the folder.

Every host runs the same program with the same options. Gradients are averaged over the devices of all hosts inside the
compiled step; here is what the hosts agree on beside it. With one host, all of it is the identity.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxrl.environments.pool import available_cores
from jaxrl.shell import program
from jaxrl.shell.mistakes import reason

WAIT = 24 * 3600  # seconds that a host which is done waits for one that still evaluates or writes


def join(num_hosts: int, coordinator: str | None, host_id: int | None):
    """Meet the other hosts; before JAX has looked for its devices.

    Args:
      num_hosts: how many.
      coordinator: HOST:PORT of the first of them; None where a cluster (SLURM, MPI, Kubernetes) tells.
      host_id: which of them this is, from 0; None likewise.

    Raises: ValueError, in one sentence, when they cannot be met.
    """
    if num_hosts == 1:
        return
    try:
        jax.distributed.initialize(coordinator, num_hosts, host_id, shutdown_timeout_seconds=WAIT)
    except Exception as error:  # ValueError, RuntimeError, and what the cluster's own libraries raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the {num_hosts} hosts could not be joined ({reason}); give --coordinator HOST:PORT of the first one, and "
            "to each its --host-id."
        ) from None
    total(1)  # the first sum connects them; later, when one compiles longer than others, they would not wait as long


@contextlib.contextmanager
def ending_with_the_others():
    """In the block, the loss of another host ends this one at once, with a sentence: they cannot agree on anything."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if count() == 1:
            raise
        sentence = f"another host is lost, or this one failed ({reason(error)[:200]}); start all again with --resume"
        print(f"error: {sentence}, and the run goes on from its last checkpoint.", file=sys.stderr, flush=True)
        os._exit(1)  # to leave in good order takes all of them


def start_local(processes: int, arguments: list[str], resuming: bool) -> int:
    """Run the script once for each process, on cores of its own; they are hosts to each other.

    Args:
      processes: how many.
      arguments: of the command line, without --local-processes.
      resuming: the run to resume knows already of how many hosts it is.

    Returns: the exit code of the first that failed, or 0.

    Raises: ValueError for more processes than cores.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if processes > (most := available_cores()):
        raise ValueError(f"--local-processes must be at most {most}, the cores that there are; got {processes}.")
    together = [] if resuming else ["--num-hosts", str(processes)]
    together += ["--coordinator", f"localhost:{free_port()}"]
    started = []
    for number in range(processes):
        mine = cores[number * len(cores) // processes : (number + 1) * len(cores) // processes]
        command = [sys.executable, *program.again(), *arguments, *together, "--host-id", str(number)]
        if cores:
            os.sched_setaffinity(0, mine)  # which the process that is started inherits
        started.append(subprocess.Popen(command))
    if cores:
        os.sched_setaffinity(0, cores)

    def pass_on(signum, frame):
        for process in started:
            process.send_signal(signum)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to each of them
    return next((code for code in [process.wait() for process in started] if code), 0)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def count() -> int:
    """How many hosts there are."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this one writes."""
    return jax.process_index() == 0


def total(number: int) -> int:
    """The sum of a whole number over all hosts."""
    return number if count() == 1 else int(multihost_utils.process_allgather(np.int64(number)).sum())


def any_of(flag: bool) -> bool:
    """Whether it is so on one of the hosts at least."""
    return total(int(flag)) > 0


def gathered(tree):
    """Leaves [D, ...] of this host as those of all, [H D, ...], in the order of hosts."""
    if count() == 1:
        return tree
    return jax.tree.map(_gather, tree)


def _gather(leaf):
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return multihost_utils.process_allgather(np.asarray(leaf), tiled=True)
    words = multihost_utils.process_allgather(np.asarray(jax.random.key_data(leaf)), tiled=True)
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))


def own(tree, device_count: int):
    """This host's leaves [D, ...] of `gathered` ones."""
    first = jax.process_index() * device_count
    return tree if count() == 1 else jax.tree.map(lambda leaf: leaf[first : first + device_count], tree)


def shapes_of_all(tree):
    """Shapes [D, ...] as `gathered` makes them."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count() * leaf.shape[0], *leaf.shape[1:]), leaf.dtype), tree)
