"""What every pool of environments looks like from outside.

A pool steps N environments in lockstep. An environment whose episode ended starts the next one by itself, one
step later (Gymnasium's `NEXT_STEP`):

    row     reward   terminated or truncated   valid   observation
    t       r_t      True                      True    the true last one of the episode
    t + 1   0        False                     False   the first one of the next; the action was ignored
    t + 2   r_t+2    ...                       True    ...

Leave a row with `valid` False out of every loss, replay buffer, advantage and count. Bootstrap from the
observation of a truncated row, and not from that of a terminated one.
"""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.environments.protocols import Protocol
from jaxrl.environments.spaces import Array, Spec


class PoolState(NamedTuple):
    """What `step` needs of the step before. The emulators live outside JAX, and are not in it."""

    handle: Array  # a token: handing it on is what keeps the steps in order
    observation: Array  # [N, *spec.observation.shape], the latest
    done: Array  # bool [N], the latest row ended its episode, so the next step is a reset row


class Step(NamedTuple):
    """What one step of N environments gave.

    `terminated` and `truncated` are never both True; a game that is over on its last permitted step is
    terminated. Under episodic life (protocol `nature` in training) a lost life is `terminated`, and the row
    after it is not valid, while the game goes on: `game_over` alone marks the end of a game. A score is the
    sum of `raw_reward` up to and with the row of `game_over`.
    """

    observation: Array  # [N, *spec.observation.shape]
    reward: Array  # float32 [N], to learn from: see `Protocol.reward`
    raw_reward: Array  # float32 [N], the game's own points
    terminated: Array  # bool [N], the episode ended: nothing comes after
    truncated: Array  # bool [N], the time limit cut the episode: its value goes on
    game_over: Array  # bool [N], the whole game ended, either way
    valid: Array  # bool [N], False where this step was the reset


class Pool(ABC):
    """N environments behind one interface; made by `make`.

    Attributes:
        env_id: the name of the environment, as `make` was given it.
        protocol: the rules they are played by, with the overrides of `make` in place.
        num_envs: N.
        spec: what an observation ([height, width, channels], the newest frame last, or [features]) and an action are.
        closed: whether `close` was called.
    """

    def __init__(self, env_id: str, protocol: Protocol, num_envs: int, spec: Spec):
        self.env_id = env_id
        self.protocol = protocol
        self.num_envs = num_envs
        self.spec = spec
        self.closed = False

    def reset(self) -> PoolState:
        """Start a new game in every environment; a host call. The random streams go on where they were.

        Raises: RuntimeError on a closed pool.
        """
        self._refuse_if_closed()
        handle, observation = self._reset()
        state = PoolState(handle, observation, np.zeros(self.num_envs, bool))
        return jax.tree.map(jnp.asarray, state)

    def step(self, state: PoolState, action: jax.Array) -> tuple[PoolState, Step]:
        """Step every environment; to be traced (jit, lax.scan, lax.switch in pmap), but not vmapped.

        Compiled code cannot raise, and an action out of range would end the process from within the emulator,
        so actions are clipped: to 0 .. n - 1, or to low .. high.

        Args:
            state: of `reset` or of the step before. Two steps from one state are two steps of the emulators.
            action: int32 [N], or float32 [N, *spec.action.shape].

        Raises (while tracing):
            TypeError, ValueError: the action is not of that type or shape.
            RuntimeError: the pool is closed. A function compiled before that goes on stepping it.
        """
        self._refuse_if_closed()
        action = jnp.asarray(action)
        self._check_action(action)
        return self._package(state, *self._step(state.handle, self.spec.action.clip(action)))

    def host_step(self, state: PoolState, action: np.ndarray) -> tuple[PoolState, Step]:
        """The same as `step`, without XLA: NumPy in, NumPy out.

        Raises:
            TypeError, ValueError: the action is not of the type or shape of `step`, or one is out of range or NaN.
            RuntimeError: the pool is closed.
        """
        self._refuse_if_closed()
        action = np.asarray(action)
        self._check_action(action)
        if not self.spec.action.contains(action):
            raise ValueError(f"the actions of {self.env_id} are {self.spec.action}, got {action}")
        state = jax.tree.map(np.asarray, state)
        return self._package(state, *self._host_step(state.handle, action))

    @abstractmethod
    def render(self) -> np.ndarray:
        """The latest frame of environment 0, uint8 [height, width, 3]: [210, 160, 3] for most of Atari.

        Raises: ValueError when the pool was not made with render=True and cannot render without.
        """

    def emulator(self) -> dict[str, np.ndarray]:
        """What an Atari emulator tells of itself after the latest `host_step`: lives int [N], ram uint8 [N, 128].

        Without, or before the first step: an empty dict."""
        return {}

    def close(self) -> None:
        """Refuse further steps, and end what processes there are. EnvPool's memory and threads are freed with
        the last reference to the pool; a jitted function that was traced with its `step` holds one."""
        self.closed = True

    @abstractmethod
    def _reset(self) -> tuple[Array, Array]:
        """Handle and observation."""

    @abstractmethod
    def _step(self, handle: jax.Array, action: jax.Array) -> tuple[jax.Array, ...]:
        """Handle, observation, reward, raw_reward, terminated, truncated (perhaps both True), game_over."""

    @abstractmethod
    def _host_step(self, handle: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, ...]:
        """What `_step` returns."""

    def _package(self, state, handle, observation, reward, raw_reward, terminated, truncated, game_over):
        truncated = truncated & ~terminated
        if self.protocol.reward == "root":
            xp = jnp if isinstance(raw_reward, jax.Array) else np
            reward = xp.sign(raw_reward) * xp.sqrt(xp.abs(raw_reward) / np.float32(100))
        game_over = game_over | truncated
        step = Step(observation, reward, raw_reward, terminated, truncated, game_over, ~state.done)
        return PoolState(handle, observation, terminated | truncated), step

    def _check_action(self, action: Array) -> None:
        dtype, shape = self.spec.action.dtype, (self.num_envs, *self.spec.action.shape)
        if action.dtype != dtype:
            raise TypeError(f"an action must be {dtype}, got {action.dtype}; use action.astype('{dtype}')")
        if action.shape != shape:
            raise ValueError(f"an action must have the shape {shape}, one row an environment, got {action.shape}")

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise RuntimeError(f"this pool of {self.env_id} is closed; make another one")


def end_after_steps(emulators: Any, end: Callable[[], None] | None = None) -> None:
    """Wait for the steps that this thread has in flight, then end the emulators, if only by letting go of them.

    A finalizer of a pool: a step whose emulators are freed under it never ends, nor does Python then.
    """
    with contextlib.suppress(Exception):  # it is raised where the step's results are read
        jax.effects_barrier()
    if end is not None:
        end()


def environment_seeds(seed: int, num_envs: int) -> list[int]:
    """A seed for each environment of a pool: unrelated ones, so that pools of nearby seeds share no game.

    Args:
        seed: 0 or more.

    Returns: N whole numbers in 0 .. 2³¹ - 1; those of a smaller pool are the first of a larger one's.
    """
    return [int(word >> 1) for word in np.random.SeedSequence(seed).generate_state(num_envs)]


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
