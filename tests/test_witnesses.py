"""Optax, Flax and RLax are witnesses: values and gradients of the same function by those who did not write it.

RLax is optional (`pip install --editable .[witnesses]`): it brings a nightly build of TensorFlow Probability, 57 MB.
"""

import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import layers, losses, returns
from jaxrl.audit import gradients

try:
    with warnings.catch_warnings(action="ignore"):
        import rlax
except ImportError:
    rlax = None

RNG = np.random.default_rng(0)
A = RNG.integers(0, 4, 3)  # actions, labels


def normal(*size):
    return RNG.normal(size=size)


def unit(*size):
    return RNG.uniform(0.05, 1.0, size)


def rows(loss, **settings):
    """A loss that gives its rows."""
    return lambda *args: loss(*args, reduction="none", **settings)


def linen(module, *params):
    """A Flax module as a function of x and of parameters in the order of their paths ("gate.kernel")."""

    def function(x, *values):
        tree = {}
        for path, value in zip(params, values, strict=True):
            *inner, last = path.split(".")
            place = tree
            for name in inner:
                place = place.setdefault(name, {})
            place[last] = value
        return module.apply({"params": tree}, x)

    return function


def lstm_cell(x, h, c, w_ih, w_hh, b):
    """Flax keeps the cell before the output, and a kernel for each gate."""
    inputs = {f"i{gate}": {"kernel": w} for gate, w in zip("ifgo", jnp.split(w_ih, 4, -1), strict=True)}
    gates = zip("ifgo", jnp.split(w_hh, 4, -1), jnp.split(b, 4), strict=True)
    hidden = {f"h{gate}": {"kernel": w, "bias": b} for gate, w, b in gates}
    (c, h), _ = nn.OptimizedLSTMCell(h.shape[-1]).apply({"params": inputs | hidden}, (c, h), x)
    return h, c


def gru_cell(x, h, w_ih, w_hh, b, b_hn):
    """A kernel for each gate; the hidden bias is that of the new gate alone."""
    gates = zip("rzn", jnp.split(w_ih, 3, -1), jnp.split(b, 3), jnp.split(w_hh, 3, -1), strict=True)
    params = {}
    for gate, w, bias, u in gates:
        params |= {f"i{gate}": {"kernel": w, "bias": bias}, f"h{gate}": {"kernel": u}}
    params["hn"]["bias"] = b_hn
    return nn.GRUCell(h.shape[-1]).apply({"params": params}, h, x)[0]


def batch_norm(x, scale, bias, mean, var):
    """Flax's running variance is that of the batch; ours, like PyTorch's, is n / (n − 1) of it.

    The statistics of a batch have no gradient in ours.
    """
    module = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5, use_fast_variance=False)
    state = {"params": {"scale": scale, "bias": bias}, "batch_stats": {"mean": mean, "var": var}}
    y, new = module.apply(state, x, mutable=["batch_stats"])
    new, count = new["batch_stats"], x.size // x.shape[-1]
    batch_mean, batch_var = jax.lax.stop_gradient((new["mean"] - 0.9 * mean, new["var"] - 0.9 * var))
    return y, (0.9 * mean + batch_mean, 0.9 * var + batch_var * count / (count - 1))


