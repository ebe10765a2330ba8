"""Checkpoints on disk (the one adapter of Orbax).

A checkpoint is a folder named after its agent step, with two items: `policy`, what acts (small), and
`training`, everything else that a run needs to go on. Orbax writes to a temporary name and renames, so a killed
process leaves whole checkpoints only; old ones are renamed before they are removed, for the same reason. Orbax does not
notice every corrupted file, so each file's SHA-256 is checked before it reads: the digests are in SHA256SUMS beside
them, for `sha256sum -c` too.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import sys
import textwrap
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxrl.shell.files import write_text

ITEMS = ("policy", "training")
SUMS = "SHA256SUMS"
UNFINISHED, REMOVED = "*.orbax-checkpoint-tmp*", ".removed"
logging.getLogger("absl").setLevel(logging.CRITICAL)  # what it reports as an error is raised too


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written, in one sentence."""


class Checkpoints:
    """The checkpoints of one run, of which the newest `keep` stay.

    Leaves are arrays of any dtype, NumPy's or JAX's, and typed PRNG keys; they come back to the bit. Orbax wants at
    least one leaf in an item, and one element in a leaf.

    Raises: CheckpointError from every method, with the folder in its sentence.
    """

    def __init__(self, directory, keep: int = 3):
        self.directory, self._keep = Path(directory).absolute(), keep
        alone = jax.process_index()  # of several hosts each is on its own: one writes, all read
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None, enable_async_checkpointing=False, create=False,
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=alone, active_processes={alone}, barrier_sync_key_prefix=f"host{alone}"
            ),
        )  # fmt: skip
        self._manager = ocp.CheckpointManager(self.directory, item_names=ITEMS, options=options)

    @classmethod
    def create(cls, directory, keep: int = 3):
        """The same, to save to: the folder is made when missing, and what a killed process left is mended."""
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot make the folder {directory}: {error.strerror}.") from None
        mend(Path(directory))
        return cls(directory, keep)

    @classmethod
    def open(cls, directory):
        """The checkpoints of a run that exists."""
        directory = Path(directory)
        if not directory.is_dir():
            raise CheckpointError(f"there is no checkpoint folder {directory}; give the folder of a run.")
        checkpoints = cls(directory)
        if checkpoints.latest() is None:
            there = ", ".join(sorted(path.name for path in directory.iterdir())) or "nothing"
            raise CheckpointError(f"{directory} holds no checkpoint, but {there}.")
        return checkpoints

    def steps(self) -> list[int]:
        """The agent steps that have a checkpoint, oldest first."""
        return steps_in(self.directory)

    def latest(self) -> int | None:
        """The newest checkpoint's agent step, or None."""
        return max(self.steps(), default=None)

    def save(self, step: int, policy, training):
        """Write both items and return when they are on disk; the oldest checkpoints above `keep` go."""
        items = {"policy": _to_disk(policy), "training": _to_disk(training)}
        args = ocp.args.Composite(**{name: ocp.args.StandardSave(leaves) for name, leaves in items.items()})
        try:
            clean(self.directory)
            with silent_threads():
                self._manager.save(step, args=args, force=True)
                self._manager.wait_until_finished()
            _write_sums(self.directory / str(step))
            for old in self.steps()[: -self._keep]:
                with contextlib.suppress(OSError):
                    self.discard(old)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            free = shutil.disk_usage(self.directory).free // 2**20
            raise CheckpointError(
                f"checkpoint {step} could not be written to {self.directory}, where {free:,} MiB are free "
                f"({_first_line(error)})."
            ) from None

    def discard(self, step: int):
        """Remove a checkpoint; a process that is killed meanwhile leaves no part of it under its name."""
        going = self.directory / f"{step}{REMOVED}"
        os.rename(self.directory / str(step), going)
        shutil.rmtree(going, ignore_errors=True)
        self._manager.reload()

    def restore_policy(self, like, step: int | None = None):
        """The item `policy` of a step (the newest by default), with the structure of `like`.

        Args:
          like: a tree of arrays, or of `jax.ShapeDtypeStruct`; where it has NumPy arrays, so has the result.
          step: one of `steps()`.
        """
        return self._restore(step, {"policy": like})["policy"]

    def restore(self, like_policy, like_training, step: int | None = None):
        """Both items of a step (the newest by default): (policy, training)."""
        items = self._restore(step, {"policy": like_policy, "training": like_training})
        return items["policy"], items["training"]

    def close(self):
        """Let go of the folder."""
        self._manager.close()

    def _restore(self, step, likes: dict) -> dict:
        step = self._existing(step)
        self._refuse_if_damaged(step)
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore() for name in likes})
        try:
            found = self._manager.restore(step, args=args)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise CheckpointError(
                f"checkpoint {step} in {self.directory} cannot be read ({_first_line(error)})."
            ) from None
        return {name: _fit(name, found[name], like) for name, like in likes.items()}

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.directory} holds no checkpoint.")
        if step is not None and step not in steps:
            raise CheckpointError(f"{self.directory} has no checkpoint {step}; it has {', '.join(map(str, steps))}.")
        return steps[-1] if step is None else step

    def _refuse_if_damaged(self, step: int):
        damaged = _damaged_file(self.directory / str(step))
        if damaged is None:
            return
        older = [other for other in self.steps() if other < step]
        newest = next((other for other in reversed(older) if _damaged_file(self.directory / str(other)) is None), None)
        advice = "no older one is whole" if newest is None else f"{newest} is whole, the newest once {step} is removed"
        raise CheckpointError(
            f"checkpoint {step} in {self.directory} is damaged ({damaged} is missing or changed); {advice}."
        )


