"""The chassis of agents that learn from the newest trajectory alone: their options, network, optimiser and wiring."""

import dataclasses
from functools import partial
from typing import ClassVar, Literal

import jax.numpy as jnp
import optax

from jaxrl import parallel
from jaxrl.agent import Agent
from jaxrl.agents import options
from jaxrl.agents.optimizers import clipped
from jaxrl.agents.options import Count, Fraction, NotNegative, Positive, PositiveOrInfinite, RunConfig
from jaxrl.algorithms import actor_critic
from jaxrl.networks import ActorCriticLSTM


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Options of an on-policy agent."""

    may_change: ClassVar[tuple[str, ...]] = (*RunConfig.may_change, "learning_rate", "max_grad_norm")

    t_max: Count = 20
    """Agent steps of each environment in one segment, the length of backpropagation through time."""
    learning_rate: Positive = 4e-4
    """Learning rate of the optimiser."""
    learning_rate_decay: bool = False
    """Let the learning rate fall linearly to 0 at total_steps."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam, or RMSProp with a decay of 0.99."""
    gamma: Fraction = 0.99
    """Discount of a reward one agent step later."""
    entropy_coefficient: NotNegative = 0.01
    """Weight of the policy's entropy in the loss."""
    entropy_final: NotNegative | None = None
    """Weight of the entropy at total_steps, which it reaches linearly; by default it stays as it is."""
    optimizer_epsilon: Positive | None = None
    """ε in the optimiser's denominator; by default 1e-8 for Adam and 0.1 for RMSProp."""
    max_grad_norm: PositiveOrInfinite = 50.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""
    hidden: Count = 256
    """Width of the LSTM."""
    initialization: Literal["uniform", "orthogonal"] = "uniform"
    """How weights start: uniform, or orthogonal with open forget gates in the LSTM."""
    widths: tuple[Count, ...] = ()
    """Widths of the hidden layers before the LSTM, where observations are features and not images."""

    @property
    def images_held(self) -> int:
        """Observations of one environment between two turns of learning."""
        return self.t_max

    @property
    def keeps(self) -> bool:
        """Whether acting keeps what learning goes back through: where they share a device."""
        return parallel.acting_devices(self.device_count, self.acting) is None

    @property
    def images_kept(self) -> int:
        """Observations of which acting keeps what learning goes back through."""
        return self.num_envs * self.t_max if self.keeps else 0

    @property
    def images_learnt(self) -> int:
        """Observations in one update."""
        return self.num_envs * self.t_max // self.updates_per_turn

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
    options.check_divides(config, "num_envs", config.total_devices, options.over_devices(config))


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Clipped Adam or RMSProp."""
    rule, eps = {"adam": (optax.adam, 1e-8), "rmsprop": (partial(optax.rmsprop, decay=0.99), 0.1)}[config.optimizer]
    return clipped(config, partial(rule, eps=config.optimizer_epsilon or eps), config.entropy_final is not None)


def entropy_coefficient(config: Config, statistics):
    """The weight of the entropy in the next update, from the optimiser's statistics, which count the updates."""
    if config.entropy_final is None:
        return config.entropy_coefficient
    updates = optax.tree.get_all_with_path(statistics, "count")[0][1]  # several parts count, all alike
    return optax.linear_schedule(config.entropy_coefficient, config.entropy_final, config.total_updates)(updates)


def network_of(config: Config, spec) -> ActorCriticLSTM:
    """The network for an environment."""
    return ActorCriticLSTM(
        spec.action.n, hidden=config.hidden, widths=config.widths, initialization=config.initialization
    )


def init_params(network, spec, key):
    """The parameters of a network with a memory, from nothing."""
    observation = jnp.zeros((1, 1, *spec.observation.shape), spec.observation.dtype)
    return network.init(key, observation, network.initial_memory(1), jnp.zeros((1, 1), bool))


def agent(config: Config, network, init, learn, **own) -> Agent:
    """An on-policy agent.

    Args:
      config, network: see `Config` and `network_of`.
      init, learn: as in `Agent`; the learner has `params`.
      own: other members of `Agent`, where the agent does not act with `params` as it does when frozen.
    """

    def params_of(learner):
        return learner.params

    act = actor_critic.acting(network, config.keeps)
    shared = {"acting": params_of, "act": act, "frozen": params_of, "shown": actor_critic.SHOWN}
    return Agent(actor_critic.policy(network), config.t_max, init, learn=learn, **shared | own)
