"""Replay on the device: every frame stored once, uniform or prioritised sampling, all inside the compiled step.

Rows of N environments are written side by side, T rows at a time, into a ring of `length` rows; the newest row follows
the oldest. A row is a step as `rollout.Transition` tells it: the newest frame before the action, the action, what came
of it. The row that an environment spends on resetting itself (`valid` False) is no transition and is never drawn; its
frame is the true final observation of the episode before, and that is what it is kept for. A stack of frames is put
together when it is drawn: where the episode is younger than the stack, its first frame stands in for what was before.

Of the rows in the ring three kinds cannot be drawn: reset rows; the newest n, whose n steps are not over; and the
oldest `stack − 1`, whose older frames are overwritten.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxrl.returns import n_step

BRANCHES = 32
TRIES = 16  # a uniform draw that hits no transition is repeated so often


class Replay(NamedTuple):
    """The ring, each leaf [length, N, ...], where it is written next, and the priorities.

    Attributes:
      frame: the newest frame before the action, [length, N, H, W] uint8, or features [length, N, F].
      first, a_t, r_t, terminated, done, valid: of the row, as in `rollout.Transition`.
      cursor: int32 [], the row that is written next.
      rows: int32 [], how many rows have been written in all.
      tree: the sum tree of the priorities, or None: see `init_tree`.
      highest: float32 [], the largest priority seen, which new transitions get.
    """

    frame: jax.Array
    first: jax.Array
    a_t: jax.Array
    r_t: jax.Array
    terminated: jax.Array
    done: jax.Array
    valid: jax.Array
    cursor: jax.Array
    rows: jax.Array
    tree: tuple | None
    highest: jax.Array


class Settings(NamedTuple):
    """What does not change in a run.

    Attributes:
      length: rows of the ring; the capacity is length · N transitions, resets included. A multiple of what is
        inserted at once.
      stack: newest frames in one observation.
      steps: n of the n-step targets.
      gamma: the discount of one step.
      prioritized: draw by priority.
    """

    length: int
    stack: int = 4
    steps: int = 1
    gamma: float = 0.99
    prioritized: bool = False


@struct.dataclass
class Batch:
    """Transitions over up to n steps, [B, ...] a leaf.

    Attributes:
      observations: s_tm1 and s_t side by side, [B, H, W, 2 stack] or [B, 2F]. After a single step the stacks share all
        frames but one, and overlap: [B, H, W, stack + 1].
      width: of s_tm1 and of s_t in the last axis: stack, or F.
      a_tm1: int32 [B].
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


def init(settings: Settings, num_envs: int, frame_shape: tuple, dtype) -> Replay:
    """An empty replay.

    Args:
      settings: see `Settings`.
      num_envs: N.
      frame_shape: of one frame, (H, W), or (F,) for features.
      dtype: of a frame.

    Raises: ValueError when not even one transition would fit.
    """
    if settings.length < settings.stack + settings.steps:
        raise ValueError(
            f"a replay of {settings.length} rows holds no transition over {settings.steps} step(s) with "
            f"{settings.stack} frame(s); it takes at least {settings.stack + settings.steps} rows."
        )
    size = (settings.length, num_envs)
    flags = [jnp.zeros(size, bool) for _ in range(4)]
    return Replay(
        frame=jnp.zeros((*size, *frame_shape), dtype),
        first=flags[0],
        a_t=jnp.zeros(size, jnp.int32),
        r_t=jnp.zeros(size),
        terminated=flags[1],
        done=flags[2],
        valid=flags[3],
        cursor=jnp.int32(0),
        rows=jnp.int32(0),
        tree=init_tree(math.prod(size)) if settings.prioritized else None,
        highest=jnp.float32(1),
    )


def bytes_needed(settings: Settings, num_envs: int, frame_bytes: int) -> int:
    """Memory of a replay in bytes."""
    tree = 4 * BRANCHES / (BRANCHES - 1) if settings.prioritized else 0
    return int(settings.length * num_envs * (frame_bytes + 4 + 4 + 4 + tree))


def insert(replay: Replay, settings: Settings, seen) -> Replay:
    """Write T rows.

    Args:
      replay: see `Replay`.
      settings: see `Settings`; its length is a multiple of T.
      seen: a `rollout.Transition` with [T, N, ...] leaves; of its observation the newest frame is taken.

    Raises: ValueError when T does not divide the length, or leaves nothing to draw.
    """
    count = seen.a_t.shape[0]
    if settings.length % count or settings.length < count + settings.stack + settings.steps:
        raise ValueError(
            f"the {settings.length} rows of the replay must be a multiple of the {count} that are written at once, "
            f"and at least {count + settings.stack + settings.steps}."
        )
    frame = seen.observation[..., -1] if replay.frame.ndim == 4 else seen.observation

    def write(ring, rows):
        return lax.dynamic_update_slice_in_dim(ring, rows.astype(ring.dtype), replay.cursor, 0)

    names = ("first", "a_t", "r_t", "terminated", "done", "valid")
    written = {name: write(getattr(replay, name), getattr(seen, name)) for name in names}
    after = replay._replace(
        frame=write(replay.frame, frame),
        cursor=(replay.cursor + count) % settings.length,
        rows=replay.rows + count,
        **written,
    )
    return _move_window(after, settings, count) if settings.prioritized else after