FLAX = {
    "Dense": (layers.linear, linen(nn.Dense(5), "kernel", "bias"), (normal(3, 4), normal(4, 5), normal(5))),
    "Conv": (
        lambda *args: layers.conv2d(*args, stride=2, padding=1, groups=2),
        linen(nn.Conv(6, (3, 2), 2, 1, feature_group_count=2), "kernel", "bias"),
        (normal(2, 6, 5, 4), normal(3, 2, 2, 6), normal(6)),
    ),
    "Conv, dilated, SAME": (
        lambda *args: layers.conv2d(*args, padding="SAME", dilation=2),
        linen(nn.Conv(3, (3, 2), kernel_dilation=2), "kernel", "bias"),
        (normal(2, 6, 5, 4), normal(3, 2, 4, 3), normal(3)),
    ),
    "Embed": (
        lambda table: layers.embedding(A, table),
        lambda table: nn.Embed(5, 2).apply({"params": {"embedding": table}}, A),
        (normal(5, 2),),
    ),
    "LayerNorm": (
        layers.layer_norm,
        linen(nn.LayerNorm(epsilon=1e-5, use_fast_variance=False), "scale", "bias"),
        (normal(3, 2, 4), normal(4), normal(4)),
    ),
    "BatchNorm": (layers.batch_norm, batch_norm, (normal(3, 2, 4, 2), normal(2), normal(2), normal(2), unit(2))),
    "OptimizedLSTMCell": (
        layers.lstm_cell,
        lstm_cell,
        (normal(2, 3), normal(2, 4), normal(2, 4), normal(3, 16), normal(4, 16), normal(16)),
    ),
    "GRUCell": (
        layers.gru_cell,
        gru_cell,
        (normal(2, 3), normal(2, 4), normal(3, 12), normal(4, 12), normal(12), normal(4)),
    ),
    "max_pool": (
        lambda x: layers.max_pool2d(x, 3, 2, 1),
        lambda x: nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))),
        (normal(2, 5, 6, 2),),
    ),
    "avg_pool": (
        lambda x: layers.avg_pool2d(x, 3, 2, 1),
        lambda x: nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))),
        (normal(2, 5, 6, 2),),
    ),
}
OPTAX = {
    "l2_loss": (rows(losses.squared_loss), optax.l2_loss, (normal(3, 2), normal(3, 2))),
    "huber_loss": (
        rows(losses.huber_loss, delta=0.7),
        lambda x, y: optax.huber_loss(x, y, delta=0.7),
        (normal(3, 4), normal(3, 4)),
    ),
    "softmax_cross_entropy_with_integer_labels": (
        lambda x: losses.softmax_cross_entropy(x, A, reduction="none"),
        lambda x: optax.softmax_cross_entropy_with_integer_labels(x, A),
        (normal(3, 4),),
    ),
    "softmax_cross_entropy": (
        rows(losses.categorical_cross_entropy), optax.softmax_cross_entropy, (normal(3, 4), unit(3, 4)),
    ),
    "sigmoid_binary_cross_entropy": (
        rows(losses.binary_cross_entropy), optax.sigmoid_binary_cross_entropy, (normal(3, 4), unit(3, 4)),
    ),
    "norm.logpdf": (
        rows(losses.gaussian_nll),
        lambda x, mean, log_std: -jax.scipy.stats.norm.logpdf(x, mean, jnp.exp(log_std)).sum(-1),
        (normal(3, 4), normal(3, 4), normal(3, 4)),
    ),
}  # fmt: skip


def double_q(r_t, discount_t, q_t, selector_t):
    zero = jnp.zeros_like(q_t)
    return rlax.double_q_learning(zero, 0, r_t, discount_t, q_t, selector_t, stop_target_gradients=False)


def actor_critic(logits, v, advantage, target):
    """RLax takes means; ours is a sum over rows of weight 1/3."""
    ones = jnp.ones(len(A), logits.dtype)
    policy = rlax.policy_gradient_loss(logits, A, advantage, ones, use_stop_gradient=False)
    return policy + 0.3 * rlax.entropy_loss(logits, ones) + 0.7 * jnp.mean(rlax.l2_loss(v, target))


def td_huber(q_tm1, target):
    td = jax.vmap(rlax.q_learning, (0, 0, 0, None, None, None))(
        q_tm1, A, target, jnp.zeros((), q_tm1.dtype), q_tm1[0], False
    )
    return jnp.mean(rlax.huber_loss(td, 0.7))


