"""Bandits: one state, K arms, and how to choose among them. S&B chapter 2.

What is known of an arm is how often it was pulled, n, and the mean of its rewards, q, which is 0 before the first. A
way to act is a function `(key, counts) -> arm` of that alone; the step t is the number of pulls so far plus 1. `play`
lets it play one bandit, and `vmap` over keys and arms makes thousands of runs.

Where mistakes lie: ties that always go to arm 0; an arm that was never pulled, whose mean and bonus divide by 0; and a
regret of sampled rewards, in which the noise of the rewards hides what the choices cost.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.losses.weighting import times
from jaxrl.tabular import policies


class Counts(NamedTuple):
    """Pulls n [K] and the means q [K] of their rewards, as numbers with a point."""

    n: jax.Array
    q: jax.Array


def start(arms: int) -> Counts:
    """Nothing is known."""
    return Counts(jnp.zeros(arms), jnp.zeros(arms))


def observe(counts: Counts, arm, reward) -> Counts:
    """q ← q + (r − q) / n for the arm that was pulled, n times by now: (2.3)."""
    n = counts.n.at[arm].add(1.0)
    return Counts(n, counts.q.at[arm].add((reward - counts.q[arm]) / n[arm]))


def epsilon_greedy(key, counts: Counts, epsilon: float = 0.1) -> jax.Array:
    """With probability ε any arm, otherwise the best mean, ties at random: S&B section 2.2. Regret grows linearly."""
    return policies.draw(key, policies.epsilon_greedy(counts.q, epsilon))


def decaying_epsilon(key, counts: Counts, c: float = 5.0, gap: float = 0.1) -> jax.Array:
    """ε-greedy with ε_t = min(1, c K / (gap² t)), t pulls from the first: regret grows as log t.

    `gap` is at most the difference between the best arm and the next. See theorem 3 of "Finite-time analysis of the
    multiarmed bandit problem" by Auer et al. (doi:10.1023/A:1013689704352), which asks for c > 5.
    """
    epsilon = jnp.minimum(1.0, c * len(counts.n) / (gap**2 * step(counts)))
    return epsilon_greedy(key, counts, epsilon)


def ucb_values(counts: Counts, c: float = 2.0) -> jax.Array:
    """q(a) + c sqrt(log t / n(a)), and ∞ for an arm that was never pulled, so that each is pulled once: (2.10).

    t is the step that is to come, 1 at the first. UCB1 of Auer et al. has c = sqrt 2, rewards in [0, 1], and the pulls
    so far, t − 1, in the logarithm.
    """
    bonus = c * jnp.sqrt(jnp.log(step(counts)) / jnp.maximum(counts.n, 1.0))
    return jnp.where(counts.n > 0, counts.q + bonus, jnp.inf)


def ucb(key, counts: Counts, c: float = 2.0) -> jax.Array:
    """The arm of the greatest upper confidence bound, `ucb_values`, ties at random: S&B section 2.7."""
    return policies.draw(key, policies.greedy(ucb_values(counts, c)))


def thompson_bernoulli(key, counts: Counts) -> jax.Array:
    """The arm that is best in a draw from Beta(1 + successes, 1 + failures), for rewards of 0 and 1.

    See "On the likelihood that one unknown probability exceeds another in view of the evidence of two samples" by
    Thompson (doi:10.1093/biomet/25.3-4.285).
    """
    successes = counts.n * counts.q
    return jnp.argmax(jax.random.beta(key, 1.0 + successes, 1.0 + counts.n - successes))


def thompson_normal(key, counts: Counts) -> jax.Array:
    """The arm that is best in a draw from N(n q / (n + 1), 1 / (n + 1)): rewards N(q*, 1), and q* from N(0, 1)."""
    mean = counts.n * counts.q / (counts.n + 1.0)
    return jnp.argmax(mean + jax.random.normal(key, mean.shape) / jnp.sqrt(counts.n + 1.0))


def step(counts: Counts) -> jax.Array:
    """t, the step that is to come: 1 + Σ n."""
    return 1.0 + jnp.sum(counts.n)


def normal(key, mean) -> jax.Array:
    """A reward from N(mean, 1)."""
    return mean + jax.random.normal(key)


def bernoulli(key, mean) -> jax.Array:
    """A reward of 1 with probability `mean`, otherwise 0."""
    return (jax.random.uniform(key) < mean).astype(float)


def play(act: Callable, reward: Callable, means, key, steps: int) -> tuple[jax.Array, jax.Array]:
    """One run on one bandit.

    Args:
      act: `(key, counts) -> arm`.
      reward: `(key, mean) -> reward`.
      means: the expected reward of each arm [K].
      key: of `jax.random`, another for every run.
      steps: T.

    Returns: the arms that were pulled, int32 [T], and their rewards [T].

    Raises: ValueError when the means are not a vector.
    """
    if jnp.ndim(means) != 1:
        raise ValueError(f"play takes the means of the arms of one bandit, [K] (vmap it over runs); got {means.shape}.")

    def pull(counts, key):
        to_act, to_reward = jax.random.split(key)
        arm = act(to_act, counts)
        r = reward(to_reward, means[arm])
        return observe(counts, arm, r), (arm, r)

    return lax.scan(pull, start(len(means)), jax.random.split(key, steps))[1]


def regret(means, arms) -> jax.Array:
    """Expected regret Σ_{τ≤t} (max q* − q*(a_τ)) of the arms [T] that were pulled, [T]; the noise of rewards is out."""
    return jnp.cumsum(jnp.max(means) - means[arms])


def kl_bernoulli(p, q) -> jax.Array:
    """KL(p ‖ q) = p log(p / q) + (1 − p) log((1 − p) / (1 − q)) of two Bernoulli distributions."""
    return times(p, jnp.log(p / q)) + times(1 - p, jnp.log((1 - p) / (1 - q)))


def lai_robbins(means) -> jax.Array:
    """Σ_a Δ_a / KL(p_a ‖ p*): what the regret of no policy that is good on all bandits can grow below, times log t.

    See "Asymptotically efficient adaptive allocation rules" by Lai and Robbins (doi:10.1016/0196-8858(85)90002-8).

    Args:
      means: probabilities of Bernoulli arms [K].

    Returns: [].
    """
    gap = jnp.max(means) - means
    return jnp.sum(jnp.where(gap > 0, gap / jnp.where(gap > 0, kl_bernoulli(means, jnp.max(means)), 1.0), 0.0))
