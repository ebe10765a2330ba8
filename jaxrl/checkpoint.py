"""Checkpoints on disk (the one adapter of Orbax).

A checkpoint is a folder named after its agent step, with two items: `policy`, what acts (small), and
`training`, everything else that a run needs to go on. Orbax writes to a temporary name and renames, so a killed
process leaves whole checkpoints only.
"""

import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

ITEMS = ("policy", "training")
logging.getLogger("absl").setLevel(logging.ERROR)


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written, in one sentence."""


class Checkpoints:
    """The checkpoints of one run, of which the newest `keep` stay.

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
            raise CheckpointError(f"{directory} holds no checkpoint.")
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
                f"checkpoint {step} could not be written to {self.directory} ({_first_line(error)}); is the disk "
                "full or the folder read-only?"
            ) from None

    def restore_policy(self, like, step: int | None = None):
        """The item `policy` of a step (the newest by default), with the structure of `like`."""
        return self._restore(step, {"policy": like})["policy"]

    def restore(self, like_policy, like_training, step: int | None = None):
        """Both items of a step (the newest by default): (policy, training)."""
        items = self._restore(step, {"policy": like_policy, "training": like_training})
        return items["policy"], items["training"]

    def close(self):
        """Let go of the folder."""
        self._manager.close()

    def _restore(self, step, likes: dict) -> dict:
        steps = self.steps()
        step = steps[-1] if step is None else step
        if step not in steps:
            raise CheckpointError(f"{self.directory} has no checkpoint {step}; it has {', '.join(map(str, steps))}.")
        args = {name: ocp.args.StandardRestore() for name in likes}
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(**args))
            found = {name: found[name] for name in likes}
        except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
            older = [s for s in steps if s < step]
            advice = f"the one before it is {older[-1]}" if older else "there is no older one"
            raise CheckpointError(
                f"checkpoint {step} in {self.directory} is damaged ({_first_line(error)}); {advice}."
            ) from None
        return {name: _fit(name, found[name], like) for name, like in likes.items()}


def _to_disk(tree):
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
    for path in wanted.keys() ^ found.keys():
        where = "lacks" if path in wanted else "has, and this run does not,"
        raise CheckpointError(f"the checkpoint does not fit this run: its {item} {where} {path}.")
    leaves = []
    for path, leaf in wanted.items():
        data = _unkey(leaf) if not isinstance(leaf, jax.ShapeDtypeStruct) else leaf
        if found[path].shape != np.shape(data):
            raise CheckpointError(_misfit(path, found[path].shape, np.shape(data)))
        array = jnp.asarray(found[path], data.dtype)
        leaves.append(jax.random.wrap_key_data(array) if _is_key(leaf) else array)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _misfit(path: str, found: tuple, wanted: tuple) -> str:
    if "actor" in path and found[:-1] == wanted[:-1]:
        return f"the checkpoint is of an agent with {found[-1]} actions, and the environment has {wanted[-1]}."
    return f"the checkpoint does not fit this run: {path} has shape {found}, expected {wanted}."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
