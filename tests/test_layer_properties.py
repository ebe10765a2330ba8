"""Layers at drawn shapes against autodiff of the reference: value and every cotangent, in float64.

`make test` draws 600 cases, the same ones every time. More, with what was found written down:

    python tests/test_layer_properties.py --cases 20000 --output results/layer_properties.json
"""

import argparse
import itertools
import math
import multiprocessing
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from jaxrl import audit
from jaxrl.audit.cases import pair
from jaxrl.audit.gradients import QUICK, Pair, distances
from jaxrl.layers.checks import pads_of
from jaxrl.shell import files, provenance
from jaxrl.shell.metrics import Progress

BOUND = 1e-10
CASES = 600
AT_ONCE = 400  # cases that one process does of a larger number
AT_LEAST = 100  # those drawn first are much alike whatever the seed, so fewer may bring nothing new
TOGETHER = 10  # cases in one compiled program: compiling is what takes the time
# The integers in capitals at the head of conv_choice.py choose between forms by shape. With each of them as it
# stands, or so small or so large that it decides alone, small shapes meet every form.
FORMS = [module for name, module in sys.modules.items() if name.startswith("jaxrl.layers.conv")]
THRESHOLDS = {
    name: (module, value)
    for module in FORMS
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, int)
}


# XLA's simplifier ends the process (jaxlib 0.10, CPU) on the float64 input gradient of a few grouped convolutions,
# derived or by autodiff, as of one 1x6x6x8 > 4, 2x4 kernel, stride (2, 4), padding (1, 2), 2 groups.
COMPILER_OPTIONS = QUICK | {"xla_disable_hlo_passes": "algsimp"}


class Case(NamedTuple):
    """A layer with its settings, and the shapes of its arguments.

    Attributes:
      name: that of the layer.
      arrays: for each argument its shape and the kind of its entries, or None.
      settings: keyword arguments that are no arrays.
      thresholds: what `THRESHOLDS` are set to.
    """

    name: str
    arrays: list
    settings: dict
    thresholds: dict

    @property
    def shape(self) -> str:
        """What makes it another case: the choice of a form does not."""
        return f"{self.name} {self.arrays} {self.settings}"

    def pair(self):
        """The layer and its reference."""
        layer, plain = pair(self.name, self.settings)
        return Pair.of(layer, partial(by_taps, **self.settings) if self.name == "conv2d" else plain)

    def args(self):
        """The arguments: the same values every time."""
        rng = np.random.default_rng(0)
        return audit.cast([None if a is None else entries(rng, *a) for a in self.arrays], np.float64)


