"""DQN and what was added to it as an agent: its network, and how the two contracts are met."""

import dataclasses
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax

from jaxrl import environments, parallel
from jaxrl.agent import Agent, Column
from jaxrl.agents import off_policy, options
from jaxrl.agents.dqn_options import PRESETS as PRESETS
from jaxrl.agents.dqn_options import Config as Config
from jaxrl.agents.optimizers import clipped
from jaxrl.algorithms import dqn
from jaxrl.networks import QNetwork

SHOWN = {"q_mean": Column("Q", ".2f", "mean of max Q"), "epsilon": Column("ε", ".2f")}


def preset(name: str | None, env: str | None, env_module: str | None = None) -> Config:
    """The options of a preset. In classic control C51's points go as far as the returns: each step gives 1, or takes 1.

    Raises: ValueError for an unknown preset or environment.
    """
    config = options.preset(Config, PRESETS, name, env, env_module)
    if environments.family(config.env) != "classic_control":
        return config
    most = float(round(1 / (1 - config.gamma)))
    low, high = (0.0, most) if config.env.startswith("CartPole") else (-most, 0.0)
    return dataclasses.replace(config, v_min=low, v_max=high)


def check(config: Config, spec):
    """Raise ValueError, in one sentence, for options that cannot work."""
    off_policy.check(config, spec)
    options.check_discrete(spec, config)
    if not config.hidden:
        raise ValueError("--hidden takes one or more widths; got none.")
    if config.dueling_rescale and not config.dueling:
        raise ValueError("--dueling-rescale is for the gradient of --dueling's two heads; give both, or none.")
    if config.distributional != "none" and config.loss != "huber":
        raise ValueError(
            f"--loss {config.loss} is for values, and --distributional {config.distributional} has a loss of its own."
        )
    if config.distributional == "c51" and not (-np.inf < config.v_min < config.v_max < np.inf and config.outputs > 1):
        raise ValueError("c51 needs at least 2 atoms between a finite --v-min and a --v-max that is larger.")


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Clipped Adam or centred RMSProp."""
    eps = config.optimizer_epsilon
    rules = {"adam": partial(optax.adam, eps=eps),
             "rmsprop": partial(optax.rmsprop, decay=0.95, eps=eps, centered=True)}  # fmt: skip
    return clipped(config, rules[config.optimizer])


def network_of(config: Config, spec) -> QNetwork:
    """The network for an environment."""
    dueling = config.dueling_form if config.dueling else "none"
    factor = 2**-0.5 if config.dueling_rescale else 1.0
    return QNetwork(spec.action.n, config.outputs, config.hidden, dueling, config.noisy, factor)


def make(config: Config, spec) -> Agent:
    """DQN for an environment."""
    network, optimizer, hyper = network_of(config, spec), optimizer_of(config), config.hyperparameters
    axis_names = parallel.axis_names(config.device_count)

    def init(key, params=None):
        observation = jnp.zeros((1, *spec.observation.shape), spec.observation.dtype)
        return dqn.init(params or network.init(key, observation), optimizer)

    def act(acting, memory, observation, first, key):
        params, agent_steps = acting
        epsilon = dqn.epsilon(config.exploring, agent_steps, len(observation))
        a = dqn.act(network, params, observation, key, epsilon, hyper, config.noisy)
        return a, memory, {"epsilon": epsilon}

    def update(networks, batch, weight, key):
        noise_key = key if config.noisy else None
        return dqn.update(networks, batch, weight, noise_key, network, optimizer, hyper, axis_names)

    return off_policy.agent(
        config,
        spec,
        policy=dqn.policy(network, hyper, config.evaluation_epsilon),
        init=init,
        act=act,
        update=update,
        frozen=lambda networks: networks.params,
        shown=SHOWN,
    )
