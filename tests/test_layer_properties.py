"""Layers and losses at drawn shapes, entries, types and transformations, against autodiff of their references.

A case is a layer, the shapes of its arguments, its settings and the kinds of its entries (`layer_cases.py`), in one of
`WAYS`: a type, the first or second order, and a transformation. What is right is said in `layer_agreement.py`.
`make test` draws 600 cases, the same ones every time. More, with what was found written down:

    python tests/test_layer_properties.py --cases 20000 --output results/layer_properties.json

This can be interrupted: called again it goes on from the parts that are done.
"""

import argparse
import collections
import hashlib
import itertools
import json
import math
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
from layer_agreement import ENTRIES, judge, judgements
from layer_cases import DRAWN, FORMS, THRESHOLDS, cases
from layer_ways import WAYS, Way

from jaxrl import audit
from jaxrl.shell import files, provenance
from jaxrl.shell.metrics import Progress

CASES = 600
AT_ONCE = 120  # cases that one process does of a larger number
FOLDER = Path("runs/layer_properties")


class Findings:
    """What was found in the cases of one layer."""

    def __init__(self, name: str, seen=(), ways=(), wrong=(), held=0, entries=0, worst=(0.0, None)):
        self.name, self.seen, self.ways, self.wrong = name, set(seen), collections.Counter(ways), list(wrong)
        self.held, self.entries, self.worst = held, entries, (float(worst[0]), worst[1])  # of a file, "inf"

    def check(self, way: Way, case):
        """Add a layer with all its kinds of entries."""
        name = " ".join(map(str, way))
        try:
            judged = judgements(way, case)
        except Exception as error:  # one that raises is found, and not the end of a long run
            self.wrong.append(f"{case.structure} {name} {case.thresholds}: {type(error).__name__}: {str(error)[:300]}")
            return
        for kinds, found in judged.items():
            text = f"{case.structure} {kinds} {name}"
            self.seen.add(hashlib.sha1(text.encode()).hexdigest()[:12])
            self.ways[name] += 1
            self.held, self.entries = self.held + found.held, self.entries + found.entries
            if not found.excess <= 1:
                self.wrong.append(f"{text} {case.thresholds}: {found.excess:.1e} times its bound, {found.text}")
            self.worst = max(self.worst, (found.excess, text), key=lambda worst: worst[0])

    def add(self, other):
        """Add what was found elsewhere for the same layer."""
        self.seen |= other.seen
        self.ways += other.ways
        self.wrong += other.wrong
        self.held, self.entries = self.held + other.held, self.entries + other.entries
        self.worst = max(self.worst, other.worst, key=lambda worst: worst[0])

    def row(self) -> dict:
        """As it is written down."""
        return {**vars(self), "seen": sorted(self.seen)}


def quiet(examples: int):
    """Hypothesis's settings: nothing is kept from run to run, and compiling may take its time."""
    suppressed = list(hypothesis.HealthCheck)
    return hypothesis.settings(max_examples=examples, deadline=None, database=None, suppress_health_check=suppressed)


def way_of(name: str, number: int) -> Way:
    """The way of a layer's program of this number: programs that follow each other meet all of them."""
    return WAYS[(5 * list(DRAWN).index(name) + 17 * number) % len(WAYS)]


def drawn(name: str, count: int, seed: int) -> list:
    """So many layers or fewer, the same ones for the same seed; hypothesis draws each with its neighbours."""
    found = {}
    draw = quiet(5 * count)(hypothesis.given(cases(name))(lambda case: found.update({case.structure: case})))
    hypothesis.seed(seed)(draw)()
    return random.Random(seed).sample(list(found.values()), min(count, len(found)))


def examine(name: str, programs: range, seed: int, now=lambda text: None) -> Findings:
    """Draw layers for programs of these numbers; `now` is told what is tried."""
    findings = Findings(name)
    layers = itertools.chain.from_iterable(drawn(name, len(programs), 1000 * seed + i) for i in itertools.count())
    for number, case in zip(programs, layers, strict=False):
        way = way_of(name, number)
        now(f"{way} {case}")
        findings.check(way, case)
    return findings


