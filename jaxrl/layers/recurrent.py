"""What the recurrent layers share: states that are reset, and states one step late."""

import jax.numpy as jnp


def keep_state(reset, state):
    """The state [..., B, H], zeroed where reset [..., B]. By `where`, not by a product: 0 · NaN is NaN."""
    return state if reset is None else jnp.where(reset[..., None], 0, state)


def before(first, states):
    """The states [T, B, H] one step late; also for a sequence of length 0."""
    return jnp.concatenate([first[None], states[:-1]])[: len(states)]
