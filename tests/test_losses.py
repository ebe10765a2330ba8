"""The losses, beyond the table of cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrl import audit, losses


def test_the_second_derivative_without_a_bend():
    """delta = inf is half the square, whose second derivative is 1."""
    q, a = jnp.array([[0.5, 3.0]]), jnp.array([1])
    hessian = jax.jit(jax.jacrev(jax.grad(lambda q: losses.q_learning_loss(q, a, jnp.zeros(1), delta=np.inf))))(q)
    np.testing.assert_array_equal(hessian[0, :, 0], [[0, 0], [0, 1]])


INDEXED = {
    "softmax_cross_entropy": lambda i, weight=None: lambda x: losses.softmax_cross_entropy(x, i, weight),
    "q_learning_loss": lambda i, weight=None: lambda x: losses.q_learning_loss(x, i, jnp.ones(len(i)), weight),
    "actor_critic_loss": lambda i, weight=None: (
        lambda x: losses.actor_critic_loss(
            x, jnp.ones(len(i)), i, *[jnp.ones(len(i))] * 2, jnp.ones(len(i)) if weight is None else weight
        )
    ),
}


@pytest.mark.parametrize("name", INDEXED)
@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8])
def test_an_index_beyond_the_end_is_the_nearest_one_in_value_and_gradient(name, dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    beyond = np.array([-1, 4, 100]) if dtype != np.uint8 else np.array([0, 4, 255])
    got, expected = (
        jax.value_and_grad(INDEXED[name](jnp.asarray(i, dtype)))(x) for i in (beyond, np.clip(beyond, 0, 3))
    )
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    masked = jax.value_and_grad(INDEXED[name](jnp.asarray(beyond, dtype), jnp.zeros(3)))(x)
    for leaf in masked:
        np.testing.assert_array_equal(leaf, 0)


@pytest.mark.parametrize("name", ["squared_loss", "huber_loss", "softmax_cross_entropy", "binary_cross_entropy",
                                  "gaussian_nll", "gaussian_kl", "tanh_gaussian_log_prob", "q_learning_loss",
                                  "quantile_huber_loss"])  # fmt: skip
def test_extreme_losses_are_not_nan(name):
    """They may be infinite, where the true value is beyond the largest finite one; never NaN, forward or backward."""
    grid = jnp.array([-1e30, -1e4, -89.0, 0.0, 1.0, 89.0, 1e4, 1e30])
    x, y = (a.reshape(-1) for a in jnp.meshgrid(grid, grid))
    args = {
        "softmax_cross_entropy": (jnp.stack([x, y], -1), jnp.arange(x.size) % 2),
        "binary_cross_entropy": (x, jnp.clip(y, 0, 1)),
        "gaussian_nll": (x[:, None], jnp.full((x.size, 1), 89.0), y[:, None]),
        "gaussian_kl": (x[:, None], y[:, None], jnp.full((x.size, 1), 89.0), x[::-1, None]),
        "tanh_gaussian_log_prob": (x[:, None], jnp.full((x.size, 1), 89.0), y[:, None]),
        "q_learning_loss": (jnp.stack([x, y], -1), jnp.arange(x.size) % 2, y[::-1]),
        "quantile_huber_loss": (x[:, None], y[:, None], jnp.full((x.size, 1), 0.5)),
    }.get(name, (x, y))
    free = tuple(i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.floating))
    rows = jax.vmap(jax.value_and_grad(getattr(losses, name), free))
    for leaf in jax.tree.leaves(rows(*args)):
        assert not jnp.any(jnp.isnan(leaf))


def test_a_weight_of_zero_masks_a_loss_that_is_infinite():
    one, zero, pair = jnp.ones(1), jnp.zeros(1), jnp.array([[1e30, -1e30]])
    calls = {
        "squared": lambda v, w: losses.squared_loss(v, zero, w),
        "nll": lambda v, w: losses.gaussian_nll(v[:, None], zero[:, None], zero[:, None], w),
        "actor-critic": lambda v, w: losses.actor_critic_loss(pair, v, jnp.array([1]), v, zero, w),
    }
    for name, call in calls.items():
        for weight in (zero, jnp.zeros(())):
            value, (dv, dweight) = jax.value_and_grad(call, (0, 1))(1e30 * one, weight)
            assert value == dv == dweight == 0, name
        assert call(1e30 * one, one) == jnp.inf, name
        check_grads(jax.jit(call), (one, zero), order=2, modes=["rev"], rtol=0.1, atol=0.05)


def test_an_impossible_action_gives_no_nan():
    """Its logit is −∞, its probability 0, and 0 log 0 counts as 0."""
    logits, one = jnp.array([[0.5, -jnp.inf, 1.0], [1e30, -1e30, 0.0]]), jnp.ones(2)
    p = jnp.array([[0.4, 0.0, 0.6], [1.0, 0.0, 0.0]])
    actor_critic = lambda z: losses.actor_critic_loss(z, one, jnp.array([0, 0]), one, one, one)  # noqa: E731
    for loss in (actor_critic, lambda z: losses.categorical_cross_entropy(z, p)):
        both = jax.jit(lambda z, loss=loss: (jax.value_and_grad(loss)(z), jax.jacrev(jax.grad(loss))(z)))
        for leaf in jax.tree.leaves(both(logits)):
            assert jnp.all(jnp.isfinite(leaf))
    rest = one[:1], jnp.array([0]), *[one[:1]] * 3
    with_it, without = (losses.actor_critic_loss(z, *rest) for z in (logits[:1], logits[:1, ::2]))
    np.testing.assert_allclose(with_it, without, rtol=1e-6)


LOSS, *_ = (case.args for case in audit.cases(audit.TESTED) if case.name == "actor_critic_loss")
X = jnp.ones((2, 5, 5, 4))
BAD = [
    (ValueError, r"x has shape \(\); expected \[..., D\]", lambda: losses.gaussian_nll(*[jnp.ones(())] * 3)),
    (ValueError, r"no mean over no targets", lambda: losses.quantile_huber_loss(X, X[..., :0], jnp.ones(4))),
    (ValueError, r"v has shape \(4,\)", lambda: losses.actor_critic_loss(LOSS[0], LOSS[1][:, 0], *LOSS[2:])),
    (ValueError, r"target has shape \(4,\).*that of prediction", lambda: losses.squared_loss(X, X[0, 0, 0])),
    (ValueError, r"weight has shape \(5,\)", lambda: losses.huber_loss(X, X, jnp.ones(5))),
    (ValueError, r"delta must be above 0", lambda: losses.huber_loss(X, X, delta=0)),
    (TypeError, r"delta must be a Python number.*got 'one'", lambda: losses.huber_loss(X, X, delta="one")),
    (TypeError, r"delta must be a Python number.*got array\(\[1", lambda: losses.q_learning_loss(
        X[0, 0], jnp.ones(5, int), X[0, 0, :, 0], delta=np.ones(2))),
    (TypeError, r"delta must be a Python number.*traced", lambda: jax.jit(losses.huber_loss)(X, X, None, 1.0)),
    (TypeError, r"delta must be a Python number.*traced", lambda: jax.grad(
        lambda delta: losses.quantile_huber_loss(X, X, jnp.ones(4), delta=delta))(1.0)),
    (ValueError, r"there is no reduction 'average'; did you mean mean", lambda: losses.squared_loss(
        X, X, reduction="average")),
    (ValueError, r"there is no reduction 'summ'; did you mean sum", lambda: losses.gaussian_nll(
        X, X, X, reduction="summ")),
    (ValueError, r"value_coefficient has shape \(2,\); expected \[\], one number", lambda: losses.actor_critic_loss(
        *LOSS[:7], jnp.ones(2))),
    (ValueError, r"delta must be .*finite.*got inf", lambda: losses.quantile_huber_loss(
        X, X, jnp.ones(4), delta=np.inf)),
    (ValueError, r"tau has shape", lambda: losses.quantile_huber_loss(X, X, jnp.ones(3))),
    (ValueError, r"target has shape", lambda: losses.q_learning_loss(X, jnp.ones(X.shape[:3], int), X)),
    (TypeError, r"labels must hold integers", lambda: losses.softmax_cross_entropy(X, X[..., 0])),
    (TypeError, r"labels must hold integers.*got \[0\]", lambda: losses.softmax_cross_entropy(X, [0])),
    (TypeError, r"a must hold integers", lambda: losses.actor_critic_loss(*LOSS[:2], LOSS[1], *LOSS[3:])),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), BAD)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        jax.jit(call)()
