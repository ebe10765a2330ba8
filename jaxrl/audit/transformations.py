"""Whether a layer's value and cotangents stay what they are under JAX's transformations."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.audit.gradients import QUICK, distances, free, gradient, largest, merge, random_like

_jit = partial(jax.jit, compiler_options=QUICK)
NAMES = ("jit", "vmap", "scan", "pmap", "checkpoint", "twice")


def transformations(layer: Callable, reference: Callable, args) -> dict[str, float | str]:
    """The difference that each transformation makes to the value and the cotangents, or the error that it raises.

    "jit" is held against the plain call, and the others against jit. Under "vmap", "scan" (the body of a `lax.scan`)
    and "pmap" (two devices where there are two) go two examples together: the arguments, and the same with their axes
    reversed. "checkpoint" is `jax.checkpoint`; "twice" is the gradient of a gradient, against autodiff's.

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
    found = {
        "jit": (lambda: run(*examples[0]), one),
        "vmap": (lambda: _jit(jax.vmap(run))(*together), both),
        "scan": (lambda: _jit(lambda stack: jax.lax.map(lambda one: run(*one), stack))(together), both),
        "pmap": (lambda: _pmap(run, together), both),
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


def _twice(function, args):
    """The gradient of the derivative along a direction of a scalar function of the value."""
    cotangents, direction = random_like(jax.eval_shape(function, *args), 1), random_like(free(args), 2)

    def scalar(*xs):
        leaves = zip(jax.tree.leaves(function(*merge(args, xs))), jax.tree.leaves(cotangents), strict=True)
        return sum(jnp.vdot(c, value) + 0.5 * jnp.vdot(value, value) for value, c in leaves)

    def along(*xs):
        slopes = jax.grad(scalar, range(len(xs)))(*xs)
        return sum(jnp.vdot(d, slope) for d, slope in zip(direction, slopes, strict=True))

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
