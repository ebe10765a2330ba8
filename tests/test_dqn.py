import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import layers, parallel
from jaxrl.algorithms import dqn
from jaxrl.networks import QNetwork
from jaxrl.networks.modules import NoisyLinear
from jaxrl.replay import Batch

B, ACTIONS, FEATURES = 6, 3, 4
OPTIMIZER = optax.sgd(0.1)
GAMMA = 0.9


def make_batch(seed=0, size=B) -> Batch:
    """Transitions, of which the first is the last of its episode."""
    rng = np.random.default_rng(seed)
    discount = np.full(size, GAMMA, np.float32)
    discount[0] = 0.0
    return Batch(
        observations=jnp.array(rng.normal(size=(size, 2 * FEATURES)), jnp.float32),
        width=FEATURES,
        a_tm1=jnp.array(rng.integers(0, ACTIONS, size), jnp.int32),
        r_t=jnp.array(rng.normal(size=size), jnp.float32),
        discount_t=jnp.array(discount),
        index=jnp.arange(size),
        probability=jnp.full(size, 1.0 / size),
    )


def make(hyper=None, **options):
    """A network, the parameters of its online and of its target copy, and what the update depends on."""
    hyper = hyper or dqn.Hyperparameters()
    outputs = {"none": 1, "c51": 11, "qr": 5}[hyper.distributional]
    network = QNetwork(ACTIONS, outputs, (16,), **options)
    online, target = (network.init(jax.random.key(seed), jnp.zeros((1, FEATURES))) for seed in (1, 2))
    return network, online, target, hyper


WEIGHT = jnp.linspace(0.1, 0.3, B)


def outputs_of(network, params, s):
    return np.asarray(network.apply(params, s), np.float64)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dueling", ["none", "mean", "max"])
def test_the_gradient_is_the_semi_gradient_written_by_hand(double, dueling):
    """dL/dθ = −Σ w_i clip(y_i − q(s_i, a_i), ±δ) dq(s_i, a_i)/dθ, with y_i a number that θ does not move."""
    network, online, target, hyper = make(dqn.Hyperparameters(double=double, delta=0.5), dueling=dueling)
    batch = make_batch()
    q_t = outputs_of(network, target, batch.s_t)[..., 0]
    chooser = outputs_of(network, online, batch.s_t)[..., 0] if double else q_t
    y = batch.r_t + batch.discount_t * q_t[np.arange(B), chooser.argmax(1)]

    def q_of(params):
        return network.apply(params, batch.s_tm1)[jnp.arange(B), batch.a_tm1, 0]

    error = y - q_of(online)
    _, back = jax.vjp(q_of, online)
    (expected,) = back(-WEIGHT * jnp.clip(error, -0.5, 0.5))
    (value, (errors, report)), gradient = jax.value_and_grad(dqn.loss, has_aux=True)(
        online, target, network, batch, WEIGHT, None, hyper
    )
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-6), gradient, expected)
    np.testing.assert_allclose(errors, np.abs(error), rtol=1e-5)
    huber = np.where(np.abs(error) <= 0.5, 0.5 * error**2, 0.5 * (np.abs(error) - 0.25))
    assert value == pytest.approx(float(np.sum(WEIGHT * huber)), rel=1e-5)
    assert report["q_mean"] == pytest.approx(outputs_of(network, online, batch.s_tm1)[..., 0].max(1).mean(), rel=1e-5)


