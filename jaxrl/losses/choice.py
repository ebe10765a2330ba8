"""What losses of a choice share: the entry of a row that was chosen."""

import jax
import jax.numpy as jnp


def within(index, count: int) -> jax.Array:
    """Indices of 0 to count − 1; one beyond an end becomes that end."""
    return jnp.clip(jnp.asarray(index, jnp.int32), 0, count - 1)


def chosen(values, index) -> jax.Array:
    """values[..., index[...]], from indices that are `within`."""
    return jnp.take_along_axis(values, index[..., None], -1, mode="promise_in_bounds")[..., 0]
