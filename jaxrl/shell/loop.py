"""The run loop: a generator of updates.

An algorithm comes in as an `agent.Agent`, a bundle of pure functions for one device. The loop owns what has state:
pools, actors, keys, the observation normaliser, and the device axis [D, ...] of every array. EnvPool cannot save an
emulator, so at every checkpoint both the running and the resumed process make fresh pools, seeded from the agent step:
a resumed run equals the uninterrupted one to the bit.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import parallel, rollout
from jaxrl.agent import Agent
from jaxrl.rollout import Games
from jaxrl.shell import hosts


class State(NamedTuple):
    """All that a run needs to go on, [D, ...] a leaf.

    Attributes:
      learner: the agent's.
      storage: what an off-policy agent learns from, or None.
      normalizer: the observation normaliser's state, or None.
      act_keys, learn_keys: the keys of what is random in acting and in learning, one for each device.
    """

    learner: Any
    storage: Any
    normalizer: Any
    act_keys: jax.Array
    learn_keys: jax.Array


class Schedule(NamedTuple):
    """When things happen, in agent steps."""

    total_steps: int
    checkpoint_every: int
    log_every: int


class Updated(NamedTuple):
    """One update of the agent, as the run loop yields it; the state lives until the next one."""

    agent_steps: int
    state: State
    report: dict
    games: Games
    boundary: bool


class NotFinite(ValueError):
    """A loss or gradient that is not finite."""


def next_multiple(step: int, every: int) -> int:
    """The first multiple of `every` after `step`."""
    return (step // every + 1) * every


def first_state(agent: Agent, protocol, num_envs: int, device_count: int, seed: int, start=None) -> State:
    """The state from nothing, or from what another run learnt.

    Args:
      protocol: says whether observations are normalised.
      num_envs: environments of one device.
      device_count: D.
      seed: of the parameters and of every action.
      start: the `frozen.Frozen` of another run, or None.
    """
    act_key, init_key, learn_key = jax.random.split(jax.random.key(seed), 3)
    every = device_count * hosts.count()
    keys = [hosts.own(jax.random.split(key, every), device_count) for key in (act_key, learn_key)]
    keys = parallel.shard(keys, device_count)
    learner = agent.init(init_key, start.params) if start else agent.init(init_key)
    normalizer = rollout.init_normalization(protocol, num_envs)
    if start and start.normalizer is not None and normalizer is not None:
        normalizer = rollout.shared_normalizer(start.normalizer, num_envs)
    copies = [(learner, normalizer)] * device_count
    learner, normalizer = parallel.shard(parallel.stack(copies), device_count)
    return State(learner, empty_storage(agent, device_count), normalizer, *keys)


def empty_storage(agent: Agent, device_count: int):
    """The storage from nothing, on every device, or None."""
    return agent.storage and parallel.repeat(agent.storage.init, device_count)


def saved(agent: Agent, state: State) -> State:
    """What a checkpoint holds of a state: all of it, or all but the storage."""
    return state if agent.storage is None or agent.storage.saved else state._replace(storage=None)


def restored(agent: Agent, state: State) -> State:
    """The state of which `saved` was made; a storage that was not saved is empty."""
    if state.storage is not None or agent.storage is None:
        return state
    return state._replace(storage=empty_storage(agent, len(state.act_keys)))


def frozen(agent: Agent, state: State) -> dict:
    """What acts when frozen, of the first device, where acting is done: {"params": ..., "normalizer": ...}."""
    params, normalizer = parallel.first_device((agent.frozen(state.learner), state.normalizer))
    frozen = {"params": params, "normalizer": normalizer}
    if isinstance(state.act_keys, jax.core.Tracer):  # only shapes are asked for
        return frozen
    where = min(state.act_keys.devices(), key=lambda device: device.id)
    return jax.device_put(frozen, where)  # a slice of many devices' array lies on all of them


class How(NamedTuple):
    """How the turns of a run are played.

    Attributes:
      acting: the devices of `parallel.acting_devices`, or None.
      age: turns of learning that the parameters that act are behind. With 0 a rollout waits for what was learnt from
        the last one; with 1 it is under way while that is learnt. Fresh pools always begin with the newest.
      turn: what `learning` gives, where several runs of the agent share it, so that it is compiled once.
    """

    acting: list | None = None
    age: int = 0
    turn: Any = None


TOGETHER = How()


def updates(agent: Agent, state: State, make_pools, schedule: Schedule, start: int, how: How = TOGETHER):
    """Train from agent step `start`: a generator of `Updated`, endless but for the total.

    `make_pools(agent_steps)` makes the pools, one for each device; they are made anew after every boundary (a
    multiple of `schedule.checkpoint_every`, and the end).

    Raises: NotFinite when a report is not finite; the state is then spoilt.
    """
    return (update for update in phases(agent, state, make_pools, schedule, start, how) if update is not None)


def phases(agent: Agent, state: State, make_pools, schedule: Schedule, start: int, how: How = TOGETHER):
    """The same, with a None before each update: it is under way then, and meanwhile others can be begun."""
    agent_steps = start
    turn = how.turn or learning(agent, len(state.act_keys))
    while agent_steps < schedule.total_steps:
        pools = make_pools(agent_steps)
        collect, (state, actor) = collecting(agent, pools, how.acting), enter(agent, state, pools, how.acting)
        boundary = min(next_multiple(agent_steps, schedule.checkpoint_every), schedule.total_steps)
        acted = None
        ahead = collect(agent.acting(state.learner), actor)
        while agent_steps < boundary:
            actor, trajectory, games = ahead
            old, played = (acted,) if acted is not None else (), None
            if how.age:
                games = jax.device_get(games)
                played = hosts.total(int(games.valid.sum()))
                acted = jax.tree.map(jnp.copy, agent.acting(state.learner))  # learning takes the learner's own memory
                if agent_steps + played < boundary:
                    ahead = collect(acted, actor)
            learnt = state.learner, state.storage, state.learn_keys
            learner, storage, learn_keys, report = turn(*learnt, trajectory, *old)
            state = State(learner, storage, *carried(actor), learn_keys)
            yield None
            report, games = jax.device_get((report, games))
            played = hosts.total(int(games.valid.sum())) if played is None else played
            agent_steps += played
            check_finite(report, agent_steps)
            yield Updated(agent_steps, state, report, games, agent_steps >= boundary)
            if not how.age and agent_steps < boundary:
                ahead = collect(agent.acting(state.learner), actor)
        for pool in pools:
            pool.close()


def enter(agent: Agent, state: State, pools, acting=None):
    """The state at the start of fresh pools, one for each device, and the actors in them.

    The actors are one `rollout.ActorState` with leaves [D, ...], or where acting has devices of its own, one for each.
    """
    state = state._replace(learner=jax.vmap(agent.cut)(state.learner))
    if agent.storage is not None:
        state = state._replace(storage=jax.vmap(agent.storage.cut)(state.storage))

    def actor(pool, device):
        normalizer, key = jax.tree.map(lambda leaf: leaf[device], (state.normalizer, state.act_keys))
        return rollout.init(pool.reset(), agent.policy.initial_memory(pool.num_envs), normalizer, key)

    if acting is None:
        actors = [actor(pool, device) for device, pool in enumerate(pools)]
        return state, parallel.shard(parallel.stack(actors), len(pools))
    state = state._replace(**jax.device_put({"normalizer": state.normalizer, "act_keys": state.act_keys}, acting[0]))
    with jax.default_device(acting[0]):
        actors = [actor(pool, device) for device, pool in enumerate(pools)]
    return state, tuple(map(jax.device_put, actors, acting))


def carried(actor) -> tuple:
    """The normaliser and the key after a rollout, [D, ...] a leaf."""
    if isinstance(actor, rollout.ActorState):
        return actor.normalizer, actor.key
    there = next(iter(actor[0].key.devices()))
    return parallel.stack(jax.device_put([(each.normalizer, each.key) for each in actor], there))


def collecting(agent: Agent, pools, acting=None):
    """`(acting, actor) -> (actor, Trajectory, Games)`: T steps in these pools, compiled.

    Where acting has devices of its own, the parameters go there, and only the trajectory comes back.
    """
    steps = [pool.step for pool in pools]

    def rolled_out(pool_step, parameters, actor):
        actor, trajectory, games = rollout.collect(actor, partial(agent.act, parameters), pool_step, agent.num_steps)
        return actor, agent.arrange(trajectory), games

    if acting is None:
        return parallel.map_devices(partial(rolled_out, parallel.on_this_device(steps)), len(pools))

    def alone(pool_step, parameters, actor):
        actor, trajectory, games = rolled_out(pool_step, parameters, actor)
        return actor, parallel.add_axis(trajectory), games

    each = [jax.jit(partial(alone, pool_step)) for pool_step in steps]

    def collect(parameters, actors):
        found = []
        for number, (run, actor, device) in enumerate(zip(each, actors, acting, strict=True)):
            mine = jax.device_put(jax.tree.map(lambda leaf, number=number: leaf[number], parameters), device)
            found.append(run(mine, actor))
        actors, trajectories, games = zip(*found, strict=True)
        return actors, parallel.join(trajectories), parallel.stack(jax.device_put(games, acting[0]))

    return collect


def learning(agent: Agent, device_count: int):
    """`(learner, storage, keys, trajectory[, acted]) -> (learner, storage, keys, report)`: one turn, compiled.

    `acted`: the parameters that made the trajectory, where they are not the learner's own.
    """

    def update(learner, key, experience, *acted):
        key, subkey = jax.random.split(key)
        after, report = agent.learn(learner, experience, subkey, *acted)
        refuse_other_types("learning", learner, after)
        return after, key, report

    def store(learner, storage, trajectory):
        *after, report = agent.storage.store(learner, storage, trajectory)
        refuse_other_types("storing", (learner, storage), tuple(after))
        return *after, report

    update = parallel.map_devices(update, device_count, donate_argnums=(0, 1))
    store = parallel.map_devices(store, device_count, donate_argnums=(0, 1))
    unknown = {}

    def turn(learner, storage, keys, trajectory, *acted):
        if agent.storage is None:
            learner, keys, report = update(learner, keys, trajectory, *acted)
            return learner, storage, keys, report
        ready = agent.storage.ready(storage)
        learner, storage, report = store(learner, storage, trajectory)
        if not ready:
            unknown.update(unknown or not_learnt(update, learner, keys, storage))
            return learner, storage, keys, unknown | report
        learner, keys, learnt = update(learner, keys, storage)
        return learner, storage, keys, report | learnt

    return turn


def not_learnt(update, *args) -> dict:
    """The report of an update that was not made: NaN, made on the host, as `jax.debug_nans` allows none elsewhere."""
    _, _, report = jax.eval_shape(update, *args)
    return {name: np.full(leaf.shape, np.nan, np.float32) for name, leaf in report.items()}


def refuse_other_types(what: str, before, after):
    """Raise TypeError, with the first leaf, where a turn changes the form of a state: no checkpoint would fit it."""
    kinds = [
        {jax.tree_util.keystr(path): jax.typeof(leaf).str_short() for path, leaf in jax.tree.leaves_with_path(tree)}
        for tree in (before, after)
    ]
    for path in sorted(kinds[0].keys() | kinds[1].keys()):
        old, new = (kind.get(path, "nothing") for kind in kinds)
        if old != new:
            raise TypeError(f"{what} makes {new} of the state's {path}, which was {old}; an update keeps every type.")


def check_finite(report: dict, agent_steps: int):
    """Raise NotFinite when a loss or a gradient norm is not finite; a report of no updates has none."""
    if not np.any(report.get("updates", 1)):
        return
    for name in ("loss", "gradient_norm"):
        if not np.all(np.isfinite(report.get(name, 0.0))):
            raise NotFinite(
                f"{name} became {float(np.mean(report[name]))} in the update that ended at agent step {agent_steps}; "
                "a smaller --learning-rate or --max-grad-norm is the usual cure."
            )
