"""How weights start: functions of (key, shape, dtype), as Flax wants them.

Source of the choices: the A3C-LSTM of pytorch-a3c.
"""

import math

import jax
import jax.numpy as jnp

from jaxrl.layers import checks


def glorot_uniform(key, shape, dtype=jnp.float32) -> jax.Array:
    """Uniform in ±√(6 / (fan_in + fan_out)), for kernels [kh, kw, I, O] and matrices [I, O].

    fan_in = kh kw I and fan_out = kh kw O. Source: "Understanding the difficulty of training deep feedforward
    neural networks" by Glorot and Bengio.

    Raises: ValueError when the shape is none of a kernel or a matrix with entries.
    """
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"shape must be [..., I, O], at least two axes, each of 1 or more; got {tuple(shape)}.")
    bound = math.sqrt(6.0 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def uniform_hidden(hidden: int):
    """Uniform in ±1/√hidden: how PyTorch starts the weights of an LSTM."""
    checks.widths(hidden=hidden)
    bound = 1.0 / math.sqrt(hidden)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def normalized_columns(norm: float):
    """Normal weights [I, O], each output's column scaled to the Euclidean norm `norm`."""

    def init(key, shape, dtype=jnp.float32):
        w = jax.random.normal(key, shape, dtype)
        return norm * w / jnp.linalg.norm(w, axis=0, keepdims=True)

    return init
