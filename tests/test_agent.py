"""The contract of an agent is complete: a small one, made of its members alone, learns, is saved and resumed."""

import csv
import dataclasses
import itertools
from functools import partial
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.agent import Agent, Column, Policy
from jaxrl.agents.options import RunConfig
from jaxrl.environments import PROTOCOLS
from jaxrl.returns import discounted_return
from jaxrl.shell import folder, launch, loop


# The toy agent begins: REINFORCE with a linear policy.
@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Options of the toy agent."""

    algorithm: ClassVar[str] = "toy"
    name: ClassVar[str] = "toy"
    learning_rate: float = 0.3


def make(config: Config, spec) -> Agent:
    def act(params, memory, observation, first, key):
        return jax.random.categorical(key, observation @ params["w"]).astype(jnp.int32), memory, ()

    def act_frozen(params, memory, observation, first, key, greedy=False):
        return jnp.argmax(observation @ params["w"], -1).astype(jnp.int32), memory

    def loss(params, trajectory):
        row = trajectory.row
        returns = jax.vmap(discounted_return, 1, 1)(row.r_t, 0.98 * (1.0 - row.done))
        log_pi = jax.nn.log_softmax(trajectory.observation @ params["w"])
        taken = jnp.take_along_axis(log_pi, row.a_t[..., None], -1)[..., 0]
        return -jnp.mean(taken * (returns - returns.mean()), where=row.valid)

    def learn(learner, trajectory, key):
        value, gradient = jax.value_and_grad(loss)(learner["params"], trajectory)
        params = jax.tree.map(lambda p, g: p - config.learning_rate * g, learner["params"], gradient)
        return {"params": params, "turns": learner["turns"] + 1}, {"loss": value}

    return Agent(
        policy=Policy(lambda num_envs: (), act_frozen),
        num_steps=64,
        init=lambda key: {"params": {"w": jnp.zeros((*spec.observation.shape, spec.action.n))}, "turns": jnp.int32(0)},
        acting=lambda learner: learner["params"],
        act=act,
        learn=learn,
        frozen=lambda learner: learner["params"],
        shown={"loss": Column("loss", ".3g", "loss")},
    )


# The toy agent ends.
CONFIG = Config(env="CartPole-v1", protocol="control", num_envs=16, total_steps=30_000, log_every=5_000,
                checkpoint_every=15_000, evaluation_games=3, video=False)  # fmt: skip

TIMES = ("seconds", "steps_per_second")


def train(run_dir, **options):
    config = dataclasses.replace(CONFIG, **options)
    agent = make(config, config.spec())
    run_dir = config.resume or folder.new_run(dataclasses.replace(config, run_dir=run_dir))
    trained = launch.run(agent, config, run_dir)
    assert trained.steps >= config.total_steps and not trained.missing
    return trained.state


def rows(run_dir, name="metrics.csv"):
    with (run_dir / name).open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("toy") / "whole"
    return run_dir, train(run_dir)


def test_it_learns_and_is_evaluated(whole):
    run_dir, state = whole
    scores = [float(row["score_mean_100"]) for row in rows(run_dir)]
    assert scores[0] < 60 and scores[-1] > 2 * scores[0]
    evaluations = rows(run_dir, "evaluation.csv")
    assert evaluations and float(evaluations[-1]["mean"]) > 100
    assert (run_dir / "curve.png").exists() and int(state.learner["turns"][0]) > 25


def test_resumed_it_is_the_uninterrupted_run(whole, tmp_path):
    run_dir, state = whole
    half = tmp_path / "half"
    train(half, total_steps=15_000)
    again = train(half, resume=half)
    assert rows(half) == rows(run_dir)
    jax.tree.map(np.testing.assert_array_equal, again.learner, state.learner)


def test_on_two_devices_it_is_trained_on_each(tmp_path):
    state = train(tmp_path / "two", device_count=2, total_steps=4_000, checkpoint_every=4_000)
    assert state.learner["params"]["w"].shape[0] == 2


def test_every_turn_and_every_device_learns_with_a_key_of_its_own():
    config = dataclasses.replace(CONFIG, device_count=2)
    agent = make(config, config.spec())
    agent = agent._replace(learn=lambda learner, trajectory, key: (learner, {"loss": jax.random.uniform(key)}))
    state = loop.first_state(agent, PROTOCOLS["control"], config.num_envs // 2, 2, seed=0)
    updates = loop.updates(agent, state, partial(launch.pools_of, config), loop.Schedule(10_000, 5_000, 5_000), 0)
    drawn = [x for update in itertools.islice(updates, 3) for x in update.report["loss"].tolist()]
    assert len(set(drawn)) == 6


def test_an_agent_whose_state_changes_its_types_is_refused():
    """None of its checkpoints could be resumed."""
    agent = make(CONFIG, CONFIG.spec())
    changing = agent._replace(learn=lambda learner, *_: (learner | {"turns": learner["turns"] + 0.5}, {}))
    state = loop.first_state(agent, PROTOCOLS["control"], CONFIG.num_envs, 1, seed=0)
    pools = partial(launch.pools_of, CONFIG)
    with pytest.raises(TypeError, match=r"learning makes float32\[\] of the state's \['turns'\], which was int32\[\]"):
        next(loop.updates(changing, state, pools, loop.Schedule(10_000, 5_000, 5_000), 0))


def test_a_new_algorithm_is_written_in_less_than_sixty_lines():
    source = Path(__file__).read_text()
    toy = source[source.index("# The toy agent begins") : source.index("# The toy agent ends")]
    assert len(toy.splitlines()) < 60
