"""Dynamic programming: the values of a policy and the best policy, where the rules of a world are known.

python experiments/dynamic_programming.py
python experiments/dynamic_programming.py --lake 8x8 --threshold 1e-6

The 4 x 12 cliff, by two rules: the fall ends the episode, as a table of exact values has it; or the walk goes on from
the start, as in Sutton and Barto (2018), example 6.6, and in Gymnasium's CliffWalking-v1, with whose table ours is
compared pair by pair. And FrozenLake, with the table of Gymnasium's own environment. Values are found by sweeps, in
place and not, and by one linear system; the best policy by policy iteration and by value iteration.
"""

from jaxrl.shell import signals

signals.quiet(__name__)

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import gymnasium
import jax
import numpy as np
from annotated_types import Interval

from jaxrl.agents.options import Positive, check_bounds
from jaxrl.shell import cli, files, plots, tables
from jaxrl.shell.tables import Row
from jaxrl.tabular import grids, planning, worlds
from jaxrl.tabular.worlds import World

NAME = "dynamic_programming"
START = 36  # the lower left cell; what comes after it is the cliff and the goal
LAKE_ARROWS = "←↓→↑"
EXACT_SWEEPS = {False: [60, 72, 44, 12, 1], True: [42, 72, 14, 12, 1]}  # of policy iteration, by in_place
EXACT_LAKE = {"4x4": 0.542026, "8x8": 0.414640}  # V*(start) with gamma 0.99, in float64


@dataclasses.dataclass(frozen=True)
class Config:
    """Evaluate and improve policies on the cliff and on the frozen lake, and draw their values."""

    gamma: Annotated[float, Interval(gt=0, le=1)] = 0.9
    """Discount of a step on the cliff."""
    lake_gamma: Annotated[float, Interval(gt=0, le=1)] = 0.99
    """Discount of a step on the frozen lake."""
    threshold: Positive = 1e-3
    """Sweeps end when no value changes by this much or more."""
    lake: Literal["4x4", "8x8"] = "4x4"
    """Map of the frozen lake."""
    output: Path = Path("runs/dynamic_programming")
    """Folder for dynamic_programming.json and .png; what it has of these names is replaced."""


class Solved(NamedTuple):
    """What one world gave."""

    world: World
    random: np.ndarray
    iteration: planning.Plan
    in_place: planning.Plan
    value: planning.Plan


def main(config: Config):
    """Solve all worlds; write what was found beside what is known, and draw values and policies."""
    began = time.monotonic()
    check_bounds(config)
    config.output.mkdir(parents=True, exist_ok=True)
    lake = gymnasium.make("FrozenLake-v1", map_name=config.lake).unwrapped
    with jax.enable_x64(True):  # thresholds may be small
        ends, goes_on = (solve(worlds.discounted(grids.cliff_walking(e), config.gamma), config) for e in (True, False))
        frozen = solve(worlds.discounted(worlds.from_table(lake.P), config.lake_gamma), config)
        rows = [
            Row("pairs of CliffWalking-v1 that are ours too", equal_pairs(), 4 * (START + 1), "Gymnasium's table"),
            *cliff_rows("the fall ends", ends, config, exact=True),
            *cliff_rows("the walk goes on", goes_on, config, exact=False),
            *lake_rows(frozen, config),
        ]
        print("\n".join(tables.lines(rows)))
        files.write_json(
            config.output / f"{NAME}.json", tables.result(config, rows, time.monotonic() - began, "gymnasium")
        )
        print(draw(config, ends, goes_on, frozen, lake.desc))


def solve(world: World, config: Config) -> Solved:
    """Everything that is asked of a world."""
    return Solved(
        world,
        np.asarray(planning.solve(world, worlds.uniform(world))),
        planning.policy_iteration(world, threshold=config.threshold),
        planning.policy_iteration(world, threshold=config.threshold, in_place=True),
        planning.value_iteration(world, threshold=config.threshold),
    )


def equal_pairs() -> int:
    """How many pairs of state and action, among those that can be met, do the same in Gymnasium's table and in ours."""
    table, ours = gymnasium.make("CliffWalking-v1").unwrapped.P, grids.cliff_walking(cliff_ends=False)

    def same(s, a):
        ((_, s_t, reward, terminated),) = table[s][a]
        over = ours.discount_t[s, a, 0] == 0
        return bool((ours.r_t[s, a, 0] == reward) & (over == terminated) & (over | (ours.s_t[s, a, 0] == s_t)))

    return sum(same(s, a) for s in range(START + 1) for a in range(4))


