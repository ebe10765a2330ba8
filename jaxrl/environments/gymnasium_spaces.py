"""Gymnasium's spaces (EnvPool's are the same) as this library's, and what an agent is shown of an observation.

A network reads vectors and images. So a discrete observation is shown as a one-hot vector, an image (uint8) as
it is, and every other array as float32: of float64, XLA in its 32-bit mode would read the wrong bytes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from jaxrl.environments.spaces import Array, Box, Discrete, Spec, box

TINIEST, LARGEST = np.finfo(np.float32).tiny, np.finfo(np.float32).max


def spec_of(env_id: str, observation: spaces.Space, action: spaces.Space) -> Spec:
    """What an agent is told.

    Raises: ValueError for an observation that is not one array or number (dict, tuple, text, ...), or an action
        that is neither one of several nor an array of real numbers.
    """
    return Spec(_observation(env_id, observation), _action(env_id, action))


def image_of(space: spaces.Space) -> spaces.Space:
    """Of a dict with an image, the image alone, as MiniGrid's ImgObsWrapper shows it; else the space."""
    return space["image"] if isinstance(space, spaces.Dict) and "image" in space.spaces else space


def observe(space: spaces.Space, observation: Array) -> Array:
    """The agent's observation, float32 or uint8 [N, ...], of what the environments gave; NumPy or JAX."""
    np_ = jnp if isinstance(observation, jax.Array) else np
    if isinstance(space, spaces.Discrete):
        ids = np_.arange(space.start, space.start + space.n, dtype=observation.dtype)
        return (observation[:, None] == ids[None]).astype(np.float32)
    return observation.astype(_dtype(space))


def _observation(env_id: str, space: spaces.Space) -> Box:
    if isinstance(space, spaces.Discrete):
        return Box((int(space.n),), np.dtype(np.float32), 0.0, 1.0)
    if not isinstance(space, spaces.Box):
        kind = type(space).__name__
        raise ValueError(
            f"{env_id} has observations of the kind {kind}; jaxrl reads one array (Box) or number (Discrete): "
            f"wrap the environment in one of gymnasium.wrappers, for example FlattenObservation"
        )
    dtype, low, high = _dtype(space), space.low, space.high
    if dtype == np.float32:  # EnvPool says these two where it means no bound
        low, high = np.where(low == TINIEST, -np.inf, low), np.where(high == LARGEST, np.inf, high)
    return box(dtype, low.astype(dtype), high.astype(dtype))


def _action(env_id: str, space: spaces.Space) -> Discrete | Box:
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return box(np.float32, space.low.astype(np.float32), space.high.astype(np.float32))
    raise ValueError(
        f"{env_id} has actions of the kind {space}; jaxrl chooses one of several (Discrete) or real numbers "
        f"(Box of floats)"
    )


def _dtype(space: spaces.Box) -> np.dtype:
    return np.dtype(np.uint8 if space.dtype == np.uint8 else np.float32)
