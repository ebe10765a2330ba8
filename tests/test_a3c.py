import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import agents, parallel
from jaxrl.algorithms import a3c, actor_critic
from jaxrl.networks import ActorCriticLSTM
from jaxrl.rollout import Row, Trajectory

T, B, ACTIONS = 4, 2, 5
NETWORK = ActorCriticLSTM(ACTIONS, features=4, hidden=8)
HYPER = actor_critic.Hyperparameters()
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2))


def make_segment(seed: int) -> Trajectory:
    """A made-up segment with a terminal step, a truncated step and the reset rows after them."""
    rng = np.random.default_rng(seed)
    terminated, done = np.zeros((T, B), bool), np.zeros((T, B), bool)
    terminated[1, 0] = done[1, 0] = done[1, 1] = True
    valid = np.ones((T, B), bool)
    valid[2] = False
    first = np.zeros((T + 1, B), bool)
    first[3] = True
    memory = tuple(jnp.array(rng.normal(size=(B, 8)), jnp.float32) for _ in range(2))
    observation = jnp.array(rng.integers(0, 256, (T + 1, B, 20, 20, 1)), jnp.uint8)
    row = Row(
        jnp.array(first[:-1]),
        jnp.array(rng.integers(0, ACTIONS, (T, B)), jnp.int32),
        jnp.array(rng.normal(size=(T, B)), jnp.float32),
        jnp.array(terminated),
        jnp.array(done),
        jnp.array(valid),
    )
    return Trajectory(memory, observation[:-1], row, (), observation[-1], jnp.array(first[-1]))


def init_params(seed=0):
    segment = make_segment(0)
    return jax.jit(NETWORK.init)(jax.random.key(seed), segment.observation[:1], segment.memory, segment.row.first[:1])


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def close(got, expected, tolerance=2e-5):
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance), got, expected)


def plain_loss(params, segment):
    """The loss written out with loops over time and streams, for autodiff to differentiate."""
    row = jax.tree.map(np.asarray, segment.row)
    observation = jnp.concatenate([segment.observation, segment.next_observation[None]])
    first = np.concatenate([row.first, np.asarray(segment.next_first)[None]])
    logits, v, _ = NETWORK.apply(params, observation, segment.memory, first)
    total = 0.0
    for b in range(B):
        target = jax.lax.stop_gradient(v[T, b])
        for t in reversed(range(T)):
            if row.done[t, b]:  # the row after it holds the value of the final observation
                target = jnp.where(row.terminated[t, b], 0.0, jax.lax.stop_gradient(v[t + 1, b]))
            target = row.r_t[t, b] + HYPER.gamma * target
            if row.valid[t, b]:
                advantage = target - v[t, b]
                log_pi = jax.nn.log_softmax(logits[t, b])
                total += -log_pi[row.a_t[t, b]] * jax.lax.stop_gradient(advantage)
                total += HYPER.entropy_coefficient * jnp.sum(jnp.exp(log_pi) * log_pi)
                total += HYPER.value_coefficient * 0.5 * advantage**2
    return total / B


def test_loss_and_gradient_equal_a_loop_over_time():
    params, segment = init_params(), make_segment(1)
    ours = jax.value_and_grad(lambda params: actor_critic.loss(params, NETWORK, segment, HYPER), has_aux=True)
    (value, _), gradient = jax.jit(ours)(params)
    expected, expected_gradient = jax.jit(jax.value_and_grad(lambda params: plain_loss(params, segment)))(params)
    assert value == pytest.approx(float(expected), rel=1e-5)
    close(gradient, expected_gradient)


