"""Protocols are plain data that say what they are supposed to say, and refuse what would crash."""

import dataclasses
import json

import pytest

from jaxrl.environments import PROTOCOLS, Protocol


def test_each_is_found_by_its_own_name():
    assert all(PROTOCOLS[name].name == name for name in PROTOCOLS)


@pytest.mark.parametrize(
    "name, sticky, skip, noop, lives, frames, size, normalization",
    [
        ("machado", 0.25, (4, 4), 1, False, 108_000, (42, 42, 1), "none"),
        ("nature", 0.0, (4, 4), 30, True, 108_000, (84, 84, 4), "none"),
        ("origin", 0.25, (2, 4), None, False, 40_000, (42, 42, 1), "exponential"),
    ],
)
def test_the_numbers_of_the_papers(name, sticky, skip, noop, lives, frames, size, normalization):
    protocol = PROTOCOLS[name]
    assert protocol.repeat_action_probability == sticky
    assert protocol.frame_skip == skip
    assert protocol.noop_max == noop
    assert protocol.episodic_life == lives
    assert protocol.max_episode_steps * skip[1] == frames
    assert (protocol.height, protocol.width, protocol.stack) == size
    assert protocol.normalization == normalization
    assert protocol.reward == "sign"
    assert protocol.max_pool == (name != "origin")
    assert protocol.atari


def test_it_travels_through_json():
    fields = json.loads(json.dumps(dataclasses.asdict(PROTOCOLS["origin"])))
    assert Protocol(**fields | {"frame_skip": tuple(fields["frame_skip"])}) == PROTOCOLS["origin"]


@pytest.mark.parametrize("bad", [{"reward": "signs"}, {"normalization": "exponentially"}])
def test_a_rule_with_a_name_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="did you mean (sign|exponential)"):
        dataclasses.replace(PROTOCOLS["machado"], **bad)


@pytest.mark.parametrize("bad", [{"noop_max": 0}, {"frame_skip": (0, 4)}, {"frame_skip": (4, 2)}])
def test_what_would_crash_an_emulator_is_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
        dataclasses.replace(PROTOCOLS["machado"], **bad)
