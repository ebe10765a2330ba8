"""Which transitions to replay: the Blind Cliffwalk, learnt with uniform and prioritised replay, and with an oracle.

python experiments/cliff_walk.py
python experiments/cliff_walk.py --states 2 4 6 8 --alpha 0.6

A chain of n states. The right action moves on, in the last state to a reward of 1 and the end; the wrong one ends the
episode with nothing. The memory holds all 2^n sequences of actions, each up to its end: of the 2^(n+1) − 2 transitions
one has the reward. From "Prioritized experience replay" by Schaul et al. (https://arxiv.org/abs/1511.05952), sections
3.1 to 3.3 and B.1. Only the proportional variant of prioritised replay is here, and only the table of values.
"""

from jaxrl.shell import signals

signals.quiet(__name__)

import dataclasses
import itertools
import time
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval
from jax import lax

from jaxrl import sum_tree
from jaxrl.agents import memory
from jaxrl.agents.options import Count, Fraction, Natural, check_bounds
from jaxrl.returns import q_target
from jaxrl.shell import cli, files, plots, provenance
from jaxrl.shell.metrics import Progress
from jaxrl.shell.sinks import Sink

WRONG, RIGHT = 0, 1
STEP_SIZE, DEVIATION, THRESHOLD = 1 / 4, 0.1, 1e-3  # of the updates, of the first values, of the squared error
REPLAYS = ("uniform", "prioritised", "oracle")
MOST_STATES = 20  # two million transitions
LEAST_EPSILON = 1e-8  # a smaller priority is lost in the rounding of a sum
CHUNK = 50_000  # updates between two looks at how far it is
NAME = "cliff_walk.json"


@dataclasses.dataclass(frozen=True)
class Config:
    """Count the Q-learning updates until the values of the Blind Cliffwalk are known."""

    states: tuple[Annotated[int, Interval(ge=2, le=MOST_STATES)], ...] = (2, 4, 6, 8, 10, 12, 14, 16)
    """Lengths of the chain."""
    seeds: Count = 20
    """Learners of each kind and length; they differ in their first values and in what they draw."""
    alpha: Fraction = 1.0
    """Exponent of the priorities; 0 is uniform replay."""
    epsilon: Annotated[float, Interval(ge=LEAST_EPSILON, le=1)] = 1e-6
    """What every priority has beside the size of the last error, before the exponent."""
    seed: Natural = 0
    """Seed of all learners; the same seed gives the same numbers."""
    output: Path = Path("runs/cliff_walk")
    """Folder for cliff_walk.json and curve.png; what it has of these names is replaced."""


class Memory(NamedTuple):
    """All transitions of all 2^n sequences, [2^(n+1) − 2] a leaf; discount_t is 0 at the end of an episode."""

    s_tm1: np.ndarray
    a_tm1: np.ndarray
    r_t: np.ndarray
    discount_t: np.ndarray
    s_t: np.ndarray


class Learner(NamedTuple):
    """What one seed has learnt: q [n, 2], the tree of its priorities (or None), and after how many updates."""

    q: jax.Array
    tree: tuple | None
    key: jax.Array
    updates: jax.Array
    learnt: jax.Array


def main(config: Config):
    """Count the updates of every learner; write what is known after each count, and draw it at the end."""
    began = time.monotonic()
    check(config)
    config.output.mkdir(parents=True, exist_ok=True)
    rows = []
    with Progress(len(config.states) * len(REPLAYS), unit="counts") as progress:
        save = Sink(NAME, partial(files.write_json, config.output / NAME), progress.note, keep=1)
        for n, replay in itertools.product(config.states, REPLAYS):
            found = summary(count_updates(config, n, replay, partial(progress.show, len(rows))))
            rows.append({"replay": replay, "states": n, "transitions": transitions(n)} | found)
            progress.note(f"{n:2} states, {replay:11} {found['median']:11,.1f} updates (median)")
            save(result_of(config, rows, time.monotonic() - began))
        progress.show(len(rows))
    save.demand()
    print(draw_curve(config.output, rows, f"Blind Cliffwalk, {config.seeds} seeds"))


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    check_bounds(config)
    if not config.states:
        raise ValueError("--states takes one or more lengths; got none.")
    if len(set(config.states)) < len(config.states):
        raise ValueError(f"--states must differ; got {' '.join(map(str, config.states))}.")
    of_one = 8 * transitions(max(config.states))  # a tree of priorities, and its copy in an update
    if (free := memory.free_memory()) is not None and config.seeds * of_one > free:
        raise ValueError(
            f"--seeds {config.seeds} on {max(config.states)} states need {memory.gib(config.seeds * of_one)}, and "
            f"{memory.gib(free)} are free; {int(free / of_one)} would fit."
        )


