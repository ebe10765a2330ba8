"""Targets of learning: sums of rewards over time. No parameters, no gradient.

Conventions. Written for one stream of experience; `jax.vmap` batches it. Time stands in the name: `v_tm1` is
the value of the state before the reward `r_t`, `v_t` of the state after it. The end of an episode is
`discount_t = 0` (nothing more to come) or `lambda_t = 0` (more would have come, but it was not seen: the sum
stops there and bootstraps from `v_t`).
"""

import jax
import jax.numpy as jnp
from jax import lax


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

    Raises: ValueError when the arguments are not five vectors of one length.
    """
    shapes = [jnp.shape(a) for a in (r_t, discount_t, v_tm1, v_t, lambda_t)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        raise ValueError(
            "gae takes r_t, discount_t, v_tm1, v_t and lambda_t of one shape [T] (vmap it over streams); "
            f"got {', '.join(map(str, shapes))}."
        )
    delta_t = r_t + discount_t * v_t - v_tm1

    def accumulate(advantage, now):
        delta, decay = now
        advantage = delta + decay * advantage
        return advantage, advantage

    _, advantage_t = lax.scan(accumulate, jnp.zeros((), delta_t.dtype), (delta_t, discount_t * lambda_t), reverse=True)
    return advantage_t
