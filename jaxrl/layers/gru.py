"""The gated recurrent unit: one step, and a sequence with resets.

Gates stand in the order r, z, n along the last axis of w_ih, w_hh and b, as in PyTorch; of PyTorch's second bias only
the part of n is kept, b_hn, because the parts of r and z add to those of b. Sequences are time-major.

    a = x w_ih + b               u = h_tm1 w_hh + [0, 0, b_hn]           both cut into their parts r, z, n
    r = σ(a_r + u_r)             z = σ(a_z + u_z)             n = tanh(a_n + r u_n)             h = (1 − z) n + z h_tm1

Going back through one step, with dh the cotangent that reaches h,

    dz = dh (h_tm1 − n)          dn = dh (1 − z)
    da_n = dn (1 − n²)           da_z = dz z (1 − z)          da_r = da_n u_n r (1 − r)
    du_n = da_n r                du_z = da_z                  du_r = da_r
    dh_tm1 = dh z + du w_hhᵀ

Source: "Learning phrase representations using RNN encoder-decoder" by Cho et al. (https://arxiv.org/abs/1406.1078),
with the reset applied after the product, as in cuDNN and PyTorch.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.activations import plain_sigmoid
from jaxrl.layers.derived import custom_vjp
from jaxrl.layers.recurrent import before, keep_state, plus


def _gates(a, u, b_hn, h_tm1):
    """h and what the step back needs, [r, z, n, u_n] [B, 4H], from a and h_tm1 w_hh [B, 3H]."""
    a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
    u_r, u_z, u_n = jnp.split(u, 3, axis=-1)
    u_n = plus(u_n, b_hn)
    r, z = plain_sigmoid(a_r + u_r), plain_sigmoid(a_z + u_z)
    n = jnp.tanh(a_n + r * u_n)
    return (1 - z) * n + z * h_tm1, jnp.concatenate([r, z, n, u_n], -1)


def _gates_bwd(gates, h_tm1, dh):
    """da [B, 3H], du_n [B, H], and the part of dh_tm1 that does not go through w_hh."""
    r, z, n, u_n = jnp.split(gates, 4, axis=-1)
    da_n = dh * (1 - z) * (1 - n * n)
    da_z = dh * (h_tm1 - n) * z * (1 - z)
    da_r = da_n * u_n * r * (1 - r)
    return jnp.concatenate([da_r, da_z, da_n], -1), da_n * r, dh * z


def _with_n(da, du_n):
    """du: da, but for the part of n."""
    return jnp.concatenate([da[..., : -du_n.shape[-1]], du_n], -1)


def _gru_cell_fwd(x, h, w_ih, w_hh, b, b_hn):
    h_t, gates = _gates(plus(x @ w_ih, b), h @ w_hh, b_hn, h)
    return h_t, (x, h, w_ih, w_hh, b is not None, b_hn is not None, gates)


def _gru_cell_bwd(residuals, dh):
    x, h, w_ih, w_hh, has_b, has_b_hn, gates = residuals
    da, du_n, through = _gates_bwd(gates, h, dh)
    du = _with_n(da, du_n)
    db, db_hn = da.sum(0) if has_b else None, du_n.sum(0) if has_b_hn else None
    return da @ w_ih.T, through + du @ w_hh.T, x.T @ da, h.T @ du, db, db_hn


@custom_vjp
def _gru_cell(x, h, w_ih, w_hh, b, b_hn):
    return _gru_cell_fwd(x, h, w_ih, w_hh, b, b_hn)[0]


_gru_cell.defvjp(_gru_cell_fwd, _gru_cell_bwd)


def gru_cell(x, h, w_ih, w_hh, b, b_hn) -> jax.Array:
    """One step of the gated recurrent unit; the equations stand at the head of this module.

    Args:
      x: input [B, I].
      h: output of the step before [B, H].
      w_ih: [I, 3H].
      w_hh: [H, 3H].
      b: [3H], or None.
      b_hn: [H], or None.

    Returns: h after the step, [B, H].

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    x, h, w_ih, w_hh, b, b_hn = _check(x, h, w_ih, w_hh, b, b_hn, leading=1)
    return _gru_cell(x, h, w_ih, w_hh, b, b_hn)


