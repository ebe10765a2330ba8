"""What an action and an observation are, without a pool: a network and a replay buffer are made from a `Spec`.

All of it is plain data that can be compared and hashed, so that it may be a static argument of a jitted function.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
Bound = float | tuple  # one number for all, or nested tuples in the form of the shape


class Discrete(NamedTuple):
    """One of 0 .. n - 1, as int32 []."""

    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.int32)

    def clip(self, action: Array) -> jax.Array:
        """[...] -> the same, within 0 .. n - 1."""
        return jnp.clip(action, 0, self.n - 1)

    def contains(self, action: np.ndarray) -> bool:
        """Whether every action of [...] is one."""
        return bool(np.all((action >= 0) & (action < self.n)))

    def __str__(self) -> str:
        return f"0 to {self.n - 1}"


class Box(NamedTuple):
    """An array whose entries lie within bounds (both included), which may be infinite.

    Attributes:
        shape: of one array: (height, width, channels) for an image, (features,) for a vector.
        dtype: NumPy's.
        low, high: one number for every entry, or nested tuples in the form of `shape`; `bounds` has them as arrays.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    low: Bound
    high: Bound

    @property
    def image(self) -> bool:
        """Whether it is an image: uint8 or float, [height, width, channels]."""
        return len(self.shape) == 3

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each of the box's dtype [*shape]."""
        return tuple(np.broadcast_to(np.asarray(bound, self.dtype), self.shape) for bound in (self.low, self.high))

    def clip(self, action: Array) -> jax.Array:
        """[..., *shape] -> the same, each entry within its bounds."""
        return jnp.clip(action, *(jnp.broadcast_to(bound, action.shape) for bound in self.bounds()))

    def contains(self, action: np.ndarray) -> bool:
        """Whether every entry of [..., *shape] is within its bounds; NaN is not."""
        low, high = self.bounds()
        return bool(np.all((action >= low) & (action <= high)))

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


class Spec(NamedTuple):
    """What an agent is told of an environment."""

    observation: Box
    action: Discrete | Box


def box(dtype, low: np.ndarray, high: np.ndarray) -> Box:
    """A Box from arrays of bounds [*shape]; equal bounds become one number."""
    return Box(np.shape(low), np.dtype(dtype), _bound(low), _bound(high))


def _bound(bound: np.ndarray) -> Bound:
    bound = np.asarray(bound)
    if bound.size and np.all(bound == bound.flat[0]):
        return bound.flat[0].item()
    return _tuples(bound.tolist())


def _tuples(nested):
    return tuple(_tuples(entry) for entry in nested) if isinstance(nested, list) else nested
