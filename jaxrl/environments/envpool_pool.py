"""The one adapter of EnvPool: Atari and classic control, stepped by C++ threads inside the compiled program.

EnvPool's own rules, that are hidden here: it reports a game over on the time limit as truncated only; an action
array of a wrong shape, or an action out of range, ends the process; pictures come with the stack first.

The address of the emulators is written into the compiled code. A jitted function that uses `step` keeps the pool
alive; an ahead-of-time executable (`.lower().compile()`) does not: keep the pool as long as the executable.
"""

import os
import warnings
from typing import Any

import envpool
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.environments.pool import Array, Pool
from jaxrl.environments.protocols import Protocol


class EnvPoolPool(Pool):
    """A synchronous EnvPool; see `Pool`, and `make` for the arguments."""

    def __init__(
        self,
        env_id: str,
        protocol: Protocol,
        num_envs: int,
        seed: int,
        training: bool,
        num_threads: int | None,
        render: bool,
    ):
        self._env = envpool.make(
            env_id,
            env_type="gymnasium",
            num_envs=num_envs,
            seed=seed,
            render_mode="rgb_array" if render else None,
            **_threads(num_envs, num_threads),
            **_options(protocol, training),
        )
        with warnings.catch_warnings():  # Gymnasium dislikes the float64 bounds of some classic controls; cached
            warnings.simplefilter("ignore")
            space = self._env.observation_space
        shape = space.shape if protocol.stack is None else (*space.shape[1:], space.shape[0])
        super().__init__(env_id, protocol, num_envs, int(self._env.action_space.n), shape, space.dtype)
        self._handle, _, _, self._xla_step = self._env.xla()

    def _reset(self) -> tuple[np.ndarray, np.ndarray]:
        observation, _ = self._env.reset()
        return self._handle, self._channels_last(observation)

    def _step(self, handle: jax.Array, action: jax.Array) -> tuple[jax.Array, ...]:
        handle, row = self._xla_step(handle, action)
        return handle, *self._unpack(*row)

    def _host_step(self, handle: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, ...]:
        return handle, *self._unpack(*self._env.step(action))

    def render(self) -> np.ndarray:
        if self._env.render_mode is None:
            raise ValueError("this pool has no picture to show; make it with render=True")
        return self._env.render()[0]

    def _unpack(
        self, observation: Array, reward: Array, terminated: Array, truncated: Array, info: dict[str, Any]
    ) -> tuple[Array, ...]:
        """EnvPool's row as `Pool` wants it. Only Atari says more than the flags do: the raw reward, and whether
        the emulator itself thinks that the game is over."""
        reward = reward.astype(np.float32)
        game_over = info["terminated"] > 0 if "terminated" in info else terminated
        raw_reward = info.get("reward", reward)
        return (
            self._channels_last(observation), reward, raw_reward, terminated | game_over, truncated, game_over,
        )  # fmt: skip

    def _channels_last(self, observation: Array) -> Array:
        if self.protocol.stack is None:
            return observation
        moveaxis = jnp.moveaxis if isinstance(observation, jax.Array) else np.moveaxis
        return moveaxis(observation, 1, -1)


def _options(protocol: Protocol, training: bool) -> dict[str, Any]:
    """EnvPool's names for what the protocol says."""
    limit = {} if protocol.max_episode_steps is None else {"max_episode_steps": protocol.max_episode_steps}
    if protocol.stack is None:
        return limit
    return limit | {
        "img_height": protocol.height,
        "img_width": protocol.width,
        "stack_num": protocol.stack,
        "frame_skip": protocol.frame_skip[0],
        "repeat_action_probability": protocol.repeat_action_probability,
        "noop_max": protocol.noop_max,
        "use_fire_reset": protocol.fire_reset,
        "episodic_life": protocol.episodic_life and training,
        "reward_clip": protocol.clip_reward,
    }


def _threads(num_envs: int, num_threads: int | None) -> dict[str, int]:
    """How many threads, and whether each keeps to its own core.

    Pinning helps a pool that fills the machine (Linux else puts two workers on one core at times), and ruins two
    small pools that run together, one on each device: both would be pinned to the first core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    num_threads = num_threads or min(num_envs, cores)
    fills = num_threads >= cores == os.cpu_count()
    return {"num_threads": num_threads} | ({"thread_affinity_offset": 0} if fills else {})
