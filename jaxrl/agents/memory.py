"""How much memory can still be taken, and refusal of options that need more, before anything is asked for.

The estimates are low ones, of what cannot be done without: what they refuse would have failed.
"""

import math
import os
from pathlib import Path

import jax

from jaxrl import environments

try:
    import resource
except ImportError:  # Windows, where a process has no limit of its own
    resource = None

CGROUPS = Path("/sys/fs/cgroup")
EMULATOR = 600_000  # bytes of one of EnvPool's Atari games (measured with 320: 0.88 MB)
SMALL_GAME = 5_000  # and of its classic control (measured with 100,000: 7.2 kB)
CHANNELS = 8  # floats for each pixel that the first convolution gives (32 of 1/4 of the positions)


class NotEnough(ValueError):
    """Options that need more memory than is free, in one sentence."""


def free_memory() -> int | None:
    """Bytes that can still be taken: of the first device's own memory, or of this machine's; None where nobody says.

    Of the machine's memory a container or a limit of the process (`ulimit -v`) may leave less.
    """
    of_device = jax.local_devices()[0].memory_stats()
    if of_device:
        return of_device["bytes_limit"] - of_device["bytes_in_use"]
    known = [of_machine(), of_container(), of_process()]
    return min((free for free in known if free is not None), default=None)


def of_machine() -> int | None:
    """What is available; where Linux's /proc is not there, all that is installed."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def of_container(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """What the control groups leave, of which each bounds those in it; what files hold and can give back is free."""
    lines = own.read_text().splitlines() if own.exists() else []
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    group = root / path
    groups = [group, *group.parents][: len(Path(path).parts) + 1]
    found = [_left(each, "memory.max", "memory.current", "inactive_file") for each in groups]
    found.append(_left(root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
    return min((free for free in found if free is not None), default=None)


def _left(group: Path, limit: str, used: str, reclaimable: str) -> int | None:
    """What one control group leaves, or None where it sets no limit."""
    try:
        most, now = (group / limit).read_text().strip(), int((group / used).read_text())
        if most == "max" or int(most) >= 2**60:
            return None
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(int(most) - now + int(rows.get(reclaimable, 0)), 0)
    except (OSError, ValueError):
        return None


def of_process() -> int | None:
    """What `ulimit -v` leaves of addresses."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else -1
    if resource is None or limit == resource.RLIM_INFINITY:
        return None
    try:
        return max(limit - int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE"), 0)
    except OSError:
        return limit


def check(config):
    """Raise NotEnough, with what would fit, for environments and images that need more memory than is free.

    No environment is asked: to describe an image, its library makes two.

    Args:
      config: options of a run.
    """
    if config.protocol not in environments.PROTOCOLS:
        return
    shape = image_of(config)
    needed, free = config.num_seeds * needed_for_images(config, shape) / config.num_hosts, free_memory()
    if free is None or needed <= free:
        return
    fits = [f"--num-envs {max(1, int(config.num_envs * free / needed))}"]
    fits += [f"--image-size {max(1, int(shape[0] * math.sqrt(free / needed)))}"] if shape else []
    images = f" with images of {'x'.join(map(str, shape))}" if shape else ""
    fitting = " or ".join(fits)
    raise NotEnough(
        f"--num-envs {config.num_envs}{images} needs {gib(needed)}, and {gib(free)} are free; {fitting} would fit."
    )


def image_of(config) -> tuple[int, int, int] | None:
    """Height, width and channels of an Atari game's images; None for everything else, whose observations are small."""
    rules = config.rules
    return (rules.height, rules.width, rules.stack or 1) if rules.atari else None


def needed_for_images(config, shape) -> int:
    """Bytes of the emulators, of a trajectory's images and of what is kept of acting, and of the first convolution.

    What is kept are the outputs of all convolutions: 4/3 of those of the first, where each has a stride of 2.
    """
    if shape is None:
        return config.num_envs * SMALL_GAME
    learnt = max(config.num_envs, config.images_learnt)
    images = config.num_envs * config.images_held * math.prod(shape)
    pixels = 4 * shape[0] * shape[1]
    kept = config.images_kept * pixels * CHANNELS * 4 // 3
    return config.num_envs * EMULATOR + images + kept + learnt * pixels * (shape[2] + CHANNELS)


def check_learner(init):
    """Raise NotEnough for a network that needs more memory than is free.

    Args:
      init: `() -> learner`, not to be computed.
    """
    leaves = jax.tree.leaves(jax.eval_shape(init))
    needed, free = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves), free_memory()
    if free is not None and needed > free:
        raise NotEnough(
            f"the network and its optimiser need {gib(needed)}, and {gib(free)} are free: they would fit at "
            f"{free / needed:.2g} of that; make --hidden, --atoms or --image-size smaller."
        )


def gib(count: float) -> str:
    """Bytes in GiB."""
    return f"{count / 2**30:,.1f} GiB"
