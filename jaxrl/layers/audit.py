"""The audit: every derived gradient against autodiff and finite differences, in error, time and bytes.

    python -m jaxrl.layers.audit

`compare` audits one function, also one of your own: `compare(my_layer, my_reference, x, w)`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from jaxrl import layers, losses
from jaxrl.layers import reference

FLOAT64_BOUND = 1e-10
FLOAT32_BOUND = 1e-4
DIFFERENCES_BOUND = 1e-6
LEGEND = """\
value, cotangent  largest difference from autodiff of the reference, over the largest entry; cotangent: the worst of all
                  arguments; in float64, and under it in float32
differences       the derivative along one random direction against central differences, float64
time              forward plus backward, over autodiff's in the same run: median of interleaved pairs (< 1: faster)
bytes             what forward keeps for backward, over autodiff's"""


class Comparison(NamedTuple):
    """One row of the audit; errors are relative to the largest entry of the reference."""

    value64: float
    cotangent64: float
    value32: float
    cotangent32: float
    differences: float
    time_ratio: float
    bytes_ratio: float


class Case(NamedTuple):
    """A layer at a shape: the pair of functions, and the arguments as NumPy arrays."""

    name: str
    layer: Callable
    reference: Callable
    args: tuple


def compare(layer: Callable, reference: Callable, *args, time_pairs: int = 15) -> Comparison:
    """Audit a function with a derived gradient against a plain one of the same signature.

    Args:
      layer: the function whose gradient is derived.
      reference: the same forward in plain JAX.
      args: arguments, arrays or None; gradients are taken in those of floating-point type. Non-array settings
        such as a stride belong into a `functools.partial`.
      time_pairs: how many pairs of runs to time; 0 leaves the time out (nan).

    Returns: a Comparison.
    """
    with jax.enable_x64(True):
        value64, cotangent64 = errors(layer, reference, cast(args, np.float64))
        differences = _finite_differences(layer, cast(args, np.float64))
    args32 = cast(args, np.float32)
    value32, cotangent32 = errors(layer, reference, args32)
    ratio = _time_ratio(layer, reference, args32, time_pairs) if time_pairs else float("nan")
    kept = residual_bytes(layer, *args32) / max(residual_bytes(reference, *args32), 1)
    return Comparison(value64, cotangent64, value32, cotangent32, differences, ratio, kept)


def residual_bytes(function: Callable, *args) -> int:
    """Bytes of distinct arrays that the function's forward pass keeps for its backward pass.

    Arguments count, for they too must be kept alive; an array kept twice counts once.
    """
    free = _differentiable(args)
    _, vjp = jax.vjp(lambda *xs: function(*_merge(args, xs)), *(args[i] for i in free))
    kept = {id(leaf): leaf for leaf in jax.tree.leaves(vjp) if hasattr(leaf, "nbytes")}
    return sum(leaf.nbytes for leaf in kept.values())


def cast(args, dtype):
    """The arguments as JAX arrays, those of floating-point type in `dtype`; None stays."""
    floating = [a is not None and np.issubdtype(np.asarray(a).dtype, np.floating) for a in args]
    return tuple(
        None if a is None else jnp.asarray(np.asarray(a, dtype) if f else a)
        for a, f in zip(args, floating, strict=True)
    )


def _differentiable(args) -> list[int]:
    return [i for i, a in enumerate(args) if a is not None and jnp.issubdtype(jnp.result_type(a), jnp.floating)]


def _merge(args, free):
    merged = list(args)
    for i, x in zip(_differentiable(args), free, strict=True):
        merged[i] = x
    return merged


def _gradient(function: Callable, args):
    """A compiled function of (differentiable arguments, cotangents) that gives value and cotangents of all of them."""

    def run(free, cotangents):
        value, vjp = jax.vjp(lambda *xs: function(*_merge(args, xs)), *free)
        return value, vjp(cotangents)

    return jax.jit(run)


def _random_like(tree, seed: int):
    """Normal numbers in the shapes of a tree."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), tree)


def errors(layer, reference, args) -> tuple[float, float]:
    """Errors of the value and of the worst cotangent, relative to the reference's largest entries."""
    free = [args[i] for i in _differentiable(args)]
    cotangents = _random_like(jax.eval_shape(reference, *args), 1)
    value, gradients = _gradient(layer, args)(free, cotangents)
    expected, expected_gradients = _gradient(reference, args)(free, cotangents)
    return _relative(value, expected), _relative(gradients, expected_gradients)


def _relative(got, expected) -> float:
    """Largest |got − expected| of any leaf, over that leaf's largest |expected| (or 1 where all is 0)."""

    def one(g, e):
        scale = float(jnp.max(jnp.abs(e), initial=0)) or 1.0
        return float(jnp.max(jnp.abs(g - e), initial=0)) / scale

    return max(map(one, jax.tree.leaves(got), jax.tree.leaves(expected)), default=0.0)


def _finite_differences(layer, args, step: float = 1e-6) -> float:
    """Relative error of the derivative along a random direction, against central differences."""
    free = [args[i] for i in _differentiable(args)]
    cotangents, direction = _random_like(jax.eval_shape(layer, *args), 2), _random_like(free, 3)
    _, gradients = _gradient(layer, args)(free, cotangents)

    @jax.jit
    def along(t):
        value = layer(*_merge(args, [x + t * d for x, d in zip(free, direction, strict=True)]))
        return sum(jnp.vdot(v, c) for v, c in zip(jax.tree.leaves(value), jax.tree.leaves(cotangents), strict=True))

    derived = sum(float(jnp.vdot(g, d)) for g, d in zip(gradients, direction, strict=True))
    measured = float((along(step) - along(-step)) / (2 * step))
    return abs(derived - measured) / max(abs(measured), 1.0)


