"""Targets of learning: sums of rewards over time. No parameters, no gradient.

Conventions. Written for one stream of experience; `jax.vmap` batches it. Time stands in the name: `v_tm1` is
the value of the state before the reward `r_t`, `v_t` of the state after it. The end of an episode is
`discount_t = 0` (nothing more to come) or `lambda_t = 0` (more would have come, but it was not seen: the sum
stops there and bootstraps from `v_t`).

What stands behind a factor of 0 is not looked at, even where it is infinite or NaN: a terminal step gives its reward.
The arguments are arrays, lists or numbers of any real type; the result has the widest of their floating-point types.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.losses.weighting import times


def gae(r_t, discount_t, v_tm1, v_t, lambda_t) -> jax.Array:
    """Generalised advantage estimates of one stream.

        δ_t = r_t + γ_t v_t − v_tm1            A_t = δ_t + γ_t λ_t A_{t+1},   A_{T+1} = 0

    With λ = 1 it is the return, bootstrapped from the last value, minus the value; with λ = 0 the
    one-step temporal difference. See "High-dimensional continuous control using generalized advantage
    estimation" by Schulman et al. (https://arxiv.org/abs/1506.02438).

    Args:
      r_t: rewards [T].
      discount_t: discounts [T]; 0 where the episode terminated.
      v_tm1: values [T] of the states that were acted in.
      v_t: values [T] of the states that followed.
      lambda_t: mixing weights [T]; 0 where the stream was cut.

    Returns: advantages [T].

    Raises: ValueError when the arguments are not five vectors of one length, TypeError when they are not real numbers.
    """
    r_t, discount_t, v_tm1, v_t, lambda_t = _real(
        r_t=r_t, discount_t=discount_t, v_tm1=v_tm1, v_t=v_t, lambda_t=lambda_t
    )
    _streams("gae", "r_t, discount_t, v_tm1, v_t and lambda_t of one shape [T]", r_t, discount_t, v_tm1, v_t, lambda_t)
    delta_t = r_t + times(discount_t, v_t) - v_tm1

    def accumulate(advantage, now):
        delta, decay = now
        advantage = delta + times(decay, advantage)
        return advantage, advantage

    start = jnp.zeros_like(delta_t, shape=())
    _, advantage_t = lax.scan(accumulate, start, (delta_t, discount_t * lambda_t), reverse=True)
    return advantage_t


def q_target(r_t, discount_t, q_t, selector_t=None) -> jax.Array:
    """What the value of the action taken should be, from one transition.

        r_t + γ_t max_a q_t[a]                            Q-learning
        r_t + γ_t q_t[argmax_a selector_t[a]]             Double Q-learning: one network chooses, the other values

    r_t and γ_t may be those of several steps (`n_step`). See "Deep reinforcement learning with double Q-learning" by
    van Hasselt et al. (https://arxiv.org/abs/1509.06461).

    Args:
      r_t: reward [].
      discount_t: discount []; 0 where the episode terminated.
      q_t: values [A] of the state that followed, by the target network.
      selector_t: values [A] of the same state by the online network, for Double Q-learning.

    Returns: [].

    Raises: ValueError on other shapes, TypeError when the arguments are not real numbers.
    """
    r_t, discount_t, q_t, selector_t = _real(
        r_t=r_t, discount_t=discount_t, q_t=q_t, selector_t=q_t if selector_t is None else selector_t
    )
    _vector("q_target", r_t, discount_t, q_t, selector_t)
    return r_t + times(discount_t, q_t[jnp.argmax(selector_t)])


def sarsa_target(r_t, discount_t, q_t, a_t) -> jax.Array:
    """r_t + γ_t q_t[a_t], with the action a_t that is taken next: Sarsa.

    See "On-line Q-learning using connectionist systems" by Rummery and Niranjan (1994), and Sutton and Barto (2018),
    equation 6.7. Another a_t than the one that is then taken would be a sample of `expected_sarsa_target`.

    Args:
      r_t: reward [].
      discount_t: discount []; 0 where the episode terminated.
      q_t: values [A] of the state that followed.
      a_t: int32 [], the action taken in it.

    Returns: [].

    Raises: ValueError on other shapes, TypeError when the arguments are not real numbers.
    """
    r_t, discount_t, q_t = _real(r_t=r_t, discount_t=discount_t, q_t=q_t)
    _vector("sarsa_target", r_t, discount_t, q_t)
    return r_t + times(discount_t, q_t[a_t])


def expected_sarsa_target(r_t, discount_t, q_t, pi_t) -> jax.Array:
    """r_t + γ_t Σ_a π_t[a] q_t[a]: expected Sarsa; with a greedy policy it is Q-learning.

    See "A theoretical and empirical analysis of expected Sarsa" by van Seijen et al. (doi:10.1109/ADPRL.2009.4927542),
    and Sutton and Barto (2018), equation 6.9.

    Args:
      r_t: reward [].
      discount_t: discount []; 0 where the episode terminated.
      q_t: values [A] of the state that followed.
      pi_t: probabilities [A] of the actions in it; where it is 0, q_t is not looked at.

    Returns: [].

    Raises: ValueError on other shapes, TypeError when the arguments are not real numbers.
    """
    r_t, discount_t, q_t, pi_t = _real(r_t=r_t, discount_t=discount_t, q_t=q_t, pi_t=pi_t)
    _vector("expected_sarsa_target", r_t, discount_t, q_t, pi_t)
    return r_t + times(discount_t, jnp.sum(times(pi_t, q_t)))


def discounted_return(r_t, discount_t) -> jax.Array:
    """The return from each step to the end of what is given.

        G_t = r_t + γ_t G_{t+1},      G = 0 after the last step

    It is the advantage (`gae`) of rewards over values of 0, with λ = 1.

    Args:
      r_t: rewards [T].
      discount_t: γ_t, [T]; 0 where the episode ended.

    Returns: G_t, [T].

    Raises: ValueError when the arguments are not two vectors of one length, TypeError when they are not real numbers.
    """
    r_t, discount_t = _real(r_t=r_t, discount_t=discount_t)
    _streams("discounted_return", "r_t and discount_t of one shape [T]", r_t, discount_t)
    zeros = jnp.zeros_like(r_t)
    return gae(r_t, discount_t, zeros, zeros, jnp.ones_like(r_t))


def n_step(r_t, discount_t, open_t) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rewards of n steps as one, up to the end of the episode or of the stream.

        R = Σ_k r_k Π_{j<k} γ_j          Γ = Π_k γ_k          over the steps before the first that is not open, and it

    A terminated step has γ = 0, so it ends both sums by itself; a truncated one is not open, so that nothing of the
    next episode comes in, and the value of its final observation follows with what Γ is by then.

    Args:
      r_t: rewards [n].
      discount_t: discounts [n]; 0 where the episode terminated.
      open_t: bool [n], the step after this one belongs to the same episode.

    Returns: R [], Γ [], and how many steps were summed, int32 [].

    Raises: ValueError when the arguments are not three vectors of one length, TypeError when they are not real numbers.
    """
    r_t, discount_t = _real(r_t=r_t, discount_t=discount_t)
    open_t = jnp.asarray(open_t)
    _streams("n_step", "r_t, discount_t and open_t of one shape [n]", r_t, discount_t, open_t)
    reached = jnp.concatenate([jnp.ones(1, bool), jnp.cumprod(open_t[:-1]).astype(bool)])
    discount_t = jnp.where(reached, discount_t, 1.0)
    before = jnp.concatenate([jnp.ones(1, discount_t.dtype), jnp.cumprod(discount_t[:-1])])
    return jnp.sum(jnp.where(reached, times(before, r_t), 0.0)), jnp.prod(discount_t), jnp.sum(reached, dtype=jnp.int32)


def categorical_projection(z_t, p_t, z) -> jax.Array:
    """A distribution on the points z_t as one on the fixed points z: each mass goes to its two neighbours.

        p[i] = Σ_j p_t[j] max(0, 1 − |clip(z_t[j], z_1, z_N) − z_i| / Δ),         Δ = z_2 − z_1

    See "A distributional perspective on reinforcement learning" by Bellemare et al. (https://arxiv.org/abs/1707.06887),
    equation 7; there z_t = r_t + γ_t z.

    Args:
      z_t: where the masses are [M].
      p_t: the masses [M].
      z: evenly spaced, ascending points [N], at least two.

    Returns: [N].

    Raises: ValueError on other shapes, TypeError when the arguments are not real numbers.
    """
    z_t, p_t, z = _real(z_t=z_t, p_t=p_t, z=z)
    shapes = [z_t.shape, p_t.shape, z.shape]
    if shapes[0] != shapes[1] or {len(shape) for shape in shapes} != {1} or shapes[2][0] < 2:
        raise ValueError(
            "categorical_projection takes z_t [M], p_t [M] and z [N] (vmap it over streams); "
            f"got {', '.join(map(str, shapes))}."
        )
    distance = jnp.abs(jnp.clip(z_t, z[0], z[-1])[None, :] - z[:, None]) / (z[1] - z[0])
    share = jnp.where((p_t == 0)[None], 0, jnp.maximum(1 - distance, 0.0))  # no mass is nowhere, not even at NaN
    return share @ p_t


def _real(**arrays) -> list:
    """The named arrays in the widest of their types, a floating-point one."""
    found = [_numbers(name, array) for name, array in arrays.items()]
    widest = jnp.result_type(*found, float)
    return [jnp.asarray(array, widest) for array in found]


def _numbers(name, array):
    """It as an array or a Python number, whose type gives way to that of an array."""
    try:
        array = array if isinstance(array, int | float) else jnp.asarray(array)
        dtype = jnp.result_type(array)
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(f"{name} must hold real numbers; got {array!r}.")
    return array


def _streams(name, what, *arrays):
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        raise ValueError(f"{name} takes {what} (vmap it over streams); got {', '.join(map(str, shapes))}.")


def _vector(name, r_t, discount_t, *values):
    shapes = [array.shape for array in (r_t, discount_t, *values)]
    if shapes[0] or shapes[1] or len(set(shapes[2:])) > 1 or len(shapes[2]) != 1:
        raise ValueError(
            f"{name} takes r_t [], discount_t [] and vectors [A] of values (vmap it over transitions); "
            f"got {', '.join(map(str, shapes))}."
        )
