"""Agent steps per second of DQN and its kin in training, and milliseconds of their replay, on this machine.

    python benchmarks/dqn.py

The replay is full from the start: a block of real experience is written over and over, which takes seconds where acting
would take an hour. What is drawn lies all over it all the same. The kinds of a preset take turns with one ring of
frames, since one for each would not fit into memory; each prioritised kind has its own tree of priorities.
"""

import contextlib
import dataclasses
import gc
import statistics
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "experiments")]

import dqn as experiment
import dqn_config
import jax
import jax.numpy as jnp
import timing

from jaxrl import cli, parallel, replay
from jaxrl import experiment as shell
from jaxrl.algorithms import dqn

KINDS = {
    "nature": {"uniform": {}, "prioritized": {"prioritized": True}},
    "fast": {
        "dqn": {}, "double": {"double": True}, "dueling": {"dueling": True}, "prioritized": {"prioritized": True},
        "qr": {"distributional": "qr"}, "rainbow": dqn_config.RAINBOW,
    },
}  # fmt: skip
PARTS = ("acting", "storing", "learning")
CALLS = ("sample", "set_priorities", "insert")
BLOCK = 256  # transitions that are drawn, get new priorities, or are written in one call
NEVER = 2**30  # agent steps


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure the speed of DQN and of its replay; keep the machine quiet meanwhile."""

    env: str = "Riverraid-v5"
    """Atari game."""
    replay_size: int = 1_000_000
    """Agent steps that the replay holds, rounded down to a multiple of 256, and at most what the preset says (fast:
    500,000); a step of the preset nature takes 7 kB, of fast 3 kB."""
    turns: int = 30
    """Turns of acting and learning, or calls of the replay, in one timing."""
    repeats: int = 5
    """Timings of each kind, taken in turn; the median counts."""
    output: Path = ROOT / "build" / "dqn_speed.json"
    """File for the figures as JSON."""


class Stage:
    """What the kinds of a preset take turns with: a pool, an actor in it, and a ring that is full."""

    def __init__(self, config: Config, preset: str):
        run = experiment.preset(preset, config.env)
        size = min(config.replay_size, run.replay_size) // BLOCK * BLOCK
        self.run = dataclasses.replace(run, replay_size=size, learning_starts=BLOCK, save_replay=False)
        self.pool = shell.make_pool(self.run, run.num_envs, 0)
        experiment.check_replay(self.run, self.pool)
        # An agent that never starts to learn only stores.
        self.storers = {each: self.agent(prioritized=each, learning_starts=NEVER) for each in (False, True)}
        learner, self.actor = self.storers[True].init(jax.random.key(0), [self.pool])
        self.block = self._play(learner)
        for _ in range(size // BLOCK):
            learner, _ = self.storers[True].learn(learner, self.block)
        self.ring, self.tree = learner.replay._replace(tree=None), learner.replay.tree

    def agent(self, **options) -> experiment.Agent:
        """An agent of the preset with these options."""
        return experiment.Agent(dataclasses.replace(self.run, **options), self.pool)

    def _play(self, learner):
        """`BLOCK` transitions, as one experience."""
        collect, rows = self.storers[True].collector([self.pool]), []
        for _ in range(BLOCK // (self.run.num_envs * self.run.collect_steps)):
            self.actor, (seen, epsilon), _ = collect((learner, self.actor))
            rows.append(seen)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *rows), epsilon


class Kind:
    """One kind of agent on a stage."""

    def __init__(self, stage: Stage, options: dict):
        self.stage, self.agent = stage, stage.agent(**options)
        self.prioritized = self.agent.config.prioritized
        self.storer = stage.storers[self.prioritized]
        self.collect = self.agent.collector([stage.pool])
        networks = dqn.init(self.agent.init_params(jax.random.key(1)), self.agent.optimizer)
        learner = experiment.Learner(networks, None, jnp.int32(0), jax.random.key(2))
        self.learner = parallel.spread(parallel.stack([learner]), 1)
        self.tree = jax.tree.map(jnp.copy, stage.tree) if self.prioritized else None
        self._draw = parallel.map_devices(self._draw_one, 1)
        self._set_priorities = parallel.map_devices(self._set_priorities_one, 1, donate_argnums=(0,))

    @contextlib.contextmanager
    def on_stage(self):
        """Have the ring, for as long as it takes; priorities of rows that another kind wrote meanwhile are old ones."""
        self.learner = self.learner._replace(replay=self.stage.ring._replace(tree=self.tree))
        yield
        ring = self.learner.replay
        self.stage.ring, self.tree = ring._replace(tree=None), ring.tree
        self.learner = self.learner._replace(replay=None)

    def train(self, turns: int) -> dict[str, float]:
        """Agent steps per second as the run loop does them, and then milliseconds of each part of a turn."""
        with self.on_stage():
            steps, start = 0, time.perf_counter()
            for _ in range(turns):
                self.stage.actor, experience, seen = self.collect((self.learner, self.stage.actor))
                self.learner, report = self.agent.learn(self.learner, experience)
                steps += int(jax.device_get(report | seen)["valid"].sum())
            rate = steps / (time.perf_counter() - start)
            parts = zip(*(self._turn() for _ in range(turns)), strict=True)
        return {"steps_per_second": rate} | dict(zip(PARTS, map(statistics.median, parts), strict=True))

    def _turn(self):
        """Milliseconds of acting, storing and learning; what is acted is stored twice, once without learning."""
        acting, (self.stage.actor, experience, _) = milliseconds(self.collect, (self.learner, self.stage.actor))
        storing, (self.learner, _) = milliseconds(self.storer.learn, self.learner, experience)
        both, (self.learner, _) = milliseconds(self.agent.learn, self.learner, experience)
        return acting, storing, both - storing

    def call(self, times: int) -> dict[str, float]:
        """Milliseconds of each call of the replay."""
        found = {name: [] for name in CALLS}
        with self.on_stage():
            for _ in range(times):
                for name, spent in self._calls():
                    found[name].append(spent)
        return {name: statistics.median(spent) for name, spent in found.items() if spent}

    def _calls(self):
        ring, key = self.learner.replay, self.learner.key
        spent, (batch, key) = milliseconds(self._draw, ring, key)
        self.learner = self.learner._replace(key=key)
        yield "sample", spent
        if self.prioritized:
            priorities, others = (ring.tree, ring.highest), ring._replace(tree=None, highest=None)
            spent, (tree, highest) = milliseconds(self._set_priorities, priorities, others, batch.index, batch.r_t)
            self.learner = self.learner._replace(replay=others._replace(tree=tree, highest=highest))
            yield "set_priorities", spent
        spent, (self.learner, _) = milliseconds(self.storer.learn, self.learner, self.stage.block)
        yield "insert", spent

    def _draw_one(self, ring, key):
        key, draw_key = jax.random.split(key)
        return replay.sample(ring, self.agent.settings, draw_key, BLOCK), key

    def _set_priorities_one(self, priorities, others, index, error):
        tree, highest = priorities
        ring = others._replace(tree=tree, highest=highest)
        ring = replay.set_priorities(ring, index, error, self.agent.config.priority_exponent)
        return ring.tree, ring.highest


def milliseconds(function, *args):
    """How long a call took until its result was there, and the result."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return 1e3 * (time.perf_counter() - start), result