def test_c51_goes_towards_the_projected_target():
    network, online, target, hyper = make(dqn.Hyperparameters(distributional="c51", v_min=-2.0, v_max=2.0))
    batch, z = make_batch(), np.linspace(-2, 2, 11)
    p_t = np.exp(outputs_of(network, target, batch.s_t))
    p_t /= p_t.sum(-1, keepdims=True)
    log_q = np.asarray(jax.nn.log_softmax(outputs_of(network, online, batch.s_tm1)))
    expected, divergence = 0.0, []
    for i in range(B):
        best = (p_t[i] @ z).argmax()
        p = np.zeros(11)
        for mass, point in zip(p_t[i, best], z, strict=True):  # the paper's algorithm 1
            b = min((np.clip(batch.r_t[i] + batch.discount_t[i] * point, -2, 2) + 2) / (z[1] - z[0]), 10.0)
            low, high = int(np.floor(b)), int(np.ceil(b))
            p[low] += mass * (high - b) if low != high else mass
            p[high] += mass * (b - low)
        chosen = log_q[i, batch.a_tm1[i]]
        expected += WEIGHT[i] * -(p @ chosen)
        divergence.append(np.sum(p * (np.log(np.maximum(p, 1e-12)) - chosen)))
    value, (errors, _) = dqn.loss(online, target, network, batch, WEIGHT, None, hyper)
    assert value == pytest.approx(float(expected), rel=1e-4)
    np.testing.assert_allclose(errors, divergence, rtol=1e-3, atol=1e-5)


def test_quantiles_go_towards_those_of_the_target():
    network, online, target, hyper = make(dqn.Hyperparameters(distributional="qr", double=True))
    batch, tau = make_batch(), (np.arange(5) + 0.5) / 5
    theta = outputs_of(network, online, batch.s_tm1)
    theta_t = outputs_of(network, target, batch.s_t)
    best = outputs_of(network, online, batch.s_t).mean(-1).argmax(-1)
    expected, errors = 0.0, []
    for i in range(B):
        goal = batch.r_t[i] + batch.discount_t[i] * theta_t[i, best[i]]
        mine = theta[i, batch.a_tm1[i]]
        for own, t in zip(mine, tau, strict=True):
            e = goal - own
            huber = np.where(np.abs(e) <= 1, 0.5 * e**2, np.abs(e) - 0.5)
            expected += WEIGHT[i] * np.mean(np.abs(t - (e < 0)) * huber)
        errors.append(abs(goal.mean() - mine.mean()))
    value, (got, _) = dqn.loss(online, target, network, batch, WEIGHT, None, hyper)
    assert value == pytest.approx(float(expected), rel=1e-4)
    np.testing.assert_allclose(got, errors, rtol=1e-4, atol=1e-6)


def test_the_target_network_follows_by_period_and_softly():
    network, online, target, hyper = make(dqn.Hyperparameters(target_period=3))
    state = dqn.init(online, OPTIMIZER)._replace(target=target)
    seen = []
    for seed in range(6):
        before = state
        state, *_ = dqn.update(state, make_batch(seed), WEIGHT, None, network, OPTIMIZER, hyper)
        leaf = jax.tree.leaves(state.target)[0]
        seen.append(bool((leaf == jax.tree.leaves(state.params)[0]).all()))
        if not seen[-1]:
            np.testing.assert_array_equal(leaf, jax.tree.leaves(before.target)[0])
    assert seen == [False, False, True, False, False, True] and state.updates == 6
    soft = dqn.Hyperparameters(target_period=0, target_rate=0.25)
    after, *_ = dqn.update(state, make_batch(9), WEIGHT, None, network, OPTIMIZER, soft)
    jax.tree.map(
        lambda new, old, mine: np.testing.assert_allclose(new, 0.75 * old + 0.25 * mine, rtol=1e-5, atol=1e-6),
        after.target, state.target, after.params,
    )  # fmt: skip


@pytest.mark.parametrize("distributional", ["none", "c51", "qr"])
def test_an_update_mapped_over_seeds_is_that_of_each_seed(distributional):
    network, *_, hyper = make(dqn.Hyperparameters(double=True, distributional=distributional, target_period=2))
    params = [network.init(jax.random.key(seed), jnp.zeros((1, FEATURES))) for seed in range(3)]
    states, batches = [dqn.init(p, OPTIMIZER) for p in params], [make_batch(seed) for seed in range(3)]

    def one(state, batch):
        return dqn.update(state, batch, WEIGHT, None, network, OPTIMIZER, hyper)

    mapped = jax.vmap(one)(parallel.stack(states), parallel.stack(batches))
    apart = parallel.stack([one(s, b) for s, b in zip(states, batches, strict=True)])
    jax.tree.map(lambda m, a: np.testing.assert_allclose(m, a, rtol=1e-4, atol=1e-6), mapped, apart)


