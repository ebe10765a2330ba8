"""Temporal differences: values learnt from values, and the examples of the book that show when it helps.

python experiments/temporal_difference.py
python experiments/temporal_difference.py --examples cliff --runs 500 --step-size 0.1

The examples of Sutton and Barto, "Reinforcement learning: an introduction" (2018):

    walk        n-step TD, TD(λ) and the offline λ-return on 19 states: figures 7.2, 12.3 and 12.6
    groups      gradient Monte Carlo and semi-gradient TD(0) on 1,000 states in 10 groups: figures 9.1 and 9.2
    cliff       Sarsa, expected Sarsa, Q-learning, double Q-learning, n-step Sarsa and Dyna-Q: example 6.6
    bias        Q-learning and double Q-learning where the greatest of many noisy values is too high: figure 6.5
    maze        Dyna-Q with 0, 5 and 50 planned updates a step: figure 8.2
"""

from jaxrl.shell import signals

signals.quiet(__name__)

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.agents.options import Count, Fraction, Natural, check_bounds
from jaxrl.shell import cli, files, plots, tables
from jaxrl.shell.metrics import Progress
from jaxrl.shell.tables import Row
from jaxrl.tabular import fixed_points, grids, learning, planning, prediction, worlds
from jaxrl.tabular.learning import METHODS, Rates

NAME = "temporal_difference"
MOST_RUNS = 10_000
ALPHAS = tuple(round(0.05 * i, 2) for i in range(1, 21))
STEPS, LAMBDAS = (1, 2, 4, 8, 16, 32), (0.0, 0.4, 0.8, 0.9, 0.95, 0.99)
EPISODES = 10  # of the walk of 19 states
SIZES = {"Monte Carlo": 2e-5, "TD(0)": 2e-4}  # step sizes of S&B figures 9.1 and 9.2
STREAMS = 100  # in which the episodes of the 1,000 states are recorded
METHODS_ON_CLIFF = METHODS | {
    "4-step Sarsa": METHODS["Sarsa"]._replace(n=4),
    "Dyna-Q, 5 planned": METHODS["Q-learning"]._replace(planning=5),
}
OF_THE_BOOK = {"Sarsa": -25, "Q-learning": -50}  # read off the figure of example 6.6
PLANNED = (0, 5, 50)
SHORTEST = {"cliff": 13, "maze": 14}
MOST = 200_000  # steps of a run