def medians(samples: dict[str, list[dict]]) -> dict[str, dict]:
    """Of each figure of each kind."""
    return {
        kind: {name: float(f"{statistics.median(each[name] for each in found):.4g}") for name in found[0]}
        for kind, found in samples.items()
    }


def ratios(samples: dict[str, list[dict]]) -> dict[str, float]:
    """Of the speed of each kind to that of the first in the same repeat: the median."""
    rates = {kind: [each["steps_per_second"] for each in found] for kind, found in samples.items()}
    first = next(iter(rates.values()))
    return {
        kind: round(statistics.median(rate / other for rate, other in zip(found, first, strict=True)), 4)
        for kind, found in rates.items()
    }


def measure(config: Config, preset: str) -> dict:
    """Training of all kinds of a preset, and with the Nature setting the calls of the replay."""
    stage = Stage(config, preset)
    kinds = {name: Kind(stage, options) for name, options in KINDS[preset].items()}
    run = partial(timing.in_turn, turns=config.turns, repeats=config.repeats)
    samples = run({name: kind.train for name, kind in kinds.items()})
    found = {
        "replay_size": stage.run.replay_size,
        "envs": stage.run.num_envs,
        "steps_a_turn": stage.run.num_envs * stage.run.collect_steps,
        "updates": stage.run.updates,
        "batch_size": stage.run.batch_size,
        "image_size": stage.run.image_size,
        "training": medians(samples),
        "ratio": ratios(samples),
    }
    if preset == "nature":
        found["replay"] = medians(run({name: kind.call for name, kind in kinds.items()}))
    stage.pool.close()
    return found


def show(preset: str, found: dict):
    """Print the figures of a preset."""
    print(
        f"preset {preset}: a turn is {found['steps_a_turn']} agent steps and {found['updates']} update(s) of "
        f"{found['batch_size']} from pictures of {found['image_size']}x{found['image_size']}; "
        f"{found['replay_size']:,} steps are in the replay"
    )
    ratio = f"over {next(iter(found['ratio']))}"
    print(f"  {'':14}{'agent steps/s':>14}{ratio:>14}" + "".join(f"{f'{name}, ms':>13}" for name in PARTS))
    for kind, row in found["training"].items():
        parts = "".join(f"{row[name]:13.2f}" for name in PARTS)
        print(f"  {kind:14}{row['steps_per_second']:14,.0f}{found['ratio'][kind]:14.2f}{parts}")
    if "replay" in found:
        print(f"replay, {BLOCK} transitions in a call, ms\n  {'':14}" + "".join(f"{name:>16}" for name in CALLS))
        for kind, row in found["replay"].items():
            print(f"  {kind:14}" + "".join(f"{f'{row[name]:.2f}' if name in row else '-':>16}" for name in CALLS))
    print(flush=True)


def main(config: Config):
    """Measure, print the tables, and write the figures down."""
    shell.check_above(config, "replay_size", "turns", "repeats")
    found = {}
    for preset in KINDS:
        found[preset] = measure(config, preset)
        show(preset, found[preset])
        gc.collect()  # compiled methods hold their objects in circles, and so the frames
    timing.write(config.output, found, config)


if __name__ == "__main__":
    cli.run(main, Config)
