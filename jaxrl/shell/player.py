"""A trained agent that acts on observations, wherever they come from: what `jaxrl.load` gives."""

from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxrl import rollout
from jaxrl.agents import AGENTS
from jaxrl.agents.options import RunConfig
from jaxrl.environments import Spec
from jaxrl.shell import frozen


class Player:
    """A frozen agent with the memory that it has of N episodes under way; NumPy in, NumPy out.

    Attributes:
      config: the options that it was trained with: its environment, its protocol, the number of its environments.
      spec: what one observation and one action are.
      step: agent step of the checkpoint.
      params: the parameters that act.
    """

    def __init__(self, config: RunConfig, spec: Spec, player: frozen.Frozen):
        self.config, self.spec, self.step, self.params = config, spec, player.step, player.params
        self._policy, self._trained_with = AGENTS[config.algorithm].make(config, spec).policy, player.normalizer
        self._act = jax.jit(partial(_act, self._policy), static_argnames="greedy")
        self.reset()

    def __repr__(self) -> str:
        return f"{self.config.name} on {self.config.env}, {self.step:,} agent steps"

    def reset(self, num_envs: int = 1, seed: int = 0):
        """Forget all: the next observations are those of fresh environments.

        Args:
          num_envs: N, environments that are played at once.
          seed: of the actions that `act` draws when it is given no key.
        """
        self._memory, self._key = self._policy.initial_memory(num_envs), jax.random.key(seed)
        self._first, self._normalizer = np.ones(num_envs, bool), None
        if self.config.rules.normalization != "none":
            self._normalizer = rollout.shared_normalizer(self._trained_with, num_envs)

    def act(self, observation, first=None, key=None, greedy: bool = False) -> np.ndarray:
        """The actions for the next observations of all environments.

        Args:
          observation: [N, ...], each of it as `spec.observation` says.
          first: bool [N], the observation begins an episode; by default those after `reset` alone do.
          key: JAX's, of the drawn actions; by default one after another of the seed of `reset`.
          greedy: take the best action; by default it is drawn as in an evaluation: A3C's from the policy, and DQN's
            is now and then random.

        Returns: the actions [N], or [N, ...] where one action is an array.

        Raises: ValueError for observations of another shape.
        """
        observation = self._checked(observation)
        first = self._first if first is None else np.broadcast_to(np.asarray(first, bool), self._first.shape)
        if key is None:
            self._key, key = jax.random.split(self._key)
        actions, self._memory, self._normalizer = self._act(
            self.params, self._memory, self._normalizer, observation, first, key, greedy=greedy
        )
        self._first = np.zeros_like(self._first)
        return np.asarray(actions)

    def _checked(self, observation) -> np.ndarray:
        observation = np.asarray(observation)
        wanted = (len(self._first), *self.spec.observation.shape)
        if observation.shape != wanted:
            raise ValueError(
                f"observation has shape {observation.shape}; expected {wanted}: reset({wanted[0]}) was for {wanted[0]} "
                f"environments, and one observation of {self.config.env} is {wanted[1:]}."
            )
        return observation.astype(self.spec.observation.dtype)


def _act(policy, params, memory, normalizer, observation, first, key, greedy: bool):
    """Actions, memory and normaliser after one step, as `rollout.step` has them."""
    normalizer, observation = rollout.observe(normalizer, observation)
    return *policy.act(params, memory, observation, first, key, greedy=greedy), normalizer


def load(run_dir: str | Path, checkpoint: int | None = None) -> Player:
    """See `jaxrl.load`."""
    run_dir = Path(run_dir)
    config = frozen.trained_as(run_dir)
    return Player(config, config.spec(), frozen.load(run_dir, checkpoint))