def cut(replay: Replay, settings: Settings) -> Replay:
    """End all streams here, as when fresh environments follow: what they would have shown next is never known.

    The newest row becomes a row like that of a reset: no transition, but the observation with which the one before it,
    now truncated, bootstraps.
    """
    last, before = (replay.cursor - 1) % settings.length, (replay.cursor - 2) % settings.length
    return replay._replace(valid=replay.valid.at[last].set(False), done=replay.done.at[before].set(True))


def _ages(replay: Replay, settings: Settings):
    """(youngest, oldest) age of the rows that can be drawn; the row written last has age 0."""
    return settings.steps, jnp.minimum(replay.rows, settings.length) - settings.stack


def _move_window(replay: Replay, settings: Settings, count: int) -> Replay:
    """After `count` new rows: the highest priority for what can now be drawn, none for what no longer can."""
    youngest, oldest = _ages(replay, settings)
    num_envs = replay.valid.shape[1]

    def leaves(age):  # of the rows of these ages, all environments
        row = (replay.cursor - 1 - age) % settings.length
        return row, (row[:, None] * num_envs + jnp.arange(num_envs)[None]).reshape(-1)

    gone = settings.length - settings.stack + 1
    _, old = leaves(jnp.arange(gone, min(gone + count, settings.length)))
    _, waiting = leaves(jnp.arange(youngest))
    tree = set_leaves(replay.tree, jnp.concatenate([old, waiting]), 0.0)
    age = jnp.arange(youngest, youngest + count)
    row, new = leaves(age)
    ready = replay.valid[row] & (age <= oldest)[:, None]
    return replay._replace(tree=set_leaves(tree, new, jnp.where(ready.reshape(-1), replay.highest, 0.0)))


def sample(replay: Replay, settings: Settings, key, batch: int) -> Batch:
    """Draw transitions, independently: uniformly, or with probability P(i) = p_i / Σ p.

    There must be one; `drawable` says how many rows there are to draw from.
    """
    if settings.prioritized:
        index, probability = sample_tree(replay.tree, key, batch)
    else:
        index, probability = _sample_uniform(replay, settings, key, batch)
    return gather(replay, settings, index, probability)


def drawable(replay: Replay, settings: Settings):
    """How many rows of the ring can be drawn from, reset rows included: int32 []."""
    youngest, oldest = _ages(replay, settings)
    return jnp.maximum(oldest - youngest + 1, 0)


def _sample_uniform(replay, settings, key, batch):
    """Of several draws the first that hits a transition: each is then equally likely."""
    num_envs = replay.valid.shape[1]
    youngest, _ = _ages(replay, settings)
    keys = jax.random.split(key)
    age = youngest + jax.random.randint(keys[0], (batch, TRIES), 0, jnp.maximum(drawable(replay, settings), 1))
    row = (replay.cursor - 1 - age) % settings.length
    index = row * num_envs + jax.random.randint(keys[1], (batch, TRIES), 0, num_envs)
    hit = jnp.argmax(replay.valid.reshape(-1)[index], 1)
    index = jnp.take_along_axis(index, hit[:, None], 1)[:, 0]
    found = replay.valid.reshape(-1)[index]
    count = jnp.maximum(drawable(replay, settings) * num_envs, 1)
    return index, found / count.astype(jnp.float32)


def gather(replay: Replay, settings: Settings, index, probability) -> Batch:
    """The transitions at these indices (row · N + environment), with their stacks and n-step sums."""
    num_envs = replay.valid.shape[1]
    row, env = index // num_envs, index % num_envs
    after = (row[:, None] + jnp.arange(settings.steps)[None]) % settings.length
    at = (after, jnp.broadcast_to(env[:, None], after.shape))
    discount = settings.gamma * (1.0 - replay.terminated[at])
    r_t, discount_t, steps = jax.vmap(n_step)(replay.r_t[at], discount, ~replay.done[at])
    return Batch(
        observations=_observations(replay, settings, row, env, steps),
        width=settings.stack if replay.frame.ndim == 4 else replay.frame.shape[-1],
        a_tm1=replay.a_t[row, env],
        r_t=r_t,
        discount_t=discount_t,
        index=index,
        probability=probability,
    )


