"""Cases of the LSTM and the GRU."""

from jaxrl.audit.cases.case import SMALL, TESTED, TIMED


def _sequence(gates, states, steps, batch, inputs, hidden, reset=True, bias=True):
    """Arguments of lstm (4 gates, 2 states) or gru (3 gates, 1 state, and the bias b_hn)."""

    def make(draw):
        size = hidden**-0.5
        x, memory = draw.normal(steps, batch, inputs), [draw.normal(batch, hidden) for _ in range(states)]
        w_ih, w_hh = (draw.normal(rows, gates * hidden, scale=size) for rows in (inputs, hidden))
        biases = [draw.normal(gates * hidden, scale=size)] + [draw.normal(hidden, scale=size)] * (gates == 3)
        biases = biases if bias else [None for _ in biases]
        return x, *memory, w_ih, w_hh, *biases, draw.flags(steps, batch) if reset else None

    return make


def _cell(*sizes, bias=True):
    def make(draw):
        x, *rest = _sequence(*sizes, bias=bias)(draw)
        return x[0], *rest[:-1]

    return make


ROWS = [
    row
    for name, gates, states in (("lstm", 4, 2), ("gru", 3, 1))
    for row in (
        (name, "20x16 288>256", _sequence(gates, states, 20, 16, 288, 256), {}, TIMED),
        (name, "5x3 4>6", _sequence(gates, states, 5, 3, 4, 6), {}, SMALL),
        (name, "1x1 3>2, no reset", _sequence(gates, states, 1, 1, 3, 2, False), {}, SMALL),
        (name, "5x3 4>6, no bias", _sequence(gates, states, 5, 3, 4, 6, bias=False), {}, SMALL),
        (name, "5x3 4>6, no reset", _sequence(gates, states, 5, 3, 4, 6, False), {}, TESTED),
        (name, "one step", _sequence(gates, states, 1, 1, 4, 6), {}, TESTED),
        (name, "empty sequence", _sequence(gates, states, 0, 3, 4, 6, False), {}, TESTED),
        (name, "empty batch", _sequence(gates, states, 5, 0, 4, 6), {}, TESTED),
        (name, "no inputs", _sequence(gates, states, 5, 3, 0, 6), {}, TESTED),
        (f"{name}_cell", "256 288>256", _cell(gates, states, 1, 256, 288, 256), {}, TIMED),
        (f"{name}_cell", "3 4>6", _cell(gates, states, 1, 3, 4, 6), {}, SMALL),
        (f"{name}_cell", "3 4>6, no bias", _cell(gates, states, 1, 3, 4, 6, bias=False), {}, TESTED),
    )
]
