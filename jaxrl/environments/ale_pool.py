"""The one adapter of Gymnasium and ale-py: Atari with a random frame skip, which EnvPool does not have.

ale-py keeps Python's lock while it emulates, so a few processes share the environments, each with an equal
group that it steps one by one (a process for each environment costs twice the time). They are started by a
fork server, since a process in which JAX runs threads must not be forked. They import Gymnasium and ale-py,
and neither JAX nor the user's script.
"""

import contextlib
import functools
import multiprocessing
import signal
import sys
import types
import weakref
from collections.abc import Callable

import ale_py
import gymnasium
import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from jax.experimental import io_callback

from jaxrl.environments.pool import Array, Pool, available_cores, environment_seeds
from jaxrl.environments.preprocessing import origin_frame
from jaxrl.environments.protocols import Protocol
from jaxrl.environments.spaces import Box, Discrete, Spec


class AlePool(Pool):
    """Gymnasium's vector environments over ale-py; see `Pool`, and `make` for the arguments.

    The number of processes divides that of the environments; with one, the emulators run in this process.
    """

    def __init__(self, env_id: str, protocol: Protocol, num_envs: int, seed: int, num_threads: int | None):
        _refuse_what_ale_cannot(protocol)
        most = min(num_envs, num_threads or available_cores())
        groups = next(groups for groups in range(most, 0, -1) if num_envs % groups == 0)
        self._layout = (num_envs,) if groups == 1 else (groups, num_envs // groups)
        self._vector = _vectorize(_group(env_id, protocol, self._layout[-1]), groups)
        self._end = weakref.finalize(self, self._vector.close, terminate=True)  # also at Python's exit
        self._seeds = np.reshape(environment_seeds(seed, num_envs), self._layout).tolist()
        self._frame_shape = self._vector.observation_space.shape[-3:]
        self._see = jax.jit(origin_frame)
        super().__init__(env_id, protocol, num_envs, _spec(self._vector, groups, protocol))

    def _reset(self) -> tuple[np.ndarray, np.ndarray]:
        frames, _ = self._vector.reset(seed=self._seeds)
        self._seeds = None  # a later reset goes on with the same random streams
        self._frames = frames.reshape(self.num_envs, *self._frame_shape)
        return np.zeros((), np.int32), np.asarray(self._see(self._frames))

    def _step(self, handle: jax.Array, action: jax.Array) -> tuple[jax.Array, ...]:
        """Not an ordered callback, which pmap refuses: the handle, passed through, keeps the order."""
        spec = jax.ShapeDtypeStruct
        flag = spec((self.num_envs,), np.bool_)
        frames = spec((self.num_envs, *self._frame_shape), np.uint8)
        row = (spec((), np.int32), frames, spec((self.num_envs,), np.float32), flag, flag)
        handle, frames, *rest = io_callback(self._emulate, row, handle, action, ordered=False)
        return handle, origin_frame(frames), *self._unpack(*rest)

    def _host_step(self, handle: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, ...]:
        handle, frames, *rest = self._emulate(handle, action)
        return handle, np.asarray(self._see(frames)), *self._unpack(*rest)

    def _emulate(self, handle: Array, action: Array) -> tuple[np.ndarray, ...]:
        """Step the emulators; the frames are views of memory that the next step writes to."""
        frames, *rest, _ = self._vector.step(np.asarray(action).reshape(self._layout))
        raw_reward, terminated, truncated = (x.reshape(self.num_envs) for x in rest)
        self._frames = frames.reshape(self.num_envs, *self._frame_shape)
        return np.asarray(handle), self._frames, raw_reward.astype(np.float32), terminated, truncated

    def _unpack(self, raw_reward: Array, terminated: Array, truncated: Array) -> tuple[Array, ...]:
        reward = raw_reward.clip(-1, 1) if self.protocol.clip_reward else raw_reward  # points are whole
        return reward, raw_reward, terminated, truncated, terminated

    def render(self) -> np.ndarray:
        return self._frames[0].copy()

    def close(self) -> None:
        super().close()
        self._end()


def spec(env_id: str, protocol: Protocol) -> Spec:
    """What an observation and an action are; one emulator is started, and closed."""
    _refuse_what_ale_cannot(protocol)
    vector = _group(env_id, protocol, 1)()
    try:
        return _spec(vector, 1, protocol)
    finally:
        vector.close()


def _spec(vector: VectorEnv, groups: int, protocol: Protocol) -> Spec:
    actions = vector.single_action_space
    image = Box((protocol.height, protocol.width, protocol.stack), np.dtype(np.float32), 0.0, 1.0)
    return Spec(image, Discrete(int(actions.n if groups == 1 else actions.nvec[0])))


def _group(env_id: str, protocol: Protocol, size: int) -> Callable[[], SyncVectorEnv]:
    """The maker of one process's environments; an inner function, so that it is sent there by value."""
    make_env = functools.partial(
        gymnasium.make,
        f"ALE/{env_id}",
        frameskip=(protocol.frame_skip[0], protocol.frame_skip[1] + 1),  # Gymnasium leaves out the upper end
        repeat_action_probability=protocol.repeat_action_probability,
        max_episode_steps=protocol.max_episode_steps,
        max_num_frames_per_episode=0,  # no limit but the one above
        disable_env_checker=True,
    )

    def make_group() -> SyncVectorEnv:
        if multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
        gymnasium.register_envs(ale_py)
        group = SyncVectorEnv([make_env] * size, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
        group._add_info = lambda *_: {}  # nothing reads them, and AsyncVectorEnv cannot merge those of groups
        return group

    return make_group


def _vectorize(make_group: Callable[[], SyncVectorEnv], groups: int) -> VectorEnv:
    """The groups as one; each resets its environments itself."""
    if groups == 1:
        return make_group()
    with _no_main_module():
        return AsyncVectorEnv(
            [make_group] * groups, copy=False, context="forkserver", autoreset_mode=AutoresetMode.DISABLED
        )


@contextlib.contextmanager
def _no_main_module():
    """Keep the user's script out of the processes.

    A started process first imports its parent's main module, for what may have been pickled by name. Nothing
    was, and the script would import JAX once a process, and run if it had no main guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _refuse_what_ale_cannot(protocol: Protocol) -> None:
    names = ("max_pool", "noop_max", "fire_reset", "episodic_life")
    extra = [name for name in names if getattr(protocol, name)]
    if extra:
        raise ValueError(f"protocol {protocol.name!r}: a random frame skip has no {' or '.join(extra)}")
    size = (protocol.height, protocol.width, protocol.stack)
    if size != (42, 42, 1):
        raise ValueError(f"protocol {protocol.name!r} is played at height 42, width 42, stack 1, got {size}")
