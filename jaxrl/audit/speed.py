"""What a derived gradient costs beside autodiff's: time, and bytes kept from forward to backward."""

import math
import statistics
import time
from collections.abc import Callable

import jax

from jaxrl.audit.gradients import Pair, free, merge

SAMPLE_SECONDS = 5e-3  # a timed sample lasts at least this long,
TOTAL_SECONDS = 1.0  # and all samples together this long


def time_ratio(pair: Pair, args, pairs: int) -> float:
    """Time of forward plus backward over that of the reference, the median over blocks of two interleaved pairs.

    A block runs layer, reference, reference, layer, so that neither a drift of the machine's speed nor the place in
    the pair counts. Which of the two is compiled first changes where their results lie in memory, which can be worth a
    tenth: both orders are measured, and their geometric mean is taken. Functions of microseconds are repeated within a
    sample, and measured in more than `pairs` pairs.
    """
    cotangents = pair.cotangents(args)
    ours_first = _median_ratio(pair.ours, pair.theirs, args, cotangents, pairs)
    again = Pair.of(pair.layer, pair.reference)
    return math.sqrt(ours_first / _median_ratio(again.theirs, again.ours, args, cotangents, pairs))


def _median_ratio(one: Callable, other: Callable, args, cotangents, pairs: int) -> float:
    single = [min(_seconds(run, args, cotangents) for _ in range(4)) for run in (one, other)]
    repeats = math.ceil(SAMPLE_SECONDS / min(single))
    blocks = math.ceil(max(pairs, TOTAL_SECONDS / (repeats * sum(single))) / 4)
    order, ratios = (one, other, other, one), []
    for _ in range(blocks):
        seconds = [_seconds(run, args, cotangents, repeats) for run in order]
        ratios.append((seconds[0] + seconds[3]) / (seconds[1] + seconds[2]))
    return statistics.median(ratios)


def _seconds(run, args, cotangents, repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(run(args, cotangents))
    return time.perf_counter() - start


def bytes_ratio(layer: Callable, reference: Callable, args) -> float:
    """Bytes that the layer's forward pass keeps for its backward pass, over those that autodiff keeps."""
    ours, theirs = residual_bytes(layer, *args), residual_bytes(reference, *args)
    return ours / theirs if theirs else math.inf if ours else 1.0


def residual_bytes(function: Callable, *args) -> int:
    """Bytes of distinct arrays that the function's forward pass keeps for its backward pass.

    Arguments count, because they too must be kept alive; an array kept twice counts once.
    """
    total = 0

    def forward(*xs):
        nonlocal total
        _, vjp = jax.vjp(lambda *xs: function(*merge(args, xs)), *xs)
        kept = {id(leaf): leaf for leaf in jax.tree.leaves(vjp) if hasattr(leaf, "dtype")}
        total = sum(leaf.size * leaf.dtype.itemsize for leaf in kept.values())

    jax.eval_shape(forward, *free(args))
    return total
