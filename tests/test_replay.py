"""The replay against a brute-force one in NumPy, and the frequencies of what it draws."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrl import environments, replay, rollout, sum_tree
from jaxrl.replay import Priorities, Ring, Settings
from jaxrl.rollout import Row

ENVS, GAMMA = 3, 0.9


class Thing(NamedTuple):
    """What an observation or an action is."""

    shape: tuple
    dtype: np.dtype


ACTION = Thing((), np.dtype(np.int32))


class Seen(NamedTuple):
    """The leaves of a `rollout.Transition` that a replay reads, side by side."""

    observation: np.ndarray
    first: np.ndarray
    a_t: np.ndarray
    r_t: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    valid: np.ndarray

    @property
    def row(self) -> Row:
        return Row(*self[1:])


class State(NamedTuple):
    """A ring and its priorities, as an off-policy agent holds them."""

    ring: Ring
    priorities: Priorities | None


def start(settings: Settings, num_envs: int, shape: tuple, dtype) -> State:
    priorities = replay.init_priorities(settings, num_envs) if settings.prioritized else None
    return State(replay.init(settings, num_envs, Thing(shape, np.dtype(dtype)), ACTION), priorities)


def insert(state: State, settings: Settings, seen: Seen) -> State:
    ring = replay.insert(state.ring, settings, seen.observation, seen.row)
    if state.priorities is None:
        return State(ring, None)
    return State(ring, replay.admit(state.priorities, ring, settings, len(seen.observation)))


def sample(state: State, settings: Settings, key, batch: int):
    return replay.sample(state.ring, state.priorities, settings, key, batch)


def end_streams(state: State, settings: Settings) -> State:
    return state._replace(ring=replay.end_streams(state.ring, settings))


def experience(rows: int, seed: int = 0) -> Seen:
    """Random episodes of 1 to 9 steps, ended either way, with the reset row after each; no two frames are alike."""
    rng = np.random.default_rng(seed)
    shape = (rows, ENVS)
    first, terminated, done, valid = (np.zeros(shape, bool) for _ in range(4))
    for env in range(ENVS):
        begins, left = True, int(rng.integers(1, 10))
        for t in range(rows):
            if left == 0:  # the reset row; its observation is the final one of the episode
                begins, left = True, int(rng.integers(1, 10))
                continue
            first[t, env], valid[t, env], begins, left = begins, True, False, left - 1
            done[t, env] = left == 0
            terminated[t, env] = left == 0 and rng.random() < 0.5
    newest = np.arange(rows * ENVS, dtype=np.int32).reshape(*shape, 1, 1, 1)
    observation = np.concatenate([np.full_like(newest, -1), newest], -1)  # older frames are not read
    a_t, r_t = rng.integers(0, 5, shape).astype(np.int32), rng.normal(size=shape).astype(np.float32)
    return Seen(observation, first, a_t, r_t, terminated, done, valid)


def stack_of(seen: Seen, t: int, env: int, size: int) -> list[int]:
    """Newest frames up to row t, oldest first, by walking back to the episode's first."""
    frames, at = [], t
    for _ in range(size):
        frames.append(int(seen.observation[at, env, 0, 0, -1]))
        at -= not seen.first[at, env]
    return frames[::-1]


def transition_of(seen: Seen, t: int, env: int, settings: Settings):
    """s_tm1, a, n-step reward, discount and s_t, by walking on."""
    total, discount, at = 0.0, 1.0, t
    for _ in range(settings.steps):
        total += discount * seen.r_t[at, env]
        discount *= settings.gamma * (not seen.terminated[at, env])
        at += 1
        if seen.done[at - 1, env]:
            break
    stacks = (stack_of(seen, i, env, settings.stack) for i in (t, at))
    return next(stacks), seen.a_t[t, env], total, discount, next(stacks)


