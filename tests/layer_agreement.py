"""How the property run of `test_layer_properties.py` compares layers with autodiff of their references.

The truth is the reference in float64 of the very arguments. A leaf of a result (a value, or the gradient in one
argument) is right where its largest error, over all entries whose truth is a finite number, is at most the sum of

- twice the error of autodiff of the reference in the same type (in float64, which has no better truth: 0);
- rounding: `ULPS` times the type's epsilon times the largest entry of the leaf, or 1; in float64, where autodiff's own
  error is not known, `BOUND64` times the largest entry of the leaf or of an argument, or 1;
- `MOVES` times what the truth moves by when each argument is rounded at random, equal entries alike, and denormal
  numbers count as 0: where that is much, no digits are left to be right in.

Where autodiff in the type is not finite, a layer need not be either, but a number has to be right to a `FEW` bounds.
Where the truth is infinite, or beyond the type, a layer is infinite too, or what autodiff in the type is; a second
derivative may be anything. Where the truth is NaN a layer may be anything: what limits there are stand in
`test_infinities.py`. A row of weight 0 that holds what is not finite, or 1e15 and more, is all zeros to the
reference; the gradient in that weight may be any finite number. Beside an entry of 1e30 autodiff loses what is below
1e14 even in float64 (of tanh it adds z and z tanh(c), which is -z, to a cotangent one by one): with such entries it
counts only that numbers are numbers.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from layer_cases import ROLES
from layer_ways import Example, combined, compiled, examples, layer_and_reference, together, transformed

from jaxrl.audit import cast
from jaxrl.audit.gradients import free, merge, random_like

BOUND64, ULPS, MOVES, FEW = 1e-10, 4, 4, 4
ENTRIES = 8  # kinds of entries that a program is run on: compiling it is what takes the time


def weight_of(case) -> int | None:
    """The place of the argument that is a weight."""
    return next((i for i, a in enumerate(case.arrays) if a and a[1] == "weight"), None)


def masked(case, one):
    """The example with zeros in rows of weight 0 that hold what no sum should meet, and which rows these are.

    Nor does the direction, along which the gradient's derivative is taken, change their weight.
    """
    place = weight_of(case)
    if place is None:
        return one, None
    weight, (cotangents, direction) = np.asarray(one.args[place]), one.given
    of_rows = [bool(a) and a[1] in ("free", "unit") and a[0][: weight.ndim] == weight.shape for a in case.arrays]
    of_rows[place:] = [False] * len(of_rows[place:])
    dirty = np.zeros(weight.shape, bool)
    for array in itertools.compress(one.args, of_rows):
        ordinary = np.abs(np.asarray(array, np.float64)) < 1e15
        dirty |= ~np.all(ordinary, axis=tuple(range(weight.ndim, ordinary.ndim)))
    dirty &= weight == 0

    def cleaned(array):
        rows = dirty.reshape((*dirty.shape, *[1] * (array.ndim - dirty.ndim)))
        return np.where(rows, np.zeros((), array.dtype), array)

    args = tuple(cleaned(a) if clean else a for a, clean in zip(one.args, of_rows, strict=True))
    direction = [cleaned(d) if i == slot(case, place) else d for i, d in enumerate(direction)]
    return Example(args, (cotangents, direction)), dirty


def slot(case, place) -> int:
    """The place of an argument among those with a gradient."""
    return sum(a is not None and a[1] in ROLES for a in case.arrays[:place])


def left_out(way, case, one, dirty, truth):
    """For each entry of a result whether it need only be finite: gradients in the weights of rows that are dirty.

    And those that would be infinite in a weight of 0, though nothing large is in the row.
    """
    nowhere = jax.tree.map(lambda leaf: np.zeros(leaf.shape, bool), truth)
    if dirty is None:
        return nowhere
    place, slopes = slot(case, weight_of(case)), truth[1] if way.order == 1 else truth
    absent = dirty | (one.args[weight_of(case)] == 0) & ~np.isfinite(slopes[place])
    slopes = tuple(absent if i == place else np.zeros(a.shape, bool) for i, a in enumerate(slopes))
    return (nowhere[0], slopes) if way.order == 1 else slopes


def rounded(args, dtype) -> tuple:
    """Arguments whose floating-point entries move by an epsilon, equal ones alike; denormal numbers become 0."""
    rng, info = np.random.default_rng(3), jnp.finfo(dtype)
    eps, tiny = float(info.eps), float(info.tiny)

    def one(a):
        values, which = np.unique(a, return_inverse=True)
        moved = values * (1 + 2 * eps * rng.uniform(-1, 1, values.shape))
        return np.where(np.abs(values) < tiny, 0, moved)[which].reshape(a.shape)

    return tuple(merge(args, [one(a) for a in free(args)]))


class Judgement(NamedTuple):
    """How a result compares with the truth.

    Attributes:
      excess: the largest error over its bound; infinite where a number should be and is not, or a type is wrong.
      held: entries that were held to a bound.
      entries: all of them.
      text: the worst entry in words.
    """

    excess: float
    held: int
    entries: int
    text: str


@np.errstate(all="ignore")
def judge(way, digits, largest, got, usual, truth, moved, exempt) -> Judgement:
    """Of one leaf: what the layer gives, autodiff in the same type, the truth, and the truth of rounded arguments.

    Without `digits` any number is as right as another. The largest argument is `largest`.
    """
    if got.shape != truth.shape or got.dtype != jnp.dtype(way.dtype):
        return Judgement(np.inf, 0, got.size, f"{got.dtype}{got.shape} for {way.dtype}{truth.shape}")
    if not got.size:
        return Judgement(0.0, 0, 0, "")
    info = jnp.finfo(way.dtype)
    got, usual, truth, moved = (np.asarray(a, np.float64) for a in (got, usual, truth, moved))
    in_range = np.abs(truth) <= float(info.max)
    held = in_range & np.isfinite(usual) & np.isfinite(moved) & ~exempt
    size = max(np.max(np.abs(truth[in_range]), initial=0), 1)
    wrong = lambda other: np.max(np.abs(other - truth)[held], initial=0)  # noqa: E731
    rounding = BOUND64 * max(size, largest) if way.dtype == "float64" else ULPS * way.eps * size
    bound = 2 * wrong(usual) + MOVES * wrong(moved) + rounding
    excess = np.abs(got - truth) / bound
    as_infinite = (got == np.sign(truth) * np.inf) | (got == usual) | np.isnan(got) & np.isnan(usual)
    number = np.isfinite(got) & (not digits)
    allowed = np.select(
        [np.isnan(truth), exempt, held, in_range],
        [True, np.isfinite(got) | ~in_range, number, number | ~np.isfinite(got) | (excess <= FEW)],
        as_infinite | (way.order == 2),
    )
    excess = np.where(allowed, 0, np.where(np.isnan(excess) | exempt, np.inf, excess))
    at = np.unravel_index(np.argmax(excess), excess.shape)
    text = f"{got[at]:.9g} for {truth[at]:.9g} at {tuple(map(int, at))}, where autodiff gives {usual[at]:.9g}"
    return Judgement(float(excess[at]), int(held.sum()), got.size, text)


def has_a_rule(way, case, kinds) -> bool:
    """Whether something else than NaN is to be expected.

    In the second derivative the scalar that is derived is NaN, but for rows of weight 0. XLA multiplies what stands in
    one group of a convolution by the zeros of the others, and vmap makes groups of convolutions. For several devices
    it (jaxlib 0.10) compiles no function whose result depends on no entry, and inside `shard_map` JAX's sum over
    nothing forgets over which devices it varies. The product of two 1e30, of which a second derivative has many, is
    beyond float32 and bfloat16.
    """
    if way.under in ("pmap", "shard_map") and any(0 in a[0] for a in case.arrays if a):
        return False
    if "1e30" in kinds:
        return way.order == 1 or way.dtype == "float64"
    if {"infinite", "NaN"}.isdisjoint(kinds):
        return True
    if case.name.startswith("conv") and (case.settings["groups"] > 1 or way.under.startswith("vmap")):
        return False
    return way.order == 1 or weight_of(case) is not None


def judgements(way, case) -> dict[tuple, Judgement]:
    """One of each of the first kinds of entries."""
    with jax.enable_x64(True), np.errstate(all="ignore"):
        programs = Programs(way, case)
        ruled = [kinds for kinds in case.kinds if has_a_rule(way, case, kinds)]
        return {kinds: programs.judged(kinds) for kinds in ruled[:ENTRIES]}


class Programs:
    """A layer under a transformation, its reference in the same type and in float64; compiled when first called."""

    def __init__(self, way, case):
        self.way, self.case, self.compiled = way, case, {}
        self.layer, self.plain = layer_and_reference(case)
        args = case.args(case.kinds[0], way.dtype)
        cotangents = random_like(jax.eval_shape(self.plain, *args), 1)
        self.given = on_host((cotangents, random_like(free(args), 2)))

    def call(self, what, function, inputs):
        """Run one of the programs."""
        if what not in self.compiled:
            self.compiled[what] = compiled(function(), inputs)
        return on_host(self.compiled[what](inputs))

    def references(self, what, ones) -> list:
        """What the reference gives of each example."""
        plain = self.way._replace(under="jit").run(self.plain)
        return [self.call(what, lambda: jax.jit(lambda inputs: plain(*inputs)), one) for one in ones]

    def judged(self, kinds) -> Judgement:
        """With entries of these kinds."""
        way, case = self.way, self.case
        ones = examples(way, Example(on_host(case.args(kinds, way.dtype)), self.given))
        clean, dirty = zip(*(masked(case, one) for one in ones), strict=True)
        ones = [one._replace(given=of.given) for one, of in zip(ones, clean, strict=True)]
        got = self.call("layer", lambda: transformed(way, case, self.layer, ones[0]), together(way, ones))
        exact = [wide(one) for one in clean]
        truth = self.references("truth", exact)
        usual = truth if way.dtype == "float64" else self.references("reference", clean)
        moved = self.references("truth", [one._replace(args=rounded(one.args, way.dtype)) for one in exact])
        exempt = [left_out(way, case, *each) for each in zip(exact, dirty, truth, strict=True)]
        expected = (combined(way, case, results) for results in (usual, truth, moved, exempt))
        leaves = zip(*map(jax.tree.leaves, (got, *expected)), strict=True)
        return worst([judge(way, "1e30" not in kinds, largest(exact), *leaf) for leaf in leaves])


def on_host(tree):
    """In NumPy: JAX would compile each operation by itself."""
    return jax.tree.map(np.asarray, tree)


def wide(one):
    """The example in float64."""
    return on_host(Example(cast(one.args, np.float64), jax.tree.map(lambda leaf: leaf.astype(np.float64), one.given)))


def largest(ones) -> float:
    """The largest entry of an argument with a gradient that is not beyond sums."""
    sizes = (np.abs(np.asarray(a)) for one in ones for a in free(one.args))
    return max(np.max(size, initial=0, where=size < 1e15) for size in sizes)


def worst(leaves) -> Judgement:
    """Of all leaves."""
    place, found = max(enumerate(leaves), key=lambda leaf: leaf[1].excess)
    held, entries = (sum(leaf[i] for leaf in leaves) for i in (1, 2))
    return Judgement(found.excess, held, entries, f"leaf {place}: {found.text}")
