"""The LSTM and the GRU, beyond the table of cases."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import audit, layers
from jaxrl.layers import reference

SEQUENCES = {case.name: case for case in audit.cases(audit.SMALL) if case.shape == "5x3 4>6"}


def arguments(name) -> list:
    """A sequence of 5 steps for 3 streams, from 4 inputs to 6 outputs, with resets."""
    return list(audit.cast(SEQUENCES[name].args, np.float32))


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["state", "input"])
def test_a_reset_clears_a_state_that_is_not_finite(name, bad, where):
    """Before step 0 for one in the state, before step 1 for one in the input of step 0."""
    args = arguments(name)
    states, step = slice(1, 3 if name == "lstm" else 2), 0 if where == "state" else 1
    args[-1] = args[-1].at[step].set(True)
    if where == "state":
        args[states] = [jnp.full_like(s, bad) for s in args[states]]
    else:
        args[0] = args[0].at[0].set(bad)
    free = tuple(range(len(args) - 1))

    def total(function, *xs):
        y, last = function(*xs, args[-1])
        return jnp.sum(jnp.sin(y[step:])) + sum(jnp.sum(s) for s in jax.tree.leaves(last))

    functions = getattr(layers, name), getattr(reference, name)
    ours, theirs = (jax.value_and_grad(partial(total, f), free)(*args[:-1]) for f in functions)
    assert jnp.isfinite(ours[0]) and jnp.all(jnp.isfinite(ours[1][0][step:]))
    if where == "state":
        assert all(jnp.all(jnp.isfinite(g)) for g in ours[1])
    for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


HUGE = jnp.array([-1e30, 0.0, 1e30])


@pytest.mark.parametrize("name", ["lstm_cell", "gru_cell", "lstm", "gru"])
def test_extreme_states_give_no_nan(name):
    gates, states = (4, 2) if name.startswith("lstm") else (3, 1)
    w, b = jnp.full((1, gates), 0.5), jnp.zeros(gates)
    weights = (w, w, b) if states == 2 else (w, w, b, b[:1])
    x, state = (a.reshape(-1, 1) for a in jnp.meshgrid(HUGE, HUGE))
    args = x if "cell" in name else x[None], *[state] * states, *weights
    values, vjp = jax.vjp(getattr(layers, name), *args)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(values))
    for leaf in jax.tree.leaves(vjp(jax.tree.map(jnp.ones_like, values))):
        assert not jnp.any(jnp.isnan(leaf))  # some are beyond the largest number: infinite


def test_the_lstm_multiplies_its_weights_once_over_the_sequence():
    """Backward: outside the scan one product each for dx, dw_ih and dw_hh; inside it one, for dh."""
    args = arguments("lstm")[:6]
    text = str(jax.make_jaxpr(lambda *a: jax.vjp(layers.lstm, *a)[1]((jnp.ones((5, 3, 6)), (a[1], a[2]))))(*args))
    forward = 2  # x w_ih, and h w_hh in its scan
    assert text.count("dot_general") == forward + 4


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_hessian_times_a_vector_forward_over_reverse(name, x64):
    args = audit.cast(SEQUENCES[name].args, np.float64)
    *free, reset = args

    def product(function):
        scalar = lambda *xs: sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(function(*xs, reset)))  # noqa: E731
        return jax.jit(lambda *xs: jax.jvp(jax.grad(scalar, range(len(xs))), xs, xs)[1])(*free)

    for got, expected in zip(*(product(getattr(module, name)) for module in (layers, reference)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


LSTM, GRU = arguments("lstm"), arguments("gru")
BAD = [
    (ValueError, r"w_hh has shape", lambda: layers.lstm(*LSTM[:4], jnp.ones((6, 6)), LSTM[5])),
    (ValueError, r"reset has shape \(5,\)", lambda: layers.lstm(*LSTM[:6], reset=np.ones(5, bool))),
    (ValueError, r"b_hn has shape", lambda: layers.gru(*GRU[:5], jnp.ones(5))),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
