"""Atari through ale-py: with a random frame skip, which EnvPool does not have, and where EnvPool does not run.

ale-py keeps Python's lock while it emulates, so a few processes share the environments, each with an equal
group that it steps one by one (a process for each environment costs twice the time). They are started by a
fork server, since a process in which JAX runs threads must not be forked. They import Gymnasium and ale-py,
and neither JAX nor the user's script.
"""

import contextlib
import functools
import multiprocessing
import sys
import types
from collections.abc import Callable

import cloudpickle
import gymnasium
import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv

from jaxrl.environments import atari_game
from jaxrl.environments.gymnasium_pool import GymnasiumPool
from jaxrl.environments.pool import available_cores
from jaxrl.environments.preprocessing import origin_frame
from jaxrl.environments.protocols import Protocol
from jaxrl.environments.spaces import Box, Discrete, Spec

cloudpickle.register_pickle_by_value(atari_game)  # to import it, a process would have to import jaxrl, and so JAX


class AlePool(GymnasiumPool):
    """Atari games in processes; see `Pool`, and `make` for the arguments.

    The number of processes divides that of the environments; with one, and to render, the emulators run in this
    process.
    """

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
        most = min(num_envs, 1 if render else num_threads or available_cores())
        groups = next(groups for groups in range(most, 0, -1) if num_envs % groups == 0)
        layout = (num_envs,) if groups == 1 else (groups, num_envs // groups)
        vector = _vectorize(_group(env_id, protocol, training, layout[-1]), groups)
        super().__init__(env_id, protocol, _spec(vector, groups, protocol), vector, layout, seed)
        shape = vector.observation_space.shape[-3:]
        self._raw = jax.ShapeDtypeStruct((num_envs, *shape), np.uint8)
        self._see = jax.jit(origin_frame) if _skips_at_random(protocol) else lambda raw: raw

    def _emulate(self, action: np.ndarray) -> tuple[np.ndarray, ...]:
        raw, reward, raw_reward, terminated, truncated, _ = super()._emulate(action)
        game_over = terminated & ~truncated  # both is a lost life
        reward = np.sign(raw_reward) if self.protocol.reward == "sign" else reward
        return raw, reward, raw_reward, terminated, truncated, game_over

    def _flat(self, observation: np.ndarray) -> np.ndarray:
        """A copy: the next step writes to the same memory."""
        self._frames = observation.reshape(self._raw.shape).copy()
        return self._frames

    def _for_gymnasium(self, action: np.ndarray) -> np.ndarray:
        return action

    def render(self) -> np.ndarray:
        if _skips_at_random(self.protocol):
            return self._frames[0].copy()
        if len(self._layout) > 1:
            raise ValueError("this pool shows no frames; make it with render=True")
        return self._vector.envs[0].render()


def spec(env_id: str, protocol: Protocol) -> Spec:
    """What an observation and an action are; one emulator is started, and closed."""
    vector = _group(env_id, protocol, True, 1)()
    try:
        return _spec(vector, 1, protocol)
    finally:
        vector.close()


def action_names(env_id: str) -> list[str]:
    """"NOOP", "FIRE", ...; one emulator is started, and closed."""
    atari_game.silence()
    game = gymnasium.make(_registered()[env_id])
    try:
        return game.unwrapped.get_action_meanings()
    finally:
        game.close()


def families() -> dict[str, str]:
    """The family of each game, by EnvPool's name: "Pong-v5", ..."""
    return dict.fromkeys(_registered(), "atari")


@functools.cache
def _registered() -> dict[str, str]:
    """Gymnasium's name of each of EnvPool's, which capitalises otherwise: "ALE/TicTacToe3D-v5" of "TicTacToe3d-v5"."""
    games = {name: it.kwargs["game"] for name, it in gymnasium.registry.items() if name.startswith("ALE/")}
    return {"".join(map(str.capitalize, game.split("_"))) + "-v5": name for name, game in games.items()}


def _spec(vector: VectorEnv, groups: int, protocol: Protocol) -> Spec:
    shape, actions = (protocol.height, protocol.width, protocol.stack), vector.single_action_space
    random_skip = _skips_at_random(protocol)
    image = Box(shape, np.dtype(np.float32), 0.0, 1.0) if random_skip else Box(shape, np.dtype(np.uint8), 0, 255)
    return Spec(image, Discrete(int(actions.n if groups == 1 else actions.nvec[0])))


def _group(env_id: str, protocol: Protocol, training: bool, size: int) -> Callable[[], VectorEnv]:
    """The maker of one process's environments."""
    rules = _origin if _skips_at_random(protocol) else _game
    return functools.partial(atari_game.group, rules(_registered()[env_id], protocol, training), size)


def _origin(name: str, protocol: Protocol, training: bool) -> Callable[[], gymnasium.Env]:
    """Gymnasium's own Atari, which can skip at random, and shows the raw screen."""
    _refuse_what_gymnasium_cannot(protocol)
    return functools.partial(
        gymnasium.make,
        name,
        frameskip=(protocol.frame_skip[0], protocol.frame_skip[1] + 1),  # Gymnasium leaves out the upper end
        repeat_action_probability=protocol.repeat_action_probability,
        max_episode_steps=protocol.max_episode_steps,
        max_num_frames_per_episode=0,  # no limit but the one above
        disable_env_checker=True,
    )


def _game(name: str, protocol: Protocol, training: bool) -> Callable[[], gymnasium.Env]:
    return functools.partial(
        atari_game.AtariGame,
        gymnasium.spec(name).kwargs["game"],
        height=protocol.height,
        width=protocol.width,
        stack=protocol.stack,
        frame_skip=protocol.frame_skip[0],
        max_pool=protocol.max_pool,
        noop_max=protocol.noop_max,
        fire_reset=protocol.fire_reset,
        episodic_life=protocol.episodic_life and training,
        max_episode_steps=protocol.max_episode_steps or 27_000,  # EnvPool's own
        repeat_action_probability=protocol.repeat_action_probability,
    )


def _vectorize(make_group: Callable[[], VectorEnv], groups: int) -> VectorEnv:
    """The groups as one; each resets its environments itself."""
    if groups == 1:
        return make_group()
    start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"  # on Windows
    with _no_main_module():
        return AsyncVectorEnv([make_group] * groups, copy=False, context=start, autoreset_mode=AutoresetMode.DISABLED)


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


def _skips_at_random(protocol: Protocol) -> bool:
    return protocol.frame_skip[0] < protocol.frame_skip[1]


def _refuse_what_gymnasium_cannot(protocol: Protocol) -> None:
    names = ("max_pool", "noop_max", "fire_reset", "episodic_life")
    extra = [name for name in names if getattr(protocol, name)]
    if extra:
        raise ValueError(f"protocol {protocol.name!r}: a random frame skip has no {' or '.join(extra)}")
    size = (protocol.height, protocol.width, protocol.stack)
    if size != (42, 42, 1):
        raise ValueError(f"protocol {protocol.name!r} is played at height 42, width 42, stack 1, got {size}")
