"""What a program of jaxrl asks of its process: XLA's flags, and that freed memory is kept for reuse.

Entry points call `prepare` (`cli.run`, the audit, the benchmarks); `import jaxrl` changes nothing.

`JAXRL_RUNTIME=off` in the environment leaves everything as it comes; `make bench` measures the difference.

- XLA:CPU hands convolutions, matrix products and reductions to the YNNPACK library when an experimental flag
  asks for it; convolutions then run up to twice as fast, and stay at float32 accuracy. XLA ends the process on
  a flag that it does not know, so it is set only for versions of jaxlib that were seen to have it. Flags given
  in `XLA_FLAGS` win.
- glibc returns every freed block above 32 MB to the system at once, so each large activation is paid for in
  page faults, again on every step. Asked to keep them, it makes large convolutions up to three times as fast.
- XLA:CPU cuts convolutions and products into one piece a core, and so their last bits depend on the number of cores.
  It takes that number from NPROC where the environment has it: a run that is resumed keeps the number it began with.
- Memory comes in pages of 4 KB, and a convolution's weight gradient walks through thousands of them in turn, missing
  the processor's table of pages each time. In pages of 2 MB a whole gradient of the A3C network took 0.74 of the time.
  Linux gives them where it is asked to (`madvise`): glibc's heap is grown once, marked, and kept. Nothing is used until
  it is written to, so this costs addresses, not memory. Threads must share that heap, instead of one each.
"""

import contextlib
import ctypes
import importlib.metadata
import os

import jax

CPU_LIBRARY_FUSION = (
    "--xla_cpu_experimental_ynn_fusion_type",
    "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE",
)
JAXLIB_VERSIONS = ("0.10.",)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
BLOCK = 2**30
BLOCKS = 4
HUGE_PAGE = 2**21
MADV_HUGEPAGE = 14  # of Linux's mman.h


def prepare(threads: int | None = None):
    """Set the allocator, and start JAX with the flags; a JAX that has used a device already keeps those that it has.

    Args:
      threads: so many for XLA:CPU, in place of one a core, where the environment's NPROC does not say it.

    Raises: ValueError where JAX finds no device of the kind that the environment asks for.
    """
    if threads:
        os.environ.setdefault("NPROC", str(threads))
    if os.environ.get("JAXRL_RUNTIME", "on") != "off":
        keep_freed_memory()
        with xla_flags():
            start_jax()
    else:
        start_jax()


def start_jax():
    """Have JAX find its devices."""
    try:
        jax.local_devices()
    except Exception as error:  # AssertionError, RuntimeError, by the version and by what is missing
        asked = os.environ.get("JAX_PLATFORMS")
        why = " ".join(str(error).split()) or type(error).__name__
        advice = f"; JAX_PLATFORMS is {asked}: take JAX_PLATFORMS=cpu, or unset it" if asked else ""
        raise ValueError(f"JAX has no device here ({why[:200]}){advice}.") from None


@contextlib.contextmanager
def xla_flags():
    """The fusion flag in `XLA_FLAGS` where it is known and not given already; afterwards the variable is as before.

    XLA reads it once. A child process, which may have another XLA that ends over the flag, does not inherit it.
    """
    given = os.environ.get("XLA_FLAGS")
    name, value = CPU_LIBRARY_FUSION
    if name not in (given or "") and importlib.metadata.version("jaxlib").startswith(JAXLIB_VERSIONS):
        os.environ["XLA_FLAGS"] = f"{given or ''} {name}={value}".strip()
    try:
        yield
    finally:
        if given is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = given


def keep_freed_memory():
    """Have glibc keep freed blocks of up to 1 GiB, in huge pages; other C libraries are left alone."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        libc.mallopt(M_ARENA_MAX, 1)
        grow_heap_of_huge_pages(libc)


def grow_heap_of_huge_pages(libc):
    """Grow the heap by `BLOCKS` blocks, ask for huge pages there, and free it again for everyone's use."""
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = BLOCK - HUGE_PAGE  # just below the size that does not come from the heap
    blocks = [block for _ in range(BLOCKS) if (block := libc.malloc(size))]
    for block in blocks:
        start = -(-block // HUGE_PAGE) * HUGE_PAGE
        libc.madvise(start, (block + size - start) // HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE)
    for block in blocks:
        libc.free(block)
