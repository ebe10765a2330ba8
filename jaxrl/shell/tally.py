"""What a row of metrics.csv sums up: means since the last row, and the scores of the last 100 games."""

import collections
import time

import numpy as np

from jaxrl.rollout import Games
from jaxrl.shell.metrics import params_digest

SCORE_WINDOW = 100


def finished_games(games: Games) -> np.ndarray:
    """The raw scores of the games that ended, in order of time."""
    return games.score[games.game_over]


class Tally:
    """Reports and games as they come, and rows of them.

    `array` and `from_array` carry the scores and the clock through a checkpoint.
    """

    def __init__(self, seconds: float = 0.0, games: int = 0, scores=()):
        self.scores = collections.deque(scores, SCORE_WINDOW)
        self.games = games
        self.seconds_before = seconds
        self.started = time.monotonic()
        self.reports = []
        self.last_seconds = seconds

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resumption included."""
        return self.seconds_before + time.monotonic() - self.started

    def add(self, report: dict, games: Games):
        """Take one update's report and games in, [D, ...] a leaf."""
        ended = finished_games(games)
        self.scores.extend(ended.tolist())
        self.games += len(ended)
        self.reports.append({name: np.mean(value) for name, value in report.items()})

    def row(self, agent_steps: int, since: int, params) -> dict:
        """The row of metrics.csv for the updates since the last row, which ended at step `since`."""
        seconds = self.seconds
        row = {
            "agent_steps": agent_steps,
            "seconds": round(seconds, 3),
            "steps_per_second": round((agent_steps - since) / max(seconds - self.last_seconds, 1e-9), 1),
            "games": self.games,
            "score_mean_100": float(np.mean(self.scores)) if self.scores else float("nan"),
        }
        row |= {name: mean([report[name] for report in self.reports]) for name in self.reports[0]}
        row["params_digest"] = params_digest(params)
        self.reports, self.last_seconds = [], seconds
        return row

    def array(self) -> dict:
        """The tally as arrays of fixed shapes."""
        scores = np.full(SCORE_WINDOW, np.nan, np.float32)
        scores[: len(self.scores)] = self.scores
        return {"scores": scores, "games": np.int32(self.games), "seconds": np.float32(self.seconds)}

    @classmethod
    def from_array(cls, arrays: dict):
        """The tally that `array` gave."""
        scores = np.asarray(arrays["scores"])
        return cls(float(arrays["seconds"]), int(arrays["games"]), scores[~np.isnan(scores)].tolist())


def mean(values) -> float:
    """The mean without NaN, which stands for what was not learnt yet."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