def transitions(n: int) -> int:
    """How many the memory holds: 2^(n−s) in state s."""
    return 2 ** (n + 1) - 2


def memory_of(n: int) -> Memory:
    """Execute all sequences of actions. Their order does not matter to a draw, so they are not shuffled."""
    actions = np.arange(2**n)[:, None] >> np.arange(n)[None] & 1
    reached = np.cumprod(np.insert(actions[:, :-1] == RIGHT, 0, True, axis=1), 1)
    sequence, s_tm1 = np.nonzero(reached)
    a_tm1 = actions[sequence, s_tm1]
    last = s_tm1 == n - 1
    return Memory(
        s_tm1=s_tm1.astype(np.int32),
        a_tm1=a_tm1.astype(np.int32),
        r_t=np.float32(last & (a_tm1 == RIGHT)),
        discount_t=np.float32((1 - 1 / n) * (~last & (a_tm1 == RIGHT))),
        s_t=np.where(last, 0, s_tm1 + 1).astype(np.int32),  # of no account where the episode ended
    )


def true_values(n: int) -> np.ndarray:
    """Q*(s, right) = γ^(n−1−s) with γ = 1 − 1/n, Q*(s, wrong) = 0: float32 [n, 2]."""
    q = np.zeros((n, 2), np.float32)
    q[:, RIGHT] = (1 - 1 / n) ** np.arange(n - 1, -1, -1)
    return q


def count_updates(config: Config, n: int, replay: str, show=lambda text: None) -> np.ndarray:
    """Updates until each learner's mean squared error is below the threshold: int [seeds]."""
    memory = distinct(memory_of(n)) if replay == "oracle" else memory_of(n)
    memory = Memory(*map(jnp.asarray, memory))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), n), config.seeds)
    learners = start(n, replay, keys)
    while not learners.learnt.all():
        known, updates = learners.learnt.sum(), learners.updates.max()
        show(f"{n} states, {replay}: {known} of {config.seeds} have learnt, {updates:,} updates")
        learners = learn(replay, memory, learners, CHUNK, config.alpha, config.epsilon)
    return np.asarray(learners.updates)


@partial(jax.jit, static_argnums=(0, 1))
def start(n: int, replay: str, keys) -> Learner:
    """A learner for each key before its first update; all transitions have the highest priority, 1."""

    def one(key):
        key, subkey = jax.random.split(key)
        q = DEVIATION * jax.random.normal(subkey, (n, 2))
        leaves = jnp.arange(transitions(n))
        tree = sum_tree.set_leaves(sum_tree.init(len(leaves)), leaves, 1.0) if replay == "prioritised" else None
        return Learner(q, tree, key, jnp.int32(0), is_learnt(q))

    return jax.vmap(one)(keys)


def is_learnt(q):
    """The mean squared error is below the threshold."""
    return jnp.mean((q - true_values(len(q))) ** 2) < THRESHOLD


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def learn(replay: str, memory: Memory, learners: Learner, chunk, alpha, epsilon) -> Learner:
    """Up to `chunk` updates, until all have learnt; who has learnt goes on, uncounted, so that no tree is copied."""
    step = jax.vmap(lambda learner: update(replay, memory, learner, alpha, epsilon))

    def more(carry):
        return (carry[0] < chunk) & ~carry[1].learnt.all()

    return lax.while_loop(more, lambda carry: (carry[0] + 1, step(carry[1])), (0, learners))[1]


