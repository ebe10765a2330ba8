"""Plots as SVG in the page itself, in the colours of its text, so that they read by day and by night."""

import numpy as np

WIDTH, HEIGHT, MARGIN = 320, 200, 24


def plot(x, curves: dict, title: str = "") -> str:
    """Lines over x.

    Args:
      x: [N], ascending.
      curves: for each label an array [N].
      title: what the figure shows, for screen readers.

    Returns: an SVG element.
    """
    x, curves = np.asarray(x), {label: np.asarray(y) for label, y in curves.items()}
    low = min(0.0, *(float(y.min()) for y in curves.values()))
    high = max(float(y.max()) for y in curves.values())
    across = np.interp(x, (x[0], x[-1]), (MARGIN, WIDTH - MARGIN))

    def up(y):
        return np.interp(y, (low, high), (HEIGHT - MARGIN, MARGIN))

    zero_x, zero_y = np.interp(0, x, across), up(0.0)
    parts = [
        f'<line class="axis" x1="{MARGIN}" y1="{zero_y:.1f}" x2="{WIDTH - MARGIN}" y2="{zero_y:.1f}"/>',
        f'<line class="axis" x1="{zero_x:.1f}" y1="{MARGIN}" x2="{zero_x:.1f}" y2="{HEIGHT - MARGIN}"/>',
    ]
    for tick in (x[0], x[-1]):
        place = np.interp(tick, x, across)
        parts.append(f'<text x="{place:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{_number(tick)}</text>')
    if high > 0:
        parts.append(f'<text x="{zero_x - 5:.1f}" y="{up(high) + 4:.1f}" text-anchor="end">{_number(high)}</text>')
    if low < 0:
        parts.append(f'<text x="{zero_x + 5:.1f}" y="{max(up(low) + 4, zero_y + 14):.1f}">{_number(low)}</text>')
    for number, (label, y) in enumerate(curves.items()):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up(y), strict=True))
        parts.append(f'<polyline class="curve{number}" points="{points}"/>')
        parts.append(f'<text class="label{number}" x="{MARGIN + 40 * number}" y="12">{label}</text>')
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def _number(value) -> str:
    return f"{value:.3g}".replace("-", "−")
