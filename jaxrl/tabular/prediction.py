"""Prediction: the values of a policy from experience. Monte Carlo, TD(λ) and n-step TD. S&B chapters 5, 6, 7, 9 and 12.

A value is linear in the features x(s) [D] of a state, v(s) = w · x(s); a table is the case of one feature a state, the
identity. All methods but TD(λ) differ only in their targets: each is one pass of

    w ← w + α (R + Γ w · x(s') − w · x(s)) x(s)                                          `semi_gradient`

    Monte Carlo        R the return,                 Γ = 0                                `to_the_end`
    TD(0)              R = r_t,                      Γ = γ_t,          s' = s_t           the experience itself
    n-step TD          R of n steps,                 Γ of n steps,     s' after them      `n_steps`
    offline λ-return   R = G^λ of the old w,         Γ = 0                                `lambda_return`

The target counts as a number: a gradient that also goes through w · x(s') is that of another loss, and leads elsewhere.
Experience is recorded first, for the policy does not change, and learnt from afterwards in the order in which it came.
That is the same as to learn while acting: an n-step target looks n steps ahead, and the values that it uses are those
after the updates of all steps before its own.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrl import returns
from jaxrl.losses.weighting import times
from jaxrl.tabular import policies, worlds
from jaxrl.tabular.worlds import World


class Experience(NamedTuple):
    """Transitions of one stream [T]: those of whole episodes, one after the other.

    discount_t is 0 where an episode ended. Rows that are not valid count for nothing; they fill streams up to one T.
    """

    s_tm1: jax.Array
    r_t: jax.Array
    discount_t: jax.Array
    s_t: jax.Array
    valid: jax.Array


def stream(world: World, policy, key, episodes: int, most: int) -> Experience:
    """So many episodes under a policy [S, A], one after the other, in `most` rows; later rows are not valid."""

    def step(carry, key):
        s_tm1, left = carry
        to_act, to_step = jax.random.split(key)
        a_tm1 = policies.draw(to_act, policy[s_tm1]) if policy.shape[1] > 1 else 0
        r_t, discount_t, s_t = worlds.step(world, to_step, s_tm1, a_tm1)
        over = discount_t == 0
        return (jnp.where(over, world.s_0, s_t), left - over), (s_tm1, r_t, discount_t, s_t, left > 0)

    start = world.s_0, jnp.int32(episodes)
    return Experience(*lax.scan(step, start, jax.random.split(key, most))[1])


@partial(jax.jit, static_argnames=("episodes", "most"))
def _streams(world, policy, keys, episodes, most):
    return jax.vmap(lambda key: stream(world, policy, key, episodes, most))(keys)


def record(world: World, policy, key, streams: int, episodes: int, most: int) -> Experience:
    """Whole episodes under a policy: [streams, T], with T as the longest stream needs.

    Args:
      world, policy: the table, and probabilities [S, A].
      key: of `jax.random`.
      streams, episodes: how many streams, and episodes of each.
      most: steps to take for each.

    Raises: ValueError when the episodes of a stream are not over after `most` steps.
    """
    found = jax.tree.map(np.asarray, _streams(world, policy, jax.random.split(key, streams), episodes, most))
    if (((found.discount_t == 0) & found.valid).sum(1) < episodes).any():
        raise ValueError(f"{episodes} episodes are longer than {most} steps.")
    return jax.tree.map(lambda leaf: leaf[:, : found.valid.sum(1).max()], found)


def apart(found: Experience) -> Experience:
    """Streams [N, T] as single episodes [N, E, T'], each filled up to the longest of them."""
    over = (found.discount_t == 0) & found.valid
    number = np.cumsum(over, 1) - over
    episodes = [[[leaf[i][found.valid[i] & (number[i] == e)] for leaf in found] for e in range(over[i].sum())]
                for i in range(len(over))]  # fmt: skip
    longest = max(len(leaves[0]) for row in episodes for leaves in row)

    def filled(place):
        return np.array(
            [[np.pad(leaves[place], (0, longest - len(leaves[place]))) for leaves in row] for row in episodes]
        )

    return Experience(*map(filled, range(len(found))))


def to_the_end(seen: Experience) -> Experience:
    """The same stream with the return of each step as its reward, and nothing after it: Monte Carlo's targets."""
    discount_t = jnp.where(seen.valid, seen.discount_t, 0.0)
    return seen._replace(r_t=returns.discounted_return(seen.r_t, discount_t), discount_t=jnp.zeros_like(discount_t))


def n_steps(seen: Experience, n: int) -> Experience:
    """The same stream with rewards, discounts and next states of n steps, or of those left in the episode: (7.1).

    Raises: ValueError for an n below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}.")
    seen = jax.tree.map(jnp.asarray, seen)
    discount_t = jnp.where(seen.valid, seen.discount_t, 0.0)
    length = len(discount_t)

    def window(t):
        ahead = t + jnp.arange(n)
        inside, ahead = ahead < length, jnp.minimum(ahead, length - 1)
        discount = jnp.where(inside, discount_t[ahead], 0.0)
        r, gamma, steps = returns.n_step(seen.r_t[ahead], discount, discount > 0)
        return r, gamma, seen.s_t[jnp.minimum(t + steps - 1, length - 1)]

    r_t, discount_t, s_t = lax.map(window, jnp.arange(length), batch_size=64)
    return seen._replace(r_t=r_t, discount_t=discount_t, s_t=s_t)


def whole(w) -> jax.Array:
    """What is kept of the weights after each step: all of them."""
    return w


def semi_gradient(w, features, seen: Experience, alpha, keep: Callable = whole):
    """One pass over a stream: w after it [D], and what is kept of w after each step [T, ...]. S&B 9.3 and 9.4.

        w ← w + α (R + Γ w · x(s') − w · x(s)) x(s)

    Args:
      w: weights [D].
      features: x [S, D].
      seen: a stream [T], with the targets of a method.
      alpha: step size [].
      keep: `(w) -> what is kept`, such as an error; all weights of all steps can be much.

    Raises: ValueError for features that do not fit the weights, and for more than one stream.
    """
    w, features, seen = _arrays("semi_gradient", w, features, seen)

    def update(w, now):
        x = features[now.s_tm1]
        error = now.r_t + times(now.discount_t, features[now.s_t] @ w) - x @ w
        w = w + alpha * now.valid * error * x
        return w, keep(w)

    return lax.scan(update, w, seen)


def lambda_return(w, features, episodes: Experience, alpha, lambda_):
    """The offline λ-return algorithm, episode after episode [E, T]: w, and after each episode [E, D]. S&B section 12.1.

        G_t^λ = r_t + γ_t [(1 − λ) v(s_t) + λ G_{t+1}^λ],   v as it was before the episode

    and then `semi_gradient` towards G^λ, from the first step of the episode to the last.
    """

    def one(w, seen):
        v = features @ w
        v_tm1, discount_t = v[seen.s_tm1], jnp.where(seen.valid, seen.discount_t, 0.0)
        mix = jnp.broadcast_to(lambda_, discount_t.shape)
        target = returns.gae(seen.r_t, discount_t, v_tm1, v[seen.s_t], mix) + v_tm1
        w, _ = semi_gradient(w, features, seen._replace(r_t=target, discount_t=jnp.zeros_like(discount_t)), alpha)
        return w, w

    return lax.scan(one, w, episodes)


def td_lambda(w, features, seen: Experience, alpha, lambda_, offline: bool = False, keep: Callable = whole):
    """TD(λ) with accumulating traces: w after a stream [D], and what is kept after each step [T, ...]. S&B 12.2.

        z ← γ λ z + x(s_tm1)          δ = r_t + γ_t v(s_t) − v(s_tm1)          w ← w + α δ z

    The γ of the trace is that of the step before: it is 0 after the end of an episode, and the trace with it.

    Args:
      w, features, seen, alpha, keep: as `semi_gradient` has them.
      lambda_: λ [].
      offline: whether the changes of an episode are added up, and made at its end. They are then those of the λ-return
        (S&B section 12.1): with λ = 1 those of Monte Carlo.

    Raises: ValueError as `semi_gradient` does.
    """
    w, features, seen = _arrays("td_lambda", w, features, seen)

    def update(carry, now):
        w, change, z = carry
        x = features[now.s_tm1]
        z = z + x
        error = now.r_t + times(now.discount_t, features[now.s_t] @ w) - x @ w
        change = change + alpha * now.valid * error * z
        due = (now.discount_t == 0) | (not offline)
        w, change = w + due * change, (1 - due) * change
        return (w, change, now.discount_t * lambda_ * z), keep(w)

    (w, _, _), ws = lax.scan(update, (w, jnp.zeros_like(w), jnp.zeros_like(w)), seen)
    return w, ws


def rms(ws, features, v) -> jax.Array:
    """The root mean squared error over all states, alike, of weights [..., D] against values [S]: [...]."""
    return jnp.sqrt(jnp.mean((ws @ features.T - v.reshape((1,) * (ws.ndim - 1) + v.shape)) ** 2, -1))


def _arrays(name, w, features, seen):
    w, features, seen = jax.tree.map(jnp.asarray, (w, features, seen))
    if jnp.ndim(w) != 1 or features.shape[1:] != w.shape or jnp.ndim(seen.r_t) != 1:
        raise ValueError(
            f"{name} takes weights [D], features [S, D] and a stream [T] (vmap it over streams); "
            f"got {w.shape}, {features.shape} and {seen.r_t.shape}."
        )
    return w, features, seen
