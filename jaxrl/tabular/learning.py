"""Control: learning values of actions while acting on them. S&B chapters 6, 7 and 8.

One loop serves all methods. A method says what the target is, and a few numbers say the rest:

    Sarsa                 R + Γ q(s', a')               a' is the action that is taken next
    n-step Sarsa          the same over n steps         n > 1
    expected Sarsa        R + Γ Σ_a π(a|s') q(s', a)
    Q-learning            R + Γ max_a q(s', a)
    double Q-learning     R + Γ q_2(s', argmax_a q_1(s', a))    two tables: a coin says which of them is q_1 and learns
    Dyna-Q                Q-learning, and `planning` more updates a step from what pairs of state and action did last

Actions are ε-greedy in the mean of the tables, ties at random. A register holds the last n transitions; its oldest is
learnt from when n are there. When the episode has ended the world stands still, and the register runs empty, so that
the last n − 1 steps are learnt from too.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrl.returns import expected_sarsa_target, n_step, q_target, sarsa_target
from jaxrl.tabular import policies, worlds
from jaxrl.tabular.worlds import World


class Method(NamedTuple):
    """What tells one method from another.

    target: `(r_t, discount_t, after) -> []`.
    on_policy: whether a_t, which the target may name, is the action that is taken next. Otherwise the next action is
      drawn after the update.
    n: steps of a target.
    tables: tables of values; the target takes the values of the next one.
    planning: updates from the model after each step.
    """

    target: Callable
    on_policy: bool = False
    n: int = 1
    tables: int = 1
    planning: int = 0


class After(NamedTuple):
    """What a target may look at in the state s' that followed.

    q_t: values [A] by the table that is to value.
    selector_t: values [A] by the table that learns; with one table the same.
    a_t: the action drawn in s', int32 [].
    pi_t: the probabilities [A] it was drawn from, by the newest values.
    """

    q_t: jax.Array
    selector_t: jax.Array
    a_t: jax.Array
    pi_t: jax.Array


def _sarsa(r_t, discount_t, after):
    return sarsa_target(r_t, discount_t, after.q_t, after.a_t)


def _expected_sarsa(r_t, discount_t, after):
    return expected_sarsa_target(r_t, discount_t, after.q_t, after.pi_t)


def _q_learning(r_t, discount_t, after):
    return q_target(r_t, discount_t, after.q_t, after.selector_t)


METHODS = {
    "Sarsa": Method(_sarsa, on_policy=True),
    "expected Sarsa": Method(_expected_sarsa),
    "Q-learning": Method(_q_learning),
    "double Q-learning": Method(_q_learning, tables=2),
}


class Rates(NamedTuple):
    """Step size α and exploration ε, [] each."""

    alpha: jax.Array
    epsilon: jax.Array


class Register(NamedTuple):
    """The last n transitions, the oldest first [n]. Before the first there is r = 0, γ = 1, after the last γ = 0."""

    s_tm1: jax.Array
    a_tm1: jax.Array
    r_t: jax.Array
    discount_t: jax.Array
    real: jax.Array


class Model(NamedTuple):
    """What each pair of state and action did when it was tried last, [S, A]; `seen` says which ever were."""

    r_t: jax.Array
    discount_t: jax.Array
    s_t: jax.Array
    seen: jax.Array


class Record(NamedTuple):
    """Of each episode [E] the sum of its rewards, not discounted, its steps, and its first action."""

    score: jax.Array
    steps: jax.Array
    a_0: jax.Array


class Learner(NamedTuple):
    """What changes from step to step; q is [tables, S, A]."""

    q: jax.Array
    s: jax.Array
    a: jax.Array
    ended: jax.Array
    register: Register
    model: Model | None
    episode: jax.Array
    steps: jax.Array
    record: Record
    key: jax.Array


def init(method: Method, world: World, rates: Rates, episodes: int, key, q_0=0.0) -> Learner:
    """A learner that is to play so many episodes.

    Raises: ValueError for a method with a number that cannot work, or episodes below 1.
    """
    _check(method, episodes)
    has = worlds.present(world)
    q = jnp.broadcast_to(jnp.where(has, q_0, -jnp.inf), (method.tables, *has.shape))
    zeros, nothing = jnp.zeros(has.shape), jnp.zeros(has.shape, jnp.int32)
    model = Model(zeros, zeros, nothing, jnp.zeros(has.shape, bool)) if method.planning else None
    key, subkey = jax.random.split(key)
    a, none = act(subkey, q, world.s_0, rates.epsilon), jnp.zeros(episodes)
    record = Record(none, none.astype(jnp.int32), none.astype(jnp.int32).at[0].set(a))
    return Learner(q, world.s_0, a, jnp.bool_(False), empty(method.n), model, jnp.int32(0), jnp.int32(0), record, key)


def empty(n: int) -> Register:
    """A register before the first step of an episode."""
    none = jnp.zeros(n, jnp.int32)
    return Register(none, none, jnp.zeros(n), jnp.ones(n), jnp.zeros(n, bool))


def probabilities(q, s, epsilon) -> jax.Array:
    """ε-greedy in the mean of the tables, [A]."""
    return policies.epsilon_greedy(jnp.mean(q[:, s], 0), epsilon)


def act(key, q, s, epsilon) -> jax.Array:
    """An action in the state s, int32 []."""
    return policies.draw(key, probabilities(q, s, epsilon))


def update(method: Method, q, s_tm1, a_tm1, r_t, discount_t, s_t, a_t, rates: Rates, key) -> jax.Array:
    """q after one step of one table towards its target: q_1(s, a) ← q_1(s, a) + α (target − q_1(s, a))."""
    i = jax.random.randint(key, (), 0, method.tables) if method.tables > 1 else 0
    other = (i + 1) % method.tables
    after = After(q[other, s_t], q[i, s_t], a_t, probabilities(q, s_t, rates.epsilon))
    error = method.target(r_t, discount_t, after) - q[i, s_tm1, a_tm1]
    return q.at[i, s_tm1, a_tm1].add(rates.alpha * error)


def step(method: Method, world: World, rates: Rates, learner: Learner) -> Learner:
    """One step in the world, or, after the end of an episode, one of the register; and one update."""
    key, to_step, to_act, to_update, to_plan, to_go_on = jax.random.split(learner.key, 6)
    s, a, played = learner.s, learner.a, ~learner.ended
    r_t, discount_t, s_t = worlds.step(world, to_step, s, a)
    model = learner.model
    if method.planning:
        model = remember(model, s, a, r_t, discount_t, s_t, played)
    r_t, discount_t = played * r_t, played * discount_t
    a_t = act(to_act, learner.q, s_t, rates.epsilon)
    register = push(learner.register, Register(s, a, r_t, discount_t, played))
    q = learn_from_oldest(method, learner.q, register, s_t, a_t, rates, to_update)
    if method.planning:
        q = plan(method, q, model, rates, to_plan)
    ended = discount_t == 0
    over = ended & ~register.real[1:].any()
    s = jnp.where(over, world.s_0, s_t)
    a = act(to_go_on, q, s, rates.epsilon)
    if method.on_policy:
        a = jnp.where(over, a, a_t)
    record, episode = noted(learner.record, learner.episode, r_t, played, over, a)
    register = jax.tree.map(lambda new, old: jnp.where(over, new, old), empty(method.n), register)
    return Learner(q, s, a, ended & ~over, register, model, episode, learner.steps + 1, record, key)


def push(register: Register, newest: Register) -> Register:
    """The register without its oldest transition, and with a newest one."""
    return jax.tree.map(lambda old, new: jnp.append(old[1:], new.astype(old.dtype)), register, newest)


def learn_from_oldest(method: Method, q, register: Register, s_t, a_t, rates: Rates, key) -> jax.Array:
    """q after the update of the oldest transition, where there is one; s_t and a_t follow the newest."""
    r, gamma, _ = n_step(register.r_t, register.discount_t, jnp.ones(method.n, bool))
    new = update(method, q, register.s_tm1[0], register.a_tm1[0], r, gamma, s_t, a_t, rates, key)
    return jnp.where(register.real[0], new, q)


def remember(model: Model, s, a, r_t, discount_t, s_t, played) -> Model:
    """The model with what a pair did now."""
    now = r_t, discount_t, s_t, True
    return Model(*(leaf.at[s, a].set(jnp.where(played, new, leaf[s, a])) for leaf, new in zip(model, now, strict=True)))


def plan(method: Method, q, model: Model, rates: Rates, key) -> jax.Array:
    """Updates from the model: a state that was visited, drawn at random, and an action that was taken in it."""

    def once(i, q):
        to_state, to_action, to_act, to_update = jax.random.split(jax.random.fold_in(key, i), 4)
        s = policies.draw(to_state, model.seen.any(1).astype(float))
        a = policies.draw(to_action, model.seen[s].astype(float))
        s_t = model.s_t[s, a]
        a_t = act(to_act, q, s_t, rates.epsilon)
        return update(method, q, s, a, model.r_t[s, a], model.discount_t[s, a], s_t, a_t, rates, to_update)

    return lax.fori_loop(0, method.planning, once, q)


def noted(record: Record, episode, r_t, played, over, a_0):
    """The record with one more step, and the number of the episode that goes on; what is after the last is dropped."""
    score, steps = record.score.at[episode].add(r_t), record.steps.at[episode].add(played)
    episode = episode + over
    return Record(score, steps, record.a_0.at[episode].set(jnp.where(over, a_0, record.a_0[episode]))), episode


@partial(jax.jit, static_argnames=("method", "episodes", "most"))
def learn(method: Method, world: World, rates: Rates, key, episodes: int, most: int, q_0=0.0) -> Learner:
    """Play episodes, and learn in every step of them.

    Args:
      method: one of `METHODS`, or one with other numbers.
      world: the table.
      rates: α and ε.
      key: of `jax.random`; map it, and the rates, over runs.
      episodes: how many.
      most: steps after which the run stops, whatever it has done: `Learner.episode` says how far it came.
      q_0: first values [], or [S, A].

    Returns: the learner at the end; its `record` has the episodes, the mean of its `q` the values.

    Raises: ValueError for a method with a number that cannot work, or episodes below 1.
    """

    def more(learner):
        return (learner.episode < episodes) & (learner.steps < most)

    start = init(method, world, rates, episodes, key, q_0)
    return lax.while_loop(more, partial(step, method, world, rates), start)


def greedy_path(world: World, q, most: int) -> list[int]:
    """The states that the greedy policy visits from the first one on, the first action where there are several.

    Args:
      world: the table, of one outcome for every pair.
      q: values [S, A].
      most: states after which it stops, where the path goes in a circle.
    """
    best = np.argmax(q, 1)
    s_t, discount_t = (np.asarray(leaf)[np.arange(len(best)), best, 0] for leaf in (world.s_t, world.discount_t))
    path = [int(world.s_0)]
    while len(path) < most and discount_t[path[-1]] > 0:
        path.append(int(s_t[path[-1]]))
    return path


def _check(method, episodes):
    numbers = {"n": method.n, "tables": method.tables, "episodes": episodes}
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}.")
    if method.planning < 0:
        raise ValueError(f"planning must be at least 0; got {method.planning}.")
    if method.n > 1 and not method.on_policy:
        raise ValueError("targets of several steps are on-policy: n above 1 is for Sarsa.")
