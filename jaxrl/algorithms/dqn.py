"""Deep Q-learning: DQN, and what was added to it, each a small difference.

    DQN            target r_t + γ_t max_a q'(s_t, a), with q' an older copy of the network       `returns.q_target`
    Double         the online network chooses the action, the older copy values it                its `selector_t`
    Dueling        the network's last layer                                                       `layers.dueling`
    Prioritised    which transitions come in a batch, and the weight of each                      `replay`
    n steps        what r_t, γ_t and s_t are                                                      `returns.n_step`
    Noisy          the network's linear layers                                                    `layers.noisy_linear`
    C51, QR-DQN    a distribution of the return in place of its mean: another loss                `LOSSES`

Rainbow is all of them with C51. Here a batch of transitions comes in and parameters go out; acting, storing and
drawing are `rollout` and `replay`.

Source: "Human-level control through deep reinforcement learning" by Mnih et al. (doi:10.1038/nature14236); those of
the additions stand with their functions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxrl import layers, parallel
from jaxrl.agent import Policy
from jaxrl.algorithms import targets
from jaxrl.algorithms.descent import descend
from jaxrl.losses import categorical_cross_entropy, q_learning_loss, quantile_huber_loss
from jaxrl.returns import categorical_projection, q_target


class Hyperparameters(NamedTuple):
    """What the update depends on.

    Attributes:
      double: the online network chooses the action that the target network values.
      distributional: "none", "c51" or "qr".
      delta: where the Huber loss goes over from square to straight; infinity for the squared loss.
      v_min, v_max: the ends of the support of C51.
      target_period: updates after which the target network is made equal to the online one; 0 for a soft update.
      target_rate: what the target network moves towards the online one in each soft update.
    """

    double: bool = False
    distributional: str = "none"
    delta: float = 1.0
    v_min: float = -10.0
    v_max: float = 10.0
    target_period: int = 10_000
    target_rate: float = 0.005


class Exploration(NamedTuple):
    """How often an action is random.

    Attributes:
      how: "linear" in the agent's steps, from 1 to `final`; or a "spectrum", one ε for each environment, fixed.
      start: agent steps of random actions before anything else.
      decay: agent steps of the linear fall, after `start`.
      final: ε at its end; of a spectrum the largest.
    """

    how: str = "linear"
    start: int = 50_000
    decay: int = 1_000_000
    final: float = 0.1


class State(NamedTuple):
    """The online and the target network's parameters, the optimiser's statistics, and how many updates were made."""

    params: Any
    target: Any
    optimizer: Any
    updates: jax.Array


def init(params, optimizer: optax.GradientTransformation) -> State:
    """Both networks start alike."""
    return State(params, jax.tree.map(jnp.copy, params), optimizer.init(params), jnp.int32(0))


def apply(network, params, observation, key=None, noise: str = "noise"):
    """Outputs [B, A, K] of a `networks.QNetwork`; with a key its noise is drawn, once or (`row_noise`) for each row."""
    return network.apply(params, observation, rngs=None if key is None else {noise: key})


def support(hyper: Hyperparameters, atoms: int) -> jax.Array:
    """The returns [K] that C51's probabilities belong to."""
    return jnp.linspace(hyper.v_min, hyper.v_max, atoms)


def action_values(outputs, hyper: Hyperparameters) -> jax.Array:
    """q [..., A] from the network's [..., A, K]: the value itself, or the mean of the distribution."""
    if hyper.distributional == "c51":
        return layers.softmax(outputs) @ support(hyper, outputs.shape[-1])
    return outputs.mean(-1)


def at_action(outputs, a) -> jax.Array:
    """The outputs [B, K] of one action each."""
    return jnp.take_along_axis(outputs, a[:, None, None], 1)[:, 0]


def epsilon(exploration: Exploration, agent_steps, num_envs: int) -> jax.Array:
    """The probability of a random action, of each environment [N].

        linear:    ε_i = max(final, 1 − (1 − final) (steps − start) / decay)
        spectrum:  ε_i = final^(1 + 7 i / (N − 1))

    and 1 before `start`. The spectrum is that of "Distributed prioritized experience replay" by Horgan et al.
    (https://arxiv.org/abs/1803.00933), with final = 0.4 there.
    """
    if exploration.how == "spectrum":
        later = exploration.final ** (1 + 7 * jnp.arange(num_envs) / max(num_envs - 1, 1))
    else:
        fallen = (agent_steps - exploration.start) / max(exploration.decay, 1)
        later = jnp.broadcast_to(1 - (1 - exploration.final) * jnp.clip(fallen, 0, 1), (num_envs,))
    return jnp.where(agent_steps < exploration.start, 1.0, later)


def act(network, params, observation, key, epsilon, hyper: Hyperparameters, noisy: bool = False) -> jax.Array:
    """The best action, or with probability ε [N] any; int32 [N]. Each of N environments has noise of its own."""
    noise_key, random_key, choice_key = jax.random.split(key, 3)
    q = action_values(apply(network, params, observation, noise_key if noisy else None, "row_noise"), hyper)
    a = jax.random.randint(random_key, epsilon.shape, 0, q.shape[-1])
    return jnp.where(jax.random.uniform(choice_key, epsilon.shape) < epsilon, a, jnp.argmax(q, -1)).astype(jnp.int32)


