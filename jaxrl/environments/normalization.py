"""Observations normalised by their own running mean and deviation, one pair of numbers for each environment."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ALPHA = 0.9999
EPSILON = 1e-8


class NormalizerState(NamedTuple):
    """What has been seen so far; `mean` and `std` are free of bias already."""

    mean: jax.Array  # float32 [N]
    std: jax.Array  # float32 [N]
    count: jax.Array  # int32 [N], observations seen


def init_normalizer(num_envs: int) -> NormalizerState:
    """The state of N environments before any observation."""
    return NormalizerState(jnp.zeros(num_envs), jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32))


def normalize(state: NormalizerState, observation: jax.Array) -> tuple[NormalizerState, jax.Array]:
    """Take one observation of each environment in, and normalise it by all seen so far, itself included.

    With mean(o_n) and std(o_n) over the pixels of the n-th observation of an environment (first ones of episodes
    count too, and episodes' ends change nothing), the original keeps, for the mean and likewise for the deviation,

        b_n = α b_n-1 + (1 - α) mean(o_n),   b_0 = 0,      m_n = b_n / (1 - αⁿ)

    and returns (o_n - m_n) / (s_n + ε). Here m itself is kept, since α (1 - αⁿ⁻¹) = (1 - αⁿ) - (1 - α) makes it

        m_n = m_n-1 + w_n (mean(o_n) - m_n-1),             w_n = (1 - α) / (1 - αⁿ)

    the same numbers, without the difference of nearly equal ones while n is small.

    Args:
        state: N environments.
        observation: float [N, ...].

    Returns: the new state, and the normalised observation, float32 [N, ...].
    """
    observation = observation.astype(jnp.float32)
    pixels = tuple(range(1, observation.ndim))
    count = state.count + 1
    weight = (1 - ALPHA) / -jnp.expm1(count * np.log(ALPHA).astype(np.float32))
    mean = state.mean + weight * (observation.mean(pixels) - state.mean)
    std = state.std + weight * (observation.std(pixels) - state.std)
    centred = observation - jnp.expand_dims(mean, pixels)
    return NormalizerState(mean, std, count), centred / (jnp.expand_dims(std, pixels) + EPSILON)