def test_two_devices_equal_one_with_both_batches():
    network, online, target, hyper = make()
    state = dqn.init(online, OPTIMIZER)._replace(target=target)
    halves = [make_batch(1), make_batch(2)]
    whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *halves)
    alone, *_ = dqn.update(state, whole, jnp.full(2 * B, 0.5 / B), None, network, OPTIMIZER, hyper)

    def step(state, batch):
        return dqn.update(
            state, batch, jnp.full(B, 1 / B), None, network, OPTIMIZER, hyper, parallel.axis_names(2)
        )[0]

    both = parallel.map_devices(step, 2)(parallel.shard(parallel.stack([state] * 2), 2), parallel.stack(halves))
    for i in range(2):
        jax.tree.map(
            lambda got, e, i=i: np.testing.assert_allclose(got[i], e, rtol=1e-4, atol=1e-6), both.params, alone.params
        )


def test_epsilon_falls_and_spreads():
    linear = dqn.Exploration("linear", start=100, decay=1000, final=0.1)
    for steps, expected in [(0, 1), (99, 1), (100, 1), (600, 0.55), (1100, 0.1), (9999, 0.1)]:
        np.testing.assert_allclose(dqn.epsilon(linear, steps, 3), [expected] * 3, rtol=1e-6)
    spectrum = dqn.Exploration("spectrum", start=100, final=0.4)
    np.testing.assert_allclose(dqn.epsilon(spectrum, 99, 3), [1, 1, 1])
    np.testing.assert_allclose(dqn.epsilon(spectrum, 100, 3), [0.4, 0.4**4.5, 0.4**8], rtol=1e-5)
    assert dqn.epsilon(spectrum, 100, 1).shape == (1,)


def test_actions_are_the_best_or_random_as_often_as_said():
    network, online, *_, hyper = make()
    s = jnp.array(np.random.default_rng(0).normal(size=(2, FEATURES)), jnp.float32)
    best = np.asarray(network.apply(online, s)[..., 0].argmax(-1))
    often = jnp.array([0.0, 0.6])
    keys = jax.random.split(jax.random.key(0), 4000)
    a = np.asarray(jax.vmap(lambda key: dqn.act(network, online, s, key, often, hyper))(keys))
    assert (a[:, 0] == best[0]).all() and a.dtype == np.int32
    count = np.bincount(a[:, 1], minlength=ACTIONS) / len(a)
    expected = np.where(np.arange(ACTIONS) == best[1], 0.4 + 0.2, 0.2)
    np.testing.assert_allclose(count, expected, atol=5 * np.sqrt(0.25 / len(a)))


def test_a_policy_is_greedy_or_nearly():
    network, online, *_, hyper = make(noisy=True)
    s = jnp.array(np.random.default_rng(1).normal(size=(500, FEATURES)), jnp.float32)
    best = network.apply(online, s)[..., 0].argmax(-1)
    policy = dqn.policy(network, hyper, evaluation_epsilon=0.3)
    first = jnp.zeros(500, bool)
    greedy, memory = policy.act(online, policy.initial_memory(500), s, first, jax.random.key(0), greedy=True)
    np.testing.assert_array_equal(greedy, best)
    assert memory == ()
    nearly, _ = policy.act(online, (), s, first, jax.random.key(0))
    assert 0.7 < (nearly == best).mean() < 0.9


