"""Cases of the linear layers: affine and noisy maps, the embedding, and the dueling head."""

from jaxrl.audit.cases.case import KINK, SMALL, TESTED, TIMED


def _linear(inputs, outputs, *rows):
    return lambda draw: (
        draw.normal(*rows, inputs),
        draw.normal(inputs, outputs, scale=max(inputs, 1) ** -0.5),
        draw.normal(outputs),
    )


def _noisy(inputs, outputs, *rows):
    def make(draw):
        x, w, b = _linear(inputs, outputs, *rows)(draw)
        sigma = 0.5 * inputs**-0.5 * draw.positive(inputs, outputs)
        return x, w, b, sigma, draw.positive(outputs), draw.normal(inputs), draw.normal(outputs)

    return make


def _dueling(actions, *rows):
    return lambda draw: (draw.normal(*rows), draw.distinct(*rows, actions))


def _embedding(size, width, *rows):
    return lambda draw: (draw.integers(size, *rows), draw.normal(size, width))


ROWS = [
    ("linear", "32x3136>512", _linear(3136, 512, 32), {}, TIMED),
    ("linear", "320x288>256", _linear(288, 256, 320), {}, TIMED),
    ("linear", "20x16x256>18", _linear(256, 18, 20, 16), {}, SMALL),
    ("linear", "one row, no bias", lambda draw: (*_linear(4, 5)(draw)[:2], None), {}, SMALL),
    ("linear", "2x3x4>5", _linear(4, 5, 2, 3), {}, TESTED),
    ("linear", "empty batch", _linear(4, 5, 0), {}, TESTED),
    ("linear", "no inputs", _linear(0, 5, 3), {}, TESTED),
    ("linear", "no outputs", _linear(4, 0, 3), {}, TESTED),
    ("noisy_linear", "32x3136>512", _noisy(3136, 512, 32), {}, TIMED),
    ("noisy_linear", "3x2x5>6", _noisy(5, 6, 3, 2), {}, SMALL),
    ("noisy_linear", "empty batch", _noisy(5, 6, 0, 3), {}, TESTED),
    ("embedding", "10000x128, 4096 ids", _embedding(10_000, 128, 4096), {}, TIMED),
    ("embedding", "7x4, 3x5 ids", _embedding(7, 4, 3, 5), {}, SMALL),
    ("embedding", "7x4, one id", _embedding(7, 4), {}, TESTED),
    ("dueling", "8192x18", _dueling(18, 8192), {}, TIMED),
    ("dueling", "4x3x5", _dueling(5, 4, 3), {}, SMALL),
    ("dueling", "max 8192x18", _dueling(18, 8192), {"combine": "max"}, TIMED),
    ("dueling", "max 4x3x5", _dueling(5, 4, 3), {"combine": "max"}, SMALL),
    ("dueling", "max with ties", lambda draw: (draw.normal(4, 3), draw.ties(4, 3, 5)), {"combine": "max"}, KINK),
]
