"""Replay on the device: every frame stored once, uniform or prioritised sampling, all inside the compiled step.

Rows of N environments are written side by side, T rows at a time, into a ring of `length` rows; the newest row follows
the oldest. A row is the newest frame before the action and what came of it (`rollout.Row`). The row that an environment
spends on resetting itself (`valid` False) is no transition and is never drawn; its frame is the true final observation
of the episode before, and that is what it is kept for. A stack of frames is put together when it is drawn: where the
episode is younger than the stack, its first frame stands in for what was before.

Of the rows in the ring three kinds cannot be drawn: reset rows; the newest n, whose n steps are not over; and the
oldest `stack − 1`, whose older frames are overwritten.

The ring is large and only read while learning; the priorities are small and change with every update. They are two
values, so that an update, which returns new priorities, does not copy the frames.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxrl import sum_tree
from jaxrl.returns import n_step
from jaxrl.rollout import Row

TRIES = 16  # a uniform draw that hits no transition is repeated so often


class Settings(NamedTuple):
    """What does not change in a run.

    Attributes:
      length: rows of the ring; the capacity is length · N transitions, resets included. A multiple of what is
        inserted at once.
      stack: newest frames in one observation [..., stack], of which one a row is kept; 0 where observations are kept
        whole: features, or images that are not stacked.
      steps: n of the n-step targets.
      gamma: the discount of one step.
      prioritized: draw by priority.
    """

    length: int
    stack: int = 4
    steps: int = 1
    gamma: float = 0.99
    prioritized: bool = False

    @property
    def frames(self) -> int:
        """Rows that one observation is put together from."""
        return max(self.stack, 1)


class Ring(NamedTuple):
    """The experience.

    Attributes:
      frame: the newest frame before the action, [length, N, H, W], or a whole observation [length, N, ...].
      row: what came of it, [length, N, ...] a leaf.
      cursor: int32 [], the row that is written next.
      rows: int32 [], how many rows have been written in all.
    """

    frame: jax.Array
    row: Row
    cursor: jax.Array
    rows: jax.Array


class Priorities(NamedTuple):
    """How transitions are drawn by priority.

    Attributes:
      tree: the sum tree (`sum_tree`) over the length · N transitions of a ring.
      highest: float32 [], the largest priority so far, which new transitions get.
    """

    tree: tuple
    highest: jax.Array


@struct.dataclass
class Batch:
    """Transitions over up to n steps, [B, ...] a leaf.

    Attributes:
      observations: s_tm1 and s_t side by side in the last axis, [B, H, W, 2 stack] or [B, 2F]. After a single step the
        stacks share all frames but one, and overlap: [B, H, W, stack + 1].
      width: of s_tm1 and of s_t in the last axis: stack, or F.
      a_tm1: the actions, [B] or [B, ...].
      r_t: the rewards of the steps between, discounted and summed.
      discount_t: the discount of what follows s_t: 0 where the episode terminated.
      index: int32 [B], which transition, for `set_priorities`.
      probability: float32 [B], with which it was drawn (drawn uniformly: as if reset rows could be drawn too); 0 where
        no transition was found.
    """

    observations: jax.Array
    width: int = struct.field(pytree_node=False)
    a_tm1: jax.Array
    r_t: jax.Array
    discount_t: jax.Array
    index: jax.Array
    probability: jax.Array

    @property
    def s_tm1(self) -> jax.Array:
        """Observations before the action, [B, H, W, stack] or [B, F]."""
        return self.observations[..., : self.width]

    @property
    def s_t(self) -> jax.Array:
        """Observations after the steps, [B, H, W, stack] or [B, F]."""
        return self.observations[..., -self.width :]


def init(settings: Settings, num_envs: int, observation, action) -> Ring:
    """An empty ring.

    Args:
      settings: see `Settings`.
      num_envs: N.
      observation, action: what one of each is: anything with `shape` and `dtype`, such as the spaces of
        `environments.spec`.

    Raises: ValueError when not even one transition would fit.
    """
    least = settings.frames + settings.steps
    if settings.length < least:
        raise ValueError(
            f"a replay of {settings.length} rows holds no transition over {settings.steps} step(s) with "
            f"{settings.frames} frame(s); it takes at least {least} rows."
        )
    size = (settings.length, num_envs)
    first, terminated, done, valid = (jnp.zeros(size, bool) for _ in range(4))
    a_t = jnp.zeros((*size, *action.shape), action.dtype)
    frame = jnp.zeros((*size, *frame_shape(settings, observation.shape)), observation.dtype)
    row = Row(first, a_t, jnp.zeros(size, jnp.float32), terminated, done, valid)
    return Ring(frame, row, jnp.int32(0), jnp.int32(0))


def init_priorities(settings: Settings, num_envs: int) -> Priorities:
    """Those of an empty ring: nothing can be drawn."""
    return Priorities(sum_tree.init(settings.length * num_envs), jnp.float32(1))


def frame_shape(settings: Settings, observation_shape: tuple) -> tuple:
    """The shape of what a row keeps of an observation."""
    return tuple(observation_shape[:-1] if settings.stack else observation_shape)


def bytes_needed(settings: Settings, num_envs: int, observation) -> int:
    """Memory of a ring and its priorities in bytes."""
    frame = math.prod(frame_shape(settings, observation.shape)) * observation.dtype.itemsize
    tree = 4 * sum_tree.BRANCHES / (sum_tree.BRANCHES - 1) if settings.prioritized else 0
    return int(settings.length * num_envs * (frame + 4 + 4 + 4 + tree))


def insert(ring: Ring, settings: Settings, observation, row: Row) -> Ring:
    """Write T rows.

    Args:
      ring: see `Ring`.
      settings: see `Settings`; its length is a multiple of T.
      observation: before each action, [T, N, ...].
      row: what came of it, [T, N, ...] a leaf.

    Raises: ValueError when T does not divide the length, or leaves nothing to draw.
    """
    count = len(observation)
    least = count + settings.frames + settings.steps
    if settings.length % count or settings.length < least:
        raise ValueError(
            f"the {settings.length} rows of the replay must be a multiple of the {count} that are written at once, "
            f"and at least {least}."
        )

    def write(old, new):
        return lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), ring.cursor, 0)

    return Ring(
        frame=write(ring.frame, observation[..., -1] if settings.stack else observation),
        row=jax.tree.map(write, ring.row, row),
        cursor=(ring.cursor + count) % settings.length,
        rows=ring.rows + count,
    )


def end_streams(ring: Ring, settings: Settings) -> Ring:
    """End all streams here, as when fresh environments follow: what they would have shown next is never known.

    The newest row becomes a row like that of a reset: no transition, but the observation with which the one before it,
    now truncated, bootstraps.
    """
    last, before = (ring.cursor - 1) % settings.length, (ring.cursor - 2) % settings.length
    valid, done = ring.row.valid.at[last].set(False), ring.row.done.at[before].set(True)
    return ring._replace(row=ring.row._replace(valid=valid, done=done))


def _ages(ring: Ring, settings: Settings):
    """(youngest, oldest) age of the rows that can be drawn; the row written last has age 0."""
    return settings.steps, jnp.minimum(ring.rows, settings.length) - settings.frames


def admit(priorities: Priorities, ring: Ring, settings: Settings, count: int) -> Priorities:
    """After `count` new rows: the highest priority for what can now be drawn, none for what no longer can."""
    youngest, oldest = _ages(ring, settings)
    num_envs = ring.row.valid.shape[1]

    def leaves(age):  # of the rows of these ages, all environments
        row = (ring.cursor - 1 - age) % settings.length
        return row, (row[:, None] * num_envs + jnp.arange(num_envs)[None]).reshape(-1)

    gone = settings.length - settings.frames + 1
    _, old = leaves(jnp.arange(gone, min(gone + count, settings.length)))
    _, waiting = leaves(jnp.arange(youngest))
    tree = sum_tree.set_leaves(priorities.tree, jnp.concatenate([old, waiting]), 0.0)
    age = jnp.arange(youngest, youngest + count)
    row, new = leaves(age)
    ready = ring.row.valid[row] & (age <= oldest)[:, None]
    tree = sum_tree.set_leaves(tree, new, jnp.where(ready.reshape(-1), priorities.highest, 0.0))
    return priorities._replace(tree=tree)


def sample(ring: Ring, priorities: Priorities | None, settings: Settings, key, batch: int) -> Batch:
    """Draw transitions, independently: with probability P(i) = p_i / Σ p, or uniformly without priorities.

    There must be one; `drawable` says how many rows there are to draw from.
    """
    if priorities is None:
        index, probability = _sample_uniform(ring, settings, key, batch)
    else:
        index, probability = sum_tree.sample(priorities.tree, key, batch)
    return gather(ring, settings, index, probability)


def drawable(ring: Ring, settings: Settings):
    """How many rows of the ring can be drawn from, reset rows included: int32 []."""
    youngest, oldest = _ages(ring, settings)
    return jnp.maximum(oldest - youngest + 1, 0)


def _sample_uniform(ring, settings, key, batch):
    """Of several draws the first that hits a transition: each is then equally likely."""
    valid, num_envs = ring.row.valid.reshape(-1), ring.row.valid.shape[1]
    youngest, _ = _ages(ring, settings)
    keys = jax.random.split(key)
    age = youngest + jax.random.randint(keys[0], (batch, TRIES), 0, jnp.maximum(drawable(ring, settings), 1))
    row = (ring.cursor - 1 - age) % settings.length
    index = row * num_envs + jax.random.randint(keys[1], (batch, TRIES), 0, num_envs)
    hit = jnp.argmax(valid[index], 1)
    index = jnp.take_along_axis(index, hit[:, None], 1)[:, 0]
    count = jnp.maximum(drawable(ring, settings) * num_envs, 1)
    return index, valid[index] / count.astype(jnp.float32)


def gather(ring: Ring, settings: Settings, index, probability) -> Batch:
    """The transitions at these indices (row · N + environment), with their stacks and n-step sums."""
    num_envs = ring.row.valid.shape[1]
    at, env = index // num_envs, index % num_envs
    after = (at[:, None] + jnp.arange(settings.steps)[None]) % settings.length
    steps_at = (after, jnp.broadcast_to(env[:, None], after.shape))
    discount = settings.gamma * (1.0 - ring.row.terminated[steps_at])
    r_t, discount_t, steps = jax.vmap(n_step)(ring.row.r_t[steps_at], discount, ~ring.row.done[steps_at])
    return Batch(
        observations=_observations(ring, settings, at, env, steps),
        width=settings.stack or ring.frame.shape[-1],
        a_tm1=ring.row.a_t[at, env],
        r_t=r_t,
        discount_t=discount_t,
        index=index,
        probability=probability,
    )


def _observations(ring, settings, row, env, steps):
    """Those of these rows and those `steps` later as the network takes them, side by side, oldest frame first.

    Frames are gathered newest first and turned round: XLA then writes them where they belong in the same pass, and
    makes no copy of the batch on a CPU, which took five times as long as the rest.
    """
    if not settings.stack:
        later = (row + steps) % settings.length
        return jnp.concatenate([ring.frame[row, env], ring.frame[later, env]], -1)
    back = jnp.arange(settings.stack)[None]  # 0 is the newest before the action
    at = (row[:, None] - back) % settings.length
    # The number of frames since the episode's first one, as far as the stack reaches: further back it stands in. The
    # steps are over where the episode is, so they begin no other.
    young = jnp.where(ring.row.first[at, env[:, None]], back, settings.stack - 1).min(1)
    if settings.steps == 1:
        back = jnp.arange(-1, settings.stack)[None]
    else:
        back = jnp.concatenate([back - steps[:, None], jnp.broadcast_to(back, at.shape)], 1)
    at = (row[:, None] - jnp.minimum(back, young[:, None])) % settings.length
    return jnp.moveaxis(ring.frame[at, env[:, None]], 1, -1)[..., ::-1]


def importance_weights(batch: Batch, beta) -> jax.Array:
    """w_i = (N P(i))^−β / max_j (N P(j))^−β = (min_j P(j) / P(i))^β: what undoes the bias of drawing by priority.

    How many there are to draw from, N, cancels. It is 0 where no transition was found. See "Prioritized experience
    replay" by Schaul et al. (https://arxiv.org/abs/1511.05952), section 3.4.

    Args:
      batch: from `sample`.
      beta: β, from 0 (none of the bias) to 1 (all of it).
    """
    found = batch.probability > 0
    rarest = jnp.min(batch.probability, where=found, initial=1.0)
    return jnp.where(found, (rarest / jnp.where(found, batch.probability, 1.0)) ** beta, 0.0)


def set_priorities(priorities: Priorities, index, error, alpha: float, epsilon: float = 1e-6) -> Priorities:
    """Priority (|error| + ε)^α of transitions that were drawn."""
    priority = ((jnp.abs(error) + epsilon) ** alpha).astype(priorities.highest.dtype)  # errors may be float64
    tree = sum_tree.set_leaves(priorities.tree, index, priority)
    return Priorities(tree, jnp.maximum(priorities.highest, priority.max()))
