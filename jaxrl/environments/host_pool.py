"""Pools whose environments are stepped by Python: the compiled step calls back to the host."""

from abc import abstractmethod

import jax
import numpy as np
from jax.experimental import io_callback

from jaxrl.environments.pool import Array, Pool
from jaxrl.environments.protocols import Protocol
from jaxrl.environments.spaces import Spec


class HostPool(Pool):
    """A `Pool` of which a subclass says how to step in NumPy: `_emulate`."""

    def __init__(self, env_id: str, protocol: Protocol, num_envs: int, spec: Spec):
        super().__init__(env_id, protocol, num_envs, spec)
        self._raw = jax.ShapeDtypeStruct((num_envs, *spec.observation.shape), spec.observation.dtype)

    def _see(self, raw: Array) -> Array:
        """The agent's observation [N, ...] of what `_emulate` gave, `self._raw`; pure JAX."""
        return raw

    def _step(self, handle: jax.Array, action: jax.Array) -> tuple[jax.Array, ...]:
        """Not an ordered callback, which pmap refuses: the handle, passed through, keeps the order."""
        number, flag = (jax.ShapeDtypeStruct((self.num_envs,), dtype) for dtype in (np.float32, np.bool_))
        token = jax.ShapeDtypeStruct((), np.int32)
        row = (token, self._raw, number, number, flag, flag, flag)
        handle, raw, *rest = io_callback(self._emulate_after, row, handle, action, ordered=False)
        return handle, self._see(raw), *rest

    def _host_step(self, handle: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, ...]:
        raw, *rest = self._emulate(action)
        return handle, np.asarray(self._see(raw)), *rest

    def _emulate_after(self, handle: Array, action: Array) -> tuple[np.ndarray, ...]:
        return np.asarray(handle), *self._emulate(np.asarray(action))

    @abstractmethod
    def _emulate(self, action: np.ndarray) -> tuple[np.ndarray, ...]:
        """What `_step` returns but the handle, with the raw observation in place of the agent's."""


TOKEN = np.zeros((), np.int32)  # the handle of a pool that needs none
