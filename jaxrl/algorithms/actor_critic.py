"""What every actor-critic shares: the loss of a trajectory, what is reported of it, and how the network acts.

The network takes `(params, observation [T, B, ...], memory, first [T, B])` and gives logits [T, B, A], values [T, B]
and the memory after (`networks.ActorCriticLSTM`).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl import layers
from jaxrl.agent import Column, Policy
from jaxrl.losses import actor_critic_loss
from jaxrl.returns import discounted_return, gae
from jaxrl.rollout import Trajectory

SHOWN = {
    "loss": Column("loss", ".3g"),
    "entropy": Column("entropy", ".2f", "entropy of π (nats)"),
    "gradient_norm": Column("gradient", ".1f"),
    # 0 is as good as knowing nothing, 1 is perfect; the first values explain far less than 0
    "explained_variance": Column("explained variance", ".2f", "explained variance of rewards ahead", lowest=-0.25),
}


class Hyperparameters(NamedTuple):
    """What the loss depends on; the meaning of each is in `loss`."""

    gamma: float = 0.99
    gae_lambda: float = 1.0
    entropy_coefficient: float = 0.01
    value_coefficient: float = 0.5


def act(network, params, memory, observation, first, key=None):
    """One step of N environments: actions int32 [N] sampled from π, or its most likely ones where there is no key.

    Returns: the actions, and the memory after.
    """
    logits, _, memory = network.apply(params, observation[None], memory, first[None])
    a = jnp.argmax(logits[0], axis=-1) if key is None else jax.random.categorical(key, logits[0])
    return a.astype(jnp.int32), memory


def act_and_keep(network, params, memory, observation, first, key):
    """The same as `act`, and what the backward pass needs of it, [N, ...] a leaf: it takes the gradient at `params`."""
    logits, _, memory, kept = network.apply(params, observation[None], memory, first[None], keep=True)
    a = jax.random.categorical(key, logits[0])
    return a.astype(jnp.int32), memory, jax.tree.map(lambda leaf: leaf[0], kept)


def acting(network, keep: bool = True):
    """`(params, memory, observation, first, key) -> (a, memory, extras)`; with `keep` extras are as in `act_and_keep`.

    Without, where learning is on another device: there it is quicker computed again than sent.
    """

    def act_only(params, memory, observation, first, key):
        return *act(network, params, memory, observation, first, key), ()

    return partial(act_and_keep, network) if keep else act_only


def forward(params, network, trajectory: Trajectory):
    """Logits, values and the memory after of a trajectory; what acting kept is not computed again."""
    known = {"known": trajectory.extras} if trajectory.extras else {}
    return network.apply(params, trajectory.observation, trajectory.memory, trajectory.row.first, **known)


def policy(network) -> Policy:
    """How a trained network acts: it samples from π, or takes its most likely action."""

    def act_frozen(params, memory, observation, first, key, greedy=False):
        return act(network, params, memory, observation, first, None if greedy else key)

    def look(params, memory, observation, first):
        logits, v, _ = network.apply(params, observation[None], memory, first[None])
        return jnp.exp(layers.log_softmax(logits[0])), v[0]

    return Policy(network.initial_memory, act_frozen, look)


def loss(params, network, trajectory: Trajectory, hyper: Hyperparameters):
    """The actor-critic loss of one trajectory of B environments, and what is reported of it.

        L = 1/B Σ_t Σ_b [ −log π(a_t) A_t − β H(π_t) + ½ c (G_t − v_tm1)² ],     G_t = A_t + v_tm1

    summed over time and averaged over streams, A_t by generalised advantage estimation from the values of the
    same network, held constant. At a terminal step nothing follows; at a truncated one the value of the final
    observation does, which is the value that the next (reset) row sees.

    The gradient is taken at the parameters that acted, so what acting computed need not be computed again: where the
    trajectory's extras are what `act_and_keep` kept, only the way back is left.

    Returns: the scalar L, and a dict of scalars.
    """
    row = trajectory.row
    logits, v_tm1, memory = forward(params, network, trajectory)
    _, v_end, _ = network.apply(params, trajectory.next_observation[None], memory, trajectory.next_first[None])
    v_t = jnp.concatenate([v_tm1[1:], v_end])
    discount_t = hyper.gamma * (1.0 - row.terminated)
    estimate = jax.vmap(gae, in_axes=1, out_axes=1)
    advantage_t = estimate(row.r_t, discount_t, v_tm1, v_t, hyper.gae_lambda * (1.0 - row.done))
    advantage_t, target_t = lax.stop_gradient((advantage_t, advantage_t + v_tm1))
    weight = row.valid / row.valid.shape[1]
    value = actor_critic_loss(
        logits,
        v_tm1,
        row.a_t,
        advantage_t,
        target_t,
        weight,
        hyper.entropy_coefficient,
        hyper.value_coefficient,
    )
    error_t = estimate(row.r_t, discount_t, v_tm1, v_t, 1.0 - row.done)
    rewards_t = jax.vmap(discounted_return, in_axes=1, out_axes=1)(row.r_t, hyper.gamma * (1.0 - row.done))
    return value, lax.stop_gradient(report(value, logits, v_tm1, error_t, rewards_t, row.valid))


def report(value, logits, v, error, rewards, valid) -> dict:
    """Loss, mean entropy of π in nats, the mean of v, and how much of the rewards v explains, over valid steps.

        explained variance = 1 − Var(G − v) / Var(R),      R_t = Σ_k γᵏ r_{t+k} to the end of the segment or episode

    G is R and what the critic itself expects after it. Its variance is mostly the critic's own, against which nearly
    every critic looks good; that of the rewards is not. The critic in results/riverraid_a3c explains 0.94 of its own
    targets of 20 steps, and 0.43 of their rewards (0.75 with 100 steps). Where no step is valid all are 0.

    Args:
      value: the loss.
      logits, v: [T, B, A] and [T, B].
      error: G − v, [T, B].
      rewards: R, [T, B].
      valid: bool [T, B].
    """
    count = jnp.maximum(1, jnp.sum(valid))

    def mean(x):
        return jnp.sum(x, where=valid) / count

    def variance(x):
        return mean((x - mean(x)) ** 2)

    log_pi = layers.log_softmax(logits)
    explained = 1.0 - variance(error) / (variance(rewards) + 1e-8)
    return {
        "loss": value,
        "entropy": mean(-jnp.sum(jnp.exp(log_pi) * log_pi, axis=-1)),
        "explained_variance": jnp.where(jnp.any(valid), explained, 0.0),
        "value_mean": mean(v),
    }
