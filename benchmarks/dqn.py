"""Agent steps per second of DQN and its extensions in training, and milliseconds of their replay, on this machine.

    python benchmarks/dqn.py

The replay is full from the start: a block of real experience is written over and over, which takes seconds where acting
would take an hour. What is drawn lies all over it all the same. The kinds of a preset take turns with one ring of
frames, since one for each would not fit into memory; each prioritised kind has its own tree of priorities.
"""

import dataclasses
import gc
import statistics
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import timing

from jaxrl import parallel, replay
from jaxrl.agent import Agent
from jaxrl.agents import dqn, dqn_options
from jaxrl.agents.options import Count, check_bounds
from jaxrl.rollout import Trajectory
from jaxrl.shell import cli, loop

ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "nature": {"uniform": {}, "prioritized": {"prioritized": True}},
    "fast": {
        "dqn": {}, "double": {"double": True}, "dueling": {"dueling": True}, "prioritized": {"prioritized": True},
        "qr": {"distributional": "qr"}, "rainbow": dqn_options.RAINBOW,
    },
}  # fmt: skip
PARTS = ("acting", "storing", "learning")
CALLS = ("sample", "set_priorities", "insert")
BLOCK = 256  # transitions that are drawn, get new priorities, or are written in one call


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure the speed of DQN and of its replay; keep the machine quiet meanwhile."""

    env: str = "Riverraid-v5"
    """Atari game."""
    replay_size: Count = 1_000_000
    """Agent steps that the replay holds, rounded down to a multiple of 256, and at most what the preset says (fast:
    500,000); a step of the preset nature takes 7 kB, of fast 3 kB."""
    turns: Count = 30
    """Turns of acting and learning, or calls of the replay, in one timing."""
    repeats: Count = 5
    """Timings of each kind, taken in turn; the median counts."""
    output: Path = ROOT / "build" / "dqn_speed.json"
    """File for the figures as JSON."""


def storing_only(agent: Agent) -> Agent:
    """The same agent, which never has enough to learn from."""
    return agent._replace(storage=agent.storage._replace(ready=lambda ring: False))


class Stage:
    """What the kinds of a preset take turns with: a pool, an actor in it, and a ring that is full."""

    def __init__(self, config: Config, preset: str):
        run = dqn.preset(preset, config.env)
        size = min(config.replay_size, run.replay_size) // BLOCK * BLOCK
        self.run = dataclasses.replace(run, replay_size=size, learning_starts=BLOCK, save_replay=False)
        self.spec = self.run.spec()
        dqn.check(self.run, self.spec)
        self.pool = self.run.make_pool(run.num_envs, 0)
        agent = self.agent(prioritized=True)
        state = loop.first_state(agent, self.pool.protocol, run.num_envs, 1, seed=0)
        state, self.actor = loop.enter(agent, state, [self.pool])
        self.block = self._play(agent, state.learner)
        store, learner, ring, keys = loop.learning(storing_only(agent), 1), *state[:2], state.learn_keys
        for _ in range(size // BLOCK):
            learner, ring, keys, _ = store(learner, ring, keys, self.block)
        self.ring, self.priorities = ring, learner.priorities

    def agent(self, **options) -> Agent:
        """An agent of the preset with these options."""
        return dqn.make(dataclasses.replace(self.run, **options), self.spec)

    def _play(self, agent: Agent, learner) -> Trajectory:
        """`BLOCK` transitions, as one trajectory."""
        collect, parts = loop.collecting(agent, [self.pool]), []
        for _ in range(BLOCK // (self.run.num_envs * self.run.collect_steps)):
            self.actor, trajectory, _ = collect(agent.acting(learner), self.actor)
            parts.append(trajectory)
        steps = [(part.observation, part.row, part.extras) for part in parts]
        observation, row, extras = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *steps)
        return parts[-1]._replace(observation=observation, row=row, extras=extras)


class Kind:
    """One kind of agent on a stage; priorities of rows that another kind wrote meanwhile are old ones."""

    def __init__(self, stage: Stage, options: dict):
        self.stage, self.agent = stage, stage.agent(**options)
        self.config = dataclasses.replace(stage.run, **options)
        self.collect = loop.collecting(self.agent, [stage.pool])
        self.learn, self.store = loop.learning(self.agent, 1), loop.learning(storing_only(self.agent), 1)
        self.learner, self.keys = parallel.shard(
            parallel.add_axis((self.agent.init(jax.random.key(1)), jax.random.key(2))), 1
        )
        if self.config.prioritized:
            self.learner = self.learner._replace(priorities=jax.tree.map(jnp.copy, stage.priorities))
        self._draw = parallel.map_devices(self._draw_one, 1)
        self._set_priorities = parallel.map_devices(self._set_priorities_one, 1, donate_argnums=(0,))

    def train(self, turns: int) -> dict[str, float]:
        """Agent steps per second as the run loop does them, and then milliseconds of each part of a turn."""
        steps, start = 0, time.perf_counter()
        for _ in range(turns):
            trajectory, games = self._act()
            report = self._turn(self.learn, trajectory)
            steps += int(jax.device_get((report, games))[1].valid.sum())
        rate = steps / (time.perf_counter() - start)
        parts = zip(*(self._parts() for _ in range(turns)), strict=True)
        return {"steps_per_second": rate} | dict(zip(PARTS, map(statistics.median, parts), strict=True))

    def _act(self):
        self.stage.actor, trajectory, games = self.collect(self.agent.acting(self.learner), self.stage.actor)
        return trajectory, games

    def _turn(self, learn, trajectory):
        self.learner, self.stage.ring, self.keys, report = learn(self.learner, self.stage.ring, self.keys, trajectory)
        return report

    def _parts(self):
        """Milliseconds of acting, storing and learning; what is acted is stored twice, once without learning."""
        acting, (trajectory, _) = milliseconds(self._act)
        storing, _ = milliseconds(self._turn, self.store, trajectory)
        both, _ = milliseconds(self._turn, self.learn, trajectory)
        return acting, storing, both - storing

    def call(self, times: int) -> dict[str, float]:
        """Milliseconds of each call of the replay."""
        found = {name: [] for name in CALLS}
        for _ in range(times):
            for name, spent in self._calls():
                found[name].append(spent)
        return {name: statistics.median(spent) for name, spent in found.items() if spent}

    def _calls(self):
        spent, (batch, self.keys) = milliseconds(self._draw, self.stage.ring, self.learner.priorities, self.keys)
        yield "sample", spent
        if self.config.prioritized:
            spent, priorities = milliseconds(
                self._set_priorities, self.learner.priorities, batch.index, batch.r_t
            )
            self.learner = self.learner._replace(priorities=priorities)
            yield "set_priorities", spent
        spent, _ = milliseconds(self._turn, self.store, self.stage.block)
        yield "insert", spent

    def _draw_one(self, ring, priorities, key):
        key, draw_key = jax.random.split(key)
        return replay.sample(ring, priorities, self.config.settings, draw_key, BLOCK), key

    def _set_priorities_one(self, priorities, index, error):
        return replay.set_priorities(priorities, index, error, self.config.priority_exponent)


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
        f"{found['batch_size']} from images of {found['image_size']}x{found['image_size']}; "
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
    check_bounds(config)
    found = {}
    for preset in KINDS:
        found[preset] = measure(config, preset)
        show(preset, found[preset])
        gc.collect()  # compiled methods hold their objects in circles, and so the frames
    timing.write(config.output, found, config)


if __name__ == "__main__":
    cli.run(main, Config)