def by_taps(x, w, b, stride, padding, dilation, groups):
    """The convolution as a sum over its taps, whose autodiff has none: over that XLA:CPU may end the process."""
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, w.shape, strict=False))
    x = jnp.pad(x, ((0, 0), *pads_of(padding, x.shape[1:3], reach, stride), (0, 0)))
    rows, cols = ((n - r) // s + 1 for n, r, s in zip(x.shape[1:3], reach, stride, strict=True))
    high, wide = (s * (n - 1) + 1 for s, n in zip(stride, (rows, cols), strict=True))
    y = 0
    for i, j in itertools.product(range(w.shape[0]), range(w.shape[1])):
        top, left = i * dilation[0], j * dilation[1]
        seen = x[
            :, top : top + stride[0] * (rows - 1) + 1 : stride[0], left : left + stride[1] * (cols - 1) + 1 : stride[1]
        ]
        parts = zip(jnp.split(seen, groups, -1), jnp.split(w[i, j], groups, -1), strict=True)
        y = y + jnp.concatenate([part @ kernel for part, kernel in parts], -1)
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def entries(rng, shape, kind):
    """Values of a kind; "ties" are whole; "ids V" go from −V to V + 1, so that the last two are beyond the table.

    A single id stays within it: beyond it JAX takes another gradient than for an array of ids.
    """
    if kind.startswith("ids"):
        rows = int(kind.removeprefix("ids "))
        return rng.integers(-rows, rows + 2 if shape else rows, shape)
    if kind == "flags":
        return rng.random(shape) < 0.3
    normal = rng.normal(size=shape)
    return {"normal": normal, "ties": np.round(normal), "positive": 0.5 + normal**2}[kind]


def normal(*shape):
    return shape, "normal"


def up_to(most, least=1):
    return st.integers(least, most)


def twice(strategy):
    """One for the rows, one for the columns."""
    return st.tuples(strategy, strategy)


def paddings(most):
    """Padding of at most (rows, columns), in one of its forms."""
    each = [st.integers(0, n) for n in most]
    named = st.sampled_from(["SAME", "VALID"])
    return st.one_of(st.tuples(*map(twice, each)), st.tuples(*each), st.integers(0, min(most)), named)


def added(padding):
    """How many rows and columns a padding adds, at least."""
    if isinstance(padding, str):
        return 0, 0
    each = (padding, padding) if isinstance(padding, int) else padding
    return tuple(2 * p if isinstance(p, int) else sum(p) for p in each)


def size_for(reach, padding):
    """Sizes of an image with room for a kernel that reaches over so much; with "SAME" any image has."""
    least = (1, 1) if padding == "SAME" else (max(r - a, 1) for r, a in zip(reach, added(padding), strict=True))
    return st.tuples(*(st.integers(n, n + 6) for n in least))


@st.composite
def kernels(draw):
    """Groups, input and output channels, sizes of the kernel, and the settings that both convolutions have."""
    groups, size = draw(st.sampled_from([1, 1, 2, 3])), draw(twice(up_to(4)))
    inputs, outputs = (groups * n for n in draw(twice(up_to(4))))
    spacing = {"stride": draw(twice(up_to(4))), "dilation": draw(st.one_of(st.just((1, 1)), twice(up_to(3))))}
    reach = tuple(d * (k - 1) + 1 for d, k in zip(spacing["dilation"], size, strict=True))
    return groups, inputs, outputs, size, reach, spacing


def bias(outputs):
    return st.sampled_from([normal(outputs), None])


@st.composite
def conv2d(draw):
    groups, inputs, outputs, kernel, reach, spacing = draw(kernels())
    padding = draw(paddings((3, 3)))
    x = normal(draw(up_to(3, 0)), *draw(size_for(reach, padding)), inputs)
    arrays = [x, normal(*kernel, inputs // groups, outputs), draw(bias(outputs))]
    return arrays, {**spacing, "padding": padding, "groups": groups}


@st.composite
def conv_transpose2d(draw):
    groups, inputs, outputs, kernel, reach, spacing = draw(kernels())
    size, extra = draw(twice(up_to(5))), tuple(draw(up_to(s - 1, 0)) for s in spacing["stride"])
    most = [(s * (n - 1) + r + e - 1) // 2 for s, n, r, e in zip(spacing["stride"], size, reach, extra, strict=True)]
    padding = draw(paddings([min(m, 3) for m in most]))
    arrays = [normal(draw(up_to(3, 0)), *size, inputs), normal(*kernel, outputs // groups, inputs), draw(bias(outputs))]
    return arrays, {**spacing, "padding": padding, "groups": groups, "output_padding": extra}


@st.composite
def pool2d(draw):
    window, stride = draw(twice(up_to(4))), draw(st.one_of(twice(up_to(5)), st.none()))
    padding = draw(paddings([k - 1 for k in window]))
    x = draw(up_to(3, 0)), *draw(size_for(window, padding)), draw(up_to(3))
    return [(x, draw(st.sampled_from(["normal", "ties"])))], {"window": window, "stride": stride, "padding": padding}


rows = st.lists(st.integers(0, 4), max_size=3)


@st.composite
def linear(draw):
    inputs, outputs = draw(twice(up_to(9)))
    return [normal(*draw(rows), inputs), normal(inputs, outputs), draw(bias(outputs))], {}


@st.composite
def softmax(draw):
    shape = draw(st.lists(up_to(6), min_size=1, max_size=4))
    return [normal(*shape)], {"axis": draw(st.integers(-len(shape), len(shape) - 1))}


@st.composite
def layer_norm(draw):
    width = draw(up_to(9))
    return [normal(*draw(rows), width), normal(width), normal(width)], {"epsilon": draw(st.sampled_from([1e-3, 1.0]))}


@st.composite
def batch_norm(draw):
    arrays, options = draw(layer_norm())
    width = arrays[1][0]
    options = {**options, "training": draw(st.booleans()), "momentum": draw(st.sampled_from([0.9, 0.3]))}
    return [*arrays, normal(*width), (width, "positive")], options


@st.composite
def recurrent(draw, gates, states):
    steps, inputs, hidden, batch = draw(up_to(5)), draw(up_to(5)), draw(up_to(5)), draw(up_to(3, 0))
    weights = normal(inputs, gates * hidden), normal(hidden, gates * hidden), normal(gates * hidden)
    own_bias = [normal(hidden)] if gates == 3 else []
    reset = draw(st.sampled_from([((steps, batch), "flags"), None]))
    return [normal(steps, batch, inputs), *[normal(batch, hidden)] * states, *weights, *own_bias, reset], {}


@st.composite
def embedding(draw):
    size = draw(up_to(7))
    return [(tuple(draw(rows)), f"ids {size}"), normal(size, draw(up_to(5, 0)))], {}


@st.composite
def dueling(draw):
    shape, kind = tuple(draw(rows)), draw(st.sampled_from(["normal", "ties"]))
    return [normal(*shape), ((*shape, draw(up_to(6))), kind)], {"combine": draw(st.sampled_from(["mean", "max"]))}


DRAWN = {  # of a hundred cases so many, and what they are drawn from
    "conv2d": (30, conv2d()), "conv_transpose2d": (18, conv_transpose2d()), "max_pool2d": (12, pool2d()),
    "avg_pool2d": (8, pool2d()), "linear": (4, linear()), "softmax": (3, softmax()), "log_softmax": (3, softmax()),
    "layer_norm": (4, layer_norm()), "batch_norm": (4, batch_norm()), "lstm": (3, recurrent(4, 2)),
    "gru": (3, recurrent(3, 1)), "embedding": (5, embedding()), "dueling": (3, dueling()),
}  # fmt: skip


@st.composite
def cases(draw, name):
    arrays, options = draw(DRAWN[name][1])
    thresholds = THRESHOLDS if name.startswith("conv") else {}
    tried = {key: draw(st.sampled_from([value, 1, 10**9])) for key, (_, value) in thresholds.items()}
    return Case(name, arrays, options, tried)


def worst_errors(chosen) -> list[float]:
    """The largest error of each case, of all of them compiled as one program."""
    with jax.enable_x64(True):
        pairs, args = [case.pair() for case in chosen], [case.args() for case in chosen]
        cotangents = [pair.cotangents(a) for pair, a in zip(pairs, args, strict=True)]

        def program(args, cotangents):
            found = []
            for case, pair, *of_case in zip(chosen, pairs, args, cotangents, strict=True):
                with pytest.MonkeyPatch.context() as patch:
                    for key, value in case.thresholds.items():
                        patch.setattr(THRESHOLDS[key][0], key, value)
                    found.append((pair.ours(*of_case), pair.theirs(*of_case)))
            return found

        results = compiled(jax.jit(program).lower(args, cotangents))(args, cotangents)
    return [float(np.max(distances(*both), initial=0)) for both in results]


def compiled(lowered):
    """In half the time where XLA's old emitters (jaxlib 0.10, CPU) can do all of it: they cannot pad by less than 0."""
    try:
        return lowered.compile(COMPILER_OPTIONS | {"xla_cpu_use_fusion_emitters": False})
    except jax.errors.JaxRuntimeError as error:
        if "negative padding" not in str(error):
            raise
        return lowered.compile(COMPILER_OPTIONS)


class Findings:
    """What was found in the cases of one layer."""

    def __init__(self, name: str):
        self.name, self.seen, self.wrong = name, set(), []
        self.worst_error, self.worst_case = 0.0, None

    def check(self, chosen):
        """Add some cases."""
        for case, error in zip(chosen, worst_errors(chosen), strict=True):
            self.seen.add(case.shape)
            if not error <= self.worst_error:
                self.worst_error, self.worst_case = error, str(case)
            if not error <= BOUND:
                self.wrong.append(f"{case}: {error:.1e}")

    def add(self, other):
        """Add what was found elsewhere for the same layer."""
        self.seen |= other.seen
        self.wrong += other.wrong
        if not other.worst_error <= self.worst_error:
            self.worst_error, self.worst_case = other.worst_error, other.worst_case

    def smallest(self) -> str:
        """A wrong case that is as small as hypothesis can make it; the first one where it finds none again."""
        wrong = lambda case: not worst_errors([case])[0] <= BOUND  # noqa: E731
        try:
            return str(hypothesis.find(cases(self.name), wrong, settings=quiet(500), random=random.Random(0)))
        except hypothesis.errors.NoSuchExample:
            return self.wrong[0]


def quiet(examples: int):
    """Hypothesis's settings: nothing is kept from run to run, and compiling may take its time."""
    suppressed = list(hypothesis.HealthCheck)
    return hypothesis.settings(max_examples=examples, deadline=None, database=None, suppress_health_check=suppressed)


def examine(name: str, count: int, seed: int) -> Findings:
    """Draw at least `count` different cases of a layer, the same ones for the same seed."""
    findings = Findings(name)

    def check(chosen):
        new = [case for case in chosen if case.shape not in findings.seen]
        if new and len(findings.seen) < count:
            findings.check(new)

    together = st.lists(cases(name), min_size=TOGETHER, max_size=TOGETHER, unique_by=lambda case: case.shape)
    for attempt in itertools.count():
        missing = min(count - len(findings.seen), 1000)
        if missing <= 0:
            return findings
        run = quiet(math.ceil(missing / TOGETHER) + 3)(hypothesis.given(together)(check))  # the first are often alike
        hypothesis.seed(seed * 1000 + attempt)(run)()


def share(name: str, count: int) -> int:
    """How many of so many cases a layer gets."""
    return math.ceil(count * DRAWN[name][0] / sum(each for each, _ in DRAWN.values()))


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_shapes(name):
    findings = examine(name, share(name, CASES), seed=0)
    assert not findings.wrong, f"{len(findings.wrong)} of {len(findings.seen)} are wrong, as {findings.smallest()}"
    assert len(findings.seen) >= share(name, CASES)


def test_every_form_and_at_least_500_cases_are_drawn():
    assert CASES >= 500 and DRAWN.keys() <= {case.name for case in audit.cases()}
    assert THRESHOLDS, "no threshold found in " + ", ".join(module.__name__ for module in FORMS)


def parts(cases: dict[str, int], seed: int):
    """(name, how many, seed) of parts of the work that processes of their own can do, in `AT_ONCE` cases or fewer."""
    for name, count in cases.items():
        for part, first in enumerate(range(0, count, AT_ONCE)):
            yield name, min(AT_ONCE, max(AT_LEAST, count - first)), 100 * seed + part


def test_a_few_missing_cases_are_drawn_among_many():
    """Else a long run would draw the same first ones for ever."""
    assert list(parts({"linear": 3, "lstm": 0, "gru": 450}, 7)) == [
        ("linear", AT_LEAST, 700), ("gru", AT_ONCE, 700), ("gru", AT_LEAST, 701)]  # fmt: skip


def main() -> int:
    """Draw many cases, and write down how many and how far off; the exit code is 1 when one is over the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000, help="how many, over all layers (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn (default: 1)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for what was found")
    options = parser.parse_args()
    start, done = time.monotonic(), {name: Findings(name) for name in DRAWN}
    workers = ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with workers, Progress(sum(share(name, options.cases) for name in DRAWN), unit="cases") as progress:
        for seed in itertools.count(10 * options.seed):  # parts draw some cases that others drew: these are drawn again
            missing = {name: share(name, options.cases) - len(done[name].seen) for name in DRAWN}
            if max(missing.values()) <= 0:
                break
            for findings in workers.map(examine, *zip(*parts(missing, seed), strict=True)):
                done[findings.name].add(findings)
                progress.show(sum(len(each.seen) for each in done.values()), findings.name)
    done = done.values()
    summary = {
        "cases": sum(len(each.seen) for each in done),
        "worst_error": max(each.worst_error for each in done),
        "bound": BOUND,
        "wrong": [text for each in done for text in each.wrong],
        "layers": {
            each.name: {"cases": len(each.seen), "worst_error": each.worst_error, "worst_case": each.worst_case}
            for each in done
        },
        "seed": options.seed,
        "command": " ".join(["python", *sys.argv]),
        "minutes": round((time.monotonic() - start) / 60, 1),
        **provenance.measured_on("numpy", "hypothesis"),
    }
    files.write_json(options.output, summary)
    print(f"{summary['cases']:,} cases, worst error {summary['worst_error']:.1e}, {len(summary['wrong'])} over {BOUND}")
    return 1 if summary["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
