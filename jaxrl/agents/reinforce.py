"""REINFORCE as an agent: its options, its network, and how the two contracts are met."""

import dataclasses
from functools import partial
from typing import ClassVar

from jaxrl import parallel
from jaxrl.agent import Agent
from jaxrl.agents import on_policy, options
from jaxrl.agents.options import Count
from jaxrl.algorithms import descent, reinforce


@dataclasses.dataclass(frozen=True)
class Config(on_policy.Config):
    """Train REINFORCE (an agent step is one action; with a frame skip of 4 it is 4 emulator frames).

    There is one preset, reinforce: the defaults shown for Atari, others for everything else.
    """

    algorithm: ClassVar[str] = "reinforce"
    name: ClassVar[str] = "REINFORCE"

    t_max: Count = 128
    """Agent steps of each environment in one segment; the rewards after it are not counted."""

    @property
    def introduction(self) -> str:
        """What is printed before the run."""
        return f"an update for every {self.t_max} steps of {self.num_envs} environments"


CONTROL = {
    "num_envs": 16, "hidden": 64, "widths": (64,), "learning_rate": 5e-3, "learning_rate_decay": True,
    "max_grad_norm": 0.5, "entropy_coefficient": 0.0, "total_steps": 800_000, "log_every": 10_000,
    "checkpoint_every": 400_000,
}  # fmt: skip
PRESETS = {"atari": {"reinforce": {}}, "control": {"reinforce": CONTROL}}
preset = partial(options.preset, Config, PRESETS)


def check(config: Config, spec):
    """Raise ValueError, in one sentence, for options that cannot work."""
    on_policy.check(config, spec)
    if config.num_envs < 2 * config.total_devices:
        raise ValueError(f"the baseline needs 2 environments or more on each device; got --num-envs {config.num_envs}.")


def make(config: Config, spec) -> Agent:
    """REINFORCE for an environment."""
    network, optimizer = on_policy.network_of(config, spec), on_policy.optimizer_of(config)
    axis_names = parallel.axis_names(config.device_count)

    def init(key, params=None):
        return descent.init(params or on_policy.init_params(network, spec, key), optimizer)

    def learn(learner, trajectory, key, acted=None):
        beta = on_policy.entropy_coefficient(config, learner.optimizer)
        hyper = reinforce.Hyperparameters(config.gamma, beta)
        return reinforce.update(learner, trajectory, network, optimizer, hyper, axis_names, acted)

    return on_policy.agent(config, network, init, learn)
