"""One function with a derived gradient against a plain one of the same signature."""

import inspect
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.audit import speed
from jaxrl.audit.gradients import Pair, cast, distances, free, largest, merge, product, random_like
from jaxrl.audit.transformations import transformations as under_transformations

FLOAT64_BOUND = 1e-10
DIFFERENCES_BOUND = 1e-6
ROUNDING_BOUND = 2.0
BOUNDS = {
    "value64": FLOAT64_BOUND,
    "cotangent64": FLOAT64_BOUND,
    "differences": DIFFERENCES_BOUND,
    "float32": ROUNDING_BOUND,
    "bfloat16": ROUNDING_BOUND,
}


class Comparison(NamedTuple):
    """What the audit found about one function; errors are relative to the largest entry of the reference.

    Attributes:
      value64: error of the value in float64.
      cotangents64: error of each argument's cotangent in float64, by the argument's name.
      value32: as value64, in float32.
      cotangents32: as cotangents64, in float32.
      differences: error of the derivative along a random direction against central differences, float64.
      float32: largest error in float32, in units of the reference's own error plus an ulp; infinite when a result has
        another type.
      bfloat16: the same in bfloat16.
      transformations: for each transformation the difference that it makes, or the text of the error; None when left
        out.
      time_ratio: time of forward plus backward over autodiff's; None when left out.
      bytes_ratio: bytes kept from forward to backward over autodiff's.
    """

    value64: float
    cotangents64: dict[str, float]
    value32: float
    cotangents32: dict[str, float]
    differences: float
    float32: float
    bfloat16: float
    transformations: dict[str, float | str] | None
    time_ratio: float | None
    bytes_ratio: float

    @property
    def cotangent64(self) -> float:
        """The largest error of a cotangent in float64."""
        return largest(self.cotangents64.values())

    @property
    def cotangent32(self) -> float:
        """The largest error of a cotangent in float32."""
        return largest(self.cotangents32.values())

    def __str__(self):
        each = ", ".join(f"{name} {error:.0e}" for name, error in self.cotangents64.items())
        lines = [
            f"value        {self.value64:.0e} in float64, {self.value32:.0e} in float32",
            f"cotangents   {self.cotangent64:.0e} in float64 ({each}), {self.cotangent32:.0e} in float32",
            f"differences  {self.differences:.0e}",
            f"rounding     {self.float32:.2f} times the reference's error in float32, {self.bfloat16:.2f} in bfloat16",
        ]
        if self.transformations is not None:
            cells = ", ".join(f"{name} {verdict(found)}" for name, found in self.transformations.items())
            lines.append(f"under        {cells}")
        if self.time_ratio is not None:
            lines.append(f"time         {self.time_ratio:.2f} of autodiff's")
        lines.append(f"bytes        {self.bytes_ratio:.2f} of autodiff's")
        return "\n".join([*lines, *(f"over its bound: {line}" for line in over_bound(self).values())])


def verdict(difference: float | str) -> str:
    """What the table says of a transformation: ok, the difference it makes, or that it fails."""
    if isinstance(difference, str):
        return "fail"
    return "ok" if difference <= FLOAT64_BOUND else f"{difference:.0e}".replace("e-0", "e-")


def over_bound(row: Comparison, max_ratio: float | None = None) -> dict[str, str]:
    """Which figures of a row are over their bounds, each with a text that says by how much."""
    bounds = dict(BOUNDS) if max_ratio is None or row.time_ratio is None else BOUNDS | {"time_ratio": max_ratio}
    found = {
        name: f"{name} = {getattr(row, name):.2g}" for name, bound in bounds.items() if not getattr(row, name) <= bound
    }
    for name, difference in (row.transformations or {}).items():
        if verdict(difference) != "ok":
            found[name] = f"{name}: {difference}" if isinstance(difference, str) else f"{name} = {difference:.2g}"
    return found


