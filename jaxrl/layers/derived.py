"""`jax.custom_vjp` that is right inside `jax.shard_map` too.

There the type of an array says over which axes of devices it varies. Where a batch x that varies meets weights w that
every device holds alike, plain JAX first casts w to one that varies; the transpose of this cast is a sum over the
devices, by which dw becomes alike on all of them again. A derived gradient is given arguments that were cast likewise,
and so need not know of any device. Elsewhere no array varies, and nothing is done.
"""

import functools

import jax
from jax import lax


def custom_vjp(function, nondiff_argnums=()):
    """`jax.custom_vjp(function, nondiff_argnums)` whose arguments all vary over the axes that one of them varies over.

    The rules are given by its `defvjp(forward, backward)`.
    """
    derived = jax.custom_vjp(function, nondiff_argnums)

    @functools.wraps(function)
    def call(*args):
        cast = iter(alike(*(a for i, a in enumerate(args) if i not in nondiff_argnums)))
        return derived(*(a if i in nondiff_argnums else next(cast) for i, a in enumerate(args)))

    call.defvjp = derived.defvjp
    return call


def alike(*arrays) -> tuple:
    """The arrays (None stays), each of them varying over every axis of devices that any of them varies over."""
    axes = frozenset().union(*map(_varying, jax.tree.leaves(arrays)))
    cast = lambda a: lax.pcast(a, tuple(sorted(axes - _varying(a), key=str)), to="varying")  # noqa: E731
    return jax.tree.map(cast, arrays) if axes else arrays


def _varying(array) -> frozenset:
    kind = jax.typeof(array)
    return kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying  # before jax 0.10, and since
