"""The affine map with learnt noise on its weights, in the factorised form."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.layers import checks
from jaxrl.layers.derived import custom_vjp


def factorized_noise(key, inputs, outputs, dtype=jnp.float32) -> tuple[jax.Array, jax.Array]:
    """Noise for `noisy_linear`: f(ε) = sgn(ε) √|ε| of I + O normal samples ε, where a full matrix would need I O.

    Args:
      key: a PRNG key of `jax.random`.
      inputs: I.
      outputs: O.

    Returns: (noise_in [I], noise_out [O]).

    Raises: TypeError when `key` is not a PRNG key, ValueError when inputs or outputs are not integers above 0.
    """
    checks.key(key)
    checks.widths(inputs=inputs, outputs=outputs)
    noise = jax.random.normal(key, (inputs + outputs,), dtype)
    noise = jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))
    return noise[:inputs], noise[inputs:]


def _noisy_fwd(x, w, b, w_sigma, b_sigma, noise_in, noise_out):
    noisy = w + w_sigma * (noise_in[:, None] * noise_out[None])
    y = x @ noisy + jnp.broadcast_to(b + b_sigma * noise_out, (*x.shape[:-1], b.shape[0]))
    return y, (x, noisy, noise_in, noise_out)


def _noisy_bwd(residuals, dy):
    x, noisy, noise_in, noise_out = residuals
    rows = lax.collapse(dy, 0, dy.ndim - 1)
    dw, db = lax.collapse(x, 0, x.ndim - 1).T @ rows, rows.sum(0)
    dw_sigma = dw * (noise_in[:, None] * noise_out[None])
    return dy @ noisy.T, dw, db, dw_sigma, db * noise_out, None, None


@custom_vjp
def _noisy_linear(x, w, b, w_sigma, b_sigma, noise_in, noise_out):
    return _noisy_fwd(x, w, b, w_sigma, b_sigma, noise_in, noise_out)[0]


_noisy_linear.defvjp(_noisy_fwd, _noisy_bwd)


def noisy_linear(x, w, b, w_sigma, b_sigma, noise_in, noise_out) -> jax.Array:
    """Affine map whose weights carry noise of a learnt size.

        y = x (w + w_σ ∘ N) + b + b_σ ∘ n_out,             N = n_in n_outᵀ

    With dw and db those of `linear`, and ∘ the product entry by entry,

        dx = dy (w + w_σ ∘ N)ᵀ      dw = Σ_rows xᵀ dy      db = Σ_rows dy      dw_σ = dw ∘ N      db_σ = db ∘ n_out

    so the noise costs one product entry by entry, and no matrix product. The noise takes no gradient. Source: "Noisy
    networks for exploration" by Fortunato et al. (https://arxiv.org/abs/1706.10295), equations 9 to 11.

    Args:
      x: [..., I].
      w: [I, O].
      b: [O].
      w_sigma: [I, O].
      b_sigma: [O].
      noise_in: [I], from `factorized_noise`; zeros for a map without noise.
      noise_out: [O].

    Returns: [..., O].

    Raises: ValueError on shapes that do not fit, TypeError on arguments that are not floating-point.
    """
    x, w, b, w_sigma, b_sigma, noise_in, noise_out = checks.floating(
        x=x, w=w, b=b, w_sigma=w_sigma, b_sigma=b_sigma, noise_in=noise_in, noise_out=noise_out
    )
    checks.rows(x)
    checks.shape("w", w, (x.shape[-1], None), "its rows are the last axis of x")
    checks.shape("w_sigma", w_sigma, w.shape, "that of w")
    for name, vector in {"b": b, "b_sigma": b_sigma, "noise_out": noise_out}.items():
        checks.shape(name, vector, (w.shape[1],), "one entry for each column of w")
    checks.shape("noise_in", noise_in, (w.shape[0],), "one entry for each row of w")
    noise = lax.stop_gradient((noise_in, noise_out))  # in the gradient of a gradient too
    return _noisy_linear(x, w, b, w_sigma, b_sigma, *noise)
