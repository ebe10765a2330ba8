"""A game as a film: a file that plays, whole or absent."""

import resource

import imageio.v2 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import environments
from jaxrl.agent import Policy
from jaxrl.shell import video


def sample(params, memory, observation, first, key, greedy=False):
    """Act at random, and remember how many games began."""
    return jax.random.randint(key, first.shape, 0, 18, jnp.int32), memory + first


POLICY = Policy(lambda num_envs: jnp.zeros(num_envs, jnp.int32), sample)


def make_pool(num_envs=1, render=True):
    return environments.make("Riverraid-v5", "machado", num_envs, 3, training=False, render=render)


def test_a_game_is_filmed_to_its_end_and_scored(tmp_path):
    path = tmp_path / "game.mp4"
    score = video.record(POLICY, {}, make_pool(), path, jax.random.key(0))
    seen = list(video.frames(POLICY, {}, make_pool(), jax.random.key(0), False, None, 5000))
    with imageio.get_reader(path) as film:
        about = film.get_meta_data()
        assert film.count_frames() == len(seen) > 50
        shown = film.get_data(20).astype(int)
    assert (about["size"], about["fps"], about["codec"]) == ((320, 420), 15, "h264")
    assert about["pix_fmt"].startswith("yuv420p")  # what browsers play
    frame = np.repeat(np.repeat(seen[20][0], 2, 0), 2, 1)
    assert np.abs(shown - frame).mean() < 8 < np.abs(shown - 128).mean()
    assert score == sum(reward for _, reward in seen) > 0
    assert [p.name for p in tmp_path.iterdir()] == ["game.mp4"]


def test_a_long_game_is_cut_short(tmp_path):
    video.record(POLICY, {}, make_pool(), tmp_path / "game.mp4", jax.random.key(0), max_steps=7)
    with imageio.get_reader(tmp_path / "game.mp4") as film:
        assert film.count_frames() == 8


def test_a_film_that_fails_leaves_nothing(tmp_path):
    def fail(*args, greedy):
        raise RuntimeError("no action")

    with pytest.raises(RuntimeError, match="no action"):
        video.record(Policy(POLICY.initial_memory, fail), {}, make_pool(), tmp_path / "game.mp4", jax.random.key(0))
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_is_cut_short_takes_the_place_of_none(tmp_path):
    """The encoder cannot write more than some bytes, and imageio does not look at how it ended."""
    path, limits = tmp_path / "game.mp4", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_text("an older one")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"game\.mp4 could not be written: the encoder left 0 of 31 frames"):
            video.record(POLICY, {}, make_pool(), path, jax.random.key(0), max_steps=30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "an older one" and len(list(tmp_path.iterdir())) == 1


def test_pools_that_cannot_be_filmed(tmp_path):
    with pytest.raises(ValueError, match="one environment; the pool has 2"):
        video.record(POLICY, {}, make_pool(2), tmp_path / "game.mp4", jax.random.key(0))
    with pytest.raises(ValueError, match="render=True"):
        video.record(POLICY, {}, make_pool(render=False), tmp_path / "game.mp4", jax.random.key(0))
    with pytest.raises(OSError, match="does not exist"):
        video.record(POLICY, {}, make_pool(), tmp_path / "none" / "game.mp4", jax.random.key(0))
    assert list(tmp_path.iterdir()) == []
