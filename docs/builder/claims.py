"""Equations evaluated: every side for every value of the free indices, and all sides must agree.

A claim is a chain of sides, such as

    dx[n, i] == sum(dy[n, o] * w[i, o] for o in every)

An index that no sum binds (n, i) takes every value that the axis it stands on has; so does one that runs over
`every`. D(y[n, o], x[n, i]) is looked up among the partial derivatives which the page has computed by autodiff, or,
where the names are symbols, it is SymPy's derivative.
"""

import ast
import itertools
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import erfc, expit

from builder.mathml import parse

BOUND = 1e-10  # relative to the larger of 1 and the right side, in float64
NUMERIC = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "tanh": np.tanh,
    "sigmoid": expit, "erfc": erfc, "where": np.where, "clip": np.clip, "mean": np.mean, "floor": np.floor,
    "softplus": lambda x: np.logaddexp(x, 0), "sgn": np.sign, "pi": np.pi, "iverson": float,
    "delta": lambda i, k: float(i == k),
}  # fmt: skip


class Checked(NamedTuple):
    """How far the sides of a claim were apart at most, and how many times it was evaluated; 0.0 is exact."""

    difference: float
    times: int


class Outside:
    """An array that has one value everywhere beyond its ends, as a padded image has."""

    def __init__(self, array, value=0.0):
        self._array, self._value, self.shape = np.asarray(array), value, np.shape(array)

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        inside = all(0 <= i < n for i, n in zip(index, self.shape, strict=True))
        return self._array[index] if inside else self._value


def check(text: str, names: dict, partials: dict | None = None) -> Checked:
    """Evaluate a claim.

    Args:
      text: a chain of sides joined by ==.
      names: what the names stand for, arrays or symbols.
      partials: for each pair of names (y, x) the partial derivatives of y, their axes those of y and then those of x.

    Returns: what was found.

    Raises: AssertionError when two sides are not equal, ValueError when an index has no range.
    """
    node = parse(text)
    if not is_claim(node):
        raise ValueError(f"not an equation: {text}")
    partials = partials or {}
    values = NUMERIC | {name: _plain(value) for name, value in names.items()}
    values |= {_partial(*pair): np.asarray(array) for pair, array in partials.items()}
    sizes = _sizes(node, values)
    sides = [_compiled(side, partials, sizes) for side in (node.left, *node.comparators)]
    free = sorted(_free(node))
    for index in free:
        if index not in sizes:
            raise ValueError(f"no array says how far the index {index} runs in: {text}")
    found = Checked(0.0, 0)
    for place in itertools.product(*(range(sizes[index]) for index in free)):
        here = values | dict(zip(free, place, strict=True))
        results = [eval(side, here) for side in sides]
        apart = max(_apart(a, b) for a, b in itertools.pairwise(results))
        assert apart <= BOUND, f"{text}\nis wrong by {apart:.2g} at {dict(zip(free, place, strict=True))}: {results}"
        found = Checked(max(found.difference, apart), found.times + 1)
    return found


def is_claim(node) -> bool:
    """Whether an expression is a chain of sides that are said to be equal."""
    return isinstance(node, ast.Compare) and all(isinstance(op, ast.Eq) for op in node.ops)


def _plain(value):
    is_key = isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
    return np.asarray(value) if isinstance(value, jax.Array) and not is_key else value


def _apart(a, b) -> float:
    """How far two sides are apart: relative for numbers, 0 or infinite for expressions of symbols."""
    if any(hasattr(leaf, "free_symbols") for side in (a, b) for leaf in np.asarray(side, object).flat):
        import sympy

        return max(
            0.0 if sympy.simplify(p - q) == 0 else np.inf
            for p, q in zip(*(side.flat for side in np.broadcast_arrays(np.asarray(a, object), b)), strict=True)
        )
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    if not a.size:
        return 0.0
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # two infinities agree
    if not np.all(same | (np.isfinite(a) & np.isfinite(b))):
        return np.inf
    a, b = (np.where(np.isfinite(side), side, 0.0) for side in (a, b))
    return float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(b)))))


def _sizes(node, values) -> dict[str, int]:
    """For each index that stands alone on an axis the size of that axis."""
    sizes = {}
    for at in ast.walk(node):
        if not isinstance(at, ast.Subscript) or not isinstance(at.value, ast.Name):
            continue
        shape = getattr(values.get(at.value.id), "shape", ())
        for size, index in zip(shape, _indices(at), strict=False):
            if isinstance(index, ast.Name) and sizes.setdefault(index.id, size) != size:
                raise ValueError(f"{index.id} runs to {sizes[index.id]} and to {size} in: {ast.unparse(node)}")
    return sizes


def _indices(subscript) -> list:
    return subscript.slice.elts if isinstance(subscript.slice, ast.Tuple) else [subscript.slice]


def _free(node) -> set[str]:
    """The indices that no sum binds."""
    if isinstance(node, ast.GeneratorExp):
        bound = {g.target.id for g in node.generators}
        return set().union(*(_free(child) for child in ast.iter_child_nodes(node))) - bound
    mine = {i.id for i in _indices(node) if isinstance(i, ast.Name)} if isinstance(node, ast.Subscript) else set()
    return mine.union(*(_free(child) for child in ast.iter_child_nodes(node)))


def _partial(y: str, x: str) -> str:
    return f"partial_{y}_by_{x}"


def _compiled(side, partials, sizes):
    """Code of a side, with partial derivatives looked up and `every` replaced by a range."""
    side = _Rewrite(partials, sizes).visit(ast.parse(ast.unparse(side), mode="eval").body)
    return compile(ast.fix_missing_locations(ast.Expression(side)), "<equation>", "eval")


class _Rewrite(ast.NodeTransformer):
    def __init__(self, partials, sizes):
        self._partials, self._sizes = partials, sizes

    def visit_Call(self, node):
        self.generic_visit(node)
        if getattr(node.func, "id", "") != "D":
            return node
        bases = [a.value if isinstance(a, ast.Subscript) else a for a in node.args]
        names = tuple(getattr(b, "id", None) for b in bases)
        if names not in self._partials:
            return node
        indices = [i for a in node.args if isinstance(a, ast.Subscript) for i in _indices(a)]
        table = ast.Name(_partial(*names), ast.Load())
        return ast.Subscript(table, ast.Tuple(indices, ast.Load()), ast.Load())

    def visit_comprehension(self, node):
        self.generic_visit(node)
        if getattr(node.iter, "id", "") == "every":
            size = ast.Constant(self._sizes[node.target.id])
            node.iter = ast.Call(ast.Name("range", ast.Load()), [size], [])
        return node
