"""Linear regression by gradient descent: the smallest case of a loss, its gradient and its Hessian.

    L(w) = 1/(2n) Σ_i (x_i · w − y_i)²          g = Xᵀ (X w − y) / n          H = Xᵀ X / n

The loss is a parabola, so w − w* shrinks by I − s H in a step of size s: it converges when every |1 − s λ| < 1, that is
for s < 2 / λ_max, and slowly along the smallest λ. Newton's step divides by H instead, and is at the minimum at once.
The 1/n and the 1/2 of a loss are where mistakes lie: they scale the largest step that is stable.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl import layers, losses


def loss(w, x, y) -> jax.Array:
    """L(w), [], by the library's own layer and loss.

    Args:
      w: weights [D].
      x: inputs [n, D].
      y: targets [n].

    Raises: ValueError on shapes that do not fit.
    """
    return losses.squared_loss(layers.linear(x, w[:, None], None)[:, 0], y)


def gradient(w, x, y) -> jax.Array:
    """g = Xᵀ (X w − y) / n, [D]."""
    return x.T @ (x @ w - y) / len(x)


def hessian(x) -> jax.Array:
    """H = Xᵀ X / n, [D, D]; w is not in it."""
    return x.T @ x / len(x)


def largest_step(x) -> jax.Array:
    """2 / λ_max of the Hessian, []: gradient descent converges below it, and diverges above."""
    return 2.0 / jnp.linalg.eigvalsh(hessian(x))[-1]


def descend(w, x, y, step, count: int) -> jax.Array:
    """w after each of `count` steps w ← w − step · g, [count, D]."""

    def once(w, _):
        w = w - step * gradient(w, x, y)
        return w, w

    return lax.scan(once, w, None, count)[1]


def newton(w, x, y) -> jax.Array:
    """w − H⁻¹ g, [D]: the minimum, from anywhere, where H has an inverse."""
    return w - jnp.linalg.solve(hessian(x), gradient(w, x, y))
