"""REINFORCE: the gradient of the expected return by samples of it, against the mean of all streams as a baseline.

    G_t = r_t + γ G_{t+1},  0 after the end of an episode or of the segment         b_t = mean of G_t over the streams

    ∇J = E Σ_t (G_t − b_t) ∇log π(a_t)

A baseline that does not depend on a_t changes nothing in expectation, since E ∇log π(a_t) = Σ_a ∇π(a) = ∇1 = 0. Of b_t
one part in B is the stream's own G_t, which scales its gradient by 1 − 1/B. What comes after a segment is not counted;
as the segment ends at the same step for all streams, b_t takes most of that out of the noise.

Source: "Simple statistical gradient-following algorithms for connectionist reinforcement learning" by Williams
(doi:10.1007/BF00992696).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl import parallel
from jaxrl.algorithms import actor_critic
from jaxrl.algorithms.descent import State, descend
from jaxrl.losses import actor_critic_loss
from jaxrl.returns import discounted_return
from jaxrl.rollout import Row, Trajectory


class Hyperparameters(NamedTuple):
    """What the loss depends on; the meaning of each is in `loss`."""

    gamma: float = 0.99
    entropy_coefficient: float = 0.01


def returns(row: Row, gamma: float) -> tuple[jax.Array, jax.Array]:
    """G_t and b_t, [T, B] each; reset rows are not in the mean, which is 0 where there are only those."""
    return_t = jax.vmap(discounted_return, in_axes=1, out_axes=1)(row.r_t, gamma * (1.0 - row.done))
    mean_t = jnp.sum(return_t, 1, where=row.valid) / jnp.maximum(1, jnp.sum(row.valid, 1))
    return return_t, jnp.broadcast_to(mean_t[:, None], return_t.shape)


def loss(params, network, trajectory: Trajectory, hyper: Hyperparameters):
    """The loss of one trajectory of B environments, and what is reported of it.

        L = 1/B Σ_t Σ_b [ −log π(a_t) (G_t − b_t) − β H(π_t) ]

    Returns: the scalar L, and a dict of scalars.
    """
    row = trajectory.row
    logits, _, _ = actor_critic.forward(params, network, trajectory)
    g_t, b_t = returns(row, hyper.gamma)
    weight = row.valid / row.valid.shape[1]
    value = actor_critic_loss(logits, b_t, row.a_t, g_t - b_t, g_t, weight, hyper.entropy_coefficient, 0.0)
    return value, actor_critic.report(value, logits, b_t, g_t - b_t, g_t, row.valid)


def update(state: State, trajectory: Trajectory, network, optimizer, hyper: Hyperparameters, axis_names=(), acted=None):
    """One step of the optimiser on one trajectory.

    Args:
      acted: the parameters that made the trajectory, at which the gradient is taken; by default the state's.
      axis_names: mapped axes over which the gradient and the report are averaged.

    Returns: the state after, and the report.
    """
    at = state.params if acted is None else acted
    (_, report), gradient = jax.value_and_grad(loss, has_aux=True)(at, network, trajectory, hyper)
    gradient, report = parallel.mean((gradient, report), axis_names)
    report |= {"gradient_norm": optax.tree.norm(gradient)}
    return State(*descend(*state, gradient, optimizer)), report