def compare(
    layer: Callable, reference: Callable, *args, time_pairs: int = 15, transformations: bool = True
) -> Comparison:
    """Audit a function with a derived gradient against a plain one of the same signature.

        print(compare(my_layer, my_reference, x, w))

    Args:
      layer: the function whose gradient is derived; it returns an array of floating-point numbers or a tree of them.
      reference: the same forward in plain JAX.
      args: arguments, arrays or None; gradients are taken in those of floating-point type. Non-array settings
        such as a stride belong into a `functools.partial`.
      time_pairs: at least how many pairs of runs to time; 0 leaves the time out.
      transformations: whether to try jit, vmap, scan, pmap, shard_map, checkpoint and a gradient of the gradient too.

    Returns: a Comparison, which prints as a few lines.

    Raises: ValueError when the two do not return the same structure of the same shapes.
    """
    args32 = cast(args, np.float32)
    _same_shapes(layer, reference, args32)
    pair = Pair.of(layer, reference)
    with jax.enable_x64(True):
        args64 = cast(args, np.float64)
        value64, cotangents64 = _errors(pair, args64)
        differences = _finite_differences(pair, args64)
        float32, bfloat16 = (_rounding(pair, args, dtype) for dtype in (np.float32, jnp.bfloat16))
        under = under_transformations(layer, reference, args64) if transformations else None
    value32, cotangents32 = _errors(pair, args32)
    names = _argument_names(reference, args)
    return Comparison(
        value64,
        dict(zip(names, cotangents64, strict=True)),
        value32,
        dict(zip(names, cotangents32, strict=True)),
        differences,
        float32,
        bfloat16,
        under,
        speed.time_ratio(pair, args32, time_pairs) if time_pairs else None,
        speed.bytes_ratio(layer, reference, args32),
    )


def _same_shapes(layer, reference, args):
    ours, theirs = (jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(f, *args)) for f in (layer, reference))
    if ours != theirs:
        raise ValueError(f"the layer returns arrays of the shapes {ours}, its reference of {theirs}.")


def _argument_names(reference, args) -> list[str]:
    """The names of the arguments that gradients are taken in: the reference's own, or their places."""
    places = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [name for name, p in inspect.signature(reference).parameters.items() if p.kind in places]
    names += [str(i) for i in range(len(names), len(args))]
    return [name for name, a in zip(names, args, strict=False) if free([a])]


def errors(layer: Callable, reference: Callable, args) -> tuple[float, float]:
    """Errors of the value and of the worst cotangent, relative to the reference's largest entries."""
    value, cotangents = _errors(Pair.of(layer, reference), args)
    return value, largest(cotangents)


def _errors(pair, args) -> tuple[float, list[float]]:
    """Errors of the value and of each cotangent."""
    cotangents = pair.cotangents(args)
    value, gradients = pair.ours(args, cotangents)
    expected, expected_gradients = pair.theirs(args, cotangents)
    return largest(distances(value, expected)), distances(gradients, expected_gradients)


def _rounding(pair, args, dtype) -> float:
    """The largest error in a type, each over the reference's own error in that type plus an ulp of 1.

    The truth is the reference in float64 of the same rounded arguments.
    """
    rounded = cast(args, dtype)
    cotangents = pair.cotangents(rounded)
    wide = jax.tree.map(lambda c: c.astype(np.float64), cotangents)
    truth = pair.theirs(cast(rounded, np.float64), wide)
    ours, theirs = (run(rounded, cotangents) for run in (pair.ours, pair.theirs))
    if {leaf.dtype for leaf in jax.tree.leaves(ours)} - {jnp.dtype(dtype)}:
        return math.inf
    errors = zip(distances(ours, truth), distances(theirs, truth), strict=True)
    return largest(error / (usual + float(jnp.finfo(dtype).eps)) for error, usual in errors)


def _finite_differences(pair, args, step: float = 1e-6) -> float:
    """The largest error of the derivative of a part of the value, along a random direction, against differences.

    The direction of an argument is 0 where the reference lets no gradient through to it (`stop_gradient`).
    """
    leaves, tree = jax.tree.flatten(pair.cotangents(args, 2))
    directions = random_like(free(args), 3)

    @jax.jit
    def move(args, cotangents, direction):
        ends = [merge(args, [x + s * d for x, d in zip(free(args), direction, strict=True)]) for s in (step, -step)]
        ahead, behind = (product(cotangents, pair.layer(*end)) for end in ends)
        return (ahead - behind) / (2 * step)

    def error(i):
        alone = tree.unflatten([leaf if i == j else jnp.zeros_like(leaf) for j, leaf in enumerate(leaves)])
        passes = [jnp.any(slope) for slope in pair.theirs(args, alone)[1]]
        direction = [d * p for d, p in zip(directions, passes, strict=True)]
        derived = float(product(direction, pair.ours(args, alone)[1]))
        measured = float(move(args, alone, direction))
        return abs(derived - measured) / max(abs(measured), 1.0)

    return largest(error(i) for i in range(len(leaves)))