def update(replay: str, memory: Memory, learner: Learner, alpha, epsilon) -> Learner:
    """One transition drawn, and one step of Q-learning on it."""
    key, subkey = jax.random.split(learner.key)
    index = draw_transition(replay, memory, learner, subkey)
    seen = Memory(*(leaf[index] for leaf in memory))
    error = td_error(learner.q, seen)
    q = learner.q.at[seen.s_tm1, seen.a_tm1].add(STEP_SIZE * error)
    tree = learner.tree
    if replay == "prioritised":
        tree = sum_tree.set_leaves(tree, index[None], (jnp.abs(error) + epsilon) ** alpha)
    return Learner(q, tree, key, learner.updates + ~learner.learnt, learner.learnt | is_learnt(q))


def td_error(q, seen: Memory):
    """δ = r_t + γ_t max_a q[s_t, a] − q[s_tm1, a_tm1] of one transition."""
    return q_target(seen.r_t, seen.discount_t, q[seen.s_t]) - q[seen.s_tm1, seen.a_tm1]


def draw_transition(replay: str, memory: Memory, learner: Learner, key):
    """The index of the transition that is replayed: int32 []."""
    if replay == "uniform":
        return jax.random.randint(key, (), 0, len(memory.r_t))
    if replay == "prioritised":
        return sum_tree.sample(learner.tree, key, 1)[0][0]
    return best(memory, learner.q)


def best(memory: Memory, q):
    """The index of the transition after whose update the squared error is the least, as an oracle knows it."""
    error = jax.vmap(td_error, (None, 0))(q, memory)
    off = (q - true_values(len(q)))[memory.s_tm1, memory.a_tm1]
    return jnp.argmin((off + STEP_SIZE * error) ** 2 - off**2)


def distinct(memory: Memory) -> Memory:
    """One transition for each state and action, for the oracle: the others are copies, among which it has no choice."""
    _, first = np.unique(2 * memory.s_tm1 + memory.a_tm1, return_index=True)
    return Memory(*(leaf[first] for leaf in memory))


def summary(updates: np.ndarray) -> dict:
    """The updates of all seeds, their median, and the quartiles around it."""
    low, median, high = np.percentile(updates, (25, 50, 75)).tolist()
    return {"median": median, "quartiles": [low, high], "updates": updates.tolist()}


def draw_curve(folder: Path, rows: list[dict], title: str) -> Path:
    """Draw curve.png in a folder: updates until learnt against the number of states, a line for each kind of replay."""
    figure, axes = plots.one_panel(title)
    draw_updates(axes, rows)
    return plots.save(figure, folder)


def draw_updates(axes, rows: list[dict]):
    """Medians with their quartiles; what each state multiplies by the same factor is a straight line."""
    for name in dict.fromkeys(row["replay"] for row in rows):
        mine = sorted((row for row in rows if row["replay"] == name), key=lambda row: row["states"])
        states = [row["states"] for row in mine]
        axes.plot(states, [row["median"] for row in mine], marker="o", markersize=4, label=name)
        axes.fill_between(states, *zip(*(row["quartiles"] for row in mine), strict=True), alpha=0.25, linewidth=0)
    ticks = sorted({row["states"] for row in rows})
    labels = [f"{n}\n{2 ** (n + 1) - 2:,}" for n in ticks]
    axes.set(xlabel="states n, and transitions in the memory", ylabel="updates until learnt", yscale="log")
    axes.set_xticks(ticks, labels)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="upper left", frameon=False, title="replay (median, quartiles)", alignment="left")


def result_of(config: Config, rows: list[dict], seconds: float) -> dict:
    """All counts, and all that they depend on."""
    options = {name: value for name, value in dataclasses.asdict(config).items() if name != "output"}
    return {
        "config": options | {"step_size": STEP_SIZE, "deviation": DEVIATION, "threshold": THRESHOLD},
        "rows": rows,
        "seconds": round(seconds, 1),
        **provenance.measured_on("numpy"),
    }


if __name__ == "__main__":
    cli.run(main, Config)
