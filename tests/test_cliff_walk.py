"""The Blind Cliffwalk: its memory and its values against brute force, who learns first, one sentence for a mistake."""

import dataclasses
import itertools
import json
from collections import Counter

import cliff_walk as script
import imageio.v2 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxrl import sum_tree

SMALL = script.Config(states=(6,), seeds=5)


def executed(n: int) -> Counter:
    """How often each (s, a, r, γ, s') occurs when all sequences of actions are executed, one step after the other."""
    seen = Counter()
    for actions in itertools.product((script.WRONG, script.RIGHT), repeat=n):
        for s, a in enumerate(actions):
            right, over = a == script.RIGHT, a == script.WRONG or s == n - 1
            seen[s, a, float(right and over), 0.0 if over else 1 - 1 / n, None if over else s + 1] += 1
            if over:
                break
    return seen


def squared_error(q) -> float:
    return float(np.mean((np.asarray(q) - script.true_values(len(q))) ** 2))


def learner(q, leaves=None) -> script.Learner:
    tree = None
    if leaves is not None:
        tree = sum_tree.set_leaves(sum_tree.init(len(leaves)), jnp.arange(len(leaves)), jnp.asarray(leaves))
    return script.Learner(jnp.asarray(q, jnp.float32), tree, jax.random.key(0), jnp.int32(0), jnp.bool_(False))


@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_memory_is_all_sequences_executed(n):
    memory = script.memory_of(n)
    rows = zip(*(leaf.tolist() for leaf in memory), strict=True)
    held = Counter((s, a, r, round(d, 6), s_t if d else None) for s, a, r, d, s_t in rows)
    assert held == {(s, a, r, round(d, 6), s_t): k for (s, a, r, d, s_t), k in executed(n).items()}
    assert len(memory.r_t) == script.transitions(n) == 2 ** (n + 1) - 2 and memory.r_t.sum() == 1


@pytest.mark.parametrize("n", [2, 5, 16])
def test_true_values_are_those_of_dynamic_programming(n):
    memory, q = script.distinct(script.memory_of(n)), np.zeros((n, 2))
    for _ in range(n):
        q[memory.s_tm1, memory.a_tm1] = memory.r_t + memory.discount_t * q[memory.s_t].max(1)
    np.testing.assert_allclose(script.true_values(n), q, rtol=1e-5)
    assert q[-1, script.RIGHT] == 1 and len(memory.r_t) == 2 * n


def test_an_update_is_a_step_of_q_learning_by_hand():
    memory = script.memory_of(2)  # in state 0 twice wrong and twice right, then wrong and right in state 1; γ = 1/2
    index = next(i for i in range(6) if memory.discount_t[i] > 0)
    before = learner([[0.5, 0.1], [0.2, 0.6]], leaves=[float(i == index) for i in range(6)])  # only this one is drawn
    after = jax.jit(script.update, static_argnums=0)("prioritised", memory, before, 0.5, 0.01)
    np.testing.assert_allclose(after.q, [[0.5, 0.1 + 0.25 * (0.5 * 0.6 - 0.1)], [0.2, 0.6]], rtol=1e-6)
    leaves = np.zeros(6)
    leaves[index] = np.sqrt(0.2 + 0.01)
    np.testing.assert_allclose(after.tree[0][0, :6], leaves, rtol=1e-6)
    assert after.updates == 1 and not after.learnt


def test_priorities_start_at_one():
    keys = jax.random.split(jax.random.key(0), 5)
    tree = script.start(6, "prioritised", keys).tree
    np.testing.assert_array_equal(tree[0].reshape(5, -1), np.broadcast_to(np.arange(128) < 126, (5, 128)))
    np.testing.assert_array_equal(tree[1].sum((1, 2)), 126)
    assert script.start(6, "uniform", keys).tree is None


def test_uniform_draws_every_transition_equally():
    memory = script.memory_of(3)
    keys = jax.random.split(jax.random.key(1), 14_000)
    drawn = jax.vmap(lambda key: script.draw_transition("uniform", memory, learner(np.zeros((3, 2))), key))(keys)
    np.testing.assert_allclose(np.bincount(drawn, minlength=14), 1000, atol=150)  # 5 standard deviations


def test_the_oracle_is_as_good_as_trying_every_transition():
    memory = script.memory_of(4)
    for seed in range(20):
        q = np.random.default_rng(seed).normal(0, 0.5, (4, 2)).astype(np.float32)
        tried = []
        for s, a, r, discount, s_t in zip(*memory, strict=True):
            after = q.copy()
            after[s, a] += 0.25 * (r + discount * q[s_t].max() - q[s, a])
            tried.append(squared_error(after))
        few = script.distinct(memory)
        index = script.best(few, jnp.asarray(q))
        chosen = (memory.s_tm1 == few.s_tm1[index]) & (memory.a_tm1 == few.a_tm1[index])
        np.testing.assert_allclose(np.asarray(tried)[chosen], min(tried), rtol=1e-5)