def steps_in(directory: Path) -> list[int]:
    """The agent steps that have a checkpoint in a folder, oldest first."""
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())


def clean(directory: Path):
    """Remove what a killed process was writing or removing."""
    for pattern in (UNFINISHED, f"*{REMOVED}"):
        for left in directory.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def mend(directory: Path):
    """Clean, and write the sums of the checkpoint between whose name and sums a process was killed."""
    clean(directory)
    for step in steps_in(directory):
        if not (directory / str(step) / SUMS).exists():
            with contextlib.suppress(OSError):
                _write_sums(directory / str(step))


@contextlib.contextmanager
def silent_threads():
    """What Orbax's threads raise is not printed in the block: the first of it is raised by the call that waits."""
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook = sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _sums(folder: Path) -> str:
    """The text of SHA256SUMS for the files of a folder as they are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and SUMS not in path.name)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files)


def _write_sums(folder: Path):
    write_text(folder / SUMS, _sums(folder))


def _damaged_file(folder: Path) -> str | None:
    """A file that is not as it was written, or None: also where the process was killed before it wrote the sums."""
    if not (folder / SUMS).exists():
        return None
    written = (folder / SUMS).read_text(errors="replace").splitlines()
    different = set(written).symmetric_difference(_sums(folder).splitlines())
    return min((line.partition("  ")[2] or SUMS for line in different), default=None)


def _to_disk(tree) -> dict:
    """Leaves as arrays in a flat dict by path: what a checkpoint holds does not depend on our classes."""
    return {path: np.asarray(_unkey(leaf)) for path, leaf in _flat(tree).items()}


def _flat(tree) -> dict:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _is_key(leaf) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", np.dtype(float)), jax.dtypes.prng_key)


def _unkey(leaf):
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _fit(item: str, found: dict, like):
    """The found leaves in the structure of `like`, or CheckpointError on the first that does not fit."""
    wanted = _flat(like)
    for path in sorted(wanted.keys() ^ found.keys()):
        where = "lacks" if path in wanted else "has, and this run does not,"
        raise CheckpointError(f"the checkpoint does not fit this run: its {item} {where} {path}.")
    leaves = [_fit_leaf(path, found.pop(path), leaf) for path, leaf in wanted.items()]  # one copy at a time
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _fit_leaf(path: str, found: np.ndarray, like):
    wanted = jax.eval_shape(_unkey, like) if _is_key(like) else like
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        raise CheckpointError(_misfit(path, found, wanted))
    if isinstance(like, np.ndarray | np.generic):
        return found
    array = jnp.array(found)  # a copy of its own, whose memory can be donated
    if not _is_key(like):
        return array
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(jnp.empty((), like.dtype)))


def _misfit(path: str, found: np.ndarray, wanted) -> str:
    return (
        f"the checkpoint does not fit this run: {path} is {found.dtype} {found.shape}, "
        f"expected {wanted.dtype} {wanted.shape}."
    )


def _first_line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return textwrap.shorten(first, 160, placeholder=" ...")
