"""The test run is strict: two CPU devices, no silent broadcasting of ranks, warnings are errors.

Its time goes into compiling what runs once, so XLA compiles with few optimisations: the run takes half as long.
Programs that a test starts in a process of their own are compiled as a user's are.
"""

import importlib.metadata
import os
import signal
import tempfile

DEVICES = " --xla_force_host_platform_device_count=2"
QUICK = " --xla_backend_optimization_level=0"
if importlib.metadata.version("jaxlib").startswith("0.10."):  # XLA ends the process on a flag that it does not know
    QUICK += " --xla_cpu_use_fusion_emitters=false"
given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = given + DEVICES + QUICK
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Runs of the same configuration compile the same programs: once is enough, for this process and for its children.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(tempfile.gettempdir(), f"jaxrl-tests-{os.getuid()}")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax  # noqa: E402
import pytest  # noqa: E402

from jaxrl.shell import runtime  # noqa: E402

runtime.prepare()
os.environ["XLA_FLAGS"] = given + DEVICES  # XLA has read its own; this is for child processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with Ctrl-C ignored

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64():
    """Everything in the test is float64."""
    with jax.enable_x64(True):
        yield