def _time_ratio(layer, reference, args, pairs: int) -> float:
    free = [args[i] for i in _differentiable(args)]
    cotangents = _random_like(jax.eval_shape(reference, *args), 1)
    runs = [_gradient(function, args) for function in (layer, reference)]
    for run in runs:
        jax.block_until_ready(run(free, cotangents))
    repeats = max(1, int(2e-3 / _seconds(runs[1], free, cotangents, 1)))
    ratios = [
        _seconds(runs[0], free, cotangents, repeats) / _seconds(runs[1], free, cotangents, repeats)
        for _ in range(pairs)
    ]
    return statistics.median(ratios)


def _seconds(run, free, cotangents, repeats) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        result = run(free, cotangents)
    jax.block_until_ready(result)
    return time.perf_counter() - start


def cases() -> list[Case]:
    """What is audited: every layer, at the shapes of the A3C network and at odd ones."""
    rng = np.random.default_rng(0)

    def normal(*shape, scale=1.0):
        return scale * rng.normal(size=shape)

    def conv(batch, size, channels, outputs, kernel, name, bias=True, **settings):
        args = (
            normal(batch, *size, channels),
            normal(*kernel, channels // settings.get("groups", 1), outputs, scale=0.2),
            normal(outputs) if bias else None,
        )
        pair = (partial(module.conv2d, **settings) for module in (layers, reference))
        return Case(f"conv2d {name}", *pair, args)

    a3c = {"stride": 2, "padding": 1}
    found = [
        conv(320, (42, 42), 1, 32, (3, 3), "320x42x42x1 > 32, 3x3/2", **a3c),
        conv(320, (21, 21), 32, 32, (3, 3), "320x21x21x32 > 32, 3x3/2", **a3c),
        conv(320, (11, 11), 32, 32, (3, 3), "320x11x11x32 > 32, 3x3/2", **a3c),
        conv(320, (6, 6), 32, 32, (3, 3), "320x6x6x32 > 32, 3x3/2", **a3c),
        conv(2, (9, 7), 4, 6, (3, 2), "asymmetric", stride=(2, 3), padding=((0, 2), (1, 0)), dilation=(2, 1), groups=2),
    ]
    lstm = (
        normal(20, 16, 288),
        normal(16, 256),
        normal(16, 256),
        normal(288, 1024, scale=0.05),
        normal(256, 1024, scale=0.05),
        normal(1024, scale=0.1),
        rng.random((20, 16)) < 0.05,
    )
    cell = (lstm[0][0], *lstm[1:6])
    logits = normal(20, 16, 18)
    rows = [normal(20, 16) for _ in range(4)]
    loss = (logits, rows[0], rng.integers(0, 18, (20, 16)), *rows[1:], np.float64(0.01), np.float64(0.5))
    found += [
        Case(
            "linear 320x256 > 18", layers.linear, reference.linear, (normal(20, 16, 256), normal(256, 18), normal(18))
        ),
        Case("lstm 20x16, 288 > 256", layers.lstm, reference.lstm, lstm),
        Case("lstm_cell 16, 288 > 256", layers.lstm_cell, reference.lstm_cell, cell),
    ]
    for name in ("elu", "sigmoid", "tanh"):
        found.append(
            Case(f"{name} 320x21x21x32", getattr(layers, name), getattr(reference, name), (normal(320, 21, 21, 32),))
        )
    for name in ("softmax", "log_softmax"):
        found.append(Case(f"{name} 320x18", getattr(layers, name), getattr(reference, name), (logits,)))
    found.append(Case("actor_critic_loss 20x16x18", losses.actor_critic_loss, reference.actor_critic_loss, loss))
    return found


def over_bound(row: Comparison, max_ratio: float | None) -> list[str]:
    """Which figures of a row are over their bounds."""
    bounds = {
        "value64": FLOAT64_BOUND,
        "cotangent64": FLOAT64_BOUND,
        "value32": FLOAT32_BOUND,
        "cotangent32": FLOAT32_BOUND,
        "differences": DIFFERENCES_BOUND,
    }
    if max_ratio is not None:
        bounds["time_ratio"] = max_ratio
    return [name for name, bound in bounds.items() if not getattr(row, name) <= bound]


def main(arguments=None) -> int:
    """Print the table; the exit code is 1 when an error is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="audit only rows whose name contains this (default: all)")
    parser.add_argument(
        "--pairs", type=int, default=25, help="pairs of runs timed for each row; 0 for none (default: 25)"
    )
    parser.add_argument("--max-ratio", type=float, help="also fail when a time ratio is above this (default: no bound)")
    parser.add_argument("--json", help="write the rows to this file (default: none)")
    options = parser.parse_args(arguments)
    table = Table("layer", "value", "cotangent", "differences", "time", "bytes", box=None, pad_edge=False)
    rows, failed = {}, []
    for case in cases():
        if options.only not in case.name:
            continue
        row = compare(case.layer, case.reference, *case.args, time_pairs=options.pairs)
        rows[case.name] = row._asdict()
        failed += [f"{case.name}: {name} = {getattr(row, name):.2g}" for name in over_bound(row, options.max_ratio)]
        table.add_row(
            case.name,
            f"{row.value64:.0e}\n{row.value32:.0e}",
            f"{row.cotangent64:.0e}\n{row.cotangent32:.0e}",
            f"{row.differences:.0e}",
            f"{row.time_ratio:.2f}",
            f"{row.bytes_ratio:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"\n{LEGEND}", highlight=False)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)
    for line in failed:
        print(f"over its bound: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
