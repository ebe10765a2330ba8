"""Bandits: how to choose among arms of which nothing is known, and what it costs.

python experiments/bandits.py
python experiments/bandits.py --probabilities 0.5 0.45 --horizon 50000

The testbed of Sutton and Barto, "Reinforcement learning: an introduction" (2018), sections 2.2, 2.4 and 2.7: ten arms
with values from N(0, 1) and rewards with noise from N(0, 1), another ten in every run. And Bernoulli arms, on which the
expected regret of a policy is held against what Lai and Robbins proved that no good policy can stay below for ever.
"""

from jaxrl.shell import signals

signals.quiet(__name__)

import dataclasses
import math
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.agents import memory
from jaxrl.agents.options import Count, Natural, check_bounds
from jaxrl.shell import cli, files, plots, tables
from jaxrl.shell.metrics import Progress
from jaxrl.shell.tables import Row
from jaxrl.tabular import bandits

ARMS = 10
BEST = 1.53875  # the expected greatest of ten numbers from N(0, 1), by quadrature
LAST = 50  # steps over which the end of a run is averaged
TESTBED = {
    "greedy": partial(bandits.epsilon_greedy, epsilon=0.0),
    "ε = 0.01": partial(bandits.epsilon_greedy, epsilon=0.01),
    "ε = 0.1": partial(bandits.epsilon_greedy, epsilon=0.1),
    "UCB, c = 2": partial(bandits.ucb, c=2.0),
    "Thompson": bandits.thompson_normal,
}
OF_THE_BOOK = {"greedy": 1 / 3, "ε = 0.1": 0.8}  # shares of best choices at the end, S&B section 2.3
NAME = "bandits"


@dataclasses.dataclass(frozen=True)
class Config:
    """Play bandits by ε-greedy choices, with a decaying ε, by upper confidence bounds, and by Thompson sampling."""

    runs: Count = 2000
    """Runs of each policy on the testbed of ten arms, each with arms of its own."""
    steps: Count = 1000
    """Steps of a run on the testbed."""
    probabilities: tuple[Annotated[float, Interval(gt=0, lt=1)], ...] = (0.9, 0.6)
    """Probabilities of success of the Bernoulli arms, on which regret is measured."""
    regret_runs: Count = 500
    """Runs of each policy on the Bernoulli arms."""
    horizon: Count = 10_000
    """Steps of a run on the Bernoulli arms."""
    seed: Natural = 0
    """Seed of the arms, the choices and the rewards; the same seed gives the same numbers."""
    output: Path = Path("runs/bandits")
    """Folder for bandits.json and bandits.png; what it has of these names is replaced."""


def main(config: Config):
    """Play both kinds of bandits, and write what was found beside what is known."""
    began = time.monotonic()
    check(config)
    config.output.mkdir(parents=True, exist_ok=True)
    policies = bernoulli_policies(config.probabilities)
    with Progress(len(TESTBED) + len(policies), unit="policies") as progress:
        testbed = {name: of_testbed(config, act, progress, i) for i, (name, act) in enumerate(TESTBED.items())}
        regrets = {}
        for i, (name, act) in enumerate(policies.items(), len(TESTBED)):
            progress.show(i, f"regret of {name}")
            regrets[name] = of_bernoulli(config, act)
        progress.show(len(TESTBED) + len(policies))
    rows = [*testbed_rows(testbed), *regret_rows(config, regrets)]
    print("\n".join(tables.lines(rows)))
    files.write_json(config.output / f"{NAME}.json", tables.result(config, rows, time.monotonic() - began))
    print(draw(config, testbed, regrets))


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    check_bounds(config)
    if len(set(config.probabilities)) < 2:
        raise ValueError(f"--probabilities takes two or more that differ; got {len(set(config.probabilities))}.")
    if config.horizon < 100:
        raise ValueError(f"--horizon must be at least 100, to tell how regret grows; got {config.horizon}.")
    sizes = {
        "--runs and --steps": config.runs * config.steps,
        "--regret-runs and --horizon": config.regret_runs * config.horizon,
    }
    for name, size in sizes.items():
        if (free := memory.free_memory()) is not None and 16 * size > free:
            raise ValueError(f"{name} need {memory.gib(16 * size)}, and {memory.gib(free)} are free; make one smaller.")


def bernoulli_policies(probabilities) -> dict:
    """What is played on Bernoulli arms; the decaying ε knows the gap, as its theorem asks."""
    first, second = sorted(set(probabilities), reverse=True)[:2]
    decaying = partial(bandits.decaying_epsilon, c=5.0, gap=first - second)
    return {
        "ε = 0.1": partial(bandits.epsilon_greedy, epsilon=0.1),
        "ε ~ 1/t": decaying,
        "UCB1": partial(bandits.ucb, c=math.sqrt(2)),
        "Thompson": bandits.thompson_bernoulli,
    }


