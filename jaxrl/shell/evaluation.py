"""Scores of whole games, for a frozen policy: in the foreground, or beside training.

A score is the raw return of a whole game. Games played at once would favour short ones if the first N to end
were taken; so every environment has a fixed quota of games, all of which count.
"""

import contextlib
import queue
import signal
import statistics
import threading
from typing import NamedTuple

import jax
import numpy as np

from jaxrl import rollout
from jaxrl.agent import Policy
from jaxrl.shell.seeds import seed_for

CHUNK = 64
LOOK = 0.1  # seconds between two looks whether the last evaluation is still wanted


class Scores(NamedTuple):
    """The games of one evaluation: raw scores, and lengths in agent steps."""

    scores: list[float]
    lengths: list[int]

    def summary(self) -> dict:
        """Games, mean, median, standard error of the mean (NaN for one game), extremes, and mean length."""
        n = len(self.scores)
        return {
            "games": n,
            "mean": statistics.fmean(self.scores),
            "median": statistics.median(self.scores),
            "standard_error": statistics.stdev(self.scores) / n**0.5 if n > 1 else float("nan"),
            "lowest": min(self.scores),
            "highest": max(self.scores),
            "mean_length": statistics.fmean(self.lengths),
        }

    def __str__(self):
        s = self.summary()
        error = f" ± {s['standard_error']:,.1f} (standard error)" if s["games"] > 1 else ""
        return f"mean {s['mean']:,.1f}{error}, median {s['median']:,.0f}, games {s['games']}"


def play(policy: Policy, params, pool, num_games: int, key, greedy=False, normalizer=None, on_chunk=None) -> Scores:
    """Play `num_games` whole games in a fresh pool.

    Args:
      policy: how the agent acts.
      params: its parameters.
      pool: a pool made for evaluation, not yet reset; environment i plays every num_envs-th game.
      num_games: how many games.
      key: the key of the sampled actions.
      greedy: take the most likely action.
      normalizer: the observation normaliser's state to start from, or None for a new one (where one is used).
      on_chunk: called with the number of games that have ended, after each chunk of steps.

    Returns: the games' Scores, environment by environment.

    Raises: ValueError for less than one game.
    """
    if num_games < 1:
        raise ValueError(f"an evaluation plays at least 1 game; got {num_games}.")
    num_envs = pool.num_envs
    quota = quota_of(num_games, num_envs)
    if normalizer is None:
        normalizer = rollout.init_normalization(pool.protocol, num_envs)
    actor = rollout.init(pool.reset(), policy.initial_memory(num_envs), normalizer, key)

    @jax.jit
    def chunk(actor, params):
        actor, steps = rollout.rollout(actor, rollout.acting_frozen(policy, params, greedy), pool.step, CHUNK)
        return actor, steps.games

    games: list[list] = [[] for _ in range(num_envs)]
    while any(len(played) < wanted for played, wanted in zip(games, quota, strict=True)):
        with uninterrupted():
            actor, seen = chunk(actor, params)
            _, over, score, length = jax.device_get(seen)
        for t, i in zip(*np.nonzero(over), strict=True):
            if len(games[i]) < quota[i]:
                games[i].append((float(score[t, i]), int(length[t, i])))
        if on_chunk:
            on_chunk(sum(map(len, games)))
    played = [game for env in games for game in env]
    return Scores(*map(list, zip(*played, strict=True)))


def quota_of(num_games: int, num_envs: int) -> list[int]:
    """How many games each environment plays."""
    return [num_games // num_envs + (i < num_games % num_envs) for i in range(num_envs)]


@contextlib.contextmanager
def uninterrupted():
    """Ctrl-C waits for the end of the block: compiled code that steps a pool which is freed meanwhile never ends."""
    if threading.current_thread() is not threading.main_thread():  # where Ctrl-C does not come
        yield
        return
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked.is_set():
        signal.raise_signal(signal.SIGINT)


class BackgroundEvaluator:
    """One thread that evaluates checkpoints on its own environments while training goes on.

    An evaluation depends on (seed, step) alone, so it can be repeated; a checkpoint submitted while another
    waits takes its place. The thread makes a new pool each time and is the only one to touch it.
    """

    def __init__(self, policy: Policy, make_pool, num_games: int, seed: int):
        """`make_pool(seed)` makes a pool for evaluation."""
        self._policy, self._make_pool, self._num_games, self._seed = policy, make_pool, num_games, seed
        self._waiting: queue.Queue = queue.Queue()
        self._done: queue.Queue = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="evaluation", daemon=True)
        self._thread.start()

    def submit(self, step: int, params, normalizer):
        """Ask for an evaluation of these parameters, which must not be donated or changed."""
        self._forget_waiting()
        self._waiting.put((step, params, normalizer))

    def results(self) -> list[tuple[int, Scores | Exception]]:
        """The evaluations that ended since the last call, or what they raised."""
        return [self._done.get() for _ in range(self._done.qsize())]

    def close(self, wait: bool, stop=lambda: False):
        """End the thread: after what was submitted when `wait`, unless `stop()` meanwhile; else within a chunk."""
        if not wait:
            self._forget_waiting()
            self._stop.set()
        self._waiting.put(None)
        while self._thread.is_alive():
            self._thread.join(LOOK)
            if stop():
                self._stop.set()

    def _forget_waiting(self):
        with contextlib.suppress(queue.Empty):
            self._waiting.get_nowait()

    def _work(self):
        while (job := self._waiting.get()) is not None:
            try:
                self._done.put((job[0], self._evaluate(*job)))
            except _Stopped:
                return
            except Exception as error:  # handed to the thread that asks for results
                self._done.put((job[0], error))

    def _evaluate(self, step: int, params, normalizer) -> Scores:
        seed = seed_for("evaluation", self._seed, step)
        key = jax.random.key(seed)
        pool = self._make_pool(seed)
        try:
            normalizer = rollout.shared_normalizer(normalizer, pool.num_envs)
            return play(self._policy, params, pool, self._num_games, key, False, normalizer, self._check_stop)
        finally:
            pool.close()

    def _check_stop(self, _):
        if self._stop.is_set():
            raise _Stopped


class _Stopped(Exception):
    """The evaluator was closed while a game was under way."""
