"""A sum tree: numbers that are drawn in proportion to their size.

It has 32 children a node: level 0 are the leaves, and each number of a level above is the sum of its 32 children. A
million leaves are 4 levels, so a draw reads 4 short rows, where a binary tree reads 20 pairs. Sums are made anew from
the children, never corrected by differences, so rounding errors do not add up.
"""

import jax
import jax.numpy as jnp

BRANCHES = 32


def init(leaves: int) -> tuple:
    """A tree of zeros: levels [..., BRANCHES], the leaves first."""
    levels = []
    while True:
        nodes = -(-leaves // BRANCHES)
        levels.append(jnp.zeros((nodes, BRANCHES), jnp.float32))
        if nodes == 1:
            return tuple(levels)
        leaves = nodes


def set_leaves(tree: tuple, index, value) -> tuple:
    """Set leaves to values of 0 or more; where an index is given several times, the largest of its values stays.

    The order in which a GPU writes is not fixed: so leaves become 0 and then the maximum of what is given, in whatever
    order. Above the leaves all values for one place are equal.
    """
    value = jnp.broadcast_to(jnp.asarray(value, jnp.float32), index.shape)
    node, child = index // BRANCHES, index % BRANCHES
    levels = [tree[0].at[node, child].set(0.0).at[node, child].max(value)]
    for level in tree[1:]:
        index, value = node, levels[-1][node].sum(1)
        node, child = index // BRANCHES, index % BRANCHES
        levels.append(level.at[node, child].set(value))
    return tuple(levels)


def total(tree: tuple) -> jax.Array:
    """The sum of all leaves, float32 []."""
    return tree[-1].sum()


def sample(tree: tuple, key, batch: int) -> tuple[jax.Array, jax.Array]:
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
    return node, taken / total(tree)
