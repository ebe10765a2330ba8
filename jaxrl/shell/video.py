"""A game as a video (the one adapter of imageio)."""

import os
from contextlib import closing
from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import jax
import numpy as np

from jaxrl import rollout
from jaxrl.agent import Policy
from jaxrl.shell.files import replacing

FRAMES_PER_SECOND = 60  # of the emulator; the video shows one frame an agent step, in real time
SCALE = 2
MOST_STEPS = 5000


def record(policy: Policy, params, pool, path, key, greedy=False, normalizer=None, max_steps=MOST_STEPS) -> float:
    """Play one game in a pool of one environment, made with `render=True`, and write it to an mp4 file.

    Returns the game's score so far after `max_steps` agent steps at the latest.

    Raises: as `write`; ValueError when the pool has more than one environment, or shows no frames.
    """
    if pool.num_envs != 1:
        raise ValueError(f"a video shows one environment; the pool has {pool.num_envs}.")
    shown = frames(policy, params, pool, key, greedy, normalizer, max_steps)
    return write(path, pool.protocol, ((enlarged(frame), reward) for frame, reward in shown))


def enlarged(frame: np.ndarray) -> np.ndarray:
    """A frame [height, width, 3] at `SCALE` times its size."""
    return np.repeat(np.repeat(frame, SCALE, axis=0), SCALE, axis=1)


def write(path, protocol, frames) -> float:
    """Write images [height, width, 3], each with the raw reward that came with it, to an mp4 file at the game's speed.

    The video is streamed to a temporary name and renamed when it is whole. Returns the sum of the rewards.

    Raises: OSError when the file cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} for the video does not exist.")
    os.environ.setdefault("IMAGEIO_FFMPEG_NO_PREVENT_SIGINT", "1")  # else it forks, which can hang beside JAX's threads
    fps = FRAMES_PER_SECOND / (sum(protocol.frame_skip) / 2)
    score, count = 0.0, 0
    with replacing(path) as temporary:
        # closing: a writer's own `with` leaves the encoder running when something fails, and the file comes after all.
        with closing(imageio.get_writer(temporary, fps=fps, codec="libx264", macro_block_size=2)) as video:
            for frame, reward in frames:
                video.append_data(frame)
                score, count = score + reward, count + 1
        if (written := frames_in(temporary)) < count:
            raise OSError(f"{path} could not be written: the encoder left {written} of {count} frames.")
    return score


def frames_in(path) -> int:
    """The frames of a video file that can be played: imageio does not look at how its encoder ended."""
    try:
        return imageio_ffmpeg.count_frames_and_secs(path)[0]
    except RuntimeError:
        return 0


def frames(policy: Policy, params, pool, key, greedy: bool, normalizer, max_steps: int):
    """The frames of one game with the raw reward that came with each, from the first frame to the last."""
    act, observe = jax.jit(policy.act, static_argnames="greedy"), jax.jit(rollout.observe)
    if normalizer is None:
        normalizer = rollout.init_normalization(pool.protocol, 1)
    state, memory, first = pool.reset(), policy.initial_memory(1), np.ones(1, bool)
    normalizer, observation = observe(normalizer, state.observation)
    yield pool.render(), 0.0
    for _ in range(max_steps):
        key, subkey = jax.random.split(key)
        a, memory = act(params, memory, observation, first, subkey, greedy=greedy)
        state, step = pool.host_step(state, np.asarray(a))
        normalizer, observation = observe(normalizer, step.observation)
        first = np.zeros(1, bool)
        yield pool.render(), float(step.raw_reward[0])
        if step.game_over[0]:
            return
