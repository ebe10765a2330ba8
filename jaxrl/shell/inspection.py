"""What a frozen agent does in its games, and how they end: lives, rewards, actions, and what it expected."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxrl import rollout
from jaxrl.agent import Policy
from jaxrl.shell.evaluation import quota_of

BEFORE, AFTER = 80, 40  # agent steps around a lost life
UNTIL = (80, 60, 40, 20, 10, 5, 1)  # steps before it in the table
RIVERRAID = {"fuel": 55, "fuel_low": 56}  # bytes of the RAM: a full tank is 255; the low byte changes while flying


class Game(NamedTuple):
    """A whole game of T agent steps.

    Attributes:
      a_t: the actions, [T] or [T, ...].
      r_t: float [T], raw rewards.
      lives: int [T] after each step, or None where the environment does not tell.
      unchanged: bool [T], the observation after the step is the one before it.
      preference: float [T, A], what the policy thinks of each action before the step: π, or Q.
      v: float [T], what it expects before the step.
      ram: uint8 [T, 128] after each step, or None.
      cut: the time limit ended the game, and no life was lost by it.
    """

    a_t: np.ndarray
    r_t: np.ndarray
    lives: np.ndarray | None
    unchanged: np.ndarray
    preference: np.ndarray
    v: np.ndarray
    ram: np.ndarray | None
    cut: bool


def watch(policy: Policy, params, pool, num_games: int, key, greedy=False, normalizer=None, on_step=None) -> list[Game]:
    """Play whole games step by step, and keep what happens in them; arguments as those of `evaluation.play`."""
    quota = np.array(quota_of(num_games, pool.num_envs))
    rows, games = [[] for _ in quota], [[] for _ in quota]
    for step in steps(policy, params, pool, key, greedy, normalizer):
        over, cut = step.pop("game_over"), step.pop("truncated")
        for i in np.flatnonzero(step.pop("valid") & (np.array([len(each) for each in games]) < quota)):
            rows[i].append({name: value[i] for name, value in step.items()})
            if over[i]:
                games[i].append(_game(rows[i], bool(cut[i])))
                rows[i] = []
        played = [game for each in games for game in each]
        if on_step:
            on_step(len(played))
        if len(played) == num_games:
            return played


def steps(policy: Policy, params, pool, key, greedy=False, normalizer=None):
    """Agent steps of N environments without end, each a dict of arrays [N, ...]: those of `Game`, and of `Step`."""
    act = jax.jit(partial(_act_and_look, policy), static_argnames="greedy")
    observe = jax.jit(rollout.observe)
    num_envs = pool.num_envs
    if normalizer is None:
        normalizer = rollout.init_normalization(pool.protocol, num_envs)
    state, memory, first = pool.reset(), policy.initial_memory(num_envs), np.ones(num_envs, bool)
    normalizer, observation = observe(normalizer, state.observation)
    while True:
        key, subkey = jax.random.split(key)
        a, memory, preference, v = act(params, memory, observation, first, subkey, greedy=greedy)
        before = np.asarray(state.observation)
        state, seen = pool.host_step(state, np.asarray(a))
        normalizer, observation = observe(normalizer, seen.observation)
        first = ~np.asarray(seen.valid)
        unchanged = (before == state.observation).reshape(num_envs, -1).all(1)
        found = {"a_t": a, "r_t": seen.raw_reward, "unchanged": unchanged, "preference": preference, "v": v}
        found |= {"valid": seen.valid, "game_over": seen.game_over, "truncated": seen.truncated} | pool.emulator()
        yield {name: np.array(value) for name, value in found.items()}


def _act_and_look(policy: Policy, params, memory, observation, first, key, greedy):
    preference, v = policy.look(params, memory, observation, first)
    return *policy.act(params, memory, observation, first, key, greedy=greedy), preference, v


def _game(rows: list[dict], cut: bool) -> Game:
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Game(**{"lives": None, "ram": None} | columns, cut=cut)


def lives_of(game: Game) -> list[slice]:
    """The steps of each life, up to and with the one that loses it; a game that does not tell is one life."""
    if game.lives is None:
        return [slice(0, len(game.r_t))]
    ends = [*(np.flatnonzero(np.diff(game.lives) < 0) + 2), len(game.r_t)]
    starts = [0, *ends]
    return [slice(start, end) for start, end in zip(starts, ends, strict=False) if start < end]


def lost_lives(game: Game) -> list[slice]:
    """The lives that were lost: all but the last one of a game that the time limit cut."""
    return lives_of(game)[:-1] if game.cut else lives_of(game)


def around_deaths(games: list[Game]) -> np.ndarray:
    """What the agent expected around each lost life, from `BEFORE` steps before to `AFTER` after: [deaths, steps].

    NaN where the life is shorter, or the game over.
    """
    found = []
    for game in games:
        for life in lost_lives(game):
            padded = np.full(BEFORE + AFTER + 1, np.nan)
            end = life.stop - 1
            low, high = max(end - BEFORE, life.start), min(end + AFTER + 1, len(game.v))
            padded[low - end + BEFORE : high - end + BEFORE] = game.v[low:high]
            found.append(padded)
    return np.array(found).reshape(-1, BEFORE + AFTER + 1)


def summary(games: list[Game], actions: list[str]) -> dict:
    """All of it in numbers; a life is counted from 1, and a reward's share is of the points."""
    lives = [[(life, game) for life in lives_of(game)] for game in games]
    v, most = around_deaths(games), max(map(len, lives))
    points = np.concatenate([game.r_t for game in games])
    kinds = [kind for kind in np.unique(points) if kind]
    taken = np.concatenate([game.a_t for game in games])
    preference = np.concatenate([game.preference for game in games])
    means = {-k: float(np.nanmean(v[:, BEFORE - k])) for k in UNTIL if not np.isnan(v[:, BEFORE - k]).all()}
    return {
        "games": len(games),
        "score": float(np.mean([game.r_t.sum() for game in games])),
        "length": float(np.mean([len(game.r_t) for game in games])),
        "unchanged": float(np.mean(np.concatenate([game.unchanged for game in games]))),
        "lives": [_life([each[n] for each in lives if n < len(each)]) for n in range(most)],
        "rewards": {
            f"{kind:g}": {"a_game": float(np.mean(points == kind) * len(points) / len(games)),
                          "share": float(kind * np.sum(points == kind) / points.sum()) if points.sum() else 0.0}
            for kind in kinds
        },
        "actions": {
            name: {"taken": float(np.mean(taken == a)), "preference": float(preference[:, a].mean())}
            for a, name in enumerate(actions)
        },
        "value": float(np.mean(np.concatenate([game.v for game in games]))),
        "value_before_a_lost_life": {str(k): value for k, value in means.items()},
    }  # fmt: skip


