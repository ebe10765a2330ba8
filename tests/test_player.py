"""`jaxrl.load`: it acts as in an evaluation, its example runs, and importing it costs nothing."""

import dataclasses
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest
from faults import train
from test_evaluate import make_run

import jaxrl
from jaxrl import rollout
from jaxrl.agents import AGENTS, dqn
from jaxrl.environments.normalization import NormalizerState
from jaxrl.shell import files, frozen
from jaxrl.shell.checkpoint import Checkpoints

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A small run of A3C with its LSTM on CartPole."""
    return train(tmp_path_factory.mktemp("runs") / "run", evaluation_games=0)


@pytest.fixture(scope="module")
def dqn_dir(tmp_path_factory):
    """The folder that a run of DQN would have left."""
    config = dataclasses.replace(dqn.preset(None, "CartPole-v1"), hidden=(8,))
    agent, path = dqn.make(config, config.spec()), tmp_path_factory.mktemp("runs") / "dqn"
    path.mkdir()
    files.write_json(path / "config.json", dataclasses.asdict(config) | {"algorithm": "dqn"})
    checkpoints = Checkpoints.create(path / "checkpoints")
    params = agent.frozen(jax.jit(agent.init)(jax.random.key(0)))
    checkpoints.save(100, {"params": params, "normalizer": None}, {"n": np.int32(0)})
    checkpoints.close()
    return path


@pytest.fixture(scope="module")
def normalized_dir(tmp_path_factory):
    """The folder that a run with a normaliser of observations would have left."""
    state = NormalizerState(*(np.full(4, value, kind) for value, kind in [(70, "f4"), (30, "f4"), (9, "i4")]))
    return make_run(tmp_path_factory.mktemp("runs") / "run", "origin", state)


@pytest.mark.parametrize("kind", ["run_dir", "dqn_dir", "normalized_dir"])
@pytest.mark.parametrize("greedy", [False, True])
def test_it_acts_as_an_evaluation_does(kind, greedy, request):
    """Step by step the same actions, with the same keys, through the ends of episodes."""
    path = request.getfixturevalue(kind)
    player, trained = jaxrl.load(path), frozen.trained_as(path)
    policy, saved = AGENTS[trained.algorithm].make(trained, trained.spec()).policy, frozen.load(path)
    pool, key = trained.make_pool(3, 5, training=False), jax.random.key(7)
    normalizer = rollout.shared_normalizer(saved.normalizer, 3)
    actor = rollout.init(pool.reset(), policy.initial_memory(3), normalizer, key)
    act = rollout.acting_frozen(policy, saved.params, greedy)
    step = jax.jit(lambda actor: rollout.step(actor, act, pool.step))
    player.reset(3)
    for _ in range(40):
        key, subkey = jax.random.split(key)
        actions = player.act(actor.pool.observation, np.asarray(actor.first), subkey, greedy)
        actor, seen = step(actor)
        np.testing.assert_array_equal(actions, seen.row.a_t)
    pool.close()


def test_the_example_of_its_docstring_runs(run_dir):
    text = jaxrl.load.__doc__
    code = textwrap.dedent(text[text.index("        import gymnasium") : text.index("    Several environments")])
    names = {}
    exec(code.replace("runs/NAME", str(run_dir)), names)
    assert names["over"] and names["env"].action_space.contains(int(names["action"]))


def test_a_seed_gives_the_same_actions_and_the_memory_matters(run_dir):
    player, observation = jaxrl.load(run_dir), np.full((6, 4), 0.3)

    def play(seed, **options):
        player.reset(6, seed)
        return np.stack([player.act(observation, **options) for _ in range(20)])

    np.testing.assert_array_equal(play(1), play(1))
    assert (play(1) != play(2)).any()
    remembered = player._memory
    player.reset(6, 1)
    player.act(observation, first=True)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (remembered, player._memory)), strict=True))


def test_only_what_comes_after_a_reset_begins_an_episode(run_dir):
    player, observation = jaxrl.load(run_dir), np.full((2, 4), 0.3)

    def memory(*firsts):
        player.reset(2)
        for first in firsts:
            player.act(observation, first)
        return jax.tree.leaves(player._memory)

    jax.tree.map(np.testing.assert_array_equal, memory(None, None), memory([True, True], [False, False]))
    assert any((a != b).any() for a, b in zip(memory(None, None), memory(None, True), strict=True))


def test_an_older_checkpoint(run_dir):
    steps = Checkpoints.open(run_dir / "checkpoints").steps()
    assert jaxrl.load(str(run_dir), steps[0]).step == steps[0] and jaxrl.load(run_dir).step == steps[-1]
    assert f"{steps[-1]:,} agent steps" in repr(jaxrl.load(run_dir))


def test_another_shape_is_one_sentence(run_dir):
    player = jaxrl.load(run_dir)
    with pytest.raises(ValueError, match=r"observation has shape \(4,\); expected \(1, 4\)"):
        player.act(np.zeros(4))


def test_importing_it_brings_nothing():
    code = "import sys; before = set(sys.modules); import jaxrl; print({m.partition('.')[0] for m in sys.modules} & "
    code += "{'jax', 'numpy', 'flax', 'envpool'})"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