def blocks(seen: Seen, count: int):
    for start in range(0, len(seen.a_t), count):
        yield jax.tree.map(lambda leaf, start=start: leaf[start : start + count], seen)


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize(("count", "steps", "stack"), [(1, 1, 4), (1, 3, 4), (1, 10, 1), (5, 3, 4), (4, 2, 1)])
def test_every_transition_is_that_of_a_brute_force_replay(count, steps, stack, prioritized):
    """And so is every priority: 1, the highest so far, when new, then what was last set; 0 for what cannot be drawn."""
    settings = Settings(length=40, stack=stack, steps=steps, gamma=GAMMA, prioritized=prioritized)
    seen = experience(240)
    state = start(settings, ENVS, (1, 1, 2), np.int32)
    put = jax.jit(partial(insert, settings=settings))
    draw = jax.jit(partial(sample, settings=settings, batch=256))
    cut = jax.jit(partial(end_streams, settings=settings))
    now, checked, priority, highest, cuts = 0, set(), {}, 1.0, np.random.default_rng(7)
    for block, rows in enumerate(blocks(seen, count), 1):
        if block > 1 and cuts.random() < 0.05:
            state = cut(state)
            seen.valid[now - 1], seen.done[now - 2] = False, True
            seen.first[now + 1 : now + 2] &= seen.valid[now]  # what a reset row would have begun begins now
            rows.first[0], rows.valid[0] = True, True
        state, now = put(state, seen=rows), block * count
        window = range(max(0, now - settings.length) + stack - 1, now - steps)
        if prioritized:
            there = [(t, env) for t in window for env in range(ENVS) if seen.valid[t, env]]
            priority = {at: priority.get(at, highest) for at in there}
            leaves = np.zeros((settings.length, ENVS), np.float32)
            for (t, env), value in priority.items():
                leaves[t % settings.length, env] = value
            found = state.priorities.tree[0].reshape(-1)[: leaves.size]
            np.testing.assert_allclose(found, leaves.reshape(-1), rtol=1e-5)
        if int(replay.drawable(state.ring, settings)) < 12:
            continue
        batch = jax.tree.map(np.asarray, draw(state, key=jax.random.key(block)))
        if prioritized:
            priorities = replay.set_priorities(state.priorities, batch.index, np.abs(batch.r_t), 0.6)
            state = state._replace(priorities=priorities)
        for i in range(256):
            row, env = divmod(int(batch.index[i]), ENVS)
            t = now - 1 - (now - 1 - row) % settings.length
            assert batch.probability[i] > 0 and seen.valid[t, env]
            assert t in window
            s_tm1, a_tm1, r_t, discount_t, s_t = transition_of(seen, t, env, settings)
            assert batch.s_tm1[i, 0, 0].tolist() == s_tm1 and batch.s_t[i, 0, 0].tolist() == s_t
            assert batch.a_tm1[i] == a_tm1
            np.testing.assert_allclose([batch.r_t[i], batch.discount_t[i]], [r_t, discount_t], rtol=1e-5, atol=1e-6)
            checked.add((t, env))
            if prioritized:
                priority[t, env] = (abs(float(batch.r_t[i])) + 1e-6) ** 0.6
                highest = max(highest, priority[t, env])
    drawable = seen.valid[: 240 - steps].sum()
    assert len(checked) > 0.9 * drawable  # nearly every transition was drawn at some time


def full(prioritized: bool, alpha: float = 1.0):
    """A full replay, and the priority of each leaf."""
    settings = Settings(length=16, stack=2, steps=1, prioritized=prioritized)
    state = start(settings, ENVS, (1, 1, 2), np.int32)
    for rows in blocks(experience(64, seed=1), 4):
        state = insert(state, settings, rows)
    row = (int(state.ring.cursor) - 1 - np.arange(1, 15)) % 16
    index = (row[:, None] * ENVS + np.arange(ENVS)).reshape(-1)
    index = index[np.asarray(state.ring.row.valid).reshape(-1)[index]]
    if not prioritized:
        return settings, state, index, np.ones(len(index))
    error = np.linspace(0.1, 3.0, len(index))
    error = error.astype(np.float32)
    priorities = replay.set_priorities(state.priorities, jnp.asarray(index), jnp.asarray(error), alpha, epsilon=0.0)
    return settings, state._replace(priorities=priorities), index, error.astype(float) ** alpha


@pytest.mark.parametrize("prioritized", [False, True])
def test_frequencies_follow_the_priorities(prioritized):
    """A χ² test of 200,000 draws against P(i) = p_i^α / Σ p^α."""
    settings, state, index, priority = full(prioritized, alpha=0.7)
    draws = sample(state, settings, jax.random.key(5), 200_000)
    counts = np.bincount(np.asarray(draws.index), minlength=16 * ENVS)
    assert counts[index].sum() == 200_000  # and nothing else was drawn
    expected = 200_000 * priority / priority.sum()
    assert stats.chisquare(counts[index], expected).pvalue > 1e-3
    if prioritized:
        probability = dict(zip(index.tolist(), priority / priority.sum(), strict=True))
        np.testing.assert_allclose(draws.probability, [probability[int(i)] for i in draws.index], rtol=1e-5)


