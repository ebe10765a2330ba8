"""Agent steps per second of each part of A3C, and of the whole, on this machine.

    python benchmarks/throughput.py

EnvPool alone, rollout (acting, no learning), learner alone (gradients derived and by autodiff of the plain
reference), and training; everything is timed in turn, several times over, and the median counts. A second process
repeats it without what `jaxrl.shell.runtime` sets up, for comparison.
"""

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import timing

from jaxrl.agents import a3c
from jaxrl.algorithms import actor_critic
from jaxrl.layers import reference
from jaxrl.networks import modules, torsos
from jaxrl.shell import cli, launch, loop

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure agent steps per second; keep the machine quiet meanwhile."""

    env: str = "Riverraid-v5"
    """Atari game."""
    num_envs: int = 32
    """Environments, over all workers."""
    num_workers: int = 2
    """Workers."""
    updates: int = 8
    """Segments of t_max steps in one timing."""
    repeats: int = 5
    """Timings of each part, taken in turn; the median counts."""
    plain: bool = True
    """Measure again in a process without the flags and the allocator's settings of jaxrl.shell.runtime."""
    output: Path = ROOT / "build" / "throughput.json"
    """File for the figures as JSON."""


@contextlib.contextmanager
def autodiff():
    """Put the plain reference in the place of every derived layer and loss."""
    users = modules, torsos, actor_critic
    ours, loss = modules.layers, actor_critic.actor_critic_loss
    for module in users:
        module.layers = reference
    actor_critic.actor_critic_loss = reference.actor_critic_loss
    try:
        yield
    finally:
        for module in users:
            module.layers = ours
        actor_critic.actor_critic_loss = loss


class Parts:
    """The compiled parts, each a function that runs one segment of t_max steps and returns what to wait for."""

    def __init__(self, run: a3c.Config):
        self.pool, self.agent = run.make_pool(run.num_envs, 0), launch.agent_of(a3c, run)
        state = loop.first_state(self.agent, self.pool.protocol, run.num_envs, 1, seed=0)
        self.state, self.actor = loop.enter(self.agent, state, [self.pool])
        self.collect, self.learn = loop.collecting(self.agent, [self.pool]), loop.learning(self.agent, 1)
        _, self.experience, _ = self.collect(self.agent.acting(self.state.learner), self.actor)
        self.derived, self.plain = (jax.tree.map(jnp.copy, self.state) for _ in range(2))
        with autodiff():
            self.learn_plain = loop.learning(launch.agent_of(a3c, run), 1)
            self.plain = self.learnt(self.learn_plain, self.plain, self.experience)[0]
        action = jnp.zeros(run.num_envs, jnp.int32)
        self.pool_state = jax.tree.map(lambda leaf: leaf[0], self.actor.pool)
        self.step_only = jax.jit(
            lambda state: jax.lax.scan(lambda s, _: (self.pool.step(s, action)[0], None), state, length=run.t_max)[0]
        )

    def learnt(self, learn, state: loop.State, experience):
        """The state after one turn of learning, and the report."""
        learner, _, keys, report = learn(state.learner, None, state.learn_keys, experience)
        return state._replace(learner=learner, learn_keys=keys), report

    def envpool(self):
        """EnvPool alone."""
        self.pool_state = self.step_only(self.pool_state)
        return self.pool_state

    def rollout(self):
        """Acting and stepping."""
        self.actor, *_ = self.collect(self.agent.acting(self.state.learner), self.actor)
        return self.actor

    def learner_derived(self):
        """Gradients and updates of one segment."""
        self.derived, _ = self.learnt(self.learn, self.derived, self.experience)
        return self.derived

    def learner_autodiff(self):
        """The same by autodiff of the plain reference."""
        self.plain, _ = self.learnt(self.learn_plain, self.plain, self.experience)
        return self.plain

    def training(self):
        """Both, as the run loop does them."""
        self.actor, experience, games = self.collect(self.agent.acting(self.state.learner), self.actor)
        self.state, report = self.learnt(self.learn, self.state, experience)
        return jax.device_get((report, games))


PARTS = ("envpool", "rollout", "learner_derived", "learner_autodiff", "training")


def measure(config: Config) -> dict:
    """Agent steps per second of every part."""
    run = a3c.Config(env=config.env, num_envs=config.num_envs, num_workers=config.num_workers)
    parts, steps = Parts(run), run.t_max * run.num_envs

    def rate(part, updates):
        start = time.perf_counter()
        for _ in range(updates):
            done = part()
        jax.block_until_ready(done)
        return updates * steps / (time.perf_counter() - start)

    runs = {name: partial(rate, getattr(parts, name)) for name in PARTS}
    rates = timing.in_turn(runs, config.updates, config.repeats)
    return {name: round(statistics.median(values), 1) for name, values in rates.items()}


def main(config: Config):
    """Measure, print a table, and write the figures down."""
    found = {"jaxrl": measure(config)}
    if config.plain and os.environ.get("JAXRL_RUNTIME") != "off":
        arguments = [f"--num-envs={config.num_envs}", f"--num-workers={config.num_workers}", f"--env={config.env}",
                     f"--updates={config.updates}", f"--repeats={config.repeats}", "--no-plain"]  # fmt: skip
        output = config.output.with_suffix(".plain.json")
        subprocess.run(
            [sys.executable, __file__, *arguments, f"--output={output}"],
            env=os.environ | {"JAXRL_RUNTIME": "off"}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        found["default flags"] = json.loads(output.read_text())["steps_per_second"]["jaxrl"]
        output.unlink()
    ours = found["jaxrl"]
    print(f"{'agent steps/s':18}" + "".join(f"{name:>16}" for name in found))
    for name in PARTS:
        print(f"{name.replace('_', ', '):18}" + "".join(f"{column[name]:16,.0f}" for column in found.values()))
    ratios = {
        "training / envpool": ours["training"] / ours["envpool"],
        "learner derived / autodiff": ours["learner_derived"] / ours["learner_autodiff"],
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    timing.write(config.output, {"steps_per_second": found, "ratios": ratios}, config)


if __name__ == "__main__":
    cli.run(main, Config)
