"""The one adapter of EnvPool: its environments, stepped by C++ threads within the compiled program.

What it hides: EnvPool reports a game that is over on its last permitted step as truncated only; an action
array of a wrong shape, or an action out of range, ends the process; images of Atari and Procgen come with their
channels first. Where its compiled step would read or write past an array (float64), or is not there (other
systems than Linux), it is stepped from the host.

The address of the emulators is a constant of the compiled code. A jitted function that was traced with `step`
keeps the pool alive; an ahead-of-time executable (`.lower().compile()`) does not: keep the pool for as long.
"""

import contextlib
import functools
import os
import sys
import warnings
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.environments.gymnasium_spaces import image_of, observe, spec_of
from jaxrl.environments.host_pool import TOKEN, HostPool
from jaxrl.environments.pool import Array, available_cores, end_after_steps, environment_seeds
from jaxrl.environments.protocols import Protocol
from jaxrl.environments.spaces import Spec

NOT_DRAWN = ("toy_text", "mujoco")  # without a screen, drawing MuJoCo ends the process


class EnvPoolPool(HostPool):
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
        if render and families()[env_id] in NOT_DRAWN:
            raise ValueError(f"EnvPool draws no {env_id}; make it without render, or play it as gymnasium:{env_id}")
        if protocol.max_episode_steps is not None and _ends_by_itself(env_id):
            raise ValueError(f"{env_id}: EnvPool sets no time limit here, games end by themselves; leave it out")
        with _asking(env_id):
            self._env = _library().make(
                env_id,
                env_type="gymnasium",
                num_envs=num_envs,
                seed=environment_seeds(seed, num_envs),
                render_mode="rgb_array" if render else None,
                **_threads(num_envs, num_threads),
                **_options(protocol, training),
            )
            weakref.finalize(self, end_after_steps, self._env)
            spaces = (self._env.observation_space, self._env.action_space)
        super().__init__(env_id, protocol, num_envs, _spec(env_id, *spaces))
        self._space, self._channels_first = image_of(spaces[0]), _has_channels_first(env_id)
        self._handle, self._xla_step, self._info = TOKEN, None, {}
        if _has_xla(self._space):
            self._handle, _, _, self._xla_step = self._env.xla()

    def _reset(self) -> tuple[np.ndarray, np.ndarray]:
        observation, _ = self._env.reset()
        return self._handle, self._observe(observation)

    def _step(self, handle: jax.Array, action: jax.Array) -> tuple[jax.Array, ...]:
        if self._xla_step is None:
            return super()._step(handle, action)
        handle, row = self._xla_step(handle, action)
        return handle, *self._unpack(*row)

    def _emulate(self, action: np.ndarray) -> tuple[np.ndarray, ...]:
        *row, self._info = self._env.step(action)
        return self._unpack(*row, self._info)

    def emulator(self) -> dict[str, np.ndarray]:
        return {name: self._info[name] for name in ("lives", "ram") if name in self._info}

    def render(self) -> np.ndarray:
        if self._env.render_mode is None:
            raise ValueError("this pool shows no frames; make it with render=True")
        return self._env.render()[0]

    def _unpack(self, observation, reward, terminated, truncated, info) -> tuple[Array, ...]:
        """Atari's info has more than the row: the raw reward, and whether the emulator says "game over"."""
        reward = reward.astype(np.float32)
        game_over = info["terminated"] > 0 if "terminated" in info else terminated
        flags = (terminated | game_over, truncated, game_over)
        return self._observe(observation), reward, info.get("reward", reward), *flags

    def _observe(self, observation: Array | dict[str, Array]) -> Array:
        observation = observation["image"] if isinstance(observation, dict) else observation
        if self._channels_first:
            observation = (jnp if isinstance(observation, jax.Array) else np).moveaxis(observation, 1, -1)
        return observe(self._space, observation)


def spec(env_id: str, protocol: Protocol) -> Spec:
    """What an observation and an action are, from EnvPool's own answer; no emulator is started."""
    with _asking(env_id):
        asked = _library().make_spec(env_id, **_options(protocol, training=True))
        return _spec(env_id, asked.gymnasium_observation_space, asked.gymnasium_action_space)


def families() -> dict[str, str]:
    """The family of each of EnvPool's names: "atari", "mujoco" (Gym's), "mujoco.dmc", ..."""
    specs = _library().registration.registry.specs
    kinds = {name: path.removeprefix("envpool.") for name, (path, *_) in specs.items()}
    return {name: "mujoco" if kind == "mujoco.gym" else kind for name, kind in kinds.items()}


def missing() -> str | None:
    """Why EnvPool cannot be imported and what to do about it, in one line; None where it can."""
    found = _found()
    if not isinstance(found, Exception):
        return None
    reason = " ".join(str(found).split())
    libraries = any(name in reason for name in ("libEGL", "libOpenGL"))
    cure = "apt-get install libegl1 libopengl0" if libraries else "pip install envpool"
    return f"EnvPool cannot be imported ({reason}); try `{cure}`"


@functools.cache
def _found():
    """EnvPool, imported when it is first asked for (it takes a second), or the error."""
    try:
        import envpool
        import envpool.registration

        return envpool
    except Exception as error:  # ImportError, OSError or FileNotFoundError, by what is missing
        return error


def _library():
    return _found()


def _spec(env_id: str, observation, action) -> Spec:
    """From EnvPool's spaces, which are Gymnasium's."""
    spec = spec_of(env_id, image_of(observation), action)
    if not _has_channels_first(env_id):
        return spec
    channels, height, width = spec.observation.shape
    return spec._replace(observation=spec.observation._replace(shape=(height, width, channels)))


def _has_channels_first(env_id: str) -> bool:
    return families()[env_id] in ("atari", "procgen")


def _ends_by_itself(env_id: str) -> bool:
    """Whether EnvPool does not heed a time limit."""
    return families()[env_id] == "procgen" or env_id in ("Catch-v0", "Blackjack-v1", "tabular/Blackjack-v0")


def _has_xla(space) -> bool:
    """Whether the compiled step can be used: JAX would give EnvPool half of the memory that its float64 fill."""
    return sys.platform == "linux" and space.dtype != np.float64


@contextlib.contextmanager
def _asking(env_id: str):
    """Without Gymnasium's warnings on float64 bounds; names the library that a family needs and that is not there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError as error:
            raise ValueError(f"{env_id} cannot be made; {' '.join(str(error).split())}") from error


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
        "reward_clip": protocol.reward == "sign",
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