def _gru_fwd(x, h_0, w_ih, w_hh, b, b_hn, reset):
    a = plus(x @ w_ih, b)

    def step(h, now):
        h = keep_state(now[1], h)
        h_t, gates = _gates(now[0], h @ w_hh, b_hn, h)
        return h_t, (h_t, gates)

    last, (y, gates) = lax.scan(step, h_0, (a, reset))
    return (y, last), (x, h_0, w_ih, w_hh, b is not None, b_hn is not None, reset, y, gates)


def _gru_bwd(residuals, cotangents):
    x, h_0, w_ih, w_hh, has_b, has_b_hn, reset, y, gates = residuals
    dy, dh_T = cotangents
    h_tm1 = keep_state(reset, before(h_0, y))
    w_T = lax.optimization_barrier(w_hh.T)  # turned once, and not in every step

    def step(dh, now):
        dy_t, gates_t, h_before, reset_t = now
        da, du_n, through = _gates_bwd(gates_t, h_before, dh + dy_t)
        return keep_state(reset_t, through + _with_n(da, du_n) @ w_T), (da, du_n)

    dh_0, (da, du_n) = lax.scan(step, dh_T, (dy, gates, h_tm1, reset), reverse=True)
    du, rows = lax.collapse(_with_n(da, du_n), 0, 2), lax.collapse(da, 0, 2)
    dw_ih = lax.collapse(x, 0, 2).T @ rows
    dw_hh = lax.collapse(h_tm1, 0, 2).T @ du
    db, db_hn = rows.sum(0) if has_b else None, du_n.sum((0, 1)) if has_b_hn else None
    return da @ w_ih.T, dh_0, dw_ih, dw_hh, db, db_hn, None


@custom_vjp
def _gru(x, h_0, w_ih, w_hh, b, b_hn, reset):
    return _gru_fwd(x, h_0, w_ih, w_hh, b, b_hn, reset)[0]


_gru.defvjp(_gru_fwd, _gru_bwd)


def gru(x, h_0, w_ih, w_hh, b, b_hn, reset=None) -> tuple[jax.Array, jax.Array]:
    """The gated recurrent unit over a sequence; the equations stand at the head of this module.

    As in `lstm` only h w_hh waits for the step before, and the backward pass ends in one product for each weight,

        dw_ih = Σ_t x_tᵀ da_t      dw_hh = Σ_t h_tm1ᵀ du_t      db = Σ_t da_t      db_hn = Σ_t du_n,t
        dx_t = da_t w_ihᵀ

    A reset zeroes h before its step, so no gradient passes it.

    Args:
      x: [T, B, I].
      h_0: [B, H].
      w_ih: [I, 3H].
      w_hh: [H, 3H].
      b: [3H], or None.
      b_hn: [H] or None, added to the recurrent part of n before r multiplies it.
      reset: bool [T, B], or None for no reset.

    Returns: y [T, B, H], the h of each step, and the last h.

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    x, h_0, w_ih, w_hh, b, b_hn = _check(x, h_0, w_ih, w_hh, b, b_hn, leading=2)
    if reset is not None:
        checks.shape("reset", reset, x.shape[:2], "one flag for each step and stream of x")
        reset = jnp.asarray(reset, bool)
    return _gru(x, h_0, w_ih, w_hh, b, b_hn, reset)


def _check(x, h, w_ih, w_hh, b, b_hn, leading):
    x, h, w_ih, w_hh, b, b_hn = checks.floating("b", "b_hn", x=x, h=h, w_ih=w_ih, w_hh=w_hh, b=b, b_hn=b_hn)
    checks.shape("x", x, (None,) * (leading + 1), "[T, B, I]" if leading == 2 else "[B, I]")
    checks.shape("h", h, (x.shape[-2], None), "[B, H] with the batch of x")
    checks.shape("w_ih", w_ih, (x.shape[-1], 3 * h.shape[1]), "[I, 3H]")
    checks.shape("w_hh", w_hh, (h.shape[1], 3 * h.shape[1]), "[H, 3H]")
    checks.optional_shape("b", b, (3 * h.shape[1],), "[3H]")
    checks.optional_shape("b_hn", b_hn, (h.shape[1],), "[H]")
    return x, h, w_ih, w_hh, b, b_hn
