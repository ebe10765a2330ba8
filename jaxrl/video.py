"""A game as a film (the one adapter of imageio)."""

import os
from pathlib import Path

import imageio.v2 as imageio
import jax
import numpy as np

from jaxrl import rollout
from jaxrl.algorithms import Policy

FRAMES_PER_SECOND = 15  # one picture an agent step of 4 frames at 60 Hz: real time
SCALE = 2


def record(policy: Policy, params, pool, path, key, greedy=False, normalizer=None, max_steps: int = 5000) -> float:
    """Play one game in a pool of one environment, made with `render=True`, and write it to an mp4 file.

    The film is streamed to a temporary name and renamed when it is whole. Returns the game's score so far after
    `max_steps` agent steps at the latest.

    Raises: ValueError when the pool has more than one environment.
    """
    if pool.num_envs != 1:
        raise ValueError(f"a video shows one environment; the pool has {pool.num_envs}.")
    if normalizer is None:
        normalizer = rollout.init_normalization(pool.protocol, 1)
    act = jax.jit(policy.act, static_argnames="greedy")
    see = jax.jit(rollout.see)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp.mp4")
    state, memory, first, score = pool.reset(), policy.initial_memory(1), np.ones(1, bool), 0.0
    normalizer, observation = see(normalizer, state.observation)
    with imageio.get_writer(temporary, fps=FRAMES_PER_SECOND, codec="libx264", macro_block_size=2) as film:
        for _ in range(max_steps):
            film.append_data(np.kron(pool.render(), np.ones((SCALE, SCALE, 1), np.uint8)))
            key, subkey = jax.random.split(key)
            a, memory = act(params, memory, observation, first, subkey, greedy=greedy)
            state, step = pool.host_step(state, np.asarray(a))
            normalizer, observation = see(normalizer, step.observation)
            score, first = score + float(step.raw_reward[0]), np.zeros(1, bool)
            if step.game_over[0]:
                break
    os.replace(temporary, path)
    return score
