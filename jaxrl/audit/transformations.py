"""Whether a layer's value and cotangents stay what they are under JAX's transformations."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jaxrl.audit.gradients import QUICK, distances, free, gradient, largest, merge, product, random_like

_jit = partial(jax.jit, compiler_options=QUICK)
NAMES = ("jit", "vmap", "scan", "pmap", "shard_map", "checkpoint", "twice")


def transformations(layer: Callable, reference: Callable, args) -> dict[str, float | str]:
    """The difference that each transformation makes to the value and the cotangents, or the error that it raises.

    "jit" is held against the plain call, and the others against jit. Under "vmap", "scan" (the body of a `lax.scan`)
    and "pmap" (two devices where there are two) go two examples together: the arguments, and the same with their axes
    reversed. Under "shard_map" the first argument differs between the devices and all others are the same on all, so
    that their gradients are sums over the devices. "checkpoint" is `jax.checkpoint`; "twice" is the gradient of a
    gradient, against autodiff's.

    Args:
      layer: the function whose gradient is derived.
      reference: the same forward in plain JAX.
      args: JAX arrays or None.

    Returns: for each of `NAMES` the largest difference relative to the largest entry, or the error's text.
    """
    cotangents = random_like(jax.eval_shape(reference, *args), 1)
    examples = [(args, cotangents), jax.tree.map(jnp.flip, (args, cotangents))]
    together = _stack(examples)
    run, remat = gradient(layer), gradient(jax.checkpoint(layer))
    compiled = _jit(run)
    one = _attempt(lambda: compiled(*examples[0]))
    both = _attempt(lambda: _stack([one, compiled(*examples[1])]))
    summed = _attempt(lambda: each_and_sum(compiled, examples))
    found = {
        "jit": (lambda: run(*examples[0]), one),
        "vmap": (lambda: _jit(jax.vmap(run))(*together), both),
        "scan": (lambda: _jit(lambda stack: jax.lax.map(lambda one: run(*one), stack))(together), both),
        "pmap": (lambda: _pmap(run, together), both),
        "shard_map": (lambda: _jit(partial(shard_map, layer))(examples), summed),
        "checkpoint": (lambda: _jit(remat)(*examples[0]), one),
        "twice": (lambda: _twice(layer, args), _attempt(lambda: _twice(reference, args))),
    }
    return {name: _difference(_attempt(call), expected) for name, (call, expected) in found.items()}


def _stack(examples):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *examples)


def _pmap(run, together):
    """Each example on a device of its own; the first one twice where there is but one device."""
    if jax.local_device_count() > 1:
        return jax.pmap(run, devices=jax.local_devices()[:2])(*together)
    halves = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], together) for i in range(2)]
    each = [jax.pmap(run)(*half) for half in halves]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *each)


def shard_map(layer: Callable, examples):
    """Values and gradients of examples (args, cotangents), one on each device, which differ in the first argument and
    in the cotangents: the gradient of that argument for each, if it has one, and those of the others summed over both.
    """
    examples = examples[: jax.local_device_count()]
    (_, *others), own = examples[0][0], _stack([(args[0], cotangents) for args, cotangents in examples])
    split, same = PartitionSpec("device"), PartitionSpec()
    count = len(free(own[:1]))

    def gradients(own, others):
        first, cotangents = jax.tree.map(lambda leaf: leaf[0], own)
        args = first, *others

        def scalar(*xs):
            value = layer(*merge(args, xs))
            return product(cotangents, value), value

        slopes, value = jax.grad(scalar, range(len(free(args))), has_aux=True)(*free(args))
        return jax.tree.map(lambda leaf: leaf[None], (value, slopes[:count])), slopes[count:]

    mesh = Mesh(jax.local_devices()[: len(examples)], ("device",))
    return jax.shard_map(gradients, mesh=mesh, in_specs=(split, same), out_specs=(split, same))(own, others)


def each_and_sum(run, examples):
    """What `shard_map` gives, from one call of `run` for each example."""
    examples = examples[: jax.local_device_count()]
    (_, *others), count = examples[0][0], len(free(examples[0][0][:1]))
    value, slopes = _stack([run((args[0], *others), cotangents) for args, cotangents in examples])
    return (value, slopes[:count]), tuple(slope.sum(0) for slope in slopes[count:])


def _twice(function, args):
    """The gradient of the derivative along a direction of a scalar function of the value."""
    cotangents, direction = random_like(jax.eval_shape(function, *args), 1), random_like(free(args), 2)

    def scalar(*xs):
        value = function(*merge(args, xs))
        return product(cotangents, value) + 0.5 * product(value, value)

    def along(*xs):
        return product(direction, jax.grad(scalar, range(len(xs)))(*xs))

    return _jit(jax.grad(along, range(len(direction))))(*free(args))


def _attempt(call: Callable):
    """The result, or the error: a layer that fails under one transformation is audited under the others."""
    try:
        return jax.block_until_ready(call())
    except Exception as error:
        return error


def _difference(got, expected) -> float | str:
    for result in (got, expected):
        if isinstance(result, Exception):
            return f"{type(result).__name__}: {str(result).strip().splitlines()[0] if str(result).strip() else ''}"
    return largest(distances(got, expected))
