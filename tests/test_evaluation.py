"""Whole games without the bias for short ones, repeatable, in the foreground and beside training."""

import signal
import threading
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import environments, rollout
from jaxrl.agent import Policy
from jaxrl.environments import PoolState, Step
from jaxrl.shell.evaluation import BackgroundEvaluator, Scores, play, uninterrupted

SECONDS = 30
LENGTHS = jnp.array([[3, 5, 2, 4], [90, 7, 1, 1], [1, 1, 1, 1]])  # of the games of three scripted environments


class ScriptedPool:
    """Games of the lengths above, one after another; a step gives a point when the action is its number in the game."""

    num_envs, protocol = 3, SimpleNamespace(normalization="none")

    def reset(self):
        return PoolState(jnp.zeros((2, 3), jnp.int32), jnp.zeros((3, 2)), jnp.zeros(3, bool))

    def step(self, state, action):
        game, t = state.handle
        length = LENGTHS[jnp.arange(3), game % 4]
        valid = ~state.done
        reward = (valid & (action == t)).astype(jnp.float32)
        over = valid & (t + 1 == length)
        handle = jnp.stack([game + over, jnp.where(over | ~valid, 0, t + 1)])
        step = Step(jnp.zeros((3, 2)), reward, reward, over, jnp.zeros(3, bool), over, valid)
        return PoolState(handle, step.observation, over), step

    def close(self):
        pass


def count(params, memory, observation, first, key, greedy=False):
    """Act by counting steps since the game's first one."""
    memory = jnp.where(first, 0, memory)
    return memory + params, memory + 1


COUNTING = Policy(lambda num_envs: jnp.full(num_envs, 77, jnp.int32), count)


def test_each_environment_plays_its_share_and_all_of_it_counts():
    """Memory is zeroed exactly where a game begins, so that each step scores: the score is the length."""
    for num_games, lengths in [(3, [3, 90, 1]), (7, [3, 5, 2, 90, 7, 1, 1]), (1, [3]), (8, [3, 5, 2, 90, 7, 1, 1, 1])]:
        scores = play(COUNTING, 0, ScriptedPool(), num_games, jax.random.key(0))
        assert scores.lengths == lengths
        assert scores.scores == lengths


def test_parameters_are_used_and_progress_is_told():
    told = []
    scores = play(COUNTING, 1, ScriptedPool(), 6, jax.random.key(0), on_chunk=told.append)
    assert scores.scores == [0] * 6
    assert told[-1] == 6 and len(told) == 2 and told == sorted(told)


def test_less_than_a_game_is_refused():
    with pytest.raises(ValueError, match="at least 1 game; got 0"):
        play(COUNTING, 0, ScriptedPool(), 0, jax.random.key(0))


def sample(params, memory, observation, first, key, greedy=False):
    """Act at random, or always with the same action."""
    a = jnp.full(first.shape, params) if greedy else jax.random.randint(key, first.shape, 0, 18)
    return a.astype(jnp.int32), memory


SAMPLING = Policy(lambda num_envs: (), sample)


def make_pool(seed, **options):
    return environments.make("Riverraid-v5", "machado", 3, seed, training=False, max_episode_steps=120, **options)


def test_a_real_game_is_scored_as_on_the_host():
    scores = play(SAMPLING, 1, make_pool(5), 5, jax.random.key(2))
    pool, key, games, score, length = make_pool(5), jax.random.key(2), [[], [], []], np.zeros(3), np.zeros(3, int)
    state = pool.reset()
    while len(games[0]) < 2 or len(games[1]) < 2 or len(games[2]) < 1:
        key, subkey = jax.random.split(key)
        state, step = pool.host_step(state, np.asarray(sample(1, (), None, np.ones(3), subkey)[0]))
        score, length = score + step.raw_reward, length + step.valid
        for i in np.flatnonzero(step.game_over):
            games[i].append((score[i], length[i]))
            score[i] = length[i] = 0
    expected = [*games[0][:2], *games[1][:2], games[2][0]]
    assert list(zip(scores.scores, scores.lengths, strict=True)) == expected
    assert sum(scores.scores) > 100 and all(score % 10 == 0 for score in scores.scores)  # raw points, not signs
    greedy = play(SAMPLING, 1, make_pool(5), 5, jax.random.key(2), greedy=True)
    assert greedy != scores


