"""The chassis of agents that learn from a replay: store, and once there is enough, draw, update, set priorities.

An algorithm brings its networks and their update; see `agent`.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import parallel, replay, sum_tree
from jaxrl.agent import Agent, Column, Storage
from jaxrl.agents import memory, options
from jaxrl.agents.options import Count, Fraction, Natural, NotNegative, RunConfig, option

READING = 3.0  # times the replay's own size is what reading it from a checkpoint takes: 3,604 MiB for one of 1,200 MiB
OTHERS = 1.25  # leaves a fifth of a memory to everything else
SHOWN = {
    "loss": Column("loss", ".3g"),
    "gradient_norm": Column("gradient", ".1f"),
    "td_error": Column("", ".3g", "mean error"),
}


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Options of an off-policy agent."""

    prioritized: bool = False
    """Draw transitions in proportion to a power of their last error (prioritised replay)."""
    n_step: Count = 3
    """Steps whose rewards are summed before the target bootstraps."""
    collect_steps: Count = 1
    """Agent steps of each environment between two turns of learning."""
    updates: Count = 4
    """Updates in one turn of learning."""
    batch_size: Count = 32
    """Transitions drawn for an update, over all devices."""
    replay_size: Count = 500_000
    """Agent steps that the replay holds, over all devices; a step of 52x52 pixels takes 3 kB, of 84x84 7 kB."""
    save_replay: bool = True
    """Keep the replay in checkpoints, which makes a resumed run exact; without, it starts empty and fills up again."""
    learning_starts: Count = 20_000
    """Agent steps of random actions before the first update, resets counted in."""
    target_period: Natural = 1_000
    """Updates (not steps) after which the target network is made equal to the online one; 0 for soft updates."""
    target_rate: Fraction = 0.005
    """How far a soft update moves the target network towards the online one."""
    gamma: Fraction = 0.99
    """Discount of a reward one agent step later."""
    priority_exponent: NotNegative = 0.6
    """α: priorities are errors to this power; 0 draws uniformly."""
    importance_exponent: Fraction = 0.4
    """β at the start: how much of the bias of drawing by priority the weights undo; it rises to 1 at the end."""

    @property
    def images_held(self) -> int:
        """Observations of one environment between two turns of learning."""
        return self.collect_steps

    @property
    def images_learnt(self) -> int:
        """Observations in one update."""
        return 2 * self.batch_size

    @property
    def replay_ratio(self) -> float:
        """Transitions drawn for each agent step."""
        return self.batch_size * self.updates / (self.num_envs * self.collect_steps)

    @property
    def total_updates(self) -> int:
        """Updates in the whole run (reset rows aside)."""
        turns = (self.total_steps - self.learning_starts) // (self.num_envs * self.collect_steps)
        return max(1, turns * self.updates)

    @property
    def settings(self) -> replay.Settings:
        """The replay of one device."""
        rows = self.replay_size // self.num_envs // self.collect_steps * self.collect_steps
        return replay.Settings(rows, self.rules.stack or 0, self.n_step, self.gamma, self.prioritized)


class Learner(NamedTuple):
    """The networks, the priorities (None for uniform draws), and the agent steps so far, over all devices."""

    networks: Any
    priorities: replay.Priorities | None
    agent_steps: jax.Array


def agent(config: Config, spec, policy, init, act, update, frozen, shown) -> Agent:
    """An off-policy agent.

    Args:
      config: see `Config`.
      spec: what an observation and an action are.
      policy: how it acts when frozen.
      init: `(key, params=None) -> networks`, any state with all that an update changes.
      act: `((params, agent_steps), memory, observation, first, key) -> (a, memory, extras)`, with extras a dict of
        arrays whose means are reported.
      update: `(networks, batch, weight [B], key) -> (networks, error [B], report)`; the errors become priorities.
      frozen: `(networks) -> params`.
      shown: which reports are shown beside those of every off-policy agent.
    """
    settings, axis_names = config.settings, parallel.axis_names(config.device_count)
    num_envs, batch_size = config.num_envs // config.total_devices, config.batch_size // config.total_devices

    def start(key, params=None):
        priorities = replay.init_priorities(settings, num_envs) if config.prioritized else None
        return Learner(init(key, params), priorities, jnp.int32(0))

    def store(learner, ring, trajectory):
        ring = replay.insert(ring, settings, trajectory.observation, trajectory.row)
        taken = parallel.total(trajectory.row.valid.sum(dtype=jnp.int32), axis_names)
        priorities = learner.priorities
        if config.prioritized:
            priorities = replay.admit(priorities, ring, settings, len(trajectory.observation))
        learner = Learner(learner.networks, priorities, learner.agent_steps + taken)
        report = {name: jnp.mean(value) for name, value in trajectory.extras.items()}
        return learner, ring, report | {"updates": jnp.int32(0)} | _fullness(config, learner, ring)

    def learn(learner, ring, key):
        reports = []
        for subkey in jax.random.split(key, config.updates):  # unrolled: XLA:CPU is slow in loops
            learner, latest = draw_and_update(learner, ring, subkey)
            reports.append(latest)
        means = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values)), *reports)
        return learner, means | {"updates": jnp.int32(len(reports))} | _fullness(config, learner, ring)

    def draw_and_update(learner, ring, key):
        draw_key, update_key = jax.random.split(key)
        networks, priorities, agent_steps = learner
        batch = replay.sample(ring, priorities, settings, draw_key, batch_size)
        weight = (batch.probability > 0) / batch_size  # 0: no transition was found
        if config.prioritized:
            progress = jnp.minimum(agent_steps / config.total_steps, 1.0)
            beta = config.importance_exponent + (1 - config.importance_exponent) * progress
            weight *= replay.importance_weights(batch, beta)
        networks, error, report = update(networks, batch, weight, update_key)
        if config.prioritized:
            priorities = replay.set_priorities(priorities, batch.index, error, config.priority_exponent)
        return Learner(networks, priorities, agent_steps), report

    def ready(ring):
        return (int(np.asarray(ring.rows)[0]) + config.collect_steps) * config.num_envs >= config.learning_starts

    return Agent(
        policy=policy,
        num_steps=config.collect_steps,
        init=start,
        acting=lambda learner: (frozen(learner.networks), learner.agent_steps),
        act=act,
        learn=learn,
        frozen=lambda learner: frozen(learner.networks),
        shown=SHOWN | shown,
        storage=Storage(
            init=lambda: replay.init(settings, num_envs, spec.observation, spec.action),
            store=store,
            ready=ready,
            cut=lambda ring: replay.end_streams(ring, settings),
            saved=config.save_replay,
        ),
    )


