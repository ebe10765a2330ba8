"""The running normalisation against the origin's own recursion, in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.environments import NormalizerState, init_normalizer, normalize


def literal(observations):
    """The origin's recursion for one environment: biased averages, corrected when they are used."""
    mean = std = 0.0
    for n, observation in enumerate(observations.astype(np.float64), start=1):
        mean = 0.9999 * mean + (1 - 0.9999) * observation.mean()
        std = 0.9999 * std + (1 - 0.9999) * observation.std()
        bias = 1 - 0.9999**n
        yield (observation - mean / bias) / (std / bias + 1e-8)


def observations_of(steps, num_envs):
    draw = np.random.default_rng(0)
    scale = draw.uniform(0.1, 1, size=(steps, num_envs, 1, 1, 1))
    return (scale * draw.uniform(size=(steps, num_envs, 6, 5, 1))).astype(np.float32)


def test_equals_the_recursion_of_each_environment():
    observations = observations_of(400, 3)
    state, ours = jax.lax.scan(normalize, init_normalizer(3), observations)
    for env in range(3):
        np.testing.assert_allclose(ours[:, env], list(literal(observations[:, env])), rtol=0, atol=2e-5)
    assert np.array_equal(state.count, [400, 400, 400])


def test_the_first_observation_is_standardised_by_itself():
    _, ours = normalize(init_normalizer(2), jnp.asarray(observations_of(1, 2)[0]))
    np.testing.assert_allclose(ours.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(ours.std((1, 2, 3)), 1, atol=1e-5)


def test_bytes_are_taken_too():
    observation = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    _, ours = normalize(init_normalizer(2), observation)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours.mean((1, 2, 3)), 0, atol=1e-5)


def test_after_long_the_weight_of_one_observation_is_one_in_ten_thousand():
    state = NormalizerState(jnp.zeros(1), jnp.ones(1), jnp.full(1, 10_000_000, jnp.int32))
    state, _ = normalize(state, jnp.ones((1, 4, 4, 1)))
    np.testing.assert_allclose(state.mean, 1e-4, rtol=1e-5)
    np.testing.assert_allclose(state.std, 1 - 1e-4, rtol=1e-6)


def test_a_picture_of_one_colour_stays_finite():
    _, ours = normalize(init_normalizer(1), jnp.full((1, 4, 4, 1), 0.3))
    assert np.isfinite(ours).all()
