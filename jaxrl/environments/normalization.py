"""Observations normalised by their own running mean and deviation: one pair of numbers an environment."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ALPHA = 0.9999
EPSILON = 1e-8


class NormalizerState(NamedTuple):
    """What N environments have shown so far; `mean` and `std` are corrected for the bias of the start."""

    mean: jax.Array  # float32 [N]
    std: jax.Array  # float32 [N]
    count: jax.Array  # int32 [N], observations seen


def init_normalizer(num_envs: int) -> NormalizerState:
    """The state before any observation."""
    return NormalizerState(jnp.zeros(num_envs), jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32))


def normalize(state: NormalizerState, observation: jax.Array) -> tuple[NormalizerState, jax.Array]:
    """Count one observation of each environment in, and normalise it by all so far, itself included.

    With mean(oₙ) and std(oₙ) over the pixels of the n-th observation of one environment (the first ones of
    episodes count like any other), the origin kept, for the mean and likewise for the deviation s,

        bₙ = α bₙ₋₁ + (1 - α) mean(oₙ),      b₀ = 0,      mₙ = bₙ / (1 - αⁿ)

    and returned (oₙ - mₙ) / (sₙ + ε). Here m itself is kept: since α (1 - αⁿ⁻¹) = (1 - αⁿ) - (1 - α),

        mₙ = mₙ₋₁ + wₙ (mean(oₙ) - mₙ₋₁),      wₙ = (1 - α) / (1 - αⁿ)

    which is the same number, and stays exact in float32.

    Args:
        state: of N environments.
        observation: [N, ...].

    Returns: the new state, and the normalised observation, float32 [N, ...].
    """
    observation = observation.astype(jnp.float32)
    pixels = tuple(range(1, observation.ndim))
    count = state.count + 1
    weight = (1 - ALPHA) / -jnp.expm1(count * np.float32(np.log(ALPHA)))
    mean = state.mean + weight * (observation.mean(pixels) - state.mean)
    std = state.std + weight * (observation.std(pixels) - state.std)
    centred = observation - jnp.expand_dims(mean, pixels)
    return NormalizerState(mean, std, count), centred / (jnp.expand_dims(std, pixels) + EPSILON)
