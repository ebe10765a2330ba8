"""Acting beside the environments and learning elsewhere: the same parameters, and nothing on the way but what must be.

The second of two devices of the host plays the accelerator.
"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from test_num_seeds import SMALL
from test_run import DQN_CONFIG, checkpoint, train

from jaxrl import parallel
from jaxrl.agents import AGENTS, a3c, on_policy, reinforce
from jaxrl.algorithms import descent
from jaxrl.algorithms import reinforce as algorithms
from jaxrl.shell import launch, loop

CONFIGS = {
    "a3c": replace(SMALL, num_workers=2, gamma=0.9),
    "reinforce": replace(reinforce.preset(None, "CartPole-v1"), num_envs=4, hidden=8, widths=(8,)),
    "dqn": replace(DQN_CONFIG, env="CartPole-v1", protocol="control", image_size=None, frame_stack=None),
}  # fmt: skip


@pytest.fixture
def apart(monkeypatch):
    """The first device acts, the second learns."""
    host, accelerator = jax.local_devices()[:2]
    monkeypatch.setattr(parallel, "learning_devices", lambda count: [accelerator][:count])
    monkeypatch.setattr(parallel, "acting_devices", lambda count, how: [host][:count])
    return host, accelerator


def last(run_dir):
    """The parameters at the end of a run."""
    return {name: value for name, value in checkpoint(run_dir, max(checkpoints(run_dir))).items() if "policy" in name}


def checkpoints(run_dir):
    return [int(path.name) for path in (run_dir / "checkpoints").iterdir() if path.name.isdecimal()]


@pytest.mark.parametrize(("name", "age"), [("a3c", 0), ("a3c", 1), ("dqn", 1)])
def test_the_same_is_learnt_as_on_one_device(name, age, tmp_path, request):
    """To the bit where nothing is kept of acting; else to rounding, as the forward pass is then computed for all steps
    at once."""
    config = replace(CONFIGS[name], acting_age=age)
    one = last(train(tmp_path / "one", config))
    request.getfixturevalue("apart")
    two = last(train(tmp_path / "two", config))
    assert one.keys() == two.keys()
    for leaf, value in one.items():
        np.testing.assert_allclose(two[leaf], value, rtol=0, atol=0 if name == "dqn" else 2e-5, err_msg=leaf)


def begin(config):
    agent = launch.agent_of(AGENTS[config.algorithm], config)
    return agent, loop.first_state(agent, config.rules, config.num_envs, 1, config.seed)


def test_a_rollout_stays_on_the_host_and_only_its_rows_leave(apart):
    """Of a turn the trajectory goes to the learner, and the parameters come back; images cross as bytes, once."""
    host, accelerator = apart
    config = a3c.Config(num_envs=4, t_max=3, num_workers=2)
    agent, state = begin(config)
    pool = config.make_pool(4, 0)
    collect = loop.collecting(agent, [pool], [host])
    state, actors = loop.enter(agent, state, [pool], [host])
    actors, trajectory, games = collect(agent.acting(state.learner), actors)
    for leaf in jax.tree.leaves((actors, games)):
        assert leaf.devices() == {host}
    for leaf in jax.tree.leaves((state.learner, trajectory)):
        assert leaf.devices() == {accelerator}
    assert trajectory.observation.dtype == np.uint8 and trajectory.observation.shape == (1, 2, 3, 2, 42, 42, 1)
    assert trajectory.extras == ()
    images = trajectory.observation.nbytes + trajectory.next_observation.nbytes
    memory = sum(leaf.nbytes for leaf in jax.tree.leaves(trajectory.memory))
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(trajectory)) < images + memory + 4 * 3 * 16
    with jax.transfer_guard("disallow_explicit"):  # learning asks for nothing more
        learner, *_ = turn = loop.learning(agent, 1)(state.learner, None, state.learn_keys, trajectory)
        jax.block_until_ready(turn)
    for leaf in jax.tree.leaves(learner):
        assert leaf.devices() == {accelerator}
    policy = loop.frozen(agent, loop.State(learner, None, *loop.carried(actors), state.learn_keys))
    assert all(leaf.devices() == {host} for leaf in jax.tree.leaves(policy))


def of_a3c(config, agent):
    """A turn of learning in which the workers' copies are those that acted."""
    learn = loop.learning(agent, 1)

    def turn(learner, keys, trajectory, acted):
        learner, _, keys, _ = learn(learner._replace(copies=acted), None, keys, trajectory)
        return learner, keys

    return turn


def of_reinforce(config, agent):
    """A turn of learning: the gradient at what acted, the step from what was learnt since."""
    network, optimizer = on_policy.network_of(config, config.spec()), on_policy.optimizer_of(config)
    hyper = algorithms.Hyperparameters(config.gamma, config.entropy_coefficient)

    @jax.jit
    def turn(learner, keys, trajectory, acted):
        (params, statistics), acted, trajectory = jax.tree.map(lambda leaf: leaf[0], (learner, acted, trajectory))
        gradient = jax.grad(lambda params: algorithms.loss(params, network, trajectory, hyper)[0])(acted)
        return parallel.add_axis(descent.State(*descent.descend(params, statistics, gradient, optimizer))), keys

    return turn


@pytest.mark.parametrize(("name", "learning"), [("a3c", of_a3c), ("reinforce", of_reinforce)])
def test_parameters_that_are_one_turn_old(name, learning):
    """By hand: what acts lacks the last turn of learning, and the gradient is taken at what acted."""
    config = replace(CONFIGS[name], acting_age=1)
    agent, state = begin(config)
    turns = loop.updates(agent, state, partial(launch.pools_of, config), loop.Schedule(10**6, 10**6, 10**6), 0,
                         launch.how_of(config))  # fmt: skip
    found = [jax.device_get(next(turns).state.learner) for _ in range(4)]

    agent, state = begin(config)
    pools = launch.pools_of(config, 0)
    collect, learn = loop.collecting(agent, pools), learning(config, agent)
    state, actor = loop.enter(agent, state, pools)

    def copy(tree):
        return jax.tree.map(lambda leaf: leaf.copy(), tree)

    learner, keys = state.learner, state.learn_keys
    acting = [copy(agent.acting(learner))]
    actor, trajectory, _ = collect(acting[0], actor)
    for expected in found:
        acting.append(copy(agent.acting(learner)))
        actor, ahead, _ = collect(acting[-1], actor)
        learner, keys = learn(learner, keys, trajectory, copy(acting[-2]))
        trajectory = ahead
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7), jax.device_get(learner), expected)


def test_places_to_act():
    assert parallel.acting_devices(1, "auto") is parallel.acting_devices(1, "cpu") is None  # there is no accelerator
    with pytest.raises(ValueError, match="place to act.*cpu"):
        parallel.acting_devices(1, "gpu")
