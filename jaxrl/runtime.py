"""What jaxrl asks of the machine before JAX starts: XLA's flags, and that freed memory is kept for reuse.

`JAXRL_RUNTIME=off` in the environment leaves everything as it comes; `make bench` measures the difference.

- XLA:CPU hands convolutions, matrix products and reductions to the YNNPACK library when an experimental flag
  asks for it; convolutions then run up to twice as fast, and stay at float32 accuracy. XLA ends the process on
  a flag that it does not know, so it is set only for versions of jaxlib that were seen to have it. Flags given
  in `XLA_FLAGS` win.
- glibc returns every freed block above 32 MB to the system at once, so each large activation is paid for in
  page faults, again on every step. Asked to keep them, it makes large convolutions up to three times as fast.
"""

import ctypes
import importlib.metadata
import os

CPU_LIBRARY_FUSION = (
    "--xla_cpu_experimental_ynn_fusion_type",
    "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE",
)
JAXLIB_VERSIONS = ("0.10.",)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_UP_TO = 2**30


def prepare():
    """Set the flags and the allocator; it acts only if JAX has not yet used a device."""
    if os.environ.get("JAXRL_RUNTIME", "on") != "off":
        set_xla_flags()
        keep_freed_memory()


def set_xla_flags():
    """Add the fusion flag to `XLA_FLAGS` where it is known and not given already."""
    given = os.environ.get("XLA_FLAGS", "")
    name, value = CPU_LIBRARY_FUSION
    if name not in given and importlib.metadata.version("jaxlib").startswith(JAXLIB_VERSIONS):
        os.environ["XLA_FLAGS"] = f"{given} {name}={value}".strip()


def keep_freed_memory():
    """Have glibc keep freed blocks of up to 1 GiB; other C libraries are left alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEEP_UP_TO)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
