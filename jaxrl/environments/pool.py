"""What every pool of environments looks like from outside.

A pool steps N environments in lockstep. An environment whose episode ended starts a new one by itself, one step
later (Gymnasium's `NEXT_STEP`):

    row        reward   terminated|truncated   valid   observation
    t          r_t      True                   True    the true last one of the episode
    t + 1      0        False                  False   the first one of the next episode; the action was ignored
    t + 2      r_t+2    ...                    True

Leave a row with `valid` False out of every loss, replay buffer, advantage and count. Bootstrap from the observation
of a truncated row, and not from that of a terminated one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.environments.protocols import Protocol

Array = jax.Array | np.ndarray


def environment_seeds(seed: int, num_envs: int) -> list[int]:
    """A seed for each environment of a pool: unrelated ones, so that pools of nearby seeds share no game.

    Args:
        seed: 0 or more.

    Returns: N whole numbers in 0 .. 2³¹ - 1; those of a smaller pool are the first of a larger one's.
    """
    return [int(word >> 1) for word in np.random.SeedSequence(seed).generate_state(num_envs)]


class PoolState(NamedTuple):
    """What `step` needs of the step before. The emulators themselves live outside JAX, and are not in it."""

    handle: Array  # a token: passing it on is what keeps the steps in order
    observation: Array  # [N, *observation_shape], the latest
    done: Array  # bool [N], the latest row ended its episode, so the next step is a reset row


class Step(NamedTuple):
    """What one step of N environments gave.

    `terminated` and `truncated` are never both True; a game that is over on its very last permitted step is
    terminated. With episodic life (protocol `nature` in training) a lost life is `terminated` while the game goes
    on: only `game_over` marks the end of a game. A score is the sum of `raw_reward` up to and with `game_over`.
    """

    observation: Array  # [N, *observation_shape]
    reward: Array  # float32 [N], the one to learn from (its sign, where the protocol clips)
    raw_reward: Array  # float32 [N], the game's own points
    terminated: Array  # bool [N], the episode ended: its value is 0
    truncated: Array  # bool [N], the time limit cut the episode: its value is that of the observation
    game_over: Array  # bool [N], the whole game ended here (always True where truncated)
    valid: Array  # bool [N], False where this step was the reset


class Pool:
    """N environments behind one interface; made by `make`.

    Args:
        env_id: EnvPool's name of the environment.
        protocol: the rules they are played by, with the overrides of `make` in place.
        num_envs: N.
        num_actions: the actions are 0 .. num_actions - 1.
        observation_shape: (height, width, channels), or (features,).
        observation_dtype: NumPy dtype of an observation.
    """

    def __init__(
        self,
        env_id: str,
        protocol: Protocol,
        num_envs: int,
        num_actions: int,
        observation_shape: tuple[int, ...],
        observation_dtype: Any,
    ):
        self.env_id = env_id
        self.protocol = protocol
        self.num_envs = num_envs
        self.num_actions = num_actions
        self.observation_shape = observation_shape
        self.observation_dtype = np.dtype(observation_dtype)
        self.closed = False

    def reset(self) -> PoolState:
        """Start a new game in every environment; a host call. The random streams go on where they were."""
        self._refuse_if_closed()
        handle, observation = self._reset()
        state = PoolState(handle, observation, np.zeros(self.num_envs, bool))
        return jax.tree.map(jnp.asarray, state)

    def step(self, state: PoolState, action: jax.Array) -> tuple[PoolState, Step]:
        """Step every environment; can be traced (jit, lax.scan, a branch of lax.switch in pmap), but not vmapped.

        An action out of range cannot raise in compiled code, and would end the process in the emulator, so it is
        clipped into the range: the cost is N comparisons.

        Args:
            state: from `reset` or the step before; a step taken twice from one state steps the emulators twice.
            action: int32 [N].

        Raises:
            TypeError, ValueError: action is not int32 [N] (at trace time).
        """
        self._refuse_if_closed()
        action = jnp.asarray(action)
        self._check_action(action)
        return self._package(state, *self._step(state.handle, jnp.clip(action, 0, self.num_actions - 1)))

    def host_step(self, state: PoolState, action: np.ndarray) -> tuple[PoolState, Step]:
        """The same as `step`, without XLA: NumPy in, NumPy out.

        Raises:
            TypeError, ValueError: action is not int32 [N], or not in 0 .. num_actions - 1.
        """
        self._refuse_if_closed()
        action = np.asarray(action)
        self._check_action(action)
        if action.min() < 0 or action.max() >= self.num_actions:
            raise ValueError(
                f"{self.env_id} has the actions 0 to {self.num_actions - 1}, "
                f"got one of {action.min()} to {action.max()}"
            )
        state = jax.tree.map(np.asarray, state)
        return self._package(state, *self._host_step(state.handle, action))

    def render(self) -> np.ndarray:
        """The latest frame of environment 0 as the emulator shows it: uint8 [210, 160, 3] for Atari."""
        raise NotImplementedError

    def close(self) -> None:
        """Refuse further steps, and give back what can be given back now."""
        self.closed = True

    # What an adapter provides. Both steps return handle, observation, reward, raw_reward, terminated, truncated and
    # game_over, the flags as the library gives them.
    def _reset(self) -> tuple[Array, Array]:
        raise NotImplementedError

    def _step(self, handle: jax.Array, action: jax.Array) -> tuple[jax.Array, ...]:
        raise NotImplementedError

    def _host_step(self, handle: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, ...]:
        raise NotImplementedError

    def _package(self, state, handle, observation, reward, raw_reward, terminated, truncated, game_over):
        truncated = truncated & ~terminated
        step = Step(observation, reward, raw_reward, terminated, truncated, game_over | truncated, ~state.done)
        return PoolState(handle, observation, terminated | truncated), step

    def _check_action(self, action: Array) -> None:
        if action.dtype != np.int32:
            raise TypeError(f"an action must be int32, got {action.dtype}; use action.astype('int32')")
        if action.shape != (self.num_envs,):
            raise ValueError(
                f"an action must have the shape ({self.num_envs},), one for each environment, got {action.shape}"
            )

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise RuntimeError(f"this pool of {self.env_id} is closed; make another one")