END = np.array([0.9, 0.8, 0.0, 0.9])
RLAX = {
    "truncated_generalized_advantage_estimation": (
        lambda r, v, mix: returns.gae(r, END, v[:-1], v[1:], mix),
        lambda r, v, mix: rlax.truncated_generalized_advantage_estimation(r, jnp.asarray(END, r.dtype), mix, v),
        (normal(4), normal(5), unit(4)),
    ),
    "lambda_returns": (
        lambda r, v, mix: returns.gae(r, END, v[:-1], v[1:], mix) + v[:-1],
        lambda r, v, mix: rlax.lambda_returns(r, jnp.asarray(END, r.dtype), v[1:], mix),
        (normal(4), normal(5), unit(4)),
    ),
    "discounted_returns": (
        lambda r: returns.discounted_return(r, END),
        lambda r: rlax.discounted_returns(r, jnp.asarray(END, r.dtype), jnp.zeros_like(r)),
        (normal(4),),
    ),
    "n_step_bootstrapped_returns": (
        lambda r, v: (lambda total, discount, _: total + discount * v[-1])(
            *returns.n_step(r, jnp.full(4, 0.9), jnp.ones(4, bool))
        ),
        lambda r, v: rlax.n_step_bootstrapped_returns(r, jnp.full(4, 0.9, r.dtype), v, 4)[0],
        (normal(4), normal(4)),
    ),
    "double_q_learning": (returns.q_target, double_q, (normal(), unit(), normal(4), normal(4))),
    "sarsa": (
        lambda r_t, discount_t, q_t: returns.sarsa_target(r_t, discount_t, q_t, 2),
        lambda r_t, discount_t, q_t: rlax.sarsa(jnp.zeros_like(q_t), 0, r_t, discount_t, q_t, 2, False),
        (normal(), unit(), normal(4)),
    ),
    "expected_sarsa": (
        returns.expected_sarsa_target,
        lambda r_t, discount_t, q_t, pi_t: rlax.expected_sarsa(
            jnp.zeros_like(q_t), 0, r_t, discount_t, q_t, pi_t, False
        ),
        (normal(), unit(), normal(4), np.array([0.1, 0.2, 0.3, 0.4])),
    ),
    "categorical_l2_project": (
        lambda z_t, p: returns.categorical_projection(z_t, p, np.linspace(-1, 1, 6)),
        lambda z_t, p: rlax.categorical_l2_project(z_t, p, jnp.linspace(-1, 1, 6, dtype=p.dtype)),
        (normal(5), unit(5)),
    ),
    "quantile_regression_loss": (  # RLax does not divide by delta
        lambda theta, target: losses.quantile_huber_loss(theta, target, np.array([0.1, 0.5, 0.9]), delta=0.5),
        lambda theta, target: 2 * rlax.quantile_regression_loss(
            theta, jnp.array([0.1, 0.5, 0.9], theta.dtype), target, 0.5, False
        ),
        (normal(3), normal(5)),
    ),
    "policy_gradient_loss": (
        lambda logits, v, *rest: losses.actor_critic_loss(logits, v, A, *rest, np.full(3, 1 / 3), 0.3, 0.7),
        actor_critic,
        (normal(3, 4), normal(3), normal(3), normal(3)),
    ),
    "q_learning": (
        lambda q, target: losses.q_learning_loss(q, A, target, delta=0.7), td_huber, (normal(3, 4), normal(3)),
    ),
}  # fmt: skip


def agree(ours, theirs, args):
    args = gradients.cast(args, np.float64)
    dy = gradients.random_like(jax.eval_shape(ours, *args), 1)
    got, expected = (jax.jit(gradients.gradient(f), compiler_options=gradients.QUICK)(args, dy) for f in (ours, theirs))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs", "args"), (FLAX | OPTAX).values(), ids=FLAX | OPTAX)
def test_agrees_with_flax_and_optax(ours, theirs, args, x64):
    agree(ours, theirs, args)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # RLax about itself
@pytest.mark.skipif(rlax is None, reason="RLax is not installed")
@pytest.mark.parametrize(("ours", "theirs", "args"), RLAX.values(), ids=RLAX)
def test_agrees_with_rlax(ours, theirs, args, x64):
    with jax.numpy_rank_promotion("allow"):
        agree(ours, theirs, args)