def test_new_transitions_have_the_highest_priority():
    settings, state, _, priority = full(True)
    assert state.priorities.highest == pytest.approx(priority.max())
    state = insert(state, settings, next(blocks(experience(64, seed=2), 4)))
    row = (int(state.ring.cursor) - 1 - np.arange(1, 5)) % 16
    leaves = np.asarray(state.priorities.tree[0]).reshape(-1)[: 16 * ENVS].reshape(16, ENVS)
    valid = np.asarray(state.ring.row.valid)[row]
    np.testing.assert_allclose(leaves[row], np.where(valid, priority.max(), 0), rtol=1e-6)


def test_the_tree_holds_sums():
    tree = sum_tree.init(5000)
    assert [level.shape[0] for level in tree] == [157, 5, 1]
    rng = np.random.default_rng(0)
    leaves = np.zeros(157 * 32, np.float32)
    for _ in range(20):
        index, value = rng.integers(0, 5000, 300), rng.random(300).astype(np.float32)
        index = np.unique(index)
        value = value[: len(index)]
        leaves[index] = value
        tree = sum_tree.set_leaves(tree, jnp.asarray(index), jnp.asarray(value))
    np.testing.assert_array_equal(tree[0].reshape(-1), leaves)
    np.testing.assert_allclose(tree[-1].sum(), leaves.sum(), rtol=1e-5)
    for below, above in zip(tree, tree[1:], strict=False):
        np.testing.assert_allclose(below.sum(1), above.reshape(-1)[: below.shape[0]], rtol=1e-6)


def test_of_the_values_for_one_leaf_the_largest_stays_in_whatever_order():
    """A GPU writes in no fixed order, and the same run must give the same bits there."""
    rng = np.random.default_rng(3)
    old = sum_tree.set_leaves(sum_tree.init(2000), jnp.arange(2000), 5.0)
    index, value = rng.integers(0, 2000, 900), rng.random(900).astype(np.float32)
    assert len(np.unique(index)) < 800
    largest = np.full(2000, 5.0, np.float32)
    largest[np.unique(index)] = [value[index == i].max() for i in np.unique(index)]
    trees = []
    for order in (np.arange(900), np.argsort(value), np.argsort(-value)):
        trees.append(sum_tree.set_leaves(old, jnp.asarray(index[order]), jnp.asarray(value[order])))
        np.testing.assert_array_equal(trees[-1][0].reshape(-1)[:2000], largest)
    jax.tree.map(np.testing.assert_array_equal, trees[0], trees[1])
    jax.tree.map(np.testing.assert_array_equal, trees[0], trees[2])


