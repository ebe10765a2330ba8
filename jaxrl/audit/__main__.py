"""`python -m jaxrl.audit`."""

import os
import sys

import jax

from jaxrl.audit.command import main
from jaxrl.shell import runtime

if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 2)  # for pmap; only before JAX's first use of a device
runtime.prepare()
sys.exit(main())
