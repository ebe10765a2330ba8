"""The long short-term memory: one step, and a sequence with resets.

Gates stand in the order i, f, g, o along the last axis of w_ih, w_hh and b, as in PyTorch (which adds two biases
where there is one here). Sequences are time-major.

    [i f g o] = [σ σ tanh σ](x w_ih + h_tm1 w_hh + b)         c = f c_tm1 + i g          h = o tanh(c)

Going back through one step, with dh and dc the cotangents that reach h and c from later on,

    dc ← dc + dh o (1 − tanh²c)
    d[i f g o] = [dc g i(1−i),  dc c_tm1 f(1−f),  dc i (1−g²),  dh tanh(c) o(1−o)]     before the activations
    dc_tm1 = dc f        dh_tm1 = d[i f g o] w_hhᵀ

Source: "Long short-term memory" by Hochreiter and Schmidhuber, with the forget gate of Gers et al.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.activations import plain_sigmoid
from jaxrl.layers.derived import custom_vjp
from jaxrl.layers.recurrent import before, keep_state, plus


def _gates(z, c_tm1):
    """Gates, tanh(c), h and c of one step from the gates' inputs z [B, 4H]."""
    zi, zf, zg, zo = jnp.split(z, 4, axis=-1)
    i, f, g, o = plain_sigmoid(zi), plain_sigmoid(zf), jnp.tanh(zg), plain_sigmoid(zo)
    c = f * c_tm1 + i * g
    return jnp.concatenate([i, f, g, o], -1), o * jnp.tanh(c), c