def test_a_draw_beyond_the_sum_is_the_last_leaf_with_a_priority(monkeypatch):
    """As rounding may make it: what has no priority is never drawn."""
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.ones(shape))
    for last in (0, 31, 32, 1500, 4999):
        tree = sum_tree.set_leaves(sum_tree.init(5000), jnp.array([0, last // 2, last]), 1.0)
        index, probability = sum_tree.sample(tree, jax.random.key(0), 3)
        np.testing.assert_array_equal(index, [last] * 3)
        assert (np.asarray(probability) > 0).all()


def test_each_of_a_million_leaves_can_be_drawn():
    """Every second one has priority 0.02: so many different ones are drawn as independent draws would be."""
    leaves, draws, low = 2**20, 1_000_000, 0.02
    value = jnp.where(jnp.arange(leaves) % 2 == 0, 1.0, low)
    tree = sum_tree.set_leaves(sum_tree.init(leaves), jnp.arange(leaves), value)
    sample = jax.jit(lambda key: sum_tree.sample(tree, key, 50_000)[0])
    drawn = np.concatenate([sample(key) for key in jax.random.split(jax.random.key(0), draws // 50_000)])
    drawn = drawn[drawn % 2 == 1]
    count, share = leaves // 2, low / (1 + low)
    assert abs(len(drawn) - draws * share) < 4 * np.sqrt(draws * share)
    repeated = len(drawn) ** 2 / (2 * count)
    assert abs(len(drawn) - len(np.unique(drawn)) - repeated) < 5 * np.sqrt(repeated)


def test_importance_weights():
    settings, state, _, _ = full(True)
    batch = sample(state, settings, jax.random.key(0), 64)
    weight = replay.importance_weights(batch, 0.5)
    expected = (100 * np.asarray(batch.probability)) ** -0.5  # whatever the number, it cancels
    np.testing.assert_allclose(weight, expected / expected.max(), rtol=1e-5)
    np.testing.assert_array_equal(replay.importance_weights(batch, 0.0), np.ones(64))
    some = batch.replace(probability=batch.probability.at[3].set(0.0))
    weight = replay.importance_weights(some, 1.0)
    assert weight[3] == 0 and weight.max() == 1 and weight.min() == 0
    none = batch.replace(probability=jnp.zeros(64))
    np.testing.assert_array_equal(replay.importance_weights(none, 0.5), np.zeros(64))


def test_features_are_stored_as_they_are():
    settings = Settings(length=8, stack=0)
    seen = experience(8)
    seen = seen._replace(observation=np.arange(8 * ENVS * 4, dtype=np.float32).reshape(8, ENVS, 4))
    state = start(settings, ENVS, (4,), np.float32)
    for rows in blocks(seen, 2):
        state = insert(state, settings, rows)
    batch = sample(state, settings, jax.random.key(0), 32)
    row, env = np.divmod(np.asarray(batch.index), ENVS)
    np.testing.assert_array_equal(batch.s_tm1, seen.observation[row, env])
    np.testing.assert_array_equal(batch.s_t, seen.observation[row + 1, env])


def test_a_million_frames_take_less_than_seven_and_a_half_gigabytes():
    settings = Settings(length=125_000, prioritized=True)
    image = Thing((84, 84, 4), np.dtype(np.uint8))
    held = jax.eval_shape(lambda: start(settings, 8, *image))
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(held))
    assert needed < 7.5e9 and replay.bytes_needed(settings, 8, image) == pytest.approx(needed, rel=1e-5)


NINE = Settings(length=9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: start(Settings(length=4), 1, (1, 1, 2), np.uint8), "takes at least 5 rows"),
        (lambda: insert(start(NINE, ENVS, (1, 1, 2), np.int32), NINE, experience(4)), "must be a multiple of the 4"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("prioritized", [False, True])
def test_no_transition_goes_over_a_cut(steps, prioritized):
    """Fresh environments follow: the last row is no transition, those before it end with its observation."""
    settings = Settings(length=40, stack=0, steps=steps, gamma=0.5, prioritized=prioritized)
    rows, envs = 8, 2

    def part(start):
        t = np.arange(start, start + rows)
        frame = np.broadcast_to(t[:, None, None], (rows, envs, 1)).astype(np.float32)
        none, ones = np.zeros((rows, envs), bool), np.ones((rows, envs), np.float32)
        first = none.copy()
        first[0] = True
        return Seen(frame, first, none.astype(np.int32), ones, none, none, ~none)

    state = start(settings, envs, (1,), jnp.float32)
    state = end_streams(insert(state, settings, part(0)), settings)
    state = insert(state, settings, part(100))
    batch = sample(state, settings, jax.random.key(0), 500)
    s_tm1, s_t = np.asarray(batch.s_tm1)[:, 0], np.asarray(batch.s_t)[:, 0]
    old = s_tm1 < 100
    taken = np.where(old, np.minimum(steps, 7 - s_tm1), steps)
    np.testing.assert_array_equal(s_t, s_tm1 + taken)
    np.testing.assert_allclose(batch.discount_t, 0.5**taken)
    assert s_tm1[old].max() == 6 and {0, 6} <= set(s_tm1[old])


@pytest.mark.parametrize("protocol", ["machado", "nature"])
def test_the_stacks_are_those_that_the_game_showed(protocol):
    """EnvPool's stack goes on after a lost life, under `nature`, where ours repeats the new episode's first frame."""
    rows, envs = 400, 3
    pool = environments.make("Breakout-v5", protocol, envs, 1, height=36, width=36, stack=4, max_episode_steps=90)

    def act(memory, observation, first, key):
        return jax.random.randint(key, (envs,), 0, pool.spec.action.n, jnp.int32), memory, ()

    play = jax.jit(lambda actor: rollout.rollout(actor, act, pool.step, rows))
    normalizer = rollout.init_normalization(pool.protocol, envs)
    _, seen = jax.device_get(play(rollout.init(pool.reset(), (), normalizer, jax.random.key(0))))
    pool.close()
    settings = Settings(length=2 * rows, stack=4)
    ring = replay.init(settings, envs, pool.spec.observation, pool.spec.action)
    ring = replay.insert(ring, settings, seen.observation, seen.row)
    index = np.arange(3 * envs, (rows - 1) * envs)
    index = index[seen.row.valid.reshape(-1)[index]]
    batch = replay.gather(ring, settings, jnp.asarray(index), jnp.ones(len(index)))
    row, env = np.divmod(index, envs)
    t = np.arange(rows)[:, None]
    age = t - np.maximum.accumulate(np.where(seen.row.first, t, 0))  # steps since the episode's first
    whole = age >= settings.stack - 1
    for shown, at in [(batch.s_tm1, row), (batch.s_t, row + 1)]:
        same = (np.asarray(shown) == seen.observation[at, env]).all((1, 2, 3))
        assert same[whole[at, env]].all() and same.all() == (protocol == "machado")
