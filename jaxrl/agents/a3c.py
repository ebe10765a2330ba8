"""A3C with an LSTM as an agent: its options, its network, and how the two contracts are met."""

import dataclasses
from functools import partial
from typing import ClassVar, Literal

from jaxrl import parallel
from jaxrl.agent import Agent
from jaxrl.agents import on_policy, options
from jaxrl.agents.options import Count
from jaxrl.algorithms import a3c


@dataclasses.dataclass(frozen=True)
class Config(on_policy.ActorCriticConfig):
    """Train A3C with an LSTM (an agent step is one action; with a frame skip of 4 it is 4 emulator frames).

    Presets: a3c, the defaults shown for Atari, others for everything else; origin, as the report had it (Atari).
    """

    algorithm: ClassVar[str] = "a3c"
    name: ClassVar[str] = "A3C-LSTM"

    num_workers: Count = 2
    """Asynchronous workers on each device; a worker's gradient is num_workers - 1 updates old (1 is A2C)."""
    worker_map: Literal["auto", "vmap", "map"] = "auto"
    """How workers are run: all at once (vmap), in turn (map), or what is faster on this backend (auto)."""

    @property
    def streams(self) -> int:
        """Environments of one worker."""
        return self.num_envs // (self.num_workers * self.total_devices)

    @property
    def updates_per_turn(self) -> int:
        """Updates that one trajectory gives: one of each worker."""
        return self.num_workers

    @property
    def introduction(self) -> str:
        """What is printed before the run."""
        return (
            f"{self.num_workers * self.total_devices} workers with {self.streams} environments each; "
            f"each gradient is {self.num_workers * (1 + self.acting_age) - 1} update(s) old"
        )


CONTROL = {
    "num_envs": 16, "t_max": 8, "hidden": 64, "widths": (64,), "learning_rate": 3e-3, "learning_rate_decay": True,
    "max_grad_norm": 0.5, "entropy_coefficient": 0.0, "total_steps": 500_000, "log_every": 10_000,
    "checkpoint_every": 250_000,
}  # fmt: skip
ORIGIN = {  # 23 processes of one environment for 24 hours
    "protocol": "origin", "num_envs": 23, "num_workers": 23, "learning_rate": 1e-4, "total_steps": 80_700_000,
}  # fmt: skip
PRESETS = {"atari": {"a3c": {}, "origin": ORIGIN}, "control": {"a3c": CONTROL}}
preset = partial(options.preset, Config, PRESETS)


def check(config: Config, spec):
    """Raise ValueError, in one sentence, for options that cannot work."""
    on_policy.check(config, spec)
    groups = config.num_workers * config.total_devices
    options.check_divides(
        config, "num_envs", groups, f"{config.num_workers} workers on each of {options.over_devices(config)}"
    )


def make(config: Config, spec) -> Agent:
    """A3C for an environment."""
    network = on_policy.network_of(config, spec)
    optimizer, map_workers = on_policy.optimizer_of(config), parallel.map_groups(config.worker_map)
    axis_names = parallel.axis_names(config.device_count)

    def init(key, params=None):
        return a3c.init(params or on_policy.init_params(network, spec, key), config.num_workers, optimizer)

    def act(copies, memory, observation, first, key):
        return a3c.act(network, copies, memory, observation, first, key, map_workers, config.keeps)

    def learn(learner, segments, key, acted=None):
        learner = learner if acted is None else learner._replace(copies=acted)
        beta = on_policy.entropy_coefficient(config, learner.optimizer)
        hyper = config.hyperparameters._replace(entropy_coefficient=beta)
        return a3c.update(learner, segments, network, optimizer, hyper, map_workers, axis_names)

    return on_policy.agent(
        config,
        network,
        init,
        learn,
        acting=lambda learner: learner.copies,
        act=act,
        arrange=lambda trajectory: a3c.split_workers(trajectory, config.num_workers),
    )
