"""Checkpoints on disk (the one adapter of Orbax).

A checkpoint is a folder named after its agent step, with two items: `policy`, what acts (small), and
`training`, everything else that a run needs to go on. Orbax writes to a temporary name and renames, so a killed
process leaves whole checkpoints only. Each item holds its own digest, since the disk's formats let some damage
pass.
"""

import logging
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxrl.metrics import params_digest

ITEMS = ("policy", "training")
DIGEST = "digest"
logging.getLogger("absl").setLevel(logging.CRITICAL)  # what it reports as an error is raised too


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written, in one sentence."""


class Checkpoints:
    """The checkpoints of one run, of which the newest `keep` stay.

    Leaves are arrays of any dtype, NumPy's or JAX's, and typed PRNG keys; they come back to the bit.

    Raises: CheckpointError from every method, with the folder in its sentence.
    """

    def __init__(self, directory, keep: int = 3):
        self.directory = Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False, create=False)
        self._manager = ocp.CheckpointManager(self.directory, item_names=ITEMS, options=options)

    @classmethod
    def create(cls, directory, keep: int = 3):
        """The same, in a folder that is made when missing."""
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot make the folder {directory}: {error.strerror}.") from None
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
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """The newest checkpoint's agent step, or None."""
        return max(self.steps(), default=None)

    def save(self, step: int, policy, training):
        """Write both items and return when they are on disk; the oldest checkpoints above `keep` go."""
        items = {"policy": policy, "training": training}
        args = {name: ocp.args.StandardSave(_to_disk(tree)) for name, tree in items.items()}
        try:
            self._manager.save(step, args=ocp.args.Composite(**args), force=True)
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"checkpoint {step} could not be written to {self.directory} ({_first_line(error)})."
            ) from None

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
        try:
            found = self._read(step, likes)
        except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
            raise CheckpointError(
                f"checkpoint {step} in {self.directory} is damaged ({_first_line(error)}); {self._advice(step, likes)}."
            ) from None
        return {name: _fit(name, found[name], like) for name, like in likes.items()}

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.directory} holds no checkpoint.")
        if step is not None and step not in steps:
            raise CheckpointError(f"{self.directory} has no checkpoint {step}; it has {', '.join(map(str, steps))}.")
        return steps[-1] if step is None else step

    def _read(self, step: int, names) -> dict:
        """The flat dicts on disk. Raises whatever Orbax does, and ValueError where a digest does not match."""
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore() for name in names})
        found = self._manager.restore(step, args=args)
        items = {name: dict(found[name]) for name in names}
        for name, leaves in items.items():
            digest = leaves.pop(DIGEST, None)  # None: written before there were digests
            if digest is not None and digest.tobytes() != _digest(leaves).tobytes():
                raise ValueError(f"the digest of its {name} does not match")
        return items

    def _advice(self, step: int, names) -> str:
        for older in reversed([s for s in self.steps() if s < step]):
            try:
                self._read(older, names)
                return f"{older} is whole, and is the newest once the folder {step} is removed"
            except Exception:  # noqa: S112 damaged too; look at the one before
                continue
        return "no older one is whole"


def _to_disk(tree) -> dict:
    """Leaves as arrays in a flat dict by path: what a checkpoint holds does not depend on our classes."""
    leaves = {path: np.asarray(_unkey(leaf)) for path, leaf in _flat(tree).items()}
    return leaves | {DIGEST: _digest(leaves)}


def _digest(leaves: dict) -> np.ndarray:
    return np.frombuffer(params_digest(leaves).encode(), np.uint8)


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
    leaves = [_fit_leaf(path, found[path], leaf) for path, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _fit_leaf(path: str, found: np.ndarray, like):
    wanted = jax.eval_shape(_unkey, like) if _is_key(like) else like
    shape, dtype = np.shape(wanted), np.asarray(like).dtype if np.isscalar(like) else wanted.dtype
    if (found.shape, found.dtype) != (shape, dtype):
        raise CheckpointError(_misfit(path, found, shape, dtype))
    if isinstance(like, np.ndarray | np.generic) or np.isscalar(like):
        return found
    array = jnp.array(found)  # a copy: an array that shares NumPy's memory cannot be donated
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like)) if _is_key(like) else array


def _misfit(path: str, found: np.ndarray, shape: tuple, dtype) -> str:
    if "actor" in path and found.shape[:-1] == shape[:-1] and found.shape != shape:
        return f"the checkpoint is of an agent with {found.shape[-1]} actions, and the environment has {shape[-1]}."
    return f"the checkpoint does not fit this run: {path} is {found.dtype} {found.shape}, expected {dtype} {shape}."


def _first_line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return textwrap.shorten(first, 160, placeholder=" ...")