def _observations(replay, settings, row, env, steps):
    """Those of these rows and those `steps` later as the network takes them, side by side, oldest frame first.

    Frames are gathered newest first and turned round: XLA then writes them where they belong in the same pass, and
    makes no copy of the batch on a CPU, which took five times as long as the rest.
    """
    if replay.frame.ndim == 3:
        later = (row + steps) % settings.length
        return jnp.concatenate([replay.frame[row, env], replay.frame[later, env]], -1)
    back = jnp.arange(settings.stack)[None]  # 0 is the newest before the action
    at = (row[:, None] - back) % settings.length
    # The number of frames since the episode's first one, as far as the stack reaches: further back it stands in. The
    # steps are over where the episode is, so they begin no other.
    young = jnp.where(replay.first[at, env[:, None]], back, settings.stack - 1).min(1)
    if settings.steps == 1:
        back = jnp.arange(-1, settings.stack)[None]
    else:
        back = jnp.concatenate([back - steps[:, None], jnp.broadcast_to(back, at.shape)], 1)
    at = (row[:, None] - jnp.minimum(back, young[:, None])) % settings.length
    return jnp.moveaxis(replay.frame[at, env[:, None]], 1, -1)[..., ::-1]


def importance_weights(batch: Batch, transitions, beta) -> jax.Array:
    """w_i = (N P(i))^−β / max_j w_j: what undoes the bias of drawing by priority.

    See "Prioritized experience replay" by Schaul et al. (https://arxiv.org/abs/1511.05952), section 3.4.

    Args:
      batch: from `sample`.
      transitions: N, how many can be drawn.
      beta: β, from 0 (none of the bias) to 1 (all of it).
    """
    found = batch.probability > 0
    weight = jnp.where(found, (transitions * jnp.where(found, batch.probability, 1.0)) ** -beta, 0.0)
    return weight / jnp.maximum(weight.max(), 1e-12)


def set_priorities(replay: Replay, index, error, alpha: float, epsilon: float = 1e-6) -> Replay:
    """Priority (|error| + ε)^α of transitions that were drawn."""
    priority = (jnp.abs(error) + epsilon) ** alpha
    tree = set_leaves(replay.tree, index, priority)
    return replay._replace(tree=tree, highest=jnp.maximum(replay.highest, priority.max()))


def total_priority(replay: Replay) -> jax.Array:
    """The sum of all priorities, float32 []."""
    return replay.tree[-1].sum()


# A sum tree with 32 children a node: level 0 are the leaves, and each number of a level above is the sum of its 32
# children. A million leaves are 4 levels, so a draw reads 4 short rows, where a binary tree reads 20 pairs. Sums are
# made anew from the children, never corrected by differences, so rounding errors do not add up.


def init_tree(leaves: int) -> tuple:
    """A tree of zeros: levels [..., BRANCHES], the leaves first."""
    levels = []
    while True:
        nodes = -(-leaves // BRANCHES)
        levels.append(jnp.zeros((nodes, BRANCHES), jnp.float32))
        if nodes == 1:
            return tuple(levels)
        leaves = nodes


def set_leaves(tree: tuple, index, value) -> tuple:
    """Set leaves; where an index is given twice, one of its values stays."""
    levels = list(tree)
    value = jnp.broadcast_to(jnp.asarray(value, jnp.float32), index.shape)
    for i, level in enumerate(levels):
        node = index // BRANCHES
        levels[i] = level = level.at[node, index % BRANCHES].set(value)
        index, value = node, level[node].sum(1)
    return tuple(levels)


def sample_tree(tree: tuple, key, batch: int) -> tuple[jax.Array, jax.Array]:
    """Draw leaves in proportion to their values: index int32 [B], probability float32 [B].

    Each level has random numbers of its own: one float32 for all of them, of 2²³ values, cannot tell a million leaves
    apart.
    """
    node = jnp.zeros(batch, jnp.int32)
    for level, u in zip(reversed(tree), jax.random.uniform(key, (len(tree), batch)), strict=True):
        children = level[node]
        below = jnp.cumsum(children, 1)
        left = u * below[:, -1]
        # The last child that has any part of the sum, when rounding leaves more than there is.
        last = jnp.max(jnp.where(children > 0, jnp.arange(BRANCHES), 0), 1)
        child = jnp.minimum(jnp.sum(below <= left[:, None], 1), last)
        taken = jnp.take_along_axis(children, child[:, None], 1)[:, 0]
        node = node * BRANCHES + child.astype(jnp.int32)
    return node, taken / tree[-1].sum()
