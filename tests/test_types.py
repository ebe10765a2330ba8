"""A turn changes no type: a checkpoint of every agent fits the state from which it is resumed, in 64-bit mode too."""

import dataclasses
from functools import partial

import jax
import pytest

from jaxrl import rollout
from jaxrl.agents import AGENTS, dqn_options

ENVIRONMENTS = {"control": "CartPole-v1", "atari": "Pong-v5"}
PRESETS = [(name, kind, None, {}) for name in AGENTS for kind in ENVIRONMENTS if name != "dqn"]
PRESETS += [("dqn", kind, preset, {}) for kind in ENVIRONMENTS for preset in dqn_options.PRESETS[kind]]
PRESETS += [("a3c", "atari", None, {"protocol": "origin"})]  # with an observation normaliser


def turn(config, agent, pool, state, key):
    """Learner, storage and actor (with its normaliser) before a turn after a checkpoint, and after it."""
    learner, storage = agent.init(key), agent.storage and agent.storage.init()
    normalizer = rollout.init_normalization(pool.protocol, pool.num_envs)
    actor = rollout.init(state, agent.policy.initial_memory(pool.num_envs), normalizer, key)
    before = learner, storage, actor
    learner, storage = agent.cut(learner), agent.storage and agent.storage.cut(storage)
    act = partial(agent.act, agent.acting(learner))
    actor, experience, _ = rollout.collect(actor, act, pool.step, agent.num_steps)
    experience = agent.arrange(experience)
    if agent.storage:
        learner, storage, _ = agent.storage.store(learner, storage, experience)
    learner, _ = agent.learn(learner, storage if agent.storage else experience, key)
    return before, (learner, storage, actor)


def types(tree) -> dict:
    return {jax.tree_util.keystr(path): f"{x.dtype} {x.shape}" for path, x in jax.tree.leaves_with_path(tree)}


@pytest.fixture(scope="module")
def pools():
    """One pool for each form of observations."""
    made = {}

    def pool_of(config):
        key = config.env, config.protocol, config.image_size, config.frame_stack
        made[key] = made.get(key) or config.make_pool(config.num_envs, 0)
        return made[key]

    yield pool_of
    for pool in made.values():
        pool.close()


@pytest.mark.parametrize("wide", [False, True], ids=["32-bit", "64-bit"])
@pytest.mark.parametrize(("name", "kind", "preset", "options"), PRESETS)
def test_a_turn_changes_no_type(name, kind, preset, options, wide, pools):
    algorithm = AGENTS[name]
    short = {"updates": 1} if name == "dqn" else {"t_max": 2}
    config = dataclasses.replace(algorithm.preset(preset, ENVIRONMENTS[kind]), num_envs=2, **short, **options)
    with jax.enable_x64(wide):
        agent = algorithm.make(config, config.spec())
        pool = pools(config)
        before, after = jax.eval_shape(partial(turn, config, agent, pool, pool.reset()), jax.random.key(0))
    assert types(before) == types(after)
