"""Train DQN, or any combination of what was added to it, on an Atari game or on classic control.

python experiments/dqn.py --env Riverraid-v5 [--double] [--dueling] [--prioritized] [--distributional qr] [--n-step 3]
python experiments/dqn.py --env Pong-v5 --preset nature
python experiments/dqn.py --env CartPole-v1 --preset rainbow
python experiments/dqn.py --resume runs/NAME [--total-steps MORE]
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from dqn_config import Config, check, preset

from jaxrl import cli, environments, experiment, parallel, replay, rollout, training
from jaxrl.algorithms import dqn
from jaxrl.networks import QNetwork

READING = 3.0  # times the replay's own size is what reading it from a checkpoint takes: 3,604 MiB for one of 1,200 MiB
OTHERS = 1.25  # leaves a fifth of a memory to everything else


def check_replay(config: Config, pool: environments.Pool):
    """Raise ValueError for a replay that is too small to draw from, or does not fit into the device's memory."""
    settings = config.settings(pool)
    least = settings.stack + settings.steps + config.collect_steps
    if settings.length < least or config.learning_starts < least * config.num_envs:
        name = "replay_size" if settings.length < least else "learning_starts"
        raise ValueError(
            f"{experiment.option(name)} {getattr(config, name)} is not enough for a first transition: with "
            f"{config.num_envs} environments and {config.n_step} steps it takes {least * config.num_envs}."
        )
    per_step = replay.bytes_needed(settings._replace(length=1), 1, frame_bytes(pool))
    devices = 1 if jax.default_backend() == "cpu" else config.device_count
    reading = config.save_replay and jax.default_backend() == "cpu"
    times, free = READING if reading else OTHERS, parallel.free_memory()
    needed = times * config.replay_size * per_step / devices
    if needed > free:
        fits = int(free / times / per_step * devices) // 1000 * 1000
        why = " to read it from a checkpoint (--no-save-replay: less than half of that)" if reading else ""
        raise ValueError(
            f"--replay-size {config.replay_size} needs {needed / 2**30:.1f} GiB{why}, and {free / 2**30:.1f} GiB are "
            f"free; {fits} would fit."
        )


def frame_shape(pool: environments.Pool) -> tuple[int, ...]:
    """The shape of what the replay keeps of an observation: one frame, or the features."""
    return pool.observation_shape[:-1] if len(pool.observation_shape) == 3 else pool.observation_shape


