"""The one adapter of Gymnasium and ale-py: Atari with a random frame skip, which EnvPool does not have.

ale-py keeps Python's lock while it emulates, so each environment runs in a process of its own. The processes are
started by a fork server, since a process in which JAX runs threads must not be forked; they import Gymnasium and
ale-py, and neither JAX nor the script that started it all.
"""

import contextlib
import functools
import sys
import types
import weakref

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from jax.experimental import io_callback

from jaxrl.environments.pool import Pool, environment_seeds
from jaxrl.environments.preprocessing import origin_frame
from jaxrl.environments.protocols import Protocol


class AlePool(Pool):
    """Gymnasium's vector environment over ale-py; see `Pool`, and `make` for the arguments.

    With `num_threads=1`, or one environment, the emulators run in this process.
    """

    def __init__(self, env_id: str, protocol: Protocol, num_envs: int, seed: int, num_threads: int):
        _refuse_what_ale_cannot(protocol)
        make_env = functools.partial(
            gymnasium.make,
            f"ale_py:ALE/{env_id}",
            frameskip=(protocol.frame_skip[0], protocol.frame_skip[1] + 1),  # Gymnasium leaves out the upper end
            repeat_action_probability=protocol.repeat_action_probability,
            max_episode_steps=protocol.max_episode_steps,
            max_num_frames_per_episode=0,  # no limit but the one above
            disable_env_checker=True,
        )
        self._vector = _vectorize([make_env] * num_envs, in_process=min(num_threads, num_envs) == 1)
        self._end = weakref.finalize(self, self._vector.close, terminate=True)
        self._seeds = environment_seeds(seed, num_envs)
        num_actions = int(self._vector.single_action_space.n)
        shape = (protocol.height, protocol.width, protocol.stack)
        super().__init__(env_id, protocol, num_envs, num_actions, shape, np.float32)

    def _reset(self):
        self._frames, _ = self._vector.reset(seed=self._seeds)
        self._seeds = None  # a later reset goes on with the same random streams
        return np.zeros((), np.int32), jax.jit(origin_frame)(self._frames)

    def _step(self, handle, action):
        """Not an ordered callback, which pmap refuses: the handle, passed through, keeps the order."""
        flag = jax.ShapeDtypeStruct((self.num_envs,), np.bool_)
        row = (
            jax.ShapeDtypeStruct((), np.int32),
            jax.ShapeDtypeStruct(self._frames.shape, np.uint8),
            jax.ShapeDtypeStruct((self.num_envs,), np.float32),
            flag,
            flag,
        )
        return self._unpack(*io_callback(self._emulate, row, handle, action, ordered=False))

    def _host_step(self, handle, action):
        return jax.tree.map(np.asarray, self._unpack(*self._emulate(handle, action), see=jax.jit(origin_frame)))

    def _emulate(self, handle, action):
        self._frames, raw_reward, terminated, truncated, _ = self._vector.step(np.asarray(action))
        return np.asarray(handle), self._frames, raw_reward.astype(np.float32), terminated, truncated

    def _unpack(self, handle, frames, raw_reward, terminated, truncated, see=origin_frame):
        reward = raw_reward.clip(-1, 1) if self.protocol.clip_reward else raw_reward
        return handle, see(frames), reward, raw_reward, terminated, truncated, terminated

    def render(self):
        return self._frames[0].copy()

    def close(self):
        super().close()
        self._end()


def _vectorize(env_fns, in_process: bool):
    """All environments as one. Frames are not copied here: JAX copies them on its way in."""
    rules = {"copy": False, "autoreset_mode": AutoresetMode.NEXT_STEP}
    if in_process:
        return SyncVectorEnv(env_fns, **rules)
    with _no_main_module():
        return AsyncVectorEnv(env_fns, context="forkserver", **rules)


@contextlib.contextmanager
def _no_main_module():
    """Keep the user's script out of the workers.

    A started process first imports its parent's main module, for what may have been pickled by its name. Nothing
    was here, and the script would import JAX once for each environment, and run if it had no main guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _refuse_what_ale_cannot(protocol: Protocol) -> None:
    extra = [name for name in ("max_pool", "noop_max", "fire_reset", "episodic_life") if getattr(protocol, name)]
    if extra:
        raise ValueError(f"a random frame skip does not go with {', '.join(extra)} (protocol {protocol.name!r})")
    if (protocol.height, protocol.width, protocol.stack) != (42, 42, 1):
        raise ValueError(
            f"protocol {protocol.name!r} is 42 x 42 with a stack of 1, got {protocol.height} x {protocol.width} "
            f"with {protocol.stack}; other sizes are for 'machado' and 'nature'"
        )