@dataclasses.dataclass(frozen=True)
class Config:
    """Learn values from experience, in tables, by the methods and on the examples of the book."""

    examples: tuple[Literal["walk", "groups", "cliff", "bias", "maze"], ...] = (
        "walk",
        "groups",
        "cliff",
        "bias",
        "maze",
    )
    """Which examples to run."""
    runs: Annotated[int, Interval(gt=0, le=MOST_RUNS)] = 100
    """Runs of each method and setting on the walk of 19 states, on the cliff and, at most 30, in the maze."""
    bias_runs: Annotated[int, Interval(gt=0, le=MOST_RUNS)] = 2000
    """Runs of both methods on the example of the maximisation bias."""
    groups_episodes: Count = 100_000
    """Episodes on the walk of 1,000 states."""
    cliff_episodes: Annotated[int, Interval(ge=100, le=100_000)] = 500
    """Episodes of a run on the cliff; the last hundred are averaged."""
    cliff_ends: bool = False
    """A fall ends the episode. By default the walk goes on from the start, as in the book and in Gymnasium."""
    step_size: Annotated[float, Interval(gt=0, le=1)] = 0.5
    """Step size on the cliff."""
    epsilon: Fraction = 0.1
    """Exploration on the cliff."""
    gamma: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Discount of a step on the cliff."""
    seed: Natural = 0
    """Seed of all experience; the same seed gives the same numbers."""
    output: Path = Path("runs/temporal_difference")
    """Folder for temporal_difference.json and .png; what it has of these names is replaced."""


def main(config: Config):
    """Run the examples; write what was found beside what the book has, and draw it."""
    began = time.monotonic()
    check(config)
    config.output.mkdir(parents=True, exist_ok=True)
    rows, drawings = [], []
    with Progress(len(config.examples), unit="examples") as progress:
        for done, name in enumerate(config.examples):
            progress.show(done, name)
            found, draw = run(name, config)
            progress.note("\n".join(tables.lines(found)))
            rows, drawings = [*rows, *found], [*drawings, *draw]
        progress.show(len(config.examples))
    files.write_json(config.output / f"{NAME}.json", tables.result(config, rows, time.monotonic() - began))
    print(draw_all(config, drawings))


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    check_bounds(config)
    if not config.examples:
        raise ValueError("--examples takes one or more names; got none.")
    if len(set(config.examples)) < len(config.examples):
        raise ValueError(f"--examples must differ; got {' '.join(config.examples)}.")
    if config.groups_episodes % STREAMS or config.groups_episodes > 10**6:
        raise ValueError(
            f"--groups-episodes must be a multiple of {STREAMS}, at most 1,000,000; got {config.groups_episodes}."
        )


def run(name: str, config: Config):
    """An example by its name: its rows, and functions that draw a panel each."""
    examples = {"walk": walk, "groups": groups, "cliff": cliff, "bias": bias, "maze": maze}
    number = tuple(examples).index(name)
    return examples[name](config, jax.random.fold_in(jax.random.key(config.seed), number))


# --- 19 states


def walk(config: Config, key):
    """The error of three methods over the first ten episodes, against α, for each n or λ."""
    world = worlds.walk(19)
    policy = worlds.uniform(world)
    v, start, x = planning.solve(world, policy), jnp.zeros(19), jnp.eye(19)
    seen = prediction.record(world, policy, key, config.runs, EPISODES, 5000)

    def error(w):
        return prediction.rms(w, x, v)

    def at_ends(errors, one):
        return jnp.sum(jnp.where(one.valid & (one.discount_t == 0), errors, 0.0)) / EPISODES

    def n_step(alpha, _, both):
        one, ahead = both
        return at_ends(prediction.semi_gradient(start, x, ahead, alpha, keep=error)[1], one)

    def traces(alpha, lambda_, one):
        return at_ends(prediction.td_lambda(start, x, one, alpha, lambda_, keep=error)[1], one)

    def offline(alpha, lambda_, one):
        return error(prediction.lambda_return(start, x, one, alpha, lambda_)[1]).mean()

    windows = {n: (seen, jax.lax.map(partial(prediction.n_steps, n=n), seen)) for n in STEPS}
    errors = {
        "n-step TD": mean_errors(n_step, windows),
        "TD(λ)": mean_errors(traces, dict.fromkeys(LAMBDAS, seen)),
        "offline λ-return": mean_errors(offline, dict.fromkeys(LAMBDAS, prediction.apart(seen))),
    }
    known = {
        "n-step TD": ("n", 4, "S&B 7.2"),
        "TD(λ)": ("λ", 0.8, "S&B 12.6"),
        "offline λ-return": ("λ", 0.8, "S&B 12.3"),
    }
    rows = []
    for name, curves in errors.items():
        letter, best, source = known[name]
        found = min(curves, key=lambda one: np.nanmin(curves[one]))
        rows.append(Row(f"19 states, {name}: best {letter}", found, best, source))
        rows.append(Row(f"19 states, {name}: its error", float(np.nanmin(curves[found])), 0.25, source))
        rows.append(Row(f"19 states, {name}: its α", ALPHAS[int(np.nanargmin(curves[found]))], None))
    draws = [partial(draw_errors, name=name, letter=known[name][0], curves=curves) for name, curves in errors.items()]
    return rows, draws


def mean_errors(error, settings: dict) -> dict:
    """For each n or λ, with what is learnt from, the mean over streams of `error(α, n or λ, stream)`, one an α."""
    of_all = jax.jit(jax.vmap(jax.vmap(error, (None, None, 0)), (0, None, None)))
    return {one: np.asarray(of_all(jnp.array(ALPHAS), one, seen)).mean(1) for one, seen in settings.items()}


def draw_errors(axes, name: str, letter: str, curves: dict):
    """Error against α, a curve for each n or λ."""
    for one, errors in curves.items():
        axes.plot(ALPHAS, errors, marker=".", linewidth=1, label=f"{letter} = {one:g}")
    axes.set(xlabel="step size α", ylabel="error, first 10 episodes", ylim=(0.22, 0.7), title=f"19 states: {name}")
    axes.legend(framealpha=1, edgecolor="white", fontsize=8, ncols=3, loc="upper right")


# --- 1,000 states in 10 groups


def groups(config: Config, key):
    """Weights after all episodes, beside their exact limits."""
    world = worlds.walk(1000, 100)
    policy, x = worlds.uniform(world), fixed_points.groups(1000, 10)
    v, mu = planning.solve(world, policy), fixed_points.on_policy(world, policy)
    limits = {"Monte Carlo": fixed_points.monte_carlo(x, v, mu), "TD(0)": fixed_points.td(x, world, policy, mu)}
    learnt = learn_groups(config, world, policy, x, key)
    known = {"Monte Carlo": 0.0544, "TD(0)": 0.1167}
    rows = []
    for name, w in learnt.items():
        rows += [
            Row(
                f"1,000 states, {name}: error of the exact limit",
                error_of(limits[name], x, v, mu),
                known[name],
                "exact",
            ),
            Row(f"1,000 states, {name}: error of what was learnt", error_of(w, x, v, mu), known[name], "S&B 9.1, 9.2"),
            Row(f"1,000 states, {name}: weights off by at most", float(np.abs(w - limits[name]).max()), 0, "its limit"),
        ]
    return rows, [partial(draw_groups, v=np.asarray(v), x=np.asarray(x), learnt=learnt, limits=limits)]


def learn_groups(config: Config, world, policy, x, key) -> dict:
    """The weights of both methods after the same episodes, learnt one stream after the other."""
    each = config.groups_episodes // STREAMS
    learn = jax.jit(lambda w, seen, alpha: prediction.semi_gradient(w, x, seen, alpha)[0])
    targets = {"Monte Carlo": jax.jit(prediction.to_the_end), "TD(0)": lambda seen: seen}
    ws = dict.fromkeys(targets, jnp.zeros(10))
    for part in jax.random.split(key, 10):
        found = prediction.record(world, policy, part, STREAMS // 10, each, 110 * each + 4000)
        for i in range(STREAMS // 10):
            seen = jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), found)
            ws = {name: learn(w, targets[name](seen), SIZES[name]) for name, w in ws.items()}
    return {name: np.asarray(w) for name, w in ws.items()}


def error_of(w, x, v, mu) -> float:
    """The root mean squared value error, weighted by the time spent in each state."""
    return float(fixed_points.value_error(jnp.asarray(w), x, v, mu))


def draw_groups(axes, v, x, learnt: dict, limits: dict):
    """True values, and the steps of both methods with their limits."""
    states = np.arange(1, len(v) + 1)
    axes.plot(states, v, color="0.3", linewidth=1, label="true values")
    for i, (name, w) in enumerate(learnt.items()):
        axes.plot(states, x @ w, color=f"C{i}", linewidth=1.5, label=name)
        axes.plot(
            states,
            x @ np.asarray(limits[name]),
            color=f"C{i}",
            linewidth=1,
            linestyle=":",
            label=f"{name}, exact limit",
        )
    axes.set(xlabel="state", ylabel="value", title="1,000 states in 10 groups")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


# --- control


def play(method, world, rates: Rates, key, episodes: int, runs: int):
    """What was recorded [runs, episodes], NaN where a run did not come to, its q [runs, S, A], and how many stopped."""
    learn = jax.vmap(lambda key: learning.learn(method, world, rates, key, episodes, MOST))
    found = learn(jax.random.split(key, runs))
    came = np.arange(episodes) < np.asarray(found.episode)[:, None]
    record = jax.tree.map(lambda leaf: np.where(came, leaf, np.nan), found.record)
    return record, np.asarray(found.q).mean(1), int((~came[:, -1]).sum())


def cliff(config: Config, key):
    """Rewards of episodes while learning, and the path of the greedy policy afterwards."""
    world = worlds.discounted(grids.cliff_walking(config.cliff_ends), config.gamma)
    rates = Rates(jnp.float32(config.step_size), jnp.float32(config.epsilon))
    of_book = not config.cliff_ends and (config.step_size, config.epsilon, config.gamma) == (0.5, 0.1, 1.0)
    rows, scores, paths = [], {}, {}
    for name, method in METHODS_ON_CLIFF.items():
        record, q, stopped = play(method, world, rates, key, config.cliff_episodes, config.runs)
        scores[name] = np.nanmean(record.score, 0)
        lengths = [len(learning.greedy_path(world, one, 100)) for one in q]
        paths[name] = learning.greedy_path(world, q[int(np.argsort(lengths)[len(lengths) // 2])], 100)
        known = OF_THE_BOOK.get(name) if of_book else None
        rows.append(
            Row(
                f"cliff, {name}: reward of the last 100 episodes",
                scores[name][-100:].mean(),
                known,
                "S&B 6.6" * bool(known),
            )
        )
        rows.append(
            Row(f"cliff, {name}: steps of the greedy path", float(np.median(lengths)), SHORTEST["cliff"], "shortest")
        )
        if stopped:
            rows.append(Row(f"cliff, {name}: runs stopped after {MOST:,} steps", stopped, 0))
    return rows, [partial(draw_scores, scores=scores, ends=config.cliff_ends), partial(draw_paths, paths=paths)]


def draw_scores(axes, scores: dict, ends: bool):
    """Rewards of episodes, smoothed over ten."""
    for name, score in scores.items():
        axes.plot(np.arange(10, len(score) + 1), np.convolve(score, np.ones(10) / 10, "valid"), linewidth=1, label=name)
    after = "a fall ends the episode" if ends else "a fall goes back to the start"
    axes.set(xlabel="episode", ylabel="sum of rewards", ylim=(-110, 0), title=f"Cliff, while learning ({after})")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")


def draw_paths(axes, paths: dict):
    """Greedy paths of the median run, side by side within their cells."""
    axes.add_patch(plots.rectangle(0.5, 2.5, 10, 1, "0.85"))
    axes.text(5.5, 3, "the cliff", ha="center", va="center")
    for i, (name, path) in enumerate(paths.items()):
        shift = 0.12 * (i - (len(paths) - 1) / 2)
        rows, columns = np.divmod([*path, 47], 12) if len(path) < 100 else np.divmod(path, 12)
        axes.plot(columns + shift, rows + shift, linewidth=1.5, label=name)
    axes.text(0, 3, "S", ha="center", va="center", weight="bold")
    axes.text(11, 3, "G", ha="center", va="center", weight="bold")
    axes.set(xlim=(-0.5, 11.5), ylim=(5.1, -0.5), yticks=range(4), title="Cliff: greedy paths afterwards")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower center")


def bias(config: Config, key):
    """How often the first action is the wrong one."""
    episodes, left = 300, {}
    for name in ("Q-learning", "double Q-learning"):
        record, _, _ = play(METHODS[name], worlds.maximisation_bias(), Rates(0.1, 0.1), key, episodes, config.bias_runs)
        left[name] = 100 * (record.a_0 == worlds.LEFT).mean(0)
    rows = []
    for name, share in left.items():
        rows.append(Row(f"bias, {name}: left at most, %", share.max(), None))
        rows.append(Row(f"bias, {name}: left in the last 30 episodes, %", share[-30:].mean(), 5, "the limit, ε / 2"))
    return rows, [partial(draw_bias, left=left)]


def draw_bias(axes, left: dict):
    """The share of wrong first actions, and what exploration alone makes of it."""
    for name, share in left.items():
        axes.plot(np.arange(1, len(share) + 1), share, linewidth=1.2, label=name)
    axes.axhline(5, color="0.3", linestyle=":", linewidth=1, label="ε / 2")
    axes.set(xlabel="episode", ylabel="left at first (%)", ylim=(0, 100), title="Maximisation bias")
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def maze(config: Config, key):
    """Steps of each episode with more and less planning; the first is a walk at random, of a known length."""
    world, episodes = grids.dyna_maze(), 50
    counting = world._replace(r_t=jnp.ones_like(world.r_t))
    at_random = float(planning.solve(counting, worlds.uniform(world))[world.s_0])
    steps, rows = {}, []
    for planned in PLANNED:
        method = METHODS["Q-learning"]._replace(planning=planned)
        record, _, _ = play(
            method, worlds.discounted(world, 0.95), Rates(0.1, 0.1), key, episodes, min(config.runs, 30)
        )
        steps[planned] = np.nanmean(record.steps, 0)
        rows.append(Row(f"maze, {planned} planned: steps of the third episode", steps[planned][2], None))
        rows.append(
            Row(
                f"maze, {planned} planned: steps of the last 10 episodes",
                steps[planned][-10:].mean(),
                SHORTEST["maze"],
                "shortest",
            )
        )
    rows.insert(0, Row("maze: steps of the first episode", steps[0][0], at_random, "random walk, linear system"))
    return rows, [partial(draw_maze, steps=steps)]


def draw_maze(axes, steps: dict):
    """Steps of episodes; the first is the same for all."""
    for planned, count in steps.items():
        axes.plot(np.arange(1, len(count) + 1), count, linewidth=1.2, label=f"{planned} planned updates a step")
    axes.axhline(SHORTEST["maze"], color="0.3", linestyle=":", linewidth=1, label="shortest path")
    axes.set(xlabel="episode", ylabel="steps", yscale="log", title="Dyna-Q in the maze")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=8, loc="upper right")


# --- all of it


def draw_all(config: Config, drawings: list) -> Path:
    """Draw temporal_difference.png: a panel for each drawing, two in a row."""
    rows = -(-len(drawings) // 2)
    figure, axes = plots.several(f"Learning from temporal differences, {config.runs} runs", rows, min(2, len(drawings)))
    for each, draw in zip(axes, drawings, strict=False):
        draw(each)
    for empty in axes[len(drawings) :]:
        empty.set_visible(False)
    return plots.save(figure, config.output, f"{NAME}.png")


if __name__ == "__main__":
    cli.run(main, Config)