def policy(network, hyper: Hyperparameters, evaluation_epsilon: float) -> Policy:
    """How a trained network acts, without noise: the best action, or where not `greedy` now and then a random one."""

    def acting(params, memory, observation, first, key, greedy=False):
        often = jnp.full(observation.shape[:1], 0.0 if greedy else evaluation_epsilon)
        return act(network, params, observation, key, often, hyper), memory

    def look(params, memory, observation, first):
        q = action_values(apply(network, params, observation), hyper)
        return q, jnp.max(q, -1)

    return Policy(lambda num_envs: (), acting, look)


def _expected(online, target, selector, batch, weight, hyper):
    """The error of the value of the action taken."""
    q_tm1, q_t = online[..., 0], target[..., 0]
    target_t = lax.stop_gradient(jax.vmap(q_target)(batch.r_t, batch.discount_t, q_t, selector))
    error = target_t - at_action(online, batch.a_tm1)[:, 0]
    return q_learning_loss(q_tm1, batch.a_tm1, target_t, weight, hyper.delta), jnp.abs(error)


def _categorical(online, target, selector, batch, weight, hyper):
    """The cross-entropy to the projected distribution of the target; its excess is the divergence.

    Source: "A distributional perspective on reinforcement learning" (https://arxiv.org/abs/1707.06887).
    """
    z = support(hyper, online.shape[-1])
    logits = at_action(online, batch.a_tm1)
    p_t = layers.softmax(at_action(target, jnp.argmax(selector, -1)))
    z_t = batch.r_t[:, None] + batch.discount_t[:, None] * z[None]
    p = lax.stop_gradient(jax.vmap(categorical_projection, (0, 0, None))(z_t, p_t, z))
    divergence = jnp.sum(p * (jnp.log(jnp.maximum(p, 1e-12)) - layers.log_softmax(logits)), -1)
    return categorical_cross_entropy(logits, p, weight), jnp.maximum(divergence, 0.0)


def _quantile(online, target, selector, batch, weight, hyper):
    """Quantile regression to the quantiles of the target; the error of the means is what is prioritised.

    Source: "Distributional reinforcement learning with quantile regression" (https://arxiv.org/abs/1710.10044).
    """
    theta = at_action(online, batch.a_tm1)
    theta_t = at_action(target, jnp.argmax(selector, -1))
    target_t = lax.stop_gradient(batch.r_t[:, None] + batch.discount_t[:, None] * theta_t)
    count = theta.shape[-1]
    loss = quantile_huber_loss(theta, target_t, (jnp.arange(count) + 0.5) / count, weight, hyper.delta)
    return loss, jnp.abs(target_t.mean(-1) - theta.mean(-1))


LOSSES = {"none": _expected, "c51": _categorical, "qr": _quantile}


def loss(params, target_params, network, batch, weight, key, hyper: Hyperparameters):
    """The loss of a batch of transitions: Σ weight · (loss of a transition), the targets held.

    Args:
      params, target_params: of the online and of the target network.
      network: a `networks.QNetwork`.
      batch: s_tm1, a_tm1, r_t, discount_t, s_t, [B, ...] each: a `replay.Batch`.
      weight: [B].
      key: of the noise; None for a network without. There are three draws of it, each for a whole batch, as in "Noisy
        networks for exploration" by Fortunato et al. (https://arxiv.org/abs/1706.10295): of the online network, of the
        target network, and of the one that chooses (Double).
      hyper: see `Hyperparameters`.

    Returns: the scalar, and (errors [B] for the priorities, a dict of scalars).
    """
    keys = (None,) * 3 if key is None else jax.random.split(key, 3)
    online = apply(network, params, batch.s_tm1, keys[0])
    target = apply(network, target_params, batch.s_t, keys[1])
    chooser = apply(network, lax.stop_gradient(params), batch.s_t, keys[2]) if hyper.double else target
    value, error = LOSSES[hyper.distributional](
        online, target, action_values(chooser, hyper), batch, weight, hyper
    )
    report = {"loss": value, "q_mean": action_values(online, hyper).max(-1).mean(), "td_error": error.mean()}
    return value, lax.stop_gradient((error, report))


def update(state: State, batch, weight, key, network, optimizer, hyper: Hyperparameters, axis_names=()):
    """One step of the optimiser on one batch.

    Args:
      state: before.
      batch, weight, key: see `loss`.
      axis_names: mapped axes over which the gradient and the report are averaged.

    Returns: the state after, errors [B], and the report.
    """
    (_, (error, report)), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.params, state.target, network, batch, weight, key, hyper
    )
    gradient, report = parallel.mean((gradient, report), axis_names)
    params, statistics = descend(state.params, state.optimizer, gradient, optimizer)
    count = state.updates + 1
    report |= {"gradient_norm": optax.tree.norm(gradient)}
    target = targets.update_target(state.target, params, count, hyper.target_period, hyper.target_rate)
    return State(params, target, statistics, count), error, report
