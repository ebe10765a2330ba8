"""The test run is strict: two CPU devices, no silent broadcasting of ranks, warnings are errors."""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import pytest  # noqa: E402

import jaxrl  # noqa: E402, F401  sets its own flags before JAX starts

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64():
    """Everything in the test is float64."""
    with jax.enable_x64(True):
        yield
