"""Train A3C with an LSTM on an Atari game.

python experiments/a3c.py --env Riverraid-v5
python experiments/a3c.py --resume runs/NAME [--total-steps MORE]
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
import optax

from jaxrl import cli, environments, experiment, parallel, rollout, training
from jaxrl.algorithms import a3c
from jaxrl.networks import ActorCriticLSTM


@dataclasses.dataclass(frozen=True)
class Config(experiment.RunConfig):
    """Train A3C with an LSTM (an agent step is one action; with a frame skip of 4 it is 4 emulator frames)."""

    algorithm: ClassVar[str] = "a3c"
    name: ClassVar[str] = "A3C-LSTM"
    may_change: ClassVar[tuple[str, ...]] = (*experiment.RunConfig.may_change, "learning_rate")

    num_workers: int = 2
    """Asynchronous workers on each device; a worker's gradient is num_workers - 1 updates old (1 is A2C)."""
    worker_map: Literal["auto", "vmap", "map"] = "auto"
    """How workers are run: all at once (vmap), in turn (map), or what is faster on this backend (auto)."""
    t_max: int = 20
    """Agent steps of each environment in one segment, the length of backpropagation through time."""
    learning_rate: float = 4e-4
    """Learning rate of the optimiser."""
    learning_rate_decay: bool = False
    """Let the learning rate fall linearly to 0 at total_steps."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Optimiser; its statistics are shared by all workers."""
    gamma: float = 0.99
    """Discount of a reward one agent step later."""
    gae_lambda: float = 1.0
    """Mixing weight of generalised advantage estimation; 1 is the n-step return."""
    entropy_coefficient: float = 0.01
    """Weight of the policy's entropy in the loss."""
    value_coefficient: float = 0.5
    """Weight of half the squared value error in the loss."""
    max_grad_norm: float = 50.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""

    @property
    def streams(self) -> int:
        """Environments of one worker."""
        return self.num_envs // (self.num_workers * self.device_count)

    @property
    def total_updates(self) -> int:
        """Updates of the shared parameters in the whole run (reset rows aside)."""
        return max(1, self.total_steps // (self.t_max * self.streams * self.device_count))

    @property
    def hyperparameters(self) -> a3c.Hyperparameters:
        """What the loss depends on."""
        return a3c.Hyperparameters(self.gamma, self.gae_lambda, self.entropy_coefficient, self.value_coefficient)


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    experiment.check(config)
    experiment.check_above(config, "num_workers", "t_max", "learning_rate", "max_grad_norm")
    experiment.check_fraction(config, "gamma", "gae_lambda")
    experiment.check_not_below(config, "entropy_coefficient", "value_coefficient")
    if config.protocol == "control":
        raise ValueError("the network of A3C takes pictures, and the protocol 'control' has none; use dqn.py for it.")
    groups = config.num_workers * config.device_count
    if config.num_envs % groups:
        nearest = max(1, round(config.num_envs / groups)) * groups
        raise ValueError(
            f"--num-envs {config.num_envs} does not divide among {config.num_workers} workers on each of "
            f"{config.device_count} devices; the nearest number that does is {nearest}."
        )


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Clipped Adam or RMSProp, with the learning rate's schedule."""
    rate = config.learning_rate
    if config.learning_rate_decay:
        rate = optax.linear_schedule(rate, 0.0, config.total_updates)
    rule = optax.adam(rate) if config.optimizer == "adam" else optax.rmsprop(rate, decay=0.99, eps=0.1)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), rule)


class Agent:
    """A3C for the run loop (`training.Agent`): a state is a pair (learner, actor) with a leading device axis."""

    def __init__(self, config: Config, pool: environments.Pool):
        self.config, self.pool = config, pool
        self.network = ActorCriticLSTM(pool.num_actions)
        self.policy = a3c.policy(self.network)
        self.optimizer = optimizer_of(config)
        self.map_workers = parallel.map_workers(config.worker_map)
        self.learn = parallel.map_devices(self._learn, config.device_count, donate_argnums=(0,))

    def init_params(self, key):
        """The network's parameters from nothing."""
        observation = np.zeros((1, 1, *self.pool.observation_shape), self.pool.observation_dtype)
        return self.network.init(key, observation, self.network.initial_memory(1), np.zeros((1, 1), bool))

    def init(self, key, pools):
        """The state from nothing."""
        key, subkey = jax.random.split(key)
        num_envs = pools[0].num_envs
        normalizer = rollout.init_normalization(pools[0].protocol, num_envs)
        keys = jax.random.split(key, len(pools))
        actors = [self._actor(pool, normalizer, k) for pool, k in zip(pools, keys, strict=True)]
        learner = a3c.init(self.init_params(subkey), self.config.num_workers, self.optimizer)
        return self._stack([learner] * len(pools)), self._stack(actors)

    def attach(self, state, pools):
        """The same agent at the start of fresh pools."""
        learner, actors = state
        normalizers = [jax.tree.map(lambda leaf, i=i: leaf[i], actors.normalizer) for i in range(len(pools))]
        fresh = map(self._actor, pools, normalizers, actors.key)
        return learner, self._stack(list(fresh))

    def collector(self, pools):
        """Acting and stepping in these pools, t_max steps at a time."""
        pool_step = parallel.on_this_device([pool.step for pool in pools])
        return parallel.map_devices(lambda state: self._collect(state, pool_step), len(pools))

    def frozen(self, state):
        """What acts, of one device."""
        learner, actors = jax.tree.map(lambda leaf: leaf[0], state)
        return {"params": learner.params, "normalizer": actors.normalizer}

    def saved(self, state):
        """What a checkpoint holds: all of it."""
        return state

    def restored(self, saved):
        """The state that was saved."""
        return saved

    def _actor(self, pool, normalizer, key):
        return rollout.init(pool.reset(), self.network.initial_memory(pool.num_envs), normalizer, key)

    def _stack(self, trees):
        return parallel.spread(parallel.stack(trees), self.config.device_count)

    def _collect(self, state, pool_step):
        learner, actor = state
        memory = actor.memory

        def act(*args):
            return a3c.act_by_workers(self.policy, learner.copies, *args, self.map_workers)

        actor, seen = rollout.rollout(actor, act, pool_step, self.config.t_max)
        experience = a3c.segments(memory, seen, actor.observation, actor.first, self.config.num_workers)
        return actor, experience, {name: getattr(seen, name) for name in training.PER_STEP}

    def _learn(self, learner, experience):
        return a3c.update(
            learner,
            experience,
            self.network,
            self.optimizer,
            self.config.hyperparameters,
            self.map_workers,
            parallel.axis_names(self.config.device_count),
        )


def main(config: Config):
    """Train, or go on training, and leave the run's folder complete."""
    check(config)
    introduction = (
        f"{config.num_workers * config.device_count} workers with {config.streams} environments each; "
        f"each gradient is {config.num_workers - 1} update(s) old"
    )
    agent = Agent(config, experiment.probe(config))
    experiment.train(config, agent, "experiments/a3c.py", introduction)


if __name__ == "__main__":
    cli.run(main, Config, partial(experiment.config_to_resume, Config))
