"""What a figure was measured with: versions, machine, and commit; written beside every result."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import jax

from jaxrl.environments.pool import available_cores

FLAGS = ("XLA_FLAGS", "JAXRL_RUNTIME", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION")
ROOT = Path(__file__).resolve().parents[2]


def measured_on(*packages: str) -> dict:
    """Versions of JAX and these packages, the machine, and the commit."""
    versions = {name: _version(name) for name in ("jax", "jaxlib", *packages)}
    return {"versions": versions, "machine": machine(), "commit": commit()}


def conditions() -> dict:
    """What the bits of a run depend on beside its options and the versions: cores, as XLA counts them, and flags."""
    flags = {name: os.environ[name] for name in FLAGS if name in os.environ}
    given = os.environ.get("NPROC", "")
    return {"cores": int(given) if given.isdecimal() else available_cores(), "flags": flags}


def differing(before: dict, now: dict) -> list[str]:
    """What is different between two times that `measured_on` and `conditions` told, in words."""
    pairs = {name: (before[name], now[name]) for name in ("cores", "machine", "flags") if name in before}
    versions = before.get("versions", {})
    pairs |= {name: (versions[name], version) for name, version in now["versions"].items() if name in versions}
    return [f"{name} {old}, now {new}" for name, (old, new) in pairs.items() if old != new]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # one that is not needed everywhere, such as EnvPool
        return None


def machine() -> str:
    """Device, processor and cores in words."""
    kind = jax.devices()[0].device_kind
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    host = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    return f"{host}, jax {jax.__version__}" if kind == "cpu" else f"{kind}, {host}, jax {jax.__version__}"


def commit() -> str | None:
    """The commit of the working tree, marked where code has changed since; None where there is no git."""
    if not (ROOT / ".git").exists():  # installed, perhaps somewhere in a checkout of something else
        return None

    def git(*words):
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
        return git("rev-parse", "--short", "HEAD") + "-dirty" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None
