"""What the recurrent layers share: states that are reset, states one step late, and a bias that may be None."""

import jax.numpy as jnp


def keep_state(reset, state):
    """The state [..., B, H], zeroed where reset [..., B]. By `where`, not by a product: 0 · NaN is NaN."""
    return state if reset is None else jnp.where(reset[..., None], 0, state)


def plus(z, b):
    """z [..., N] plus a bias [N], or None."""
    return z if b is None else z + jnp.broadcast_to(b, z.shape)


def before(first, states):
    """The states [T, B, H] one step late; also for a sequence of length 0."""
    return jnp.concatenate([first[None], states[:-1]])[: states.shape[0]]