@pytest.mark.parametrize(("critic", "explained"), [("constant", 0.0), ("right", 1.0)])
def test_a_critic_explains_what_it_knows_of_the_rewards(critic, explained):
    """A value for each stream, far apart and wrong, is most of its own targets, of which it seems to explain 0.99."""

    class Critic:
        def apply(self, params, observation, memory, first):
            return jnp.zeros((*observation.shape[:2], ACTIONS)), observation[..., 0], memory

    rng = np.random.default_rng(0)
    r_t = rng.normal(size=(T, 50)).astype(np.float32)
    ahead = np.concatenate([np.cumsum(r_t[::-1], 0)[::-1], np.zeros((1, 50), np.float32)])
    v = ahead + 3.0 if critic == "right" else np.broadcast_to(10 * rng.normal(size=50), ahead.shape)
    observation, none = jnp.asarray(v, jnp.float32)[..., None], jnp.zeros((T, 50), bool)
    row = Row(none, jnp.zeros((T, 50), jnp.int32), jnp.asarray(r_t), none, none, ~none)
    segment = Trajectory((), observation[:-1], row, (), observation[-1], none[0])
    hyper = actor_critic.Hyperparameters(gamma=1.0, gae_lambda=0.9)
    _, report = actor_critic.loss(None, Critic(), segment, hyper)
    assert report["explained_variance"] == pytest.approx(explained, abs=1e-3)


def test_reset_rows_teach_nothing():
    params, segment = init_params(), make_segment(1)
    row = segment.row
    other = segment._replace(
        row=row._replace(
            a_t=jnp.where(row.valid, row.a_t, (row.a_t + 1) % ACTIONS), r_t=jnp.where(row.valid, row.r_t, 100.0)
        )
    )
    gradient = jax.jit(jax.grad(lambda params, segment: actor_critic.loss(params, NETWORK, segment, HYPER)[0]))
    jax.tree.map(np.testing.assert_array_equal, gradient(params, segment), gradient(params, other))


@pytest.mark.parametrize("how", ["map", "vmap"])
def test_three_workers_equal_a_literal_round_robin(how):
    """Nine turns: each worker takes the gradient at its own stale copy, applies it, and copies the result."""
    params = init_params()
    update = jax.jit(
        lambda state, segments: a3c.update(state, segments, NETWORK, OPTIMIZER, HYPER, parallel.map_groups(how))
    )
    state = a3c.init(params, 3, OPTIMIZER)
    shared, statistics, copies = params, OPTIMIZER.init(params), [params] * 3
    gradient = jax.jit(jax.grad(lambda p, s: actor_critic.loss(p, NETWORK, s, HYPER)[0]))
    for turn in range(3):
        segments = [make_segment(10 * turn + worker) for worker in range(3)]
        state, _ = update(state, stack(segments))
        for worker in range(3):
            updates, statistics = OPTIMIZER.update(gradient(copies[worker], segments[worker]), statistics, shared)
            shared = copies[worker] = optax.apply_updates(shared, updates)
    close(state.params, shared, 1e-4)
    close(state.copies, stack(copies), 1e-4)
    stale = jax.tree.leaves(jax.tree.map(lambda c, p: jnp.abs(c[0] - p).max(), state.copies, state.params))
    assert max(stale) > 1e-4, "the first worker's copy should be two updates old"


def test_one_worker_is_a2c():
    params, segment = init_params(), make_segment(3)
    state, report = a3c.update(
        a3c.init(params, 1, OPTIMIZER), stack([segment]), NETWORK, OPTIMIZER, HYPER, parallel.map_groups("map")
    )
    gradient = jax.jit(jax.grad(lambda params: plain_loss(params, segment)))(params)
    updates, _ = OPTIMIZER.update(gradient, OPTIMIZER.init(params), params)
    close(state.params, optax.apply_updates(params, updates), 1e-4)
    assert report["gradient_norm"] == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)


def test_two_devices_equal_one_with_both_batches():
    """The mean gradient of two half batches on two devices is the gradient of the whole batch."""
    params = init_params()
    halves = [make_segment(5), make_segment(6)]
    whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *halves)
    steps = [(half.observation, half.row) for half in halves]
    observation, row = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *steps)  # beside time
    whole = whole._replace(observation=observation, row=row)

    def step(device_count):
        def update(state, segments):
            return a3c.update(
                state,
                segments,
                NETWORK,
                OPTIMIZER,
                HYPER,
                parallel.map_groups("map"),
                parallel.axis_names(device_count),
            )

        return parallel.map_devices(update, device_count)

    state = a3c.init(params, 1, OPTIMIZER)
    one, _ = step(1)(stack([state]), stack([stack([whole])]))
    two, _ = step(2)(stack([state, state]), stack([stack([half]) for half in halves]))
    close(jax.tree.map(lambda leaf: leaf[0], two.params), jax.tree.map(lambda leaf: leaf[0], one.params), 1e-4)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[0], leaf[1]), two)


