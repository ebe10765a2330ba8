"""Float32: as near to float64 as the plain form is, also for equal numbers, large means, and many rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import audit, layers
from jaxrl.audit.cases import pair
from jaxrl.audit.gradients import QUICK, distances, gradient, random_like

ROUNDING = 4 * np.finfo(np.float32).eps


def normal(*shape, mean=0.0):
    return mean + np.random.default_rng([*shape]).normal(size=shape)


def with_outlier(*shape):
    x = normal(*shape)
    x[0], x[:, 0] = 1e4, 1e4
    return x


def norm(x):
    return x, *normal(2, x.shape[-1])


def batch(x):
    return *norm(x), np.zeros(x.shape[-1]), np.ones(x.shape[-1])


def recurrent():
    h = normal(32, 3)
    return normal(100, 32, 2), h, h, normal(2, 12), normal(3, 12), normal(12)


CASES = {
    "batch_norm": ("batch_norm", batch(normal(64, 14, 14, 8))),
    "batch_norm, mean 1e4": ("batch_norm", batch(normal(64, 14, 14, 8, mean=1e4))),
    "batch_norm, equal rows": ("batch_norm", batch(np.full((2500, 3), 1.2345))),
    "batch_norm, outlier": ("batch_norm", batch(with_outlier(2500, 3))),
    "layer_norm": ("layer_norm", norm(normal(64, 1000))),
    "layer_norm, mean 1e4": ("layer_norm", norm(normal(64, 1000, mean=1e4))),
    "layer_norm, equal entries": ("layer_norm", norm(np.full((3, 2500), 1.2345))),
    "layer_norm, outlier": ("layer_norm", norm(with_outlier(64, 1000))),
    "log_softmax": ("log_softmax", (normal(64, 1000, mean=1e4),)),
    "linear": ("linear", (normal(20_000, 2, mean=10.0), normal(2, 3), normal(3))),
    "conv2d": ("conv2d", (normal(32, 16, 16, 2), normal(3, 3, 2, 4), normal(4))),
    "avg_pool2d": ("avg_pool2d", (normal(2, 20, 20, 2, mean=1e4),)),
    "global_avg_pool2d": ("global_avg_pool2d", (normal(2, 56, 56, 8, mean=1e4),)),
    "dueling": ("dueling", (normal(64), normal(64, 1000, mean=1e4))),
    "lstm": ("lstm", recurrent()),
    "embedding": ("embedding", (np.zeros(5000, int), normal(2, 3))),
}


SETTINGS = {"avg_pool2d": {"window": 20}}
PAIRS = [pair(name, SETTINGS.get(name, {})) for name, _ in CASES.values()]


@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def found(which, args, cotangents):
    """Value and cotangents of every case from one of each pair, in one program."""
    each = zip(PAIRS, args, cotangents, strict=True)
    return [gradient(functions[which])(*of_case) for functions, *of_case in each]


@pytest.fixture(scope="module")
def errors():
    """For each case the errors of the value and of all cotangents: those of the layer, and those of autodiff."""
    args = [audit.cast(arrays, np.float32) for _, arrays in CASES.values()]
    values = [jax.eval_shape(plain, *a) for (_, plain), a in zip(PAIRS, args, strict=True)]
    cotangents = [random_like(value, 1) for value in values]
    ours, theirs = (found(which, args, cotangents) for which in (0, 1))
    with jax.enable_x64(True):
        wide = [audit.cast(a, np.float64) for a in args], jax.tree.map(lambda c: c.astype(np.float64), cotangents)
        truth = found(1, *wide)
    each = zip(ours, theirs, truth, strict=True)
    return dict(zip(CASES, ((distances(o, t), distances(p, t)) for o, p, t in each), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_as_near_to_float64_as_autodiff(case, errors):
    for ours, theirs in zip(*errors[case], strict=True):
        assert ours <= 2 * theirs + ROUNDING


@pytest.mark.parametrize("value", [1.2345, 12345.678, -3e-7])
@pytest.mark.parametrize("count", [2, 3, 2500, 100_001])
def test_equal_entries_are_normalised_to_exactly_0(value, count):
    x, vector = jnp.full((count, 2), value, jnp.float32), jnp.ones(2)
    y, _ = layers.batch_norm(x, vector, 0 * vector, vector, vector)
    np.testing.assert_array_equal(y, 0)
    vector = jnp.ones(count)
    np.testing.assert_array_equal(layers.layer_norm(x.T, vector, 0 * vector), 0)
