"""REINFORCE: its gradient against loops, and what it refuses; that it learns is in test_run.py."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_a3c import NETWORK, B, T, close, init_params, make_segment

from jaxrl.agents import reinforce as agent
from jaxrl.algorithms import reinforce

HYPER = reinforce.Hyperparameters(gamma=0.9)


def plain_loss(params, segment):
    """The loss written out with loops over time and streams, for autodiff to differentiate."""
    row, total = jax.tree.map(np.asarray, segment.row), 0.0
    logits, _, _ = NETWORK.apply(params, segment.observation, segment.memory, segment.row.first)
    g = np.zeros((T + 1, B))
    for t in reversed(range(T)):
        g[t] = [row.r_t[t, b] + (0.0 if row.done[t, b] else HYPER.gamma * g[t + 1, b]) for b in range(B)]
        for b in np.flatnonzero(row.valid[t]):
            log_pi = jax.nn.log_softmax(logits[t, b])
            total += -log_pi[row.a_t[t, b]] * float(g[t, b] - g[t, row.valid[t]].mean())
            total += HYPER.entropy_coefficient * jnp.sum(jnp.exp(log_pi) * log_pi)
    return total / B


@pytest.mark.parametrize("valid", [[False, False], [True, False]])
def test_loss_and_gradient_equal_a_loop_over_time(valid):
    params, segment = init_params(), make_segment(1)
    segment = segment._replace(row=segment.row._replace(valid=segment.row.valid.at[2].set(jnp.array(valid))))
    (value, _), gradient = jax.value_and_grad(reinforce.loss, has_aux=True)(params, NETWORK, segment, HYPER)
    close((value, gradient), jax.value_and_grad(plain_loss)(params, segment))


def test_one_stream_has_nothing_to_be_measured_against():
    config = dataclasses.replace(agent.preset(None, "CartPole-v1"), num_envs=1)
    with pytest.raises(ValueError, match="--num-envs 1"):
        agent.check(config, config.spec())