def test_policy_samples_in_proportion_and_greedily():
    params, segment = init_params(), make_segment(0)
    observation = jnp.repeat(segment.observation[0, :1], 4000, 0)
    memory = NETWORK.initial_memory(4000)
    first = jnp.ones(4000, bool)
    logits, _, _ = NETWORK.apply(params, observation[None, :1], jax.tree.map(lambda m: m[:1], memory), first[None, :1])
    act = actor_critic.policy(NETWORK).act
    a, _ = act(params, memory, observation, first, jax.random.key(1))
    np.testing.assert_allclose(np.bincount(a, minlength=ACTIONS) / 4000, jax.nn.softmax(logits[0, 0]), atol=0.03)
    a, _ = act(params, memory, observation, first, jax.random.key(1), greedy=True)
    assert np.all(a == jnp.argmax(logits[0, 0]))


@pytest.mark.parametrize("decay", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_the_entropys_weight_goes_linearly_to_its_last_one(optimizer, decay):
    config = dataclasses.replace(
        agents.a3c.preset(None, "CartPole-v1"), num_envs=4, t_max=5, num_workers=1, total_steps=10 * 4 * 5,
        entropy_coefficient=0.02, entropy_final=0.01, optimizer=optimizer, learning_rate_decay=decay,
    )  # fmt: skip
    rule, gradient = agents.on_policy.optimizer_of(config), {"w": jnp.ones(2)}
    statistics, found = rule.init(gradient), []
    for _ in range(12):
        found.append(float(agents.on_policy.entropy_coefficient(config, statistics)))
        statistics = rule.update(gradient, statistics)[1]
    np.testing.assert_allclose(found, [*np.linspace(0.02, 0.01, 11), 0.01], rtol=1e-5)


@pytest.mark.parametrize("network, shape", [(NETWORK, (20, 20, 1)), (ActorCriticLSTM(3, hidden=8, widths=(6,)), (4,))])
def test_learning_goes_back_through_what_acting_computed(network, shape):
    """The gradient from what was kept is that of another forward pass, and the compiled one has no forward pass."""
    rng = np.random.default_rng(5)
    observation = jnp.asarray(rng.integers(0, 256, (T + 1, B, *shape)), jnp.uint8)
    first = jnp.asarray([[True, False], [False, False], [False, True], [False, False], [False, False]])
    start = tuple(jnp.asarray(rng.normal(size=(B, 8)), jnp.float32) for _ in range(2))
    params = network.init(jax.random.key(0), observation[:1], start, first[:1])
    memory, kept, a_t = start, [], []
    for t in range(T):
        act = jax.jit(partial(actor_critic.act_and_keep, network))
        a, memory, of_step = act(params, memory, observation[t], first[t], jax.random.key(t))
        kept.append(of_step)
        a_t.append(a)
    r_t = jnp.asarray(rng.normal(size=(T, B)), jnp.float32)
    done, valid = jnp.zeros((T, B), bool).at[1, 1].set(True), jnp.ones((T, B), bool).at[2, 1].set(False)
    row = Row(first[:-1], jnp.stack(a_t), r_t, done, done, valid)
    again = Trajectory(start, observation[:-1], row, (), observation[-1], first[-1])
    gradient = jax.jit(jax.value_and_grad(actor_critic.loss, has_aux=True), static_argnums=(1, 3))
    expected, of_kept = (
        gradient(params, network, again._replace(extras=extras), HYPER) for extras in ((), parallel.stack(kept))
    )
    for ours, theirs in zip(jax.tree.leaves(of_kept), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * np.abs(theirs).max())
    changed = parallel.stack(kept)._replace(activations=tuple(2 * y for y in parallel.stack(kept).activations))
    other = gradient(params, network, again._replace(extras=changed), HYPER)
    assert max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (other[1], expected[1])), strict=True)) > 1e-4
