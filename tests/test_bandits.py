"""Bandits: choices worked by hand, the testbed of the book, and regret against what can be known of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.tabular import bandits
from jaxrl.tabular.bandits import Counts

KEYS = jax.random.split(jax.random.key(0), 2000)
ARMS = jnp.array([0.9, 0.6])


def chosen(act, n, q, keys=KEYS):
    """How often each arm is chosen."""
    arms = jax.vmap(lambda key: act(key, Counts(jnp.asarray(n, float), jnp.asarray(q, float))))(keys)
    return np.bincount(arms, minlength=len(n)) / len(keys)


def runs(act, reward, means, steps, seed=0):
    keys = jax.random.split(jax.random.key(seed), len(means))
    play = jax.jit(jax.vmap(lambda means, key: bandits.play(act, reward, means, key, steps)))
    return (np.asarray(leaf) for leaf in play(means, keys))


def test_means_are_those_of_the_rewards():
    counts = bandits.start(3)
    for arm, reward in [(0, 1.0), (2, 4.0), (0, 2.0), (0, 6.0)]:
        counts = bandits.observe(counts, arm, reward)
    np.testing.assert_allclose(counts.q, [3, 0, 4])
    np.testing.assert_array_equal(counts.n, [3, 0, 1])
    assert bandits.step(counts) == 5


def test_epsilon_greedy_takes_the_best_and_sometimes_any():
    np.testing.assert_array_equal(chosen(partial(bandits.epsilon_greedy, epsilon=0.0), [1, 1, 1], [0, 2, 1]), [0, 1, 0])
    shares = chosen(partial(bandits.epsilon_greedy, epsilon=0.3), [1, 1, 1], [0, 2, 1])
    np.testing.assert_allclose(shares, [0.1, 0.8, 0.1], atol=0.045)  # 5 deviations


def test_ties_are_broken_at_random():
    for act in (bandits.epsilon_greedy, bandits.ucb, bandits.thompson_normal, bandits.thompson_bernoulli):
        np.testing.assert_allclose(chosen(act, [0, 0, 0, 0], [0, 0, 0, 0]), 0.25, atol=0.05)
    np.testing.assert_allclose(chosen(bandits.ucb, [2, 2, 2], [1, 0, 1]), [0.5, 0, 0.5], atol=0.06)


def test_epsilon_decays_as_one_over_t():
    """c K / (gap² t) is 1 up to t = 40 here, and 0.1 at t = 400, of which half goes to the best arm too."""
    act = partial(bandits.decaying_epsilon, c=5.0, gap=0.5)
    np.testing.assert_allclose(chosen(act, [38, 1], [1, 0]), 0.5, atol=0.06)
    np.testing.assert_allclose(chosen(act, [398, 1], [1, 0]), [0.95, 0.05], atol=0.025)


def test_upper_confidence_bounds_by_hand():
    """Ten pulls are made, so t = 11; log 10 in its place would prefer the first arm."""
    n, q = jnp.array([8.0, 2.0]), jnp.array([1.0, 1 - 2 * np.sqrt(np.log(10.5)) * (1 / np.sqrt(2) - 1 / np.sqrt(8))])
    expected = q + 2 * np.sqrt(np.log(11) / n)
    np.testing.assert_allclose(bandits.ucb_values(Counts(n, q)), expected, rtol=1e-6)
    np.testing.assert_array_equal(chosen(bandits.ucb, n, q), [0, 1])
    assert np.argmax(q + 2 * np.sqrt(np.log(10) / n)) == 0


def test_an_arm_that_was_never_pulled_comes_first():
    values = bandits.ucb_values(Counts(jnp.array([0.0, 1.0]), jnp.array([0.0, 100.0])))
    assert values[0] == jnp.inf and jnp.isfinite(values[1])
    assert jnp.isfinite(bandits.ucb_values(Counts(jnp.array([1.0]), jnp.array([0.5])))).all()
    arms, _ = runs(bandits.ucb, bandits.normal, jnp.zeros((50, 6)), 6)
    assert (np.sort(arms, 1) == np.arange(6)).all() and len({tuple(each) for each in arms}) > 40


def test_thompson_draws_from_the_posterior():
    """P(Beta(4, 2) > Beta(2, 3)) by an integral; that of two normals by Φ."""
    from scipy import integrate, stats

    more, _ = integrate.quad(lambda x: stats.beta.pdf(x, 4, 2) * stats.beta.cdf(x, 2, 3), 0, 1)
    shares = chosen(bandits.thompson_bernoulli, [4, 3], [3 / 4, 1 / 3])
    assert shares[0] == pytest.approx(more, abs=0.05)
    more = stats.norm.cdf((3 * 1 / 4 - 0.5 / 2) / np.sqrt(1 / 4 + 1 / 2))
    assert chosen(bandits.thompson_normal, [3, 1], [1.0, 0.5])[0] == pytest.approx(more, abs=0.05)


def test_the_testbed_of_the_book():
    """S&B figures 2.2 and 2.4, with fewer runs: the share of best arms at the end, and the rewards."""
    means = jax.random.normal(jax.random.key(1), (500, 10))
    best, reward = {}, {}
    for name, act in {
        "greedy": partial(bandits.epsilon_greedy, epsilon=0.0),
        "0.01": partial(bandits.epsilon_greedy, epsilon=0.01),
        "0.1": bandits.epsilon_greedy,
        "ucb": bandits.ucb,
        "thompson": bandits.thompson_normal,
    }.items():
        arms, rewards = runs(act, bandits.normal, means, 1000)
        best[name] = (arms == np.argmax(means, 1)[:, None])[:, -50:].mean()
        reward[name] = rewards[:, -50:].mean()
    assert best["0.1"] == pytest.approx(0.80, abs=0.04) and best["greedy"] == pytest.approx(1 / 3, abs=0.08)
    assert best["greedy"] < best["0.01"] < best["0.1"] < best["ucb"] < best["thompson"]
    assert reward["greedy"] == pytest.approx(1.0, abs=0.1)
    assert reward["greedy"] < reward["0.01"] < reward["0.1"] < reward["ucb"] < reward["thompson"] < 1.54


def test_every_run_has_its_own_noise():
    arms, rewards = runs(bandits.epsilon_greedy, bandits.normal, jnp.zeros((30, 4)), 20)
    assert len(np.unique(rewards)) == rewards.size and len(np.unique(arms, axis=0)) == 30


def test_regret_is_that_of_expected_rewards():
    np.testing.assert_allclose(bandits.regret(jnp.array([0.2, 1.0, 0.5]), jnp.array([1, 0, 2, 1])), [0, 0.8, 1.3, 1.3])
    assert (np.diff(bandits.regret(ARMS, jnp.array([0, 1, 0, 0, 1]))) >= 0).all()


def test_bound_of_lai_and_robbins_by_hand():
    """KL(0.6 ‖ 0.9) = 0.6 log(2/3) + 0.4 log 4."""
    assert float(bandits.lai_robbins(ARMS)) == pytest.approx(0.3 / (0.6 * np.log(2 / 3) + 0.4 * np.log(4)), rel=1e-5)
    assert float(bandits.lai_robbins(jnp.array([0.5, 0.5]))) == 0
    assert float(bandits.kl_bernoulli(0.0, 0.5)) == pytest.approx(np.log(2))


def test_how_regret_grows():
    """ε-greedy: ε/2 of the gap a step, for ever. The others: from t = 400 to 1,600 and on to 6,400 by as much."""
    means = jnp.tile(ARMS, (200, 1))
    grown = {}
    for name, act in {
        "constant": bandits.epsilon_greedy,
        "decaying": partial(bandits.decaying_epsilon, c=5.0, gap=0.3),
        "ucb": partial(bandits.ucb, c=np.sqrt(2)),
    }.items():
        arms, _ = runs(act, bandits.bernoulli, means, 6400)
        total = np.asarray(jax.vmap(bandits.regret)(means, arms)).mean(0)
        grown[name] = (total[1599] - total[399]) / np.log(4), (total[-1] - total[1599]) / np.log(4)
    assert grown["constant"][1] * np.log(4) / 4800 == pytest.approx(0.1 / 2 * 0.3, rel=0.1)
    assert grown["decaying"][1] == pytest.approx(5 * 2 / 0.3**2 / 2 * 0.3, rel=0.05)  # Σ ε_t gap / 2
    for name in ("decaying", "ucb"):
        assert grown[name][1] < 1.5 * grown[name][0] and grown["constant"][1] > 3.5 * grown["constant"][0]
        assert min(grown[name]) > bandits.lai_robbins(ARMS)


def test_several_bandits_at_once_are_refused():
    with pytest.raises(ValueError, match=r"of one bandit, \[K\] .*got \(2, 3\)"):
        bandits.play(bandits.ucb, bandits.normal, jnp.zeros((2, 3)), jax.random.key(0), 5)