def _fullness(config: Config, learner: Learner, ring: replay.Ring) -> dict:
    """What is reported of the replay."""
    report = {"replay_fill": jnp.minimum(ring.rows / config.settings.length, 1.0)}
    if config.prioritized:
        count = jnp.maximum(replay.drawable(ring, config.settings) * ring.row.valid.shape[1], 1)
        tree, highest = learner.priorities
        report |= {"priority_mean": sum_tree.total(tree) / count, "priority_highest": highest}
    return report


def check(config: Config, spec):
    """Raise ValueError, in one sentence, for options that cannot work."""
    options.check(config)
    if config.rules.normalization != "none":
        culprit = "--normalization" if config.normalization else f"--protocol {config.protocol}"
        raise ValueError(f"the replay keeps frames as they are, and {culprit} normalises them; leave it out.")
    for name in ("num_envs", "batch_size"):
        options.check_divides(config, name, config.total_devices, options.over_devices(config))
    if config.num_hosts > 1 and config.save_replay:
        raise ValueError("the replays of several hosts are not saved: give --no-save-replay.")
    _check_sizes(config)
    _check_replay(config)
    _check_memory(config, spec)


def _check_sizes(config: Config):
    """The same, for numbers that must fit each other."""
    if config.batch_size > config.learning_starts:
        raise ValueError(
            f"--batch-size {config.batch_size} is more than the {config.learning_starts} steps that learning starts "
            f"with; raise --learning-starts, or draw at most as many."
        )
    if config.learning_starts >= config.total_steps:
        raise ValueError(
            f"--learning-starts {config.learning_starts} leaves none of --total-steps {config.total_steps} to learn in."
        )
    if config.checkpoint_every < 2 * config.num_envs:
        raise ValueError(
            f"--checkpoint-every {config.checkpoint_every} must be at least twice the {config.num_envs} environments, "
            f"as a checkpoint cuts the games and the step before a cut cannot be learnt from."
        )
    if config.learning_starts > config.replay_size:
        raise ValueError(
            f"--learning-starts {config.learning_starts} is more than --replay-size {config.replay_size} can hold."
        )


def _check_replay(config: Config):
    """The same, for a replay that is too small to draw from."""
    settings = config.settings
    least = settings.frames + settings.steps + config.collect_steps
    if settings.length < least or config.learning_starts < least * config.num_envs:
        name = "replay_size" if settings.length < least else "learning_starts"
        raise ValueError(
            f"{option(name)} {getattr(config, name)} is not enough for a first transition: with "
            f"{config.num_envs} environments and {config.n_step} steps it takes {least * config.num_envs}."
        )


def _check_memory(config: Config, spec):
    """The same, for a replay that does not fit into the device's memory."""
    per_step = replay.bytes_needed(config.settings._replace(length=1), 1, spec.observation)
    devices = config.num_hosts * (1 if jax.default_backend() == "cpu" else config.device_count)
    reading = config.save_replay and jax.default_backend() == "cpu"
    times, free = READING if reading else OTHERS, memory.free_memory()
    needed = config.num_seeds * times * config.replay_size * per_step / devices
    if free is not None and needed > free:
        fits = int(free / config.num_seeds / times / per_step * devices) // 1000 * 1000
        why = " to read it from a checkpoint (--no-save-replay: less than half of that)" if reading else ""
        raise ValueError(
            f"--replay-size {config.replay_size} needs {memory.gib(needed)}{why}, and {memory.gib(free)} are free; "
            f"{fits} would fit."
        )
