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

from jaxrl import parallel
from jaxrl.algorithms import actor_critic
from jaxrl.algorithms.descent import descend
from jaxrl.rollout import Trajectory


class State(NamedTuple):
    """The shared parameters, the workers' copies of them ([W, ...] a leaf), and the optimiser's statistics."""

    params: Any
    copies: Any
    optimizer: Any


def init(params, num_workers: int, optimizer: optax.GradientTransformation) -> State:
    """All workers start from the shared parameters."""
    copies = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], num_workers, axis=0), params)
    return State(params, copies, optimizer.init(params))


def act(network, copies, memory, observation, first, key, map_workers, keep: bool = True):
    """One step in which worker w acts in the w-th N / W environments with its own copy of the parameters.

    Args:
      copies: [W, ...] a leaf.
      memory, observation, first: of all N environments.
      map_workers: how a function is mapped over the workers, `parallel.map_groups`.
      keep: see `actor_critic.acting`.

    Returns: actions int32 [N], the memory after, and of each worker what its backward pass needs, [N / W, ...] a leaf.
    """
    num_workers = jax.tree.leaves(copies)[0].shape[0]
    keys = jax.random.split(key, num_workers)
    of_workers = parallel.split_groups((memory, observation, first), num_workers)
    act_alone = actor_critic.acting(network, keep)
    acting = map_workers(lambda copy, seen, key: act_alone(copy, *seen, key))
    a, memory, kept = acting(copies, of_workers, keys)
    return *parallel.join_groups((a, memory)), parallel.unstack(kept) if keep else ()


def split_workers(trajectory: Trajectory, num_workers: int) -> Trajectory:
    """The trajectory of each worker's environments, [W, ...] a leaf, from that of all, side by side as in `act`.

    The extras are apart for each worker already; they are large, and stay as they are.
    """
    memory, observation, row, extras, *after = trajectory
    steps = parallel.split_groups((observation, row), num_workers, axis=1)
    memory, *after = parallel.split_groups((memory, *after), num_workers)
    return Trajectory(memory, *steps, extras, *after)


def update(state: State, segments: Trajectory, network, optimizer, hyper, map_workers, axis_names=()):
    """One turn of every worker: all gradients at the workers' copies, then W updates one after another.

    Args:
      state: the state before.
      segments: the trajectory of each worker's environments, as `split_workers` gives them.
      network, optimizer, hyper: see `actor_critic`.
      map_workers: how a function is mapped over the workers, `parallel.map_groups`.
      axis_names: mapped axes over which gradients and reports are averaged.

    Returns: the state after, and the report averaged over workers.
    """
    segments = segments._replace(extras=parallel.stack(segments.extras) if segments.extras else ())
    gradient = jax.value_and_grad(actor_critic.loss, has_aux=True)
    (_, reports), gradients = map_workers(lambda copy, segment: gradient(copy, network, segment, hyper))(
        state.copies, segments
    )
    gradients, reports = parallel.mean((gradients, reports), axis_names)

    def turn(shared, worker_gradient):
        params, statistics = shared
        params, statistics = descend(params, statistics, worker_gradient, optimizer)
        return (params, statistics), (params, optax.tree.norm(worker_gradient))

    (params, statistics), (copies, norms) = lax.scan(turn, (state.params, state.optimizer), gradients)
    reports = jax.tree.map(jnp.mean, reports | {"gradient_norm": norms})
    return State(params, copies, statistics), reports
