"""Asynchronous advantage actor-critic (A3C) with an LSTM, in a fixed order of workers.

W workers hold one copy of the parameters each. A worker acts t_max steps with its copy, takes the gradient at
that same copy (by then W − 1 updates old), and applies it to the shared parameters with the shared optimiser
statistics; then it copies the shared parameters and goes on. The workers take their turns in a fixed order, so
a run is repeatable to the bit and every gradient's age is known: W − 1 updates. W = 1 is A2C.

Because a worker's segment depends only on its own copy, all workers act and differentiate at once; only the
updates come one after another. A test holds that this equals the literal loop.

Source: "Asynchronous methods for deep reinforcement learning" by Mnih et al. (https://arxiv.org/abs/1602.01783).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxrl import layers
from jaxrl.algorithms import Policy
from jaxrl.losses import actor_critic_loss
from jaxrl.returns import gae


class Hyperparameters(NamedTuple):
    """What the loss of A3C depends on; the meaning of each is in `loss`."""

    gamma: float = 0.99
    gae_lambda: float = 1.0
    entropy_coefficient: float = 0.01
    value_coefficient: float = 0.5


class State(NamedTuple):
    """The shared parameters, the workers' copies of them ([W, ...] a leaf), and the optimiser's statistics."""

    params: Any
    copies: Any
    optimizer: Any


class Segment(NamedTuple):
    """What B streams saw in T steps; the observation and `first` have one row more, for the bootstrap.

    Attributes:
      memory: the LSTM state (h, c) before the first step, each [B, H].
      observation: [T + 1, B, H, W, C].
      first: bool [T + 1, B], the observation begins an episode.
      a_t: actions int32 [T, B].
      r_t: rewards float32 [T, B].
      terminated: bool [T, B], nothing comes after this step.
      done: bool [T, B], the episode ended here, terminated or truncated.
      valid: bool [T, B], False where the environment reset itself and ignored the action.
    """

    memory: Any
    observation: jax.Array
    first: jax.Array
    a_t: jax.Array
    r_t: jax.Array
    terminated: jax.Array
    done: jax.Array
    valid: jax.Array


def init(params, num_workers: int, optimizer: optax.GradientTransformation) -> State:
    """All workers start from the shared parameters."""
    copies = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], num_workers, axis=0), params)
    return State(params, copies, optimizer.init(params))


def policy(network) -> Policy:
    """How a trained network acts: it samples from π, or takes its most likely action."""

    def act(params, memory, observation, first, key, greedy=False):
        logits, _, memory = network.apply(params, observation[None], memory, first[None])
        a = jnp.argmax(logits[0], axis=-1) if greedy else jax.random.categorical(key, logits[0])
        return a.astype(jnp.int32), memory

    return Policy(network.initial_memory, act)


def split_workers(tree, num_workers: int, axis: int):
    """Every leaf [..., N, ...], with the environments at `axis`, as [W, ..., N / W, ...]."""

    def one(leaf):
        shape = leaf.shape[:axis] + (num_workers, -1) + leaf.shape[axis + 1 :]
        return jnp.moveaxis(leaf.reshape(shape), axis, 0)

    return jax.tree.map(one, tree)


def act_by_workers(policy: Policy, copies, memory, observation, first, key, map_workers):
    """Every worker acts in its own N / W environments with its own copy of the parameters.

    Returns: actions int32 [N], and the memory after.
    """
    num_workers = jax.tree.leaves(copies)[0].shape[0]
    keys = jax.random.split(key, num_workers)
    mine = split_workers((memory, observation, first), num_workers, axis=0)
    acted = map_workers(policy.act)(copies, *mine, keys)
    return jax.tree.map(lambda leaf: leaf.reshape((-1,) + leaf.shape[2:]), acted)


def segments(memory, seen, observation, first, num_workers: int) -> Segment:
    """One segment for each worker, [W, ...] a leaf, from a trajectory of all N environments.

    Args:
      memory: before the first step, [N, ...] a leaf.
      seen: a `rollout.Transition` with [T, N, ...] leaves.
      observation, first: what the trajectory ended with, [N, ...].
    """
    over_time = (
        jnp.concatenate([seen.observation, observation[None]]),
        jnp.concatenate([seen.first, first[None]]),
        *(seen.a_t, seen.r_t, seen.terminated, seen.done, seen.valid),
    )
    return Segment(split_workers(memory, num_workers, 0), *split_workers(over_time, num_workers, 1))


def loss(params, network, segment: Segment, hyper: Hyperparameters):
    """The actor-critic loss of one segment, and what is reported of it.

        L = 1/B Σ_t Σ_b [ −log π(a_t) A_t − β H(π_t) + ½ c (G_t − v_tm1)² ],     G_t = A_t + v_tm1

    summed over time and averaged over streams, A_t by generalised advantage estimation from the values of the
    same network, held constant. At a terminal step nothing follows; at a truncated one the value of the final
    observation does, which is the value that the next (reset) row sees.

    Returns: the scalar L, and a dict of scalars.
    """
    logits, v_tm1, memory = network.apply(params, segment.observation[:-1], segment.memory, segment.first[:-1])
    _, v_end, _ = network.apply(params, segment.observation[-1:], memory, segment.first[-1:])
    v_t = jnp.concatenate([v_tm1[1:], v_end])
    discount_t = hyper.gamma * (1.0 - segment.terminated)
    lambda_t = hyper.gae_lambda * (1.0 - segment.done)
    advantage_t = jax.vmap(gae, in_axes=1, out_axes=1)(segment.r_t, discount_t, v_tm1, v_t, lambda_t)
    advantage_t, target_t = lax.stop_gradient((advantage_t, advantage_t + v_tm1))
    weight = segment.valid / segment.valid.shape[1]
    value = actor_critic_loss(
        logits,
        v_tm1,
        segment.a_t,
        advantage_t,
        target_t,
        weight,
        hyper.entropy_coefficient,
        hyper.value_coefficient,
    )
    return value, lax.stop_gradient(report(value, logits, v_tm1, target_t, segment.valid))


def report(value, logits, v, target, valid) -> dict:
    """Loss, mean entropy of π in nats, and explained variance 1 − Var(G − v) / Var(G), over valid steps."""
    log_pi = layers.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, axis=-1)
    unexplained = jnp.var(target - v, where=valid)
    return {
        "loss": value,
        "entropy": jnp.mean(entropy, where=valid),
        "explained_variance": 1.0 - unexplained / (jnp.var(target, where=valid) + 1e-8),
        "value_mean": jnp.mean(v, where=valid),
    }


def update(state: State, of_workers: Segment, network, optimizer, hyper, map_workers, axis_names=()):
    """One turn of every worker: all gradients at the workers' copies, then W updates one after another.

    Args:
      state: the state before.
      of_workers: one segment for each worker, [W, ...] a leaf.
      map_workers: how a function is mapped over the workers, `parallel.map_workers`.
      axis_names: mapped axes over which gradients and reports are averaged.

    Returns: the state after, and the report averaged over workers.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    (_, reports), gradients = map_workers(lambda copy, segment: gradient(copy, network, segment, hyper))(
        state.copies, of_workers
    )
    for axis_name in axis_names:
        gradients, reports = lax.pmean((gradients, reports), axis_name)

    def turn(shared, worker_gradient):
        params, statistics = shared
        updates, statistics = optimizer.update(worker_gradient, statistics, params)
        params = optax.apply_updates(params, updates)
        return (params, statistics), (params, optax.tree.norm(worker_gradient))

    (params, statistics), (copies, norms) = lax.scan(turn, (state.params, state.optimizer), gradients)
    reports = jax.tree.map(jnp.mean, reports | {"gradient_norm": norms})
    return State(params, copies, statistics), reports
