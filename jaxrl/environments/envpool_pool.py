"""The one adapter of EnvPool: Atari and classic control, stepped by C++ threads within the compiled program.

What it hides: EnvPool reports a game that is over on its last permitted step as truncated only; an action
array of a wrong shape, or an action out of range, ends the process; pictures come with the stack first.

The address of the emulators is a constant of the compiled code. A jitted function that was traced with `step`
keeps the pool alive; an ahead-of-time executable (`.lower().compile()`) does not: keep the pool for as long.
"""

import contextlib
import difflib
import os
import re
import warnings
from typing import Any

import envpool
import jax
import jax.numpy as jnp
import numpy as np
from envpool.registration import registry

from jaxrl.environments.pool import Array, Pool, available_cores, environment_seeds
from jaxrl.environments.protocols import Protocol
from jaxrl.environments.spaces import Discrete, Spec, box

FAMILIES = ("atari", "classic_control")


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
        with _quietly():
            self._env = envpool.make(
                env_id,
                env_type="gymnasium",
                num_envs=num_envs,
                seed=environment_seeds(seed, num_envs),
                render_mode="rgb_array" if render else None,
                **_threads(num_envs, num_threads),
                **_options(protocol, training),
            )
            spec = _spec(self._env.observation_space, self._env.action_space, protocol)
        super().__init__(env_id, protocol, num_envs, spec)
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
            raise ValueError("this pool shows no frames; make it with render=True")
        return self._env.render()[0]

    def _unpack(self, observation, reward, terminated, truncated, info) -> tuple[Array, ...]:
        """Atari's info has more than the row: the raw reward, and whether the emulator says "game over"."""
        reward = reward.astype(np.float32)
        game_over = info["terminated"] > 0 if "terminated" in info else terminated
        flags = (terminated | game_over, truncated, game_over)
        return self._channels_last(observation), reward, info.get("reward", reward), *flags

    def _channels_last(self, observation: Array) -> Array:
        if not self.protocol.atari:
            return observation
        moveaxis = jnp.moveaxis if isinstance(observation, jax.Array) else np.moveaxis
        return moveaxis(observation, 1, -1)


def spec(env_id: str, protocol: Protocol) -> Spec:
    """What an observation and an action are, from EnvPool's own answer; no emulator is started."""
    with _quietly():
        asked = envpool.make_spec(env_id, **_options(protocol, training=True))
        return _spec(asked.gymnasium_observation_space, asked.gymnasium_action_space, protocol)


def _spec(observation, action, protocol: Protocol) -> Spec:
    """From Gymnasium's spaces."""
    bounds = (observation.low, observation.high)
    low, high = (np.moveaxis(bound, 0, -1) for bound in bounds) if protocol.atari else bounds
    done = Discrete(int(action.n)) if hasattr(action, "n") else box(action.dtype, action.low, action.high)
    return Spec(box(observation.dtype, low, high), done)


@contextlib.contextmanager
def _quietly():
    """Without Gymnasium's warnings on float64 bounds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def family(env_id: str) -> str:
    """The family of an environment that jaxrl can play: "atari" or "classic_control".

    Raises: ValueError for an unknown environment, or one of another family.
    """
    if env_id not in registry.specs:
        raise ValueError(f"there is no environment {env_id!r}; did you mean {' or '.join(_nearest(env_id))}?")
    kind = _family(env_id)
    if kind not in FAMILIES:
        raise ValueError(f"{env_id} is of the family {kind!r}; jaxrl plays {' and '.join(FAMILIES)}")
    return kind


def _family(env_id: str) -> str:
    import_path, *_ = registry.specs[env_id]
    return import_path.removeprefix("envpool.")


def _nearest(env_id: str) -> list[str]:
    """The names nearest to one in Gym's manner ("ALE/Pong-v5", "PongNoFrameskip-v4") or misspelt."""
    names = {name.lower(): name for name in registry.specs if _family(name) in FAMILIES}
    game = re.sub("^ALE/|NoFrameskip|Deterministic|-v[0-9]+$", "", str(env_id)).lower()
    near = [name for name in names if game == name.rpartition("-v")[0]]
    return [names[name] for name in near or difflib.get_close_matches(game, names, n=2, cutoff=0)]


def _options(protocol: Protocol, training: bool) -> dict[str, Any]:
    """EnvPool's names for what the protocol says."""
    limit = {} if protocol.max_episode_steps is None else {"max_episode_steps": protocol.max_episode_steps}
    if not protocol.atari:
        return limit
    if protocol.noop_max is None or protocol.max_pool != (protocol.frame_skip[0] > 1):
        raise ValueError(
            f"EnvPool starts a game with a no-op, and takes the maximum of two frames whenever it skips: "
            f"protocol {protocol.name!r} needs noop_max and max_pool to say so"
        )
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
    """How many threads, and whether each keeps to a core of its own.

    Pinning helps a pool that fills the machine, where Linux at times puts two threads on one core. It would
    ruin small pools that run side by side, one a device: the first core would get the first thread of each.
    """
    cores = available_cores()
    num_threads = num_threads or min(num_envs, cores)
    fills_the_machine = num_threads >= cores == os.cpu_count()
    return {"num_threads": num_threads} | ({"thread_affinity_offset": 0} if fills_the_machine else {})
