"""`python -m jaxrl.audit`."""

import os

import jax

from jaxrl.audit.command import Config, main
from jaxrl.shell import cli

if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 2)  # for pmap; only before JAX's first use of a device
cli.run(main, Config)
