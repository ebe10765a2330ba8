"""Prediction: exact fixed points, each method as a case of another, and the figures of the book."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.returns import gae
from jaxrl.tabular import fixed_points, planning, prediction, worlds
from jaxrl.tabular.prediction import Experience

GAMMA, ALPHA = 0.9, 0.1
MONTE_CARLO = np.array([-0.830, -0.652, -0.466, -0.279, -0.087, 0.093, 0.279, 0.466, 0.652, 0.830])
TD = np.array([-0.693, -0.481, -0.303, -0.146, -0.001, 0.122, 0.250, 0.388, 0.544, 0.731])


@pytest.fixture(scope="module")
def aggregated():
    """The walk of S&B example 9.1: world, policy, values, shares of time, features."""
    world = worlds.walk(1000, 100)
    policy = worlds.uniform(world)
    return world, policy, planning.solve(world, policy), fixed_points.on_policy(world, policy)


FEATURES = fixed_points.groups(1000, 10)


@pytest.fixture(scope="module")
def seen():
    """Four episodes of a discounted walk, and some rows that are not valid."""
    world = worlds.discounted(worlds.walk(5), GAMMA)
    stream = prediction.record(world, worlds.uniform(world), jax.random.key(3), 1, 4, 200)
    return Experience(*(np.pad(leaf[0], (0, 7)) for leaf in stream))


def features(states=5, count=3):
    return jax.random.normal(jax.random.key(8), (states, count))


def ends(seen):
    return np.flatnonzero(seen.valid & (seen.discount_t == 0))


def episodes_of(seen):
    """Lists of (s, r, s'), by the ends alone."""
    first = 0
    for last in ends(seen):
        yield [(seen.s_tm1[t], seen.r_t[t], seen.s_t[t]) for t in range(first, last + 1)]
        first = last + 1


def test_recorded_episodes_are_whole(seen):
    assert (
        len(ends(seen)) == 4 and seen.valid[: ends(seen)[-1] + 1].all() and not seen.valid[ends(seen)[-1] + 1 :].any()
    )
    for episode in episodes_of(seen):
        assert episode[0][0] == 2 and abs(episode[-1][1]) == 1
        for (s, r, s_t), (after, _, _) in zip(episode, episode[1:], strict=False):
            assert r == 0 and s_t == after and abs(s - s_t) == 1
    world = worlds.walk(5)
    with pytest.raises(ValueError, match="40 episodes are longer than 60 steps"):
        prediction.record(world, worlds.uniform(world), jax.random.key(0), 1, 40, 60)


def test_exact_fixed_points(aggregated):
    world, policy, v, mu = aggregated
    found = fixed_points.monte_carlo(FEATURES, v, mu)
    np.testing.assert_allclose(found, MONTE_CARLO, atol=6e-4)
    assert float(fixed_points.value_error(found, FEATURES, v, mu)) == pytest.approx(0.0544, abs=5e-5)
    found = fixed_points.td(FEATURES, world, policy, mu)
    np.testing.assert_allclose(found, TD, atol=6e-4)
    assert float(fixed_points.value_error(found, FEATURES, v, mu)) == pytest.approx(0.1167, abs=5e-5)
    assert float(mu.sum()) == pytest.approx(1, abs=1e-5) and int(jnp.argmax(mu)) == 499


def test_the_update_of_td_is_0_on_average_at_its_fixed_point(aggregated):
    """Over all outcomes with their probabilities; a gradient through the bootstrap is not 0 there."""
    world, policy, v, mu = aggregated

    def mean_update(w, r_t, discount_t):
        def one(s, r, discount, s_t):
            now = Experience(*(jnp.asarray(leaf)[None] for leaf in (s, r, discount, s_t, True)))
            return prediction.semi_gradient(w, FEATURES, now, 1.0)[0] - w

        each = jax.vmap(lambda s: jax.vmap(lambda *row: one(s, *row))(r_t[s], discount_t[s], world.s_t[s, 0]))
        return jnp.einsum("sk,skd", mu[:, None] * world.probability[:, 0], jax.jit(each)(jnp.arange(1000)))

    r_t, discount_t = world.r_t[:, 0], world.discount_t[:, 0]
    td, mc = fixed_points.td(FEATURES, world, policy, mu), fixed_points.monte_carlo(FEATURES, v, mu)
    np.testing.assert_allclose(mean_update(td, r_t, discount_t), 0, atol=1e-6)
    assert np.abs(mean_update(mc, r_t, discount_t)).max() > 5e-4
    returns = jnp.broadcast_to(v[:, None], r_t.shape)
    np.testing.assert_allclose(mean_update(mc, returns, jnp.zeros_like(r_t)), 0, atol=1e-6)


@pytest.mark.parametrize("method", ["monte carlo", "td"])
def test_1000_states_are_learnt(aggregated, method):
    """S&B 9.1 and 9.2, with fewer episodes and a larger step: each leaves the limit of the other for its own."""
    world, policy, *_ = aggregated
    seen = jax.tree.map(lambda leaf: leaf[0], prediction.record(world, policy, jax.random.key(0), 1, 2000, 200_000))
    first, limit = (TD, MONTE_CARLO) if method == "monte carlo" else (MONTE_CARLO, TD)
    targets = prediction.to_the_end(seen) if method == "monte carlo" else seen
    _, ws = prediction.semi_gradient(jnp.asarray(first, jnp.float32), FEATURES, targets, 0.01)
    mean = ws[len(ws) // 2 :].mean(0)
    assert np.abs(mean - limit).mean() < 0.06 < np.abs(mean - first).mean()


def test_one_step_by_hand():
    """The slope is x(s) alone: δ (x(s) − γ x(s')) would be that of another loss."""
    x, w = jnp.array([[1.0, 2.0], [3.0, -1.0]]), jnp.array([0.5, 1.0])
    now = Experience(*(jnp.array([value]) for value in (0, 1.0, 0.9, 1, True)))
    error = 1 + 0.9 * 0.5 - 2.5
    after, ws = prediction.semi_gradient(w, x, now, 0.1)
    np.testing.assert_allclose(after, w + 0.1 * error * x[0], rtol=1e-6)
    np.testing.assert_array_equal(ws[0], after)
    np.testing.assert_array_equal(prediction.semi_gradient(w, x, now._replace(valid=jnp.array([False])), 0.1)[0], w)


def test_lambda_0_is_td_0(seen):
    x = features()
    one = prediction.td_lambda(jnp.ones(3), x, seen, ALPHA, 0.0)[1]
    np.testing.assert_allclose(one, prediction.semi_gradient(jnp.ones(3), x, seen, ALPHA)[1], rtol=1e-5)


def test_one_step_of_n_is_the_experience(seen):
    for new, old in zip(prediction.n_steps(seen, 1), seen, strict=True):
        np.testing.assert_allclose(np.asarray(new)[seen.valid], old[seen.valid])


def test_infinitely_many_steps_are_monte_carlo(seen):
    many, whole = prediction.n_steps(seen, 300), prediction.to_the_end(seen)
    np.testing.assert_allclose(many.r_t, whole.r_t, rtol=1e-5)
    assert not np.asarray(many.discount_t).any() and not np.asarray(whole.discount_t).any()
    g = [r * GAMMA ** (len(e) - 1 - t) for e in episodes_of(seen) for t in range(len(e)) for r in [e[-1][1]]]
    np.testing.assert_allclose(whole.r_t[seen.valid], g, rtol=1e-5)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_n_steps_are_those_of_the_book(seen, n):
    """S&B section 7.1, in its own order: at time t the state n steps ago; at the end those that are left."""
    v, alpha = np.zeros(5), 0.3
    for episode in episodes_of(seen):
        T = len(episode)
        for t in range(T + n - 1):
            tau = t - n + 1
            if tau >= 0:
                g = sum(GAMMA ** (i - tau) * episode[i][1] for i in range(tau, min(tau + n, T)))
                if tau + n < T:
                    g += GAMMA**n * v[episode[tau + n][0]]
                v[episode[tau][0]] += alpha * (g - v[episode[tau][0]])
    w, _ = prediction.semi_gradient(jnp.zeros(5), jnp.eye(5), prediction.n_steps(seen, n), alpha)
    np.testing.assert_allclose(w, v, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_offline_td_lambda_is_the_lambda_return(seen, lambda_):
    """Traces and returns make the same changes of an episode; with λ = 1 those of Monte Carlo.

    Discounted, with repeated states and several episodes: γ missing from a trace, or a trace that lives on, shows.
    """
    x, w = np.asarray(features()), np.ones(3)
    for episode in episodes_of(seen):
        s, r, s_t = map(np.array, zip(*episode, strict=True))
        discount = np.where(np.arange(len(s)) == len(s) - 1, 0.0, GAMMA)
        error = np.asarray(gae(r, discount, x[s] @ w, x[s_t] @ w, np.full(len(s), lambda_)))
        if lambda_ == 1:
            returns = r[-1] * GAMMA ** np.arange(len(s) - 1, -1, -1)
            np.testing.assert_allclose(error, returns - x[s] @ w, atol=1e-5)
        w = w + ALPHA * error @ x[s]
    found = prediction.td_lambda(jnp.ones(3), x, seen, ALPHA, lambda_, offline=True)[0]
    np.testing.assert_allclose(found, w, rtol=1e-4)


def test_td_lambda_by_hand_over_two_episodes():
    """A table of two states, γ = 0.5, λ = 0.8: s0 → s1 → end with 1; s1 → end with 1, where nothing is left of s0."""
    rows = [(0, 0.0, 0.5, 1, True), (1, 1.0, 0.0, 0, True), (1, 1.0, 0.0, 0, True)]
    seen = Experience(*map(jnp.array, zip(*rows, strict=True)))
    _, ws = prediction.td_lambda(jnp.zeros(2), jnp.eye(2), seen, 0.5, 0.8)
    np.testing.assert_allclose(ws, [[0, 0], [0.5 * 0.4, 0.5], [0.5 * 0.4, 0.75]], rtol=1e-6)


def test_the_lambda_return_algorithm_goes_from_step_to_step():
    """With λ = 1 its targets are returns, so that it is Monte Carlo on a stream of the same episodes."""
    world = worlds.discounted(worlds.walk(5), GAMMA)
    streams = prediction.record(world, worlds.uniform(world), jax.random.key(3), 1, 6, 300)
    stream, episodes = (jax.tree.map(lambda leaf: leaf[0], found) for found in (streams, prediction.apart(streams)))
    assert episodes.valid.shape[0] == 6 and episodes.valid.sum() == stream.valid.sum()
    w, ws = prediction.lambda_return(jnp.zeros(5), jnp.eye(5), episodes, ALPHA, 1.0)
    mc, _ = prediction.semi_gradient(jnp.zeros(5), jnp.eye(5), prediction.to_the_end(stream), ALPHA)
    np.testing.assert_allclose(w, mc, rtol=1e-5)
    np.testing.assert_array_equal(w, ws[-1])
    half, _ = prediction.lambda_return(jnp.zeros(5), jnp.eye(5), episodes, ALPHA, 0.5)
    assert np.abs(half - mc).max() > 1e-3


def test_figures_of_the_19_states():
    """S&B 7.2, 12.3 and 12.6: the least error over ten episodes is near n = 4 and λ = 0.8, and about 0.25."""
    world = worlds.walk(19)
    policy = worlds.uniform(world)
    v = planning.solve(world, policy)
    np.testing.assert_allclose(v, np.linspace(-0.9, 0.9, 19), atol=1e-5)
    stream, w, x = prediction.record(world, policy, jax.random.key(0), 40, 10, 3000), jnp.zeros(19), jnp.eye(19)
    episodes = prediction.apart(stream)

    def error(learn):
        """The root mean squared error at the ends of episodes, over streams, with the best of some step sizes."""
        alphas = jnp.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
        ws = jax.vmap(lambda alpha: jax.vmap(lambda *seen: learn(alpha, *seen))(stream, episodes))(alphas)
        return float(jnp.nanmin(ws.mean(1)))

    def at_ends(ws, seen):
        over = seen.valid & (seen.discount_t == 0)
        return jnp.sum(jnp.where(over, prediction.rms(ws, x, v), 0.0)) / 10

    def n_step(n):
        return jax.jit(
            lambda alpha, seen, _: at_ends(prediction.semi_gradient(w, x, prediction.n_steps(seen, n), alpha)[1], seen)
        )

    def traces(lambda_):
        return jax.jit(lambda alpha, seen, _: at_ends(prediction.td_lambda(w, x, seen, alpha, lambda_)[1], seen))

    def offline(lambda_):
        return jax.jit(
            lambda alpha, _, seen: prediction.rms(prediction.lambda_return(w, x, seen, alpha, lambda_)[1], x, v).mean()
        )

    steps = {n: error(n_step(n)) for n in (1, 4, 32)}
    assert steps[4] == pytest.approx(0.25, abs=0.02) and steps[4] < steps[1] - 0.05 and steps[4] < steps[32] - 0.05
    for method in (traces, offline):
        mixed = {lambda_: error(method(lambda_)) for lambda_ in (0.0, 0.8, 0.99)}
        assert mixed[0.8] == pytest.approx(0.25, abs=0.02) and mixed[0.8] < min(mixed[0.0], mixed[0.99]) - 0.05


def test_bad_input_is_refused(seen):
    for call, message in [
        (lambda: prediction.semi_gradient(jnp.zeros(3), jnp.eye(5), seen, 0.1), r"weights \[D\].*got \(3,\), \(5, 5\)"),
        (lambda: prediction.td_lambda(jnp.zeros((2, 5)), jnp.eye(5), seen, 0.1, 0.5), "vmap it over streams"),
        (lambda: prediction.n_steps(seen, 0), "n must be at least 1; got 0"),
        (lambda: fixed_points.groups(10, 3), "10 states do not make 3 groups"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