def _life(lives: list[tuple[slice, Game]]) -> dict:
    lengths = [life.stop - life.start for life, _ in lives]
    points = [game.r_t[life].sum() for life, game in lives]
    still = [game.unchanged[life].mean() for life, game in lives]
    return {"games": len(lives), "length": float(np.mean(lengths)), "median_length": float(np.median(lengths)),
            "points": float(np.mean(points)), "unchanged": float(np.mean(still))}  # fmt: skip


def riverraid(games: list[Game]) -> dict:
    """What Riverraid's RAM says of each lost life: the fuel at the crash, and the steps from it to the next life.

    The low byte of the fuel changes at each step of flight; the crash is the last step at which it did.
    """
    fuel, waiting = [], []
    for game in games:
        for life in lost_lives(game):
            ram = game.ram[life].astype(int)
            flying = np.flatnonzero(np.diff(ram[:, RIVERRAID["fuel_low"]]))
            crash = _last_of_flight(flying, ram[:, RIVERRAID["fuel"]])
            fuel.append(ram[crash, RIVERRAID["fuel"]] / 255)
            waiting.append(len(ram) - 1 - crash)
    if not fuel:
        return {}
    return {
        "fuel_at_crash_median": float(np.median(fuel)),
        "fuel_empty": float(np.mean(np.array(fuel) < 0.02)),
        "steps_from_crash_to_next_life_median": float(np.median(waiting)),
    }


def _last_of_flight(changes: np.ndarray, fuel: np.ndarray) -> int:
    """The last change after which the tank is not full again: it is filled between a crash and the next life."""
    for t in changes[::-1]:
        if fuel[t + 1] < 255 or fuel[: t + 1].min() == 255:
            return int(t + 1)
    return 0
