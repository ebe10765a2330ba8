"""Value and cotangents of any function of arrays, and how much two of them differ."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Compiler options for what is run once, and not timed: most of its time goes into compiling.
QUICK = {"xla_backend_optimization_level": 0}


def cast(args, dtype) -> tuple:
    """The arguments as JAX arrays, those of floating-point type in `dtype`; None stays."""
    return tuple(
        None if a is None else jnp.asarray(np.asarray(a).astype(dtype)) if _is_floating(a) else jnp.asarray(a)
        for a in args
    )


def _is_floating(a) -> bool:
    return a is not None and jnp.issubdtype(jax.dtypes.result_type(a), jnp.floating)


def free(args) -> list:
    """The arguments that gradients are taken in: those of floating-point type."""
    return [a for a in args if _is_floating(a)]


def merge(args, free) -> list:
    """The arguments with those of floating-point type replaced."""
    replacement = iter(free)
    return [next(replacement) if _is_floating(a) else a for a in args]


def gradient(function: Callable) -> Callable:
    """A function of (args, cotangents of the value) that gives the value and the cotangents of `free(args)`."""

    def run(args, cotangents):
        value, vjp = jax.vjp(lambda *xs: function(*merge(args, xs)), *free(args))
        return value, vjp(jax.tree.map(lambda c, v: c.astype(v.dtype), cotangents, value))

    return run


class Pair(NamedTuple):
    """A layer and its reference, each also as the compiled form of `gradient`."""

    layer: Callable
    reference: Callable
    ours: Callable
    theirs: Callable

    @classmethod
    def of(cls, layer: Callable, reference: Callable):
        """The two, compiled when first called."""
        return cls(layer, reference, jax.jit(gradient(layer)), jax.jit(gradient(reference)))

    def cotangents(self, args, seed: int = 1):
        """Normal values in the shapes and types of the value."""
        return random_like(jax.eval_shape(self.reference, *args), seed)


def random_like(tree, seed: int):
    """Normal values in the shapes and types of a tree."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape).astype(leaf.dtype)), tree)


def product(tree, other):
    """The inner product of two trees."""
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True))


def distances(got, expected) -> list[float]:
    """For each leaf the largest |got − expected|, over that leaf's largest |expected| (or 1 where all is 0)."""

    def one(g, e):
        g, e = (np.asarray(a, np.float64) for a in (g, e))
        if g.shape != e.shape:
            return np.inf
        return float(np.max(np.abs(g - e), initial=0) / (np.max(np.abs(e), initial=0) or 1.0))

    return [one(g, e) for g, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)]


def largest(errors) -> float:
    """The largest error; NaN if any is NaN, 0 if there are none."""
    return float(np.max(list(errors), initial=0.0))