def test_summary():
    scores = Scores([10.0, 20.0, 60.0], [1, 2, 6])
    assert scores.summary() == {
        "games": 3, "mean": 30.0, "median": 20.0, "standard_error": pytest.approx((2100 / 3 / 2 * 2 / 3) ** 0.5),
        "lowest": 10.0, "highest": 60.0, "mean_length": 3.0,
    }  # fmt: skip
    assert str(scores) == "mean 30.0 ± 15.3 (standard error), median 20, games 3"
    assert str(Scores([1200.0], [9])) == "mean 1,200.0, median 1,200, games 1"
    assert np.isnan(Scores([1.0], [1]).summary()["standard_error"])


def test_the_normaliser_of_other_environments_is_the_mean():
    state = environments.NormalizerState(jnp.array([1.0, 3.0]), jnp.array([4.0, 8.0]), jnp.array([7, 7]))
    mean, std, n = rollout.shared_normalizer(state, 3)
    np.testing.assert_array_equal(mean, [2, 2, 2])
    np.testing.assert_array_equal(std, [6, 6, 6])
    np.testing.assert_array_equal(n, [7, 7, 7])
    assert n.dtype == jnp.int32
    assert rollout.shared_normalizer(None, 3) is None


def results(evaluator, number):
    found, deadline = [], time.monotonic() + SECONDS
    while len(found) < number and time.monotonic() < deadline:
        found += evaluator.results()
        time.sleep(0.01)
    return found


def test_an_evaluation_beside_training_depends_on_seed_and_step_alone():
    def evaluate(seed, steps):
        evaluator = BackgroundEvaluator(SAMPLING, make_pool, 3, seed)
        mine = make_pool(9)  # the training's environments, stepped meanwhile
        state, found = mine.reset(), []
        for step in steps:
            evaluator.submit(step, 1, None)
            while not (ended := evaluator.results()):
                state, _ = mine.host_step(state, np.ones(3, np.int32))
            found += ended
        evaluator.close(wait=True)
        return dict(found)

    first, second = evaluate(0, [100, 200]), evaluate(0, [200])
    assert list(first) == [100, 200] and first[200] == second[200]
    assert len({tuple(s.scores + s.lengths) for s in [*first.values(), evaluate(1, [200])[200]]}) == 3


class Gate:
    """A maker of scripted pools that waits until it is opened."""

    def __init__(self):
        self.entered, self.open = threading.Semaphore(0), threading.Event()

    def __call__(self, seed):
        self.entered.release()
        assert self.open.wait(SECONDS)
        return ScriptedPool()


def test_the_newest_replaces_the_one_that_waits():
    gate = Gate()
    evaluator = BackgroundEvaluator(COUNTING, gate, 3, 0)
    evaluator.submit(1, 0, None)
    assert gate.entered.acquire(timeout=SECONDS)  # 1 is under way
    for step in (2, 3, 4):
        evaluator.submit(step, 0, None)
    assert evaluator.results() == []
    gate.open.set()
    evaluator.close(wait=True)
    found = evaluator.results()
    assert [step for step, _ in found] == [1, 4] and found[0][1].lengths == [3, 90, 1]
    evaluator.close(wait=False)  # once more does no harm


def test_closing_without_waiting_ends_a_game_under_way():
    def endless(params, memory, observation, first, key, greedy=False):
        return memory * 0 - 1, memory

    class Endless(ScriptedPool):
        def step(self, state, action):
            state, step = super().step(state, action)
            return state, step._replace(game_over=jnp.zeros(3, bool))

    evaluator = BackgroundEvaluator(Policy(COUNTING.initial_memory, endless), lambda seed: Endless(), 3, 0)
    evaluator.submit(1, 0, None)
    evaluator.submit(2, 0, None)
    time.sleep(0.5)
    evaluator.close(wait=False)
    assert not any(thread.name == "evaluation" for thread in threading.enumerate())
    assert evaluator.results() == []


def test_what_an_evaluation_raises_is_among_the_results():
    def no_pool(seed):
        raise ValueError("no such game")

    evaluator = BackgroundEvaluator(COUNTING, no_pool, 3, 0)
    evaluator.submit(1, 0, None)
    ((step, error),) = results(evaluator, 1)
    assert step == 1 and str(error) == "no such game"
    evaluator.close(wait=True)


def test_ctrl_c_waits_for_the_end_of_a_block():
    signal.signal(signal.SIGINT, before := signal.default_int_handler)
    reached = []
    with pytest.raises(KeyboardInterrupt):
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")
        reached.append("after")
    assert reached == ["end"] and signal.getsignal(signal.SIGINT) is before
