"""What an agent thinks, drawn beside the picture of its game."""

import collections

import numpy as np

from jaxrl.shell import plots

WIDTH, MARGIN, NAMES = 320, 8, 110  # pixels; NAMES of them for the names of the actions
BAR, TAKEN, LINE = (86, 137, 189), (221, 132, 58), (60, 60, 60)


class Thoughts:
    """A panel with a bar for each action, π or Q, and below it the expected return of the last steps.

    Bars of π reach from 0 to 1; those of Q from the lowest of the step to the highest.
    """

    def __init__(self, actions: list[str], height: int):
        """`height`: of the picture in pixels."""
        self._rows = np.linspace(24, 0.7 * height, len(actions) + 1).astype(int)
        self._floor, self._ceiling = height - MARGIN, int(0.7 * height) + 28
        middles = (self._rows[:-1] + self._rows[1:]) / 2
        texts = [(MARGIN, middle, name) for middle, name in zip(middles, actions, strict=True)]
        texts += [(MARGIN, 12, "preference"), (MARGIN, self._ceiling - 14, "expected return")]
        self._background = plots.text_panel(WIDTH, height, texts)
        self._past = collections.deque(maxlen=WIDTH - 2 * MARGIN)
        self._low, self._high = 0.0, 1e-6

    def beside(self, frame: np.ndarray, preference: np.ndarray, v: float, a: int) -> np.ndarray:
        """The frame [height, width, 3] with the panel on its right; `a` is the action that was taken."""
        panel = self._background.copy()
        self._draw_bars(panel, preference, a)
        self._draw_past(panel, v)
        return np.concatenate([frame, panel], axis=1)

    def _draw_bars(self, panel, preference, a):
        is_pi = preference.min() >= 0 and abs(preference.sum() - 1) < 1e-3
        low, high = (0.0, 1.0) if is_pi else (preference.min(), preference.max())
        lengths = (preference - low) / max(high - low, 1e-9) * (WIDTH - NAMES - MARGIN)
        for n, (length, top, end) in enumerate(zip(lengths.astype(int), self._rows, self._rows[1:], strict=False)):
            panel[top + 2 : max(end - 1, top + 3), NAMES : NAMES + max(length, 1)] = TAKEN if n == a else BAR

    def _draw_past(self, panel, v):
        self._past.append(v)
        self._low, self._high = min(self._low, v), max(self._high, v)
        heights = (np.array(self._past) - self._low) / (self._high - self._low) * (self._floor - self._ceiling)
        rows = (self._floor - heights).astype(int)
        for x, (one, other) in enumerate(zip(rows, rows[1:], strict=False)):
            panel[min(one, other) : max(one, other) + 2, MARGIN + x] = LINE