def test_noise_moves_a_noisy_network_and_teaches_its_size():
    network, online, target, hyper = make(noisy=True)
    batch = make_batch()
    q = [dqn.apply(network, online, batch.s_tm1, key) for key in (None, jax.random.key(0), jax.random.key(1))]
    assert all(float(jnp.abs(q[i] - q[j]).max()) > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))
    gradient, _ = jax.grad(dqn.loss, has_aux=True)(online, target, network, batch, WEIGHT, jax.random.key(3), hyper)
    for layer in gradient["params"].values():
        assert float(jnp.abs(layer["w_sigma"]).max()) > 0


def test_each_environment_explores_by_noise_of_its_own():
    """Rows of one observation differ as draws for one observation do."""
    network, online, *_, hyper = make(noisy=True, dueling="mean")
    s = jnp.broadcast_to(make_batch().s_tm1[:1], (4000, FEATURES))
    rows = np.asarray(dqn.apply(network, online, s, jax.random.key(0), "row_noise"))
    keys = jax.random.split(jax.random.key(1), 4000)
    draws = np.asarray(jax.vmap(lambda key: dqn.apply(network, online, s[:1], key)[0])(keys))
    np.testing.assert_allclose(rows.std(0), draws.std(0), rtol=0.1)
    np.testing.assert_allclose(rows.mean(0), draws.mean(0), atol=0.1 * rows.std())
    assert len(np.unique(dqn.act(network, online, s, jax.random.key(3), jnp.zeros(4000), hyper, noisy=True))) > 1


def test_the_noise_of_a_row_is_that_of_the_layer():
    layer, x = NoisyLinear(3), make_batch().s_tm1
    params = layer.init(jax.random.key(0), x)
    rngs = {"row_noise": jax.random.key(4)}
    keys = jax.random.split(nn.apply(lambda module: module.make_rng("row_noise"), layer)(params, rngs=rngs), B)
    p, noise = params["params"], [layers.factorized_noise(key, FEATURES, 3) for key in keys]
    names = ("w", "b", "w_sigma", "b_sigma")
    expected = [layers.noisy_linear(row, *(p[n] for n in names), *own) for row, own in zip(x, noise, strict=True)]
    np.testing.assert_allclose(layer.apply(params, x, rngs=rngs), jnp.stack(expected), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_dueling_heads_is_scaled_where_it_enters_the_layers_before():
    """By 1/√2 as published: that of the heads is as it was, that of a hidden layer before them 1/√2 of it."""
    hyper, batch = dqn.Hyperparameters(), make_batch()
    plain, scaled = (QNetwork(ACTIONS, 1, (8, 16), "mean", dueling_gradient=f) for f in (1.0, 2**-0.5))
    online = plain.init(jax.random.key(0), batch.s_tm1)

    def gradient(network):
        return jax.grad(dqn.loss, has_aux=True)(online, online, network, batch, WEIGHT, None, hyper)[0]["params"]

    before, after = gradient(plain), gradient(scaled)
    factors = {name: 2**-0.5 if name == "hidden_0" else 1.0 for name in before}
    assert len(factors) == 5 and float(jnp.abs(before["hidden_0"]["w"]).max()) > 0
    expected = {name: jax.tree.map(lambda g, f=f: g * f, before[name]) for name, f in factors.items()}
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-8), after, expected)


def test_every_layer_before_relu_keeps_the_size_of_its_signal():
    network = QNetwork(6, hidden=(64, 512))
    params = network.init(jax.random.key(0), np.zeros((1, 84, 84, 4), np.uint8))["params"]
    names = ("conv_0", "conv_1", "conv_2", "hidden_0", "q_hidden")
    for w in (params[name]["w"] for name in names):
        assert np.prod(w.shape[:-1]) * np.var(w) == pytest.approx(2, rel=0.1)


def test_values_start_near_zero():
    """Where they start far from it, the target's maximum is what they start with, and takes long to be unlearnt."""
    network, pictures = QNetwork(6), np.random.default_rng(0).integers(0, 256, (8, 84, 84, 4), np.uint8)
    params = network.init(jax.random.key(0), pictures)
    assert 0 < np.abs(network.apply(params, pictures)).max() < 0.1
