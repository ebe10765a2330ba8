"""The one adapter of Gymnasium's environments: any of them, "gymnasium:CartPole-v1", one's own too.

An environment that a module of one's own registers is "gymnasium:my_package:MyEnv-v0", in Gymnasium's manner, or
"gymnasium:MyEnv-v0" with `env_module="my_package"`. All N run one by one within this process.
"""

import functools
import importlib
import warnings
import weakref
from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from jaxrl.environments.gymnasium_spaces import observe, spec_of
from jaxrl.environments.host_pool import TOKEN, HostPool
from jaxrl.environments.pool import end_after_steps, environment_seeds
from jaxrl.environments.protocols import Protocol
from jaxrl.environments.spaces import Spec
from jaxrl.nearest import nearest

PREFIX = "gymnasium:"


class GymnasiumPool(HostPool):
    """A vector environment of Gymnasium, which resets by `NEXT_STEP`; see `Pool`.

    Args:
        vector: the environments; the pool closes them.
        layout: the shape of its flags: (N,), or (groups, N of each).
    """

    def __init__(
        self, env_id: str, protocol: Protocol, spec: Spec, vector: VectorEnv, layout: tuple[int, ...], seed: int
    ):
        super().__init__(env_id, protocol, int(np.prod(layout)), spec)
        self._vector, self._layout = vector, layout
        end = functools.partial(vector.close, terminate=True)
        self._end = weakref.finalize(self, end_after_steps, vector, end)  # also at Python's exit
        self._seeds = np.reshape(environment_seeds(seed, self.num_envs), layout).tolist()

    def _reset(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            observation, _ = self._vector.reset(seed=self._seeds, options={"new_game": True})
        except Exception as error:
            raise ValueError(f"{self.env_id} cannot be reset; {_reason(error)}") from error
        self._seeds = None  # a later reset goes on with the same random streams
        return TOKEN, np.asarray(self._see(self._flat(observation)))

    def _emulate(self, action: np.ndarray) -> tuple[np.ndarray, ...]:
        action = self._for_gymnasium(action).reshape(*self._layout, *self.spec.action.shape)
        observation, *rest, _ = self._vector.step(action)
        reward, terminated, truncated = (x.reshape(self.num_envs).copy() for x in rest)
        reward = reward.astype(np.float32)
        return self._flat(observation), reward, reward, terminated, truncated, terminated

    def _flat(self, observation: np.ndarray) -> np.ndarray:
        return observe(self._vector.single_observation_space, observation)

    def _for_gymnasium(self, action: np.ndarray) -> np.ndarray:
        space = self._vector.single_action_space
        return (action + getattr(space, "start", 0)).astype(space.dtype)

    def render(self) -> np.ndarray:
        if self._vector.render_mode != "rgb_array":
            raise ValueError("this pool shows no frames; make it with render=True")
        try:
            return np.array(self._vector.envs[0].render())
        except Exception as error:
            raise ValueError(f"{self.env_id} cannot be rendered; {_reason(error)}") from error

    def close(self) -> None:
        super().close()
        self._end()


def make_pool(
    env_id: str, protocol: Protocol, num_envs: int, seed: int, render: bool, env_module: str | None
) -> GymnasiumPool:
    """A pool of a Gymnasium environment.

    Raises: ValueError, in a sentence, for an unknown name, a module that cannot be imported, an environment that
        cannot be made, and one whose observations or actions an agent cannot read.
    """
    make_env = _maker(env_id, protocol, render, env_module)
    vector = _attempt(env_id, lambda: SyncVectorEnv([make_env] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP))
    spec = spec_of(env_id, vector.single_observation_space, vector.single_action_space)
    return GymnasiumPool(env_id, protocol, spec, vector, (num_envs,), seed)


def spec(env_id: str, protocol: Protocol, env_module: str | None) -> Spec:
    """What an observation and an action are; one environment is made, and closed."""
    env = _attempt(env_id, _maker(env_id, protocol, False, env_module))
    try:
        return spec_of(env_id, env.observation_space, env.action_space)
    finally:
        env.close()


def _maker(env_id: str, protocol: Protocol, render: bool, env_module: str | None) -> Callable[[], gymnasium.Env]:
    """What makes one environment; the module that registers it is imported, and the name is known."""
    module, _, name = env_id.removeprefix(PREFIX).rpartition(":")
    for needed in filter(None, (module, env_module)):
        _import(needed)
    if name not in gymnasium.registry:
        near = " or ".join(PREFIX + each for each in nearest(name, gymnasium.registry))
        raise ValueError(
            f"there is no Gymnasium environment {name!r}; did you mean {near}? One "
            f"of your own needs env_module, the module that registers it"
        )
    limit = {} if protocol.max_episode_steps is None else {"max_episode_steps": protocol.max_episode_steps}
    mode = {"render_mode": "rgb_array"} if render else {}  # which an environment that is never shown need not know
    return functools.partial(gymnasium.make, name, disable_env_checker=True, **limit, **mode)


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:
        raise ValueError(
            f"the module {module!r}, which is to register an environment, cannot be imported; {_reason(error)}; is "
            f"its folder on Python's path (PYTHONPATH)?"
        ) from error


def _attempt(env_id: str, make: Callable):
    """What `make` gives, without Gymnasium's warnings on old versions and float64 bounds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return make()
        except Exception as error:
            raise ValueError(f"{env_id} cannot be made; {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def knows(name: str) -> bool:
    """Whether Gymnasium has an environment of this name."""
    return name in gymnasium.registry


def families() -> dict[str, str]:
    """The family of each classic control: "CartPole-v1", ..."""
    home = "gymnasium.envs.classic_control"
    return {name: "classic_control" for name, it in gymnasium.registry.items() if str(it.entry_point).startswith(home)}
