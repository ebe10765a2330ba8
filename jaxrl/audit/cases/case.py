"""A case: a layer or loss, its arguments and its settings; and what arguments are drawn from."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxrl import layers, losses
from jaxrl.layers import reference

TIMED, SMALL, TESTED, KINK = "timed", "small", "tested", "kink"


class Case(NamedTuple):
    """A layer or loss at a shape.

    Attributes:
      name: that of the layer.
      shape: a short text, unlike that of every other case of the layer.
      make: gives the arguments, NumPy arrays or None, from a `Draw`.
      settings: keyword arguments that are not arrays.
      kind: TIMED, of real size: the audit measures its speed. SMALL: the audit tries every transformation on it, and
        the tests run it too. TESTED, in the tests only: an empty batch, another form of a convolution, and the like.
        KINK, in the tests only: at a kink, at a tie or in saturation, where finite differences say nothing; second
        derivatives are compared instead.
    """

    name: str
    shape: str
    make: Callable
    settings: dict
    kind: str

    @property
    def title(self) -> str:
        """The row's name in the table."""
        return f"{self.name} {self.shape}"

    @property
    def timed(self) -> bool:
        """Whether it is of real size."""
        return self.kind == TIMED

    @property
    def pair(self) -> tuple[Callable, Callable]:
        """The layer and its reference, with their settings."""
        return pair(self.name, self.settings)

    @property
    def args(self) -> tuple:
        """The arguments: the same values every time."""
        return self.make(Draw())


def pair(name: str, settings: dict) -> tuple[Callable, Callable]:
    """A layer or loss by its name, and its reference, both with these settings."""
    ours = getattr(layers, name, None) or getattr(losses, name)
    return partial(ours, **settings), partial(getattr(reference, name), **settings)


class Draw:
    """Random arrays, in the order in which they are asked for."""

    def __init__(self):
        self._rng = np.random.default_rng(0)

    def normal(self, *shape, scale=1.0):
        """Normal values."""
        return scale * self._rng.normal(size=shape)

    def ties(self, *shape):
        """Normal values rounded to whole ones: many are equal, many are 0."""
        return np.round(self.normal(*shape))

    def distinct(self, *shape):
        """Shuffled values, at least 1e-4 from each other and from 0: differences cross no kink and no tie."""
        count = np.prod(shape, dtype=int)
        return 2e-4 * self._rng.permutation(np.arange(count) - count // 2 + 0.5).reshape(shape)

    def positive(self, *shape):
        """Values from 0.5 to 1.5."""
        return self._rng.uniform(0.5, 1.5, shape)

    def unit(self, *shape):
        """Values from 0 to 1."""
        return self._rng.uniform(size=shape)

    def integers(self, high, *shape):
        """Integers from 0 to high − 1."""
        return self._rng.integers(0, high, shape)

    def flags(self, *shape):
        """One in ten is True."""
        return self._rng.random(shape) < 0.1


def given(*args) -> Callable:
    """A `make` that gives these very arguments."""
    return lambda draw: args
