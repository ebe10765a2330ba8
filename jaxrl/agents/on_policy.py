"""What agents share that learn from the newest trajectory alone: their options, optimiser and first parameters."""

import dataclasses
from functools import partial
from typing import ClassVar, Literal

import jax.numpy as jnp
import optax

from jaxrl.agents import options
from jaxrl.agents.optimizers import clipped
from jaxrl.agents.options import Count, Fraction, NotNegative, Positive, RunConfig
from jaxrl.algorithms import actor_critic


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Options of an on-policy agent."""

    may_change: ClassVar[tuple[str, ...]] = (*RunConfig.may_change, "learning_rate")

    t_max: Count = 20
    """Agent steps of each environment in one segment, the length of backpropagation through time."""
    learning_rate: Positive = 4e-4
    """Learning rate of the optimiser."""
    learning_rate_decay: bool = False
    """Let the learning rate fall linearly to 0 at total_steps."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Optimiser; its statistics are shared by all workers."""
    gamma: Fraction = 0.99
    """Discount of a reward one agent step later."""
    entropy_coefficient: NotNegative = 0.01
    """Weight of the policy's entropy in the loss."""
    max_grad_norm: Positive = 50.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""

    @property
    def updates_per_turn(self) -> int:
        """Updates that one trajectory gives."""
        return 1

    @property
    def total_updates(self) -> int:
        """Updates in the whole run (reset rows aside)."""
        return max(1, self.updates_per_turn * self.total_steps // (self.t_max * self.num_envs))


@dataclasses.dataclass(frozen=True)
class ActorCriticConfig(Config):
    """Options of an on-policy agent whose critic bootstraps."""

    gae_lambda: Fraction = 1.0
    """Mixing weight of generalised advantage estimation; 1 is the n-step return."""
    value_coefficient: NotNegative = 0.5
    """Weight of half the squared value error in the loss."""

    @property
    def hyperparameters(self) -> actor_critic.Hyperparameters:
        """What the loss depends on."""
        return actor_critic.Hyperparameters(
            self.gamma, self.gae_lambda, self.entropy_coefficient, self.value_coefficient
        )


def check(config: Config, spec):
    """Raise ValueError, in one sentence, for options that cannot work."""
    options.check(config)
    options.check_discrete(spec, config)
    options.check_divides(config, "num_envs", config.device_count, f"{config.device_count} devices")


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Clipped Adam or RMSProp."""
    rules = {"adam": optax.adam, "rmsprop": partial(optax.rmsprop, decay=0.99, eps=0.1)}
    return clipped(config, rules[config.optimizer])


def init_params(network, spec, key):
    """The parameters of a network with a memory, from nothing."""
    observation = jnp.zeros((1, 1, *spec.observation.shape), spec.observation.dtype)
    return network.init(key, observation, network.initial_memory(1), jnp.zeros((1, 1), bool))
