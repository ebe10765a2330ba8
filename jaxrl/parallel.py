"""Which axes a training step is mapped over: groups of environments by `vmap` or in turn, devices by `pmap`.

Groups are A3C's workers: each acts in its own part of the environments with its own parameters.

A training state has a leading device axis [D, ...] whatever D is. With one device the step is compiled as it
is, without `pmap`; a step for many devices averages its gradients over the axis `DEVICES`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrl.nearest import unknown

DEVICES = "devices"


def learning_devices(device_count: int) -> list:
    """The devices that learn."""
    return jax.local_devices()[:device_count]


def acting_devices(device_count: int, how: str) -> list | None:
    """The device on which each pool is acted in, or None where acting and learning share theirs.

    EnvPool steps on the host's processor: from an accelerator's program each step makes the device wait (GPU), or
    cannot be called at all (TPU).

    Args:
      how: "cpu", the host's; "accelerator", where learning is; "auto", "cpu" beside an accelerator.

    Raises: ValueError on another name.
    """
    if how not in ("auto", "cpu", "accelerator"):
        raise unknown("place to act", how, ("auto", "cpu", "accelerator"))
    if how == "accelerator" or learning_devices(1)[0].platform == "cpu":
        return None
    host = jax.local_devices(backend="cpu")
    return [host[number % len(host)] for number in range(device_count)]


def map_groups(how: str):
    """How a function of (parameters, data) is mapped over the leading axis of groups.

    `vmap` runs all groups at once; kernels that differ per group turn its convolutions into grouped ones,
    which a CPU runs slowly. `map` runs them one after another. `auto` takes `map` on a CPU, else `vmap`.

    Returns: a function transformation like `jax.vmap`.

    Raises: ValueError on another name.
    """
    if how == "auto":
        how = "map" if jax.default_backend() == "cpu" else "vmap"
    if how == "vmap":
        return jax.vmap
    if how == "map":
        return one_after_another
    raise unknown("way to run workers", how, ("auto", "vmap", "map"))


def one_after_another(function):
    """`function` over the leading axis in turn, unrolled: XLA:CPU runs a convolution inside a loop's body about
    nine times slower than outside it."""

    def mapped(*args):
        results = [
            function(*jax.tree.map(lambda leaf, i=i: leaf[i], args)) for i in range(jax.tree.leaves(args)[0].shape[0])
        ]
        return stack(results)

    return mapped


def split_groups(tree, num_groups: int, axis: int = 0):
    """Every leaf [..., N, ...], with the environments at `axis`, as [G, ..., N / G, ...]."""

    return jax.tree.map(lambda leaf: jnp.stack(jnp.split(leaf, num_groups, axis)), tree)


def join_groups(tree):
    """Every leaf [G, N / G, ...] as [N, ...]: `split_groups` at axis 0 undone."""
    return jax.tree.map(lambda leaf: leaf.reshape((-1,) + leaf.shape[2:]), tree)


def map_devices(function, device_count: int, donate_argnums=()):
    """Compile `function` for every device: arguments and results have a leading axis [device_count, ...].

    With more than one device, here or on other hosts, collectives inside may use the axis `DEVICES`; `axis_names` lists
    it.
    """
    if device_count * jax.process_count() == 1:
        return jax.jit(lambda *args: add_axis(function(*first_device(args))), donate_argnums=donate_argnums)
    devices = learning_devices(device_count) if jax.process_count() == 1 else None  # all of all hosts
    return jax.pmap(function, axis_name=DEVICES, devices=devices, donate_argnums=donate_argnums)


def shard(tree, device_count: int):
    """Put the slices of every leaf [device_count, ...] on the devices that `map_devices` runs on."""
    return jax.device_put(tree, sharding(device_count))


def sharding(device_count: int) -> NamedSharding:
    """A slice [1, ...] of every leaf [device_count, ...] on each device that learns."""
    mesh = Mesh(np.array(learning_devices(device_count)), (DEVICES,))
    return NamedSharding(mesh, PartitionSpec(DEVICES))


def join(slices):
    """Trees of leaves [1, ...], wherever they are, as one on the devices that learn: [device_count, ...] a leaf."""
    device_count = len(slices)
    moved = [jax.device_put(tree, device) for tree, device in zip(slices, learning_devices(device_count), strict=True)]
    if device_count == 1:
        return moved[0]
    return jax.tree.map(
        lambda *leaves: jax.make_array_from_single_device_arrays(
            (device_count, *leaves[0].shape[1:]), sharding(device_count), list(leaves)
        ),
        *moved,
    )


def stack(trees):
    """One tree with a leading axis out of many."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree) -> tuple:
    """`stack` undone."""
    return tuple(jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(jax.tree.leaves(tree)[0].shape[0]))


def repeat(make, device_count: int):
    """The arrays of `make()` once for each device, [device_count, ...], made there without a copy."""
    everywhere = jax.jit(
        lambda: jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (device_count, *leaf.shape)), make()),
        out_shardings=sharding(device_count),
    )
    return everywhere()


def first_device(tree):
    """What the first device has of every leaf [device_count, ...]."""
    return jax.tree.map(lambda leaf: leaf[0], tree)


def axis_names(device_count: int) -> tuple[str, ...]:
    """The mapped axes that a step for `device_count` devices has."""
    return (DEVICES,) if device_count * jax.process_count() > 1 else ()


def mean(tree, axis_names: tuple[str, ...]):
    """The mean of every leaf over the mapped axes; with none, the tree itself."""
    return lax.pmean(tree, axis_names) if axis_names else tree


def total(tree, axis_names: tuple[str, ...]):
    """The sum of every leaf over the mapped axes; with none, the tree itself."""
    return lax.psum(tree, axis_names) if axis_names else tree


def on_this_device(functions):
    """One function out of one for each device: the device that runs it takes its own."""
    if len(functions) == 1:
        return functions[0]
    return lambda *args: lax.switch(lax.axis_index(DEVICES), functions, *args)


def check_device_count(device_count: int):
    """Raise ValueError when this machine has fewer devices."""
    have = jax.local_device_count()
    if not 1 <= device_count <= have:
        raise ValueError(
            f"--device-count {device_count} asks for more devices than there are: 1 to {have} "
            f"({jax.default_backend()}) can be used here."
        )


def add_axis(tree):
    """Every leaf with a leading axis of 1."""
    return jax.tree.map(lambda leaf: leaf[None], tree)