def share(name: str, count: int) -> int:
    """How many of so many cases a layer gets, in whole programs."""
    part = count * DRAWN[name][0] / sum(each for each, _ in DRAWN.values())
    return math.ceil(part / ENTRIES) * ENTRIES


def programs(name: str, count: int) -> range:
    """The numbers of the programs for so many cases of all layers."""
    return range(share(name, count) // ENTRIES)


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_cases(name):
    findings = examine(name, programs(name, CASES), seed=0)
    assert not findings.wrong, f"{len(findings.wrong)} of {len(findings.seen)} are wrong:\n" + "\n".join(findings.wrong)
    assert findings.held >= 0.4 * findings.entries, f"{findings.held} of {findings.entries} entries are held to a bound"


def test_all_layers_and_losses_are_drawn_in_all_ways():
    assert DRAWN.keys() == {case.name for case in audit.cases()}
    assert sum(share(name, CASES) for name in DRAWN) >= 600
    assert {way_of(name, number) for name in DRAWN for number in programs(name, CASES)} == set(WAYS)
    for name in DRAWN:
        assert {way_of(name, number) for number in range(len(WAYS))} == set(WAYS)
    assert THRESHOLDS, "no threshold found in " + ", ".join(module.__name__ for module in FORMS)


WAY = Way("float32", 1, "jit")
LEAVES = {  # what the layer gives, autodiff in float32, the truth, and whether that is right
    "right": ([1, 2], [1, 2], [1, 2], True),
    "as wrong as autodiff": ([1.0019, 2], [1.001, 2], [1, 2], True),
    "more wrong than autodiff": ([1.003, 2], [1.001, 2], [1, 2], False),
    "NaN for a number": ([np.nan, 2], [1, 2], [1, 2], False),
    "NaN where autodiff has one": ([np.nan, 2], [np.nan, 2], [1, 2], True),
    "another number where autodiff has NaN": ([3, 2], [np.nan, 2], [1, 2], False),
    "infinite": ([np.inf, 2], [np.inf, 2], [np.inf, 2], True),
    "infinite with the other sign": ([-np.inf, 2], [np.inf, 2], [np.inf, 2], False),
    "a number for infinity": ([1, 2], [np.inf, 2], [np.inf, 2], False),
    "too large for the type": ([np.inf, 2], [np.inf, 2], [1e60, 2], True),
    "anything for NaN": ([5, 2], [np.nan, 2], [np.nan, 2], True),
}  # fmt: skip


@pytest.mark.parametrize(("got", "usual", "truth", "right"), LEAVES.values(), ids=LEAVES)
def test_what_is_right(got, usual, truth, right):
    leaf = np.array(got, np.float32), np.array(usual, np.float32), np.array(truth, np.float64)
    assert (judge(WAY, True, 1, *leaf, leaf[-1], np.zeros(2, bool)).excess <= 1) == right
    assert judge(WAY._replace(dtype="bfloat16"), True, 1, *leaf, leaf[-1], np.zeros(2, bool)).excess == np.inf


def test_where_rounding_the_arguments_moves_the_truth_no_digits_are_asked_for():
    leaf = np.float32([1.01]), np.float32([1.0]), np.ones(1), np.full(1, 1.02), np.zeros(1, bool)
    assert judge(WAY, True, 1, *leaf).excess < 1


def part(name: str, number: int, seed: int, folder: Path):
    """What one process does of a larger number: the findings are a file, and so is what is being tried."""
    jax.config.update("jax_num_cpu_devices", 2)
    each, now = AT_ONCE // ENTRIES, folder / f"{name}-{number}.now"
    numbers = range(number * each, (number + 1) * each)
    findings = examine(name, numbers, 1 + seed * 10_000 + number, now.write_text)
    files.write_json(folder / f"{name}-{number}.json", findings.row())
    now.unlink()


def found(name: str, number: int, seed: int, folder: Path) -> Findings:
    """The findings of a part, which is done by a process unless it was before. One that dies is a finding too."""
    path = folder / f"{name}-{number}.json"
    if not path.exists():
        command = [sys.executable, __file__, "--seed", str(seed), "--folder", str(folder), "--part", name, str(number)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode < 0:
            trying = path.with_suffix(".now").read_text()
            wrong = [f"the process ends with signal {-done.returncode} at {trying}"]
            files.write_json(path, Findings(name, wrong=wrong).row())
        elif done.returncode:
            raise RuntimeError(done.stderr)
    return Findings(**json.loads(path.read_text()))


def missing(done: dict[str, Findings], count: int, begun: dict[str, int]):
    """(name, number) of the parts still to be done, where each layer is to have its share of different cases."""
    for name, findings in done.items():
        parts = math.ceil((share(name, count) - len(findings.seen)) / AT_ONCE)
        yield from ((name, begun[name] + i) for i in range(parts))


def test_what_is_missing_is_drawn_in_further_parts():
    name = "conv2d"
    done = {name: Findings(name, seen=map(str, range(share(name, 20_000) - AT_ONCE - 1)))}
    assert list(missing(done, 20_000, {name: 7})) == [(name, 7), (name, 8)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000, help="how many, over all layers (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn (default: 1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many at a time (default: all cores)")
    parser.add_argument("--folder", type=Path, help=f"of the parts that are done (default: {FOLDER}/COMMIT-SEED)")
    parser.add_argument("--part", nargs=2, metavar=("LAYER", "NUMBER"), help="do one part, and no more")
    parser.add_argument("--output", type=Path, help="JSON file for what was found")
    options = parser.parse_args()
    folder = options.folder or FOLDER / f"{provenance.commit()}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    if options.part:
        part(options.part[0], int(options.part[1]), options.seed, folder)
        return 0
    start, done = time.monotonic(), {name: Findings(name) for name in DRAWN}
    begun = dict.fromkeys(DRAWN, 0)
    total = sum(share(name, options.cases) for name in DRAWN)
    with ThreadPoolExecutor(options.processes) as pool, Progress(total, unit="cases") as progress:
        while parts := list(missing(done, options.cases, begun)):
            for findings in pool.map(lambda each: found(*each, options.seed, folder), parts):
                done[findings.name].add(findings)
                wrong = sum(len(each.wrong) for each in done.values())
                progress.show(sum(len(each.seen) for each in done.values()), f"{findings.name}, {wrong} wrong")
            for name, _ in parts:
                begun[name] += 1
    summary = summed(done.values())
    if options.output:
        about = {"seed": options.seed, "command": " ".join(["python", *sys.argv])}
        about["minutes"] = round((time.monotonic() - start) / 60, 1)
        files.write_json(options.output, summary | about | provenance.measured_on("numpy", "hypothesis"))
    print(f"{summary['cases']:,} cases, {len(summary['wrong'])} of them wrong")
    return 1 if summary["wrong"] else 0


def summed(done) -> dict:
    """What is written down in the end."""
    places = [collections.Counter() for _ in range(3)]
    for way, count in sum((each.ways for each in done), collections.Counter()).items():
        for place, word in zip(places, way.split(" ", 2), strict=True):
            place[word] += count
    return {
        "cases": sum(len(each.seen) for each in done),
        "wrong": [text for each in done for text in each.wrong],
        "entries_held_to_a_bound": sum(each.held for each in done),
        "entries": sum(each.entries for each in done),
        **dict(zip(("types", "orders", "transformations"), places, strict=True)),
        "layers": {
            each.name: {
                "cases": len(each.seen),
                "held": round(each.held / max(each.entries, 1), 3),
                "worst_error_over_its_bound": each.worst[0],
                "worst_case": each.worst[1],
            }
            for each in done
        },
    }


if __name__ == "__main__":
    sys.exit(main())
