"""Each worker of A3C acts, and its segment is learnt from, with its own copy, its own memory and its own `first`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import environments
from jaxrl.agents import a3c, on_policy
from jaxrl.shell import loop

WORKERS, ENVS, LIMIT, T, SEGMENTS = 2, 4, 8, 6, 5
CONFIG = a3c.Config(env="CartPole-v1", protocol="control", hidden=32, num_envs=ENVS, num_workers=WORKERS, t_max=T)


HEAVY = {"w_ih": 40.0, "w_hh": 4.0}  # CartPole begins within 0.05 of 0; memory is to matter too


def certain(params, scale=1e6):
    """A policy that all but surely takes its most likely action, by its observation and by its memory."""
    layers = params["params"]
    lstm = {name: HEAVY.get(name, 1.0) * value for name, value in layers["lstm"].items()}
    actor = {"w": scale * layers["actor"]["w"], "b": layers["actor"]["b"]}
    return {"params": layers | {"lstm": lstm, "actor": actor}}


@pytest.fixture(scope="module")
def played():
    """Segments [S, W, T, N / W, ...] of a game that a time limit of 8 cuts, the copies, and the actor at the end."""
    pool = environments.make("CartPole-v1", "control", ENVS, seed=2, max_episode_steps=LIMIT)
    agent = a3c.make(CONFIG, pool.spec)
    state = loop.first_state(agent, pool.protocol, ENVS, 1, seed=0)
    state, actor = loop.enter(agent, state, [pool])
    learners = [agent.init(jax.random.key(seed)) for seed in range(WORKERS)]
    copies = [certain(learner.params) for learner in learners]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves)[None], *copies)
    collect, segments = loop.collecting(agent, [pool]), []
    for _ in range(SEGMENTS):
        actor, segment, _ = collect(agent.acting(state.learner._replace(copies=stacked)), actor)
        segments.append(jax.tree.map(lambda leaf: np.asarray(leaf[0]), segment))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *segments), copies, actor


def alone(network, params, observation, first):
    """One environment's (most likely action, memory before it) in each step, played by itself."""
    step = jax.jit(lambda memory, o, f: network.apply(params, o[None, None], memory, jnp.full((1, 1), f)))
    memory = network.initial_memory(1)
    for o, f in zip(observation, first, strict=True):
        before = memory
        logits, _, memory = step(memory, o, f)
        yield int(jnp.argmax(logits[0, 0])), before


def over_time(leaf, w, b):
    """What stream b of worker w gave in all segments, one after the other."""
    return leaf[:, w, :, b].reshape(SEGMENTS * T, *leaf.shape[4:])


def test_every_action_is_the_most_likely_one_of_that_workers_copy_memory_and_first(played):
    segments, copies, _ = played
    network = on_policy.network_of(CONFIG, environments.spec("CartPole-v1", "control"))
    actions = []
    for w, b in np.ndindex(WORKERS, ENVS // WORKERS):
        valid = over_time(segments.row.valid, w, b)
        first = np.concatenate([[True], ~valid[:-1]])  # what a reset row returns begins an episode
        np.testing.assert_array_equal(over_time(segments.row.first, w, b), first)
        taken, memories = zip(
            *alone(network, copies[w], over_time(segments.observation, w, b), first), strict=True
        )
        np.testing.assert_array_equal(over_time(segments.row.a_t, w, b), taken)
        for leaf, kept in zip(segments.memory, zip(*memories[::T], strict=True), strict=True):
            np.testing.assert_allclose(leaf[:, w, b], np.concatenate(kept), rtol=1e-4, atol=1e-5)
        actions.append(taken)
    assert len(set(actions)) == ENVS, "streams that all act alike show nothing"
    assert (~segments.row.valid).sum() >= 3 * ENVS and not segments.row.terminated.any()


def test_what_comes_after_a_segment_is_what_the_next_begins_with(played):
    segments, _, actor = played
    np.testing.assert_array_equal(segments.next_observation[:-1], segments.observation[1:, :, 0])
    np.testing.assert_array_equal(segments.next_first[:-1], segments.row.first[1:, :, 0])
    np.testing.assert_array_equal(segments.next_first[-1].reshape(-1), actor.first[0])
    for leaf, last in zip(segments.memory, actor.memory, strict=True):
        assert leaf.shape[1:] == (WORKERS, ENVS // WORKERS, CONFIG.hidden) and last.shape[1] == ENVS