def _gates_bwd(gates, c_tm1, c, dh, dc):
    """Cotangents of z and c_tm1 from those of h and c."""
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    t = jnp.tanh(c)
    dc = dc + dh * o * (1 - t * t)
    dz = [dc * g * i * (1 - i), dc * c_tm1 * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
    return jnp.concatenate(dz, -1), dc * f


def _lstm_cell_fwd(x, h, c, w_ih, w_hh, b):
    z = x @ w_ih + h @ w_hh
    gates, h_t, c_t = _gates(plus(z, b), c)
    return (h_t, c_t), (x, h, c, w_ih, w_hh, b is not None, gates, c_t)


def _lstm_cell_bwd(residuals, cotangents):
    x, h, c, w_ih, w_hh, has_bias, gates, c_t = residuals
    dz, dc = _gates_bwd(gates, c, c_t, *cotangents)
    return dz @ w_ih.T, dz @ w_hh.T, dc, x.T @ dz, h.T @ dz, dz.sum(0) if has_bias else None


@custom_vjp
def _lstm_cell(x, h, c, w_ih, w_hh, b):
    return _lstm_cell_fwd(x, h, c, w_ih, w_hh, b)[0]


_lstm_cell.defvjp(_lstm_cell_fwd, _lstm_cell_bwd)


def lstm_cell(x, h, c, w_ih, w_hh, b) -> tuple[jax.Array, jax.Array]:
    """One step of the LSTM; the equations stand at the head of this module.

    Args:
      x: input [B, I].
      h: output of the step before [B, H].
      c: cell of the step before [B, H].
      w_ih: [I, 4H].
      w_hh: [H, 4H].
      b: [4H], or None.

    Returns: (h, c) after the step.

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    x, h, c, w_ih, w_hh, b = _check(x, h, c, w_ih, w_hh, b, leading=1)
    return _lstm_cell(x, h, c, w_ih, w_hh, b)


def _lstm_fwd(x, h_0, c_0, w_ih, w_hh, b, reset):
    z = plus(x @ w_ih, b)

    def step(state, now):
        h, c = (keep_state(now[1], s) for s in state)
        gates, h_t, c_t = _gates(now[0] + h @ w_hh, c)
        return (h_t, c_t), (h_t, c_t, gates)

    last, (y, cells, gates) = lax.scan(step, (h_0, c_0), (z, reset))
    return (y, last), (x, h_0, c_0, w_ih, w_hh, b is not None, reset, y, cells, gates)


def _lstm_bwd(residuals, cotangents):
    x, h_0, c_0, w_ih, w_hh, has_bias, reset, y, cells, gates = residuals
    dy, (dh_T, dc_T) = cotangents
    h_tm1, c_tm1 = (keep_state(reset, before(*states)) for states in ((h_0, y), (c_0, cells)))

    w_T = lax.optimization_barrier(w_hh.T)  # turned once, and not in every step

    def step(cotangents, now):
        dh, dc = cotangents
        dy_t, gates_t, c_before, c_t, reset_t = now
        dz, dc = _gates_bwd(gates_t, c_before, c_t, dh + dy_t, dc)
        return (keep_state(reset_t, dz @ w_T), keep_state(reset_t, dc)), dz

    (dh_0, dc_0), dz = lax.scan(step, (dh_T, dc_T), (dy, gates, c_tm1, cells, reset), reverse=True)
    rows = lax.collapse(dz, 0, 2)
    dw_ih = lax.collapse(x, 0, 2).T @ rows
    dw_hh = lax.collapse(h_tm1, 0, 2).T @ rows
    return dz @ w_ih.T, dh_0, dc_0, dw_ih, dw_hh, rows.sum(0) if has_bias else None, None


@custom_vjp
def _lstm(x, h_0, c_0, w_ih, w_hh, b, reset):
    return _lstm_fwd(x, h_0, c_0, w_ih, w_hh, b, reset)[0]


_lstm.defvjp(_lstm_fwd, _lstm_bwd)


def _lstm_known_fwd(x, h_0, c_0, w_ih, w_hh, b, reset, known):
    y, cells, gates = known
    return (y, (y[-1], cells[-1])), (x, h_0, c_0, w_ih, w_hh, b is not None, reset, y, cells, gates)


@custom_vjp
def _lstm_known(x, h_0, c_0, w_ih, w_hh, b, reset, known):
    return _lstm_known_fwd(x, h_0, c_0, w_ih, w_hh, b, reset, known)[0]


_lstm_known.defvjp(_lstm_known_fwd, lambda residuals, cotangents: (*_lstm_bwd(residuals, cotangents), None))


def lstm_states(x, h_0, c_0, w_ih, w_hh, b, reset=None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the backward pass of `lstm` keeps of the same arguments: y [T, B, H], c [T, B, H], and the gates [T, B, 4H].

    Time is a plain axis: the states of a sequence are those of its parts, one after the other. No gradient flows
    through them; they are what `lstm` takes as `known`.
    """
    x, h_0, c_0, w_ih, w_hh, b, reset = _check_sequence(x, h_0, c_0, w_ih, w_hh, b, reset)
    *_, y, cells, gates = _lstm_fwd(*lax.stop_gradient((x, h_0, c_0, w_ih, w_hh, b, reset)))[1]
    return y, cells, gates


def lstm(x, h_0, c_0, w_ih, w_hh, b, reset=None, known=None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The LSTM over a sequence; the equations stand at the head of this module.

    Only h w_hh has to wait for the step before: x w_ih is one product over the whole sequence. Backward likewise:
    the scan goes back through h and c alone and leaves dz [T, B, 4H]; then one product for each weight,

        dw_ih = Σ_t x_tᵀ dz_t      dw_hh = Σ_t h_tm1ᵀ dz_t      db = Σ_t dz_t      dx_t = dz_t w_ihᵀ

    A reset zeroes h and c before its step, so no gradient passes it.

    Args:
      x: [T, B, I].
      h_0: [B, H].
      c_0: [B, H].
      w_ih: [I, 4H].
      w_hh: [H, 4H].
      b: [4H], or None.
      reset: bool [T, B], or None for no reset.
      known: `lstm_states` of these arguments, where they were computed before: only the way back is left to be done.
        They are held constant, so that second derivatives are not to be taken.

    Returns: y [T, B, H], the h of each step, and the last (h, c).

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    x, h_0, c_0, w_ih, w_hh, b, reset = _check_sequence(x, h_0, c_0, w_ih, w_hh, b, reset)
    if known is None or x.shape[0] == 0:
        return _lstm(x, h_0, c_0, w_ih, w_hh, b, reset)
    for name, array, width in zip(("y", "cells", "gates"), known, (1, 1, 4), strict=True):
        checks.shape(f"known {name}", array, (*x.shape[:2], width * h_0.shape[-1]), "of `lstm_states`")
    return _lstm_known(x, h_0, c_0, w_ih, w_hh, b, reset, lax.stop_gradient(known))


def _check_sequence(x, h_0, c_0, w_ih, w_hh, b, reset):
    x, h_0, c_0, w_ih, w_hh, b = _check(x, h_0, c_0, w_ih, w_hh, b, leading=2)
    if reset is not None:
        checks.shape("reset", reset, x.shape[:2], "one flag for each step and stream of x")
        reset = jnp.asarray(reset, bool)
    return x, h_0, c_0, w_ih, w_hh, b, reset


def _check(x, h, c, w_ih, w_hh, b, leading):
    x, h, c, w_ih, w_hh, b = checks.floating("b", x=x, h=h, c=c, w_ih=w_ih, w_hh=w_hh, b=b)
    checks.shape("x", x, (None,) * (leading + 1), "[T, B, I]" if leading == 2 else "[B, I]")
    checks.shape("h", h, (x.shape[-2], None), "[B, H] with the batch of x")
    checks.shape("c", c, h.shape, "that of h")
    checks.shape("w_ih", w_ih, (x.shape[-1], 4 * h.shape[1]), "[I, 4H]")
    checks.shape("w_hh", w_hh, (h.shape[1], 4 * h.shape[1]), "[H, 4H]")
    checks.optional_shape("b", b, (4 * h.shape[1],), "[4H]")
    return x, h, c, w_ih, w_hh, b
