"""What losses of a choice share: the entry of a row that was chosen, and the log-probabilities of all."""

import jax
import jax.numpy as jnp

from jaxrl.layers.softmax import plain_log_softmax


def within(index, count: int) -> jax.Array:
    """Indices of 0 to count − 1; one beyond an end becomes that end."""
    return jnp.clip(jnp.asarray(index, jnp.int32), 0, count - 1)


def log_probabilities(logits) -> jax.Array:
    """log_softmax, clipped to the lowest finite number, so that p log p is 0 and not NaN at p = 0."""
    return jnp.maximum(plain_log_softmax(logits), jnp.finfo(logits.dtype).min)


def chosen(values, index) -> jax.Array:
    """values[..., index[...]], from indices that are `within`."""
    return jnp.take_along_axis(values, index[..., None], -1, mode="promise_in_bounds")[..., 0]
