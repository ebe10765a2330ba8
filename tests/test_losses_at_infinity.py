"""Losses of one row with infinite numbers: value and gradients are the limits, computed on paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import losses

INF = np.inf
HALF = np.log(2)  # the loss of a probability of ½
CERTAIN, TIE = [0.0, -INF], [0.0, 0.0, -INF]
# (loss, its arguments, its value, its gradients in the arguments of floating-point type)
TABLE = [
    ("squared_loss", (INF, 0.0), INF, (INF, -INF)),
    ("squared_loss", (0.0, INF), INF, (-INF, INF)),
    ("huber_loss", (INF, 0.0), INF, (1.0, -1.0)),
    ("huber_loss", (-INF, 0.0), INF, (-1.0, 1.0)),
    ("huber_loss", (0.0, INF), INF, (-1.0, 1.0)),
    ("q_learning_loss", ([1.0, INF], 1, 0.0), INF, ([0.0, 1.0], -1.0)),
    ("q_learning_loss", ([1.0, -INF], 1, 0.0), INF, ([0.0, -1.0], 1.0)),
    ("q_learning_loss", ([1.0, INF], 0, 0.5), 0.125, ([0.5, 0.0], -0.5)),  # of an action that was not taken
    ("q_learning_loss", ([1.0, 0.0], 1, INF), INF, ([0.0, -1.0], 1.0)),
    ("q_learning_loss, delta inf", ([1.0, INF], 1, 0.0), INF, ([0.0, INF], -INF)),
    ("quantile_huber_loss", ([0.0], [INF, 1.0], [0.25]), INF, ([-0.25], [0.125, 0.125])),
    ("quantile_huber_loss", ([0.0], [-INF, 1.0], [0.25]), INF, ([0.25], [-0.375, 0.125])),
    ("quantile_huber_loss", ([INF], [0.0], [0.25]), INF, ([0.75], [-0.75])),
    ("quantile_huber_loss", ([0.0], [INF], [0.0]), 0.0, ([0.0], [0.0])),  # the quantile 0 has no error below
    ("softmax_cross_entropy", (CERTAIN, 1), INF, ([1.0, -1.0],)),
    ("softmax_cross_entropy", (CERTAIN, 0), 0.0, ([0.0, 0.0],)),
    ("softmax_cross_entropy", (TIE, 0), HALF, ([-0.5, 0.5, 0.0],)),
    ("categorical_cross_entropy", (CERTAIN, [0.5, 0.5]), INF, ([0.5, -0.5], [0.0, INF])),
    ("categorical_cross_entropy", (CERTAIN, [1.0, 0.0]), 0.0, ([0.0, 0.0], [0.0, INF])),
    ("categorical_cross_entropy", (TIE, [1.0, 0.0, 0.0]), HALF, ([-0.5, 0.5, 0.0], [HALF, HALF, INF])),
    ("binary_cross_entropy", (INF, 1.0), 0.0, (0.0, -INF)),
    ("binary_cross_entropy", (INF, 0.0), INF, (1.0, -INF)),
    ("binary_cross_entropy", (INF, 0.5), INF, (0.5, -INF)),
    ("binary_cross_entropy", (-INF, 0.0), 0.0, (0.0, INF)),
    ("binary_cross_entropy", (-INF, 1.0), INF, (-1.0, INF)),
    ("gaussian_nll", ([INF], [0.0], [0.0]), INF, ([INF], [-INF], [-INF])),
    ("gaussian_nll", ([0.0], [INF], [0.0]), INF, ([-INF], [INF], [-INF])),
    ("gaussian_nll", ([1.0], [0.0], [-INF]), INF, ([INF], [-INF], [-INF])),
    ("gaussian_nll", ([1.0], [1.0], [-INF]), -INF, ([0.0], [0.0], [1.0])),
    ("gaussian_nll", ([1.0], [0.0], [INF]), INF, ([0.0], [0.0], [1.0])),
    ("gaussian_nll", ([INF, 0.0], [0.0, 0.0], [0.0, 0.0]), INF, ([INF, 0.0], [-INF, 0.0], [-INF, 1.0])),
    ("gaussian_kl", ([INF], [0.0], [0.0], [0.0]), INF, ([INF], [0.0], [-INF], [-INF])),
    ("gaussian_kl", ([0.0], [-INF], [0.0], [0.0]), INF, ([0.0], [-1.0], [0.0], [1.0])),
    ("gaussian_kl", ([0.0], [INF], [0.0], [0.0]), INF, ([0.0], [INF], [0.0], [-INF])),
    ("gaussian_kl", ([1.0], [0.0], [0.0], [-INF]), INF, ([INF], [INF], [-INF], [-INF])),
    ("gaussian_kl", ([0.0], [0.0], [0.0], [INF]), INF, ([0.0], [-1.0], [0.0], [1.0])),
    ("tanh_gaussian_log_prob", ([INF], [0.0], [0.0]), -INF, ([-INF], [INF], [INF])),
    ("tanh_gaussian_log_prob", ([-INF], [0.0], [0.0]), -INF, ([INF], [-INF], [INF])),
    ("tanh_gaussian_log_prob", ([1.0], [0.0], [-INF]), -INF, ([-INF], [INF], [INF])),
    ("tanh_gaussian_log_prob", ([0.0], [0.0], [-INF]), INF, ([0.0], [0.0], [-1.0])),
    ("tanh_gaussian_log_prob", ([0.0], [0.0], [INF]), -INF, ([0.0], [0.0], [-1.0])),
    # logits, v, a, advantage, target, β, c: gradients of all but a
    ("actor_critic_loss", (TIE, 0.0, 0, 1.0, 0.0, 0.0, 0.0), HALF, ([-0.5, 0.5, 0.0], 0.0, HALF, 0.0, -HALF, 0.0)),
    ("actor_critic_loss", (TIE, 0.0, 2, 1.0, 0.0, 0.0, 0.0), INF, ([0.5, 0.5, -1.0], 0.0, INF, 0.0, -HALF, 0.0)),
    ("actor_critic_loss", (TIE, 0.0, 2, -1.0, 0.0, 0.0, 0.0), -INF, ([-0.5, -0.5, 1.0], 0.0, INF, 0.0, -HALF, 0.0)),
    ("actor_critic_loss", (TIE, 0.0, 2, 0.0, 0.0, 1.0, 0.0), -HALF, ([0.0, 0.0, 0.0], 0.0, INF, 0.0, -HALF, 0.0)),
    ("actor_critic_loss", (TIE, INF, 0, 0.0, 0.0, 0.0, 1.0), INF, ([0.0, 0.0, 0.0], INF, HALF, -INF, -HALF, INF)),
    ("actor_critic_loss", (TIE, INF, 0, 0.0, 0.0, 0.0, 0.0), 0.0, ([0.0, 0.0, 0.0], 0.0, HALF, 0.0, -HALF, INF)),
    ("actor_critic_loss", (TIE, 0.0, 0, INF, 0.0, 0.0, 0.0), INF, ([-INF, INF, 0.0], 0.0, HALF, 0.0, -HALF, 0.0)),
]  # fmt: skip


LOSSES = {
    "actor_critic_loss": lambda *args: losses.actor_critic_loss(*args[:5], None, *args[5:]),
    "q_learning_loss, delta inf": lambda *args: losses.q_learning_loss(*args, delta=INF),
}


@pytest.mark.parametrize(("name", "args", "value", "gradients"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE])
def test_value_and_gradients_are_the_limits(name, args, value, gradients):
    loss = LOSSES.get(name) or getattr(losses, name)
    args = [jnp.asarray(x, None if isinstance(x, int) else jnp.float32) for x in args]
    if name == "quantile_huber_loss":
        tau = args.pop()
        loss = lambda *args: losses.quantile_huber_loss(*args, tau)  # noqa: E731
    places = tuple(i for i, x in enumerate(args) if jnp.issubdtype(x.dtype, jnp.floating))
    got = jax.value_and_grad(loss, places)(*args)
    for ours, limit in zip((got[0], *got[1]), (value, *gradients), strict=True):
        np.testing.assert_allclose(ours, limit, rtol=1e-6, atol=1e-7)
