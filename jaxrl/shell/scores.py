"""What several seeds say together: curves with a band, and the interquartile mean with an interval.

Source: "Deep reinforcement learning at the edge of the statistical precipice" by Agarwal et al.
(https://arxiv.org/abs/2108.13264).
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 10_000


class Band(NamedTuple):
    """Scores of several seeds over agent steps: their mean, the lowest and the highest of them."""

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def band(curves) -> Band:
    """The seeds' (agent steps, scores) at the steps of the one that ends first.

    Between two of its rows a seed's score is a straight line; before its first game is over it has none (NaN), and
    the band neither.
    """
    curves = [(np.asarray(steps, float), np.asarray(scores, float)) for steps, scores in curves]
    grid = min((steps for steps, _ in curves), key=lambda steps: steps[-1])
    values = np.array([np.interp(grid, *curve, left=np.nan) for curve in curves])
    return Band(grid, values.mean(0), values.min(0), values.max(0))


def interquartile_mean(*games, axis: int = -1):
    """The mean of the middle half of all scores: a quarter of them is left out at either end, rounded down.

    Args:
      games: for each game, the scores of its seeds; all of them are taken together.
      axis: along which they lie.
    """
    return stats.trim_mean(np.concatenate(games, axis=axis), 0.25, axis=axis)


def interval(games, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The stratified bootstrap interval of the interquartile mean: the seeds of each game are drawn anew.

    Args:
      games: for each game, the scores of its seeds.
      confidence: how much of the resamples lies within.
      seed: of the resamples; the same seed gives the same interval.

    Returns: low and high, by percentiles; NaN where a game has less than two seeds, of which nothing can be said, or
      one without a score.
    """
    if min(map(len, games)) < 2 or np.isnan(np.concatenate(games)).any():
        return float("nan"), float("nan")
    found = stats.bootstrap(
        games, interquartile_mean, method="percentile", n_resamples=RESAMPLES, confidence_level=confidence, rng=seed,
        vectorized=True,
    )  # fmt: skip
    return tuple(map(float, found.confidence_interval))