def frame_bytes(pool: environments.Pool) -> int:
    """The bytes of it."""
    return int(np.prod(frame_shape(pool))) * pool.observation_dtype.itemsize


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Clipped Adam or RMSProp."""
    rate, eps = config.learning_rate, config.optimizer_epsilon
    if config.learning_rate_decay:
        rate = optax.linear_schedule(rate, 0.0, config.total_updates)
    if config.optimizer == "adam":
        rule = optax.adam(rate, eps=eps)
    else:
        rule = optax.rmsprop(rate, decay=0.95, eps=eps, centered=True)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), rule)


class Learner(NamedTuple):
    """The networks, the replay, the agent steps so far (over all devices), and the key of draws and noise."""

    networks: dqn.State
    replay: replay.Replay | None
    agent_steps: Any
    key: Any


class Agent:
    """DQN for the run loop (`training.Agent`): a state is a pair (learner, actor) with a leading device axis."""

    def __init__(self, config: Config, pool: environments.Pool):
        self.config, self.pool = config, pool
        self.network = QNetwork(
            pool.num_actions,
            config.outputs,
            config.hidden,
            config.dueling_form if config.dueling else "none",
            config.noisy,
        )
        self.hyper = config.hyperparameters
        self.settings = config.settings(pool)
        self.policy = dqn.policy(self.network, self.hyper, config.evaluation_epsilon)
        self.optimizer = optimizer_of(config)
        self.axis_names = parallel.axis_names(config.device_count)
        self._store = parallel.map_devices(self._store_one, config.device_count, donate_argnums=(0,))
        self._learn = parallel.map_devices(self._learn_one, config.device_count, donate_argnums=(0,))

    def init_params(self, key):
        """The network's parameters from nothing."""
        return self.network.init(key, np.zeros((1, *self.pool.observation_shape), self.pool.observation_dtype))

    def init(self, key, pools):
        """The state from nothing."""
        params_key, *keys = jax.random.split(key, 1 + 2 * len(pools))
        networks = dqn.init(self.init_params(params_key), self.optimizer)
        learners = [Learner(networks, None, jnp.int32(0), k) for k in keys[: len(pools)]]
        actors = [self._actor(pool, k) for pool, k in zip(pools, keys[len(pools) :], strict=True)]
        return self._with_empty_replay(self._stack(learners)), self._stack(actors)

    def attach(self, state, pools):
        """The same agent at the start of fresh pools, before which no episode goes on."""
        learner, actors = state
        ring = jax.vmap(lambda ring: replay.cut(ring, self.settings))(learner.replay)
        learner = learner._replace(replay=ring)
        return learner, self._stack([self._actor(pool, key) for pool, key in zip(pools, actors.key, strict=True)])

    def collector(self, pools):
        """Acting and stepping in these pools, `collect_steps` steps at a time."""
        pool_step = parallel.on_this_device([pool.step for pool in pools])
        collect = parallel.map_devices(lambda acting: self._collect(acting, pool_step), len(pools))

        def of_state(state):
            learner, actor = state
            return collect((learner.networks.params, learner.agent_steps, actor))

        return of_state

    def learn(self, learner, experience):
        """Store the experience; and, once there is enough, update."""
        before = int(np.asarray(learner.replay.rows)[0])  # known by now, where that of the stored is still to come
        learner, report = self._store(learner, experience)
        if (before + self.config.collect_steps) * self.config.num_envs < self.config.learning_starts:
            return learner, report
        # The frames are only read here; passed on, XLA:CPU would copy all of them.
        changing, learnt = self._learn(self._changing(learner), learner.replay._replace(tree=None), learner.agent_steps)
        return self._changed(learner, changing), report | learnt

    def frozen(self, state):
        """What acts, of one device."""
        return {"params": jax.tree.map(lambda leaf: leaf[0], state[0].networks.params), "normalizer": None}

    def saved(self, state):
        """What a checkpoint holds of a state: all, or all but the replay."""
        learner, actor = state
        return state if self.config.save_replay else (learner._replace(replay=None), actor)

    def restored(self, saved):
        """The state that `saved` was made of; a replay that was not saved is empty."""
        learner, actor = saved
        return (learner if self.config.save_replay else self._with_empty_replay(learner)), actor

    def _actor(self, pool, key):
        return rollout.init(pool.reset(), (), None, key)

    def _with_empty_replay(self, learner):
        devices = self.config.device_count
        size = (self.settings, self.config.num_envs // devices, frame_shape(self.pool), self.pool.observation_dtype)
        return learner._replace(replay=parallel.repeat(lambda: replay.init(*size), devices))

    def _stack(self, trees):
        return parallel.spread(parallel.stack(trees), self.config.device_count)

    def _collect(self, acting, pool_step):
        params, agent_steps, actor = acting
        num_envs = actor.first.shape[0]
        epsilon = dqn.epsilon(self.config.exploring, agent_steps, num_envs)

        def act(memory, observation, first, key):
            return dqn.act(self.network, params, observation, key, epsilon, self.hyper, self.config.noisy), memory

        actor, seen = rollout.rollout(actor, act, pool_step, self.config.collect_steps)
        return actor, (seen, epsilon.mean()), {name: getattr(seen, name) for name in training.PER_STEP}

    def _changing(self, learner):
        """What an update changes: networks, priorities and the highest of them, and the key."""
        return learner.networks, learner.replay.tree, learner.replay.highest, learner.key

    def _changed(self, learner, changing):
        """The learner with that in its place."""
        networks, tree, highest, key = changing
        return learner._replace(networks=networks, replay=learner.replay._replace(tree=tree, highest=highest), key=key)

    def _store_one(self, learner, experience):
        """Store the experience of one device; and a report, in which nothing was learnt."""
        seen, epsilon = experience
        taken = seen.valid.sum()
        for axis_name in self.axis_names:
            taken = jax.lax.psum(taken, axis_name)
        ring = replay.insert(learner.replay, self.settings, seen)
        learner = learner._replace(replay=ring, agent_steps=learner.agent_steps + taken)
        report = {name: jnp.float32(jnp.nan) for name in ("loss", "q_mean", "td_error", "gradient_norm")}
        report |= {"updates": jnp.int32(0), "epsilon": epsilon, **self._fullness(ring)}
        return learner, report

    def _learn_one(self, changing, ring, agent_steps):
        """The updates of one turn on one device."""
        learner, reports = self._changed(Learner(None, ring, agent_steps, None), changing), []
        for _ in range(self.config.updates):  # unrolled: XLA:CPU is slow in loops
            learner, latest = self._update(learner)
            reports.append(latest)
        means = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values)), *reports)
        means |= {"updates": jnp.int32(len(reports)), **self._fullness(learner.replay)}
        return self._changing(learner), means

    def _update(self, learner):
        """Draw a batch, learn from it, and set its priorities."""
        config = self.config
        key, draw_key, noise_key = jax.random.split(learner.key, 3)
        batch_size = config.batch_size // config.device_count
        batch = replay.sample(learner.replay, self.settings, draw_key, batch_size)
        weight = (batch.probability > 0) / batch_size  # 0: no transition was found
        if config.prioritized:
            progress = jnp.minimum(learner.agent_steps / config.total_steps, 1.0)
            beta = config.importance_exponent + (1 - config.importance_exponent) * progress
            weight *= replay.importance_weights(batch, replay.drawable(learner.replay, self.settings), beta)
        networks, error, report = dqn.update(
            learner.networks,
            batch,
            weight,
            noise_key if config.noisy else None,
            self.network,
            self.optimizer,
            self.hyper,
            self.axis_names,
        )
        ring = learner.replay
        if config.prioritized:
            ring = replay.set_priorities(ring, batch.index, error, config.priority_exponent)
        return learner._replace(networks=networks, replay=ring, key=key), report

    def _fullness(self, ring):
        """What is reported of the replay."""
        report = {"replay_fill": jnp.minimum(ring.rows / self.settings.length, 1.0)}
        if self.config.prioritized:
            count = jnp.maximum(replay.drawable(ring, self.settings) * ring.valid.shape[1], 1)
            report |= {"priority_mean": replay.total_priority(ring) / count, "priority_highest": ring.highest}
        return report


def main(config: Config):
    """Train, or go on training, and leave the run's folder complete."""
    check(config)
    pool = experiment.probe(config)
    check_replay(config, pool)
    agent = Agent(config, pool)
    introduction = (
        f"{config.name}, preset {config.preset}; {config.num_envs} environments; "
        f"{config.replay_ratio:g} transitions are drawn for each agent step"
    )
    if not config.save_replay:
        introduction += "; without its replay a resumed run is not exact, and fills it again before it learns on"
    experiment.train(config, agent, "experiments/dqn.py", introduction)


def defaults(arguments) -> Config:
    """The config that the options change: that of the run to resume, or of the preset."""
    saved = experiment.config_to_resume(Config, arguments)
    return saved or preset(cli.value_of("--preset", arguments), cli.value_of("--env", arguments))


if __name__ == "__main__":
    cli.run(main, Config, defaults)