def cliff_rows(name: str, solved: Solved, config: Config, exact: bool) -> list[Row]:
    """Sweeps and values of one of the two cliffs; the exact sweeps are known for the defaults where the fall ends."""
    known = exact and (config.gamma, config.threshold) == (0.9, 1e-3)
    best = -13.0 if config.gamma == 1 else -(1 - config.gamma**13) / (1 - config.gamma)
    rows = [
        Row(f"{name}: value of the start, best policy", float(solved.value.v[START]), best, "-(1 - γ^13) / (1 - γ)")
    ]
    rows += [Row(f"{name}: value of the start, random policy", float(solved.random[START]), None, "linear system")]
    for in_place, plan in ((False, solved.iteration), (True, solved.in_place)):
        for i, sweeps in enumerate(plan.sweeps):
            exactly = EXACT_SWEEPS[in_place][i] if known and i < len(EXACT_SWEEPS[in_place]) else None
            rows.append(
                Row(
                    f"{name}: sweeps of policy {i + 1}{', in place' * in_place}",
                    sweeps,
                    exactly,
                    "exact" * known,
                )
            )
    changed = solved.value.sweeps[0] - 1
    return [
        *rows,
        Row(f"{name}: sweeps of value iteration that change a value", changed, 14 if known else None, "exact" * known),
    ]


def lake_rows(solved: Solved, config: Config) -> list[Row]:
    """The value of the first cell by three ways."""
    known = EXACT_LAKE[config.lake] if config.lake_gamma == 0.99 else None
    linear = planning.solve(solved.world, solved.iteration.policy)
    ways = {
        "policy iteration": solved.iteration.v,
        "value iteration": solved.value.v,
        "its policy, linear system": linear,
    }
    name = f"FrozenLake {config.lake}, γ {config.lake_gamma:g}"
    return [
        Row(f"{name}: value of the start, {way}", float(v[0]), known, "exact" * bool(known)) for way, v in ways.items()
    ]


def draw(config: Config, ends: Solved, goes_on: Solved, frozen: Solved, lake) -> Path:
    """Draw dynamic_programming.png: values as colours, with the number of each cell, or its best actions."""
    title = f"Values of cells: γ = {config.gamma:g} on the cliff, {config.lake_gamma:g} on the lake"
    figure, axes = plots.several(title, 3, 2, heights=[2.3, 2.1, 4.6])
    signs = np.array([list(row) for row in grids.CLIFF_WALKING])
    for column, (name, solved) in enumerate({"the fall ends": ends, "the walk goes on": goes_on}.items()):
        draw_values(axes[column], solved.random, signs, "CG", f"random policy, {name}")
        draw_best(axes[2 + column], solved.value, signs, "CG", grids.ARROWS, f"best policy, {name}")
    signs = np.array([[sign.decode() for sign in row] for row in lake])
    name = f"FrozenLake {config.lake}, slippery"
    draw_values(axes[4], frozen.random, signs, "HG", f"{name}: random policy", decimals=3)
    draw_best(axes[5], frozen.value, signs, "HG", LAKE_ARROWS, f"{name}: best policy")
    return plots.save(figure, config.output, f"{NAME}.png")


def draw_values(axes, v, signs, ends: str, title: str, decimals: int = 0):
    """The value of each cell; those in which nobody acts have their signs."""
    words = [[f"{value:.{decimals}f}" for value in row] for row in np.reshape(v, signs.shape)]
    draw_cells(axes, v, words, signs, ends, title)


def draw_best(axes, plan: planning.Plan, signs, ends: str, order: str, title: str):
    """The best actions of each cell."""
    draw_cells(axes, plan.v, grids.arrows(plan.policy, signs.shape, order), signs, ends, title)


def draw_cells(axes, v, words, signs, ends: str, title: str):
    nowhere = np.isin(signs, list(ends))
    words = np.where(nowhere, signs, np.array(words, dtype=object))
    plots.draw_grid(axes, np.where(nowhere, np.nan, np.reshape(v, signs.shape)).tolist(), words.tolist(), title)


if __name__ == "__main__":
    cli.run(main, Config)
