"""The test run is strict: two CPU devices, no silent broadcasting of ranks, warnings are errors."""

import os
import tempfile

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import pytest  # noqa: E402

from jaxrl.shell import runtime  # noqa: E402

runtime.prepare()

jax.config.update("jax_numpy_rank_promotion", "raise")
# Runs of the same configuration compile the same learner: once is enough.
jax.config.update("jax_compilation_cache_dir", os.path.join(tempfile.gettempdir(), f"jaxrl-tests-{os.getuid()}"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture
def x64():
    """Everything in the test is float64."""
    with jax.enable_x64(True):
        yield