def play(act, reward, means, key, steps: int):
    """Arms and rewards [runs, T] on bandits of means [runs, K]; every run has its own key."""
    keys = jax.random.split(key, len(means))
    run = jax.jit(jax.vmap(lambda means, key: bandits.play(act, reward, means, key, steps)))
    return map(np.asarray, run(means, keys))


def of_testbed(config: Config, act, progress: Progress, done: int) -> dict:
    """Mean reward and share of best choices of each step, [T]; all policies play the same arms."""
    progress.show(done, "the testbed of ten arms")
    to_arms, to_play = jax.random.split(jax.random.key(config.seed))
    means = jax.random.normal(to_arms, (config.runs, ARMS))
    arms, rewards = play(act, bandits.normal, means, to_play, config.steps)
    best = arms == np.asarray(means.argmax(1))[:, None]
    return {"reward": rewards.mean(0), "best": best.mean(0)}


def of_bernoulli(config: Config, act) -> np.ndarray:
    """Expected regret after each step, [T], as the mean of all runs."""
    means = jnp.tile(jnp.asarray(config.probabilities), (config.regret_runs, 1))
    arms, _ = play(act, bandits.bernoulli, means, jax.random.fold_in(jax.random.key(config.seed), 1), config.horizon)
    return np.asarray(jax.jit(jax.vmap(bandits.regret))(means, arms)).mean(0)


def testbed_rows(testbed: dict) -> list[Row]:
    """The last steps of the testbed."""
    shares = [
        Row(
            f"{name}: best arm, % at the end",
            100 * found["best"][-LAST:].mean(),
            _percent(OF_THE_BOOK.get(name)),
            "S&B 2.2",
        )
        for name, found in testbed.items()
    ]
    rewards = [
        Row(
            f"{name}: mean reward at the end",
            found["reward"][-LAST:].mean(),
            1.0 if name == "greedy" else None,
            "S&B 2.2, 2.4",
        )
        for name, found in testbed.items()
    ]
    return [*shares, *rewards, Row("the best that is possible", BEST, BEST, "exact")]


def regret_rows(config: Config, regrets: dict) -> list[Row]:
    """Regret at the end, and how it grew over the last factor of ten in time, per log t."""
    bound = float(bandits.lai_robbins(jnp.asarray(config.probabilities)))
    gaps = max(config.probabilities) - np.asarray(config.probabilities)
    end, tenth = config.horizon, config.horizon // 10
    rows = [
        Row("ε = 0.1: regret of a step at the end", slope(regrets["ε = 0.1"], tenth), 0.1 * gaps.mean(), "ε Σ gap / K")
    ]
    for name, regret in regrets.items():
        rows.append(Row(f"{name}: regret after {end:,} steps", regret[-1], None))
    for name, regret in regrets.items():
        grown = (regret[-1] - regret[tenth - 1]) / math.log(end / tenth)
        rows.append(Row(f"{name}: growth of regret per log t", grown, bound, "not below for ever (Lai, Robbins)"))
    return rows


def slope(regret, tenth: int) -> float:
    """Regret of a step, over the last nine tenths."""
    return float(regret[-1] - regret[tenth - 1]) / (len(regret) - tenth)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def draw(config: Config, testbed: dict, regrets: dict) -> Path:
    """Draw bandits.png: rewards and best choices on the testbed, and regret over the logarithm of time."""
    title = f"Ten arms, {config.runs:,} runs; Bernoulli arms, {config.regret_runs:,} runs"
    figure, (reward, best, regret) = plots.several(title, 1, 3)
    for name, found in testbed.items():
        reward.plot(found["reward"], linewidth=1, label=name)
        best.plot(100 * found["best"], linewidth=1, label=name)
    reward.axhline(BEST, color="0.3", linewidth=1, linestyle=":", label="best possible")
    reward.set(xlabel="step", ylabel="mean reward")
    best.set(xlabel="step", ylabel="best arm chosen (%)", ylim=(0, 100))
    draw_regret(regret, config.probabilities, regrets)
    reward.legend(frameon=False, loc="lower right", ncols=2)
    best.legend(frameon=False, loc="lower right", ncols=2)
    return plots.save(figure, config.output, f"{NAME}.png")


def draw_regret(axes, probabilities, regrets: dict):
    """Regret against log t, on which what grows as log t is a straight line."""
    for name, regret in regrets.items():
        axes.plot(np.arange(1, len(regret) + 1), regret, linewidth=1.2, label=name)
    t = np.arange(1, len(regret) + 1)
    bound = float(bandits.lai_robbins(jnp.asarray(probabilities)))
    axes.plot(t, bound * np.log(t), color="0.3", linestyle=":", label="Lai and Robbins: slope at the limit")
    arms = ", ".join(f"{p:g}" for p in probabilities)
    top = 2 * max(regret[-1] for name, regret in regrets.items() if name == "UCB1" or name == "ε ~ 1/t")
    axes.set(xscale="log", xlabel=f"step (arms {arms})", ylabel="expected regret", ylim=(0, top))
    axes.legend(frameon=False, loc="upper left")


if __name__ == "__main__":
    cli.run(main, Config)