@pytest.mark.parametrize("replay", script.REPLAYS)
def test_updates_are_counted_until_the_error_is_small(replay, monkeypatch):
    """The loop pauses after each update, and the errors of all learners are looked at."""
    errors, learn = [], script.learn

    def watched(replay, memory, learners, *rest):
        errors.append([squared_error(q) for q in learners.q])
        return learn(replay, memory, learners, *rest)

    whole = script.count_updates(SMALL, 6, replay)
    monkeypatch.setattr(script, "learn", watched)
    monkeypatch.setattr(script, "CHUNK", 1)
    counts = script.count_updates(SMALL, 6, replay)
    assert len(errors) == max(counts) > min(counts)
    for mine, count in zip(np.transpose(errors), counts, strict=True):
        assert mine[:count].min() > 0.999e-3 and (count == len(mine) or mine[count] < 1.001e-3)
    np.testing.assert_array_equal(counts, whole)


def test_the_oracle_learns_first_and_uniform_replay_last():
    uniform, prioritised, oracle = (script.count_updates(SMALL, 6, replay) for replay in script.REPLAYS)
    assert oracle.max() < prioritised.min() and 2 * prioritised.max() < uniform.min()
    without = script.count_updates(dataclasses.replace(SMALL, alpha=0.0), 6, "prioritised")
    assert without.min() > 2 * prioritised.max() and 0.7 < np.median(without) / np.median(uniform) < 1.4


def test_prioritised_replay_has_looked_at_every_transition_before_it_has_learnt():
    """What results/cliff_walk says of it: what was never drawn would still have the priority 1."""
    memory = jax.tree.map(jnp.asarray, script.memory_of(6))
    learners = script.start(6, "prioritised", jax.random.split(jax.random.key(0), SMALL.seeds))
    begun = script.learn("prioritised", memory, learners, 60, SMALL.alpha, SMALL.epsilon)
    assert (begun.tree[0].reshape(SMALL.seeds, -1)[:, :126] == 1).any(1).all()
    learnt = script.learn("prioritised", memory, begun, 10**6, SMALL.alpha, SMALL.epsilon)
    assert learnt.learnt.all() and not (learnt.tree[0] == 1).any()


def test_the_same_seed_gives_the_same_numbers(tmp_path, capsys):
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        script.main(dataclasses.replace(SMALL, seed=seed, output=tmp_path / name))
        results.append(json.loads((tmp_path / name / "cliff_walk.json").read_text()))
    assert results[0]["rows"] == results[1]["rows"] != results[2]["rows"]
    assert [(row["states"], row["replay"]) for row in results[0]["rows"]] == [(6, name) for name in script.REPLAYS]
    for row in results[0]["rows"]:
        assert len(set(row["updates"])) > 1 and row["median"] == np.median(row["updates"])
        assert row["quartiles"] == np.percentile(row["updates"], (25, 75)).tolist()
    assert results[0]["config"]["states"] == [6] and results[0]["config"]["step_size"] == 0.25
    assert "jax" in results[0]["versions"] and results[0]["machine"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["cliff_walk.json", "curve.png"]
    assert imageio.imread(tmp_path / "a" / "curve.png").shape[1] > 800
    assert "6 states, oracle" in capsys.readouterr().out


def test_the_figure_has_medians_and_quartiles():
    axes = Figure().subplots()
    rows = [
        {"replay": replay, "states": n, "median": 10.0 * n * k, "quartiles": [9.0 * n * k, 12.0 * n * k]}
        for n in (4, 2)
        for k, replay in enumerate(("uniform", "oracle"), 1)
    ]
    script.draw_updates(axes, rows)
    assert [line.get_label() for line in axes.lines] == ["uniform", "oracle"] and axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[2, 40], [4, 80]])
    band = axes.collections[1].get_paths()[0].vertices
    assert {tuple(corner) for corner in band.tolist()} == {(2, 36), (2, 48), (4, 72), (4, 96)}
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2\n6", "4\n30"]


def test_bad_input_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    cases = [
        ({"states": (2, 1)}, "--states must be at least 2 and at most 20; got 2 1"),
        ({"states": (21,)}, "--states must be at least 2 and at most 20; got 21"),
        ({"states": ()}, "--states takes one or more lengths; got none"),
        ({"states": (4, 2, 4)}, "--states must differ; got 4 2 4"),
        ({"seeds": 0}, "--seeds must be above 0; got 0"),
        ({"alpha": 1.5}, "--alpha must be at least 0 and at most 1; got 1.5"),
        ({"alpha": float("nan")}, "--alpha must be at least 0"),
        ({"epsilon": 0.0}, "--epsilon must be at least 1e-08 and at most 1; got 0.0"),
        ({"epsilon": float("inf")}, "--epsilon must be at least"),
        ({"seed": -1}, "--seed must be at least 0; got -1"),
        ({"output": tmp_path / "file"}, "file"),
    ]
    for options, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            script.main(dataclasses.replace(SMALL, **{"output": tmp_path / "none"} | options))
        assert "\n" not in str(caught.value), message
    assert not (tmp_path / "none").exists()
