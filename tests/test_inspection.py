"""What the inspection of a run says: by hand on a small game, and on real ones against the evaluation."""

import dataclasses

import imageio.v2 as imageio
import jax
import numpy as np
import pytest
from test_evaluate import make_run

from jaxrl import environments
from jaxrl.agents import a3c, dqn
from jaxrl.commands import inspect_run as script
from jaxrl.shell import files, inspection
from jaxrl.shell.evaluation import play
from jaxrl.shell.thoughts import BAR, TAKEN, WIDTH, Thoughts

RAM = np.zeros((7, 128), np.uint8)
RAM[:, 55] = [255, 254, 254, 253, 253, 255, 255]  # fuel: a crash after the fourth step, and then a full tank
RAM[:, 56] = [255, 191, 63, 191, 191, 255, 255]
BY_HAND = inspection.Game(
    a_t=np.array([0, 1, 1, 0, 0, 0, 1]),
    r_t=np.array([0.0, 30.0, 500.0, 0.0, 0.0, 30.0, 0.0]),
    lives=np.array([2, 2, 1, 1, 1, 0, 0]),
    unchanged=np.array([False, False, True, True, False, False, True]),
    preference=np.array([[0.25, 0.75]] * 7),
    v=np.arange(7.0),
    ram=RAM,
    cut=False,
)


def test_lives_rewards_and_expectations_by_hand():
    """A life goes up to the step that loses it; the last one ends with the game, lost or cut."""
    assert inspection.lives_of(BY_HAND) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert inspection.lives_of(BY_HAND._replace(lives=None)) == [slice(0, 7)]
    found = inspection.summary([BY_HAND], ["LEFT", "RIGHT"])
    assert (found["score"], found["length"], found["value"]) == (560, 7, 3)
    assert [life["points"] for life in found["lives"]] == [530, 30, 0]
    assert [life["length"] for life in found["lives"]] == [3, 3, 1]
    assert found["rewards"] == {"30": {"a_game": 2, "share": 60 / 560}, "500": {"a_game": 1, "share": 500 / 560}}
    assert found["actions"]["RIGHT"] == {"taken": 3 / 7, "preference": 0.75}
    assert found["value_before_a_lost_life"] == {"-1": np.mean([1, 4])}  # the third life has no step before its last
    around = inspection.around_deaths([BY_HAND])
    assert around.shape == (3, inspection.BEFORE + inspection.AFTER + 1)
    second = around[1, inspection.BEFORE - 3 : inspection.BEFORE + 3]
    np.testing.assert_array_equal(second, [np.nan, 3, 4, 5, 6, np.nan])
    np.testing.assert_array_equal(inspection.around_deaths([BY_HAND._replace(cut=True)]), around[:2])


def test_riverraids_fuel_is_that_of_the_crash_and_not_of_the_new_tank():
    found = inspection.riverraid([BY_HAND._replace(lives=np.array([2, 2, 2, 2, 2, 2, 1]))])
    assert found["fuel_at_crash_median"] == 253 / 255 and found["steps_from_crash_to_next_life_median"] == 3


@pytest.fixture(scope="module")
def agent():
    config = a3c.Config(image_size=42)
    made = a3c.make(config, config.spec())
    return made.policy, made.init(jax.random.key(0)).params


def test_the_games_are_those_of_an_evaluation(agent):
    """The same seed and key give the same games, whether compiled or watched; lives and fuel are the emulator's."""

    def pool():
        return environments.make("Riverraid-v5", num_envs=2, seed=3, training=False, max_episode_steps=400)

    scores = play(*agent, pool(), 3, jax.random.key(1))
    games = inspection.watch(*agent, pool(), 3, jax.random.key(1))
    assert [game.r_t.sum() for game in games] == scores.scores and max(scores.scores) > 0
    assert [len(game.r_t) for game in games] == scores.lengths
    for game in games:
        assert game.lives[0] == 4 and game.lives[-1] < 4 and game.ram[0, 55] in (254, 255)
        np.testing.assert_allclose(game.preference.sum(1), 1, atol=1e-5)
        assert game.unchanged.any() and not game.unchanged.all()


def test_a_q_network_tells_its_values():
    config = dqn.Config(image_size=36, frame_stack=2, hidden=(8,))
    made = dqn.make(config, config.spec())
    params = made.frozen(made.init(jax.random.key(0)))
    observation = np.random.default_rng(0).integers(0, 255, (3, 36, 36, 2), np.uint8)
    q, v = made.policy.look(params, (), observation, np.zeros(3, bool))
    assert q.shape == (3, 18)
    np.testing.assert_array_equal(v, q.max(1))
    a, _ = made.policy.act(params, (), observation, np.zeros(3, bool), jax.random.key(0), greedy=True)
    np.testing.assert_array_equal(a, q.argmax(1))


@pytest.mark.parametrize("limit", [40, 300])
def test_the_script_leaves_table_figure_and_video(limit, tmp_path, monkeypatch, capsys):
    """Whether lives are lost in that time or not."""
    run_dir, cut = make_run(tmp_path / "run"), environments.make
    monkeypatch.setattr(environments, "make", lambda *args, **kw: cut(*args, **kw, max_episode_steps=limit))
    script.main(script.Config(run_dir, games=2, num_envs=2))
    out = capsys.readouterr().out
    assert "| UPRIGHTFIRE |" in out and "game of" in out and ("Riverraid's RAM" in out) == (limit == 300)
    found = files.read_json(run_dir / "inspection.json")
    assert (found["games"], found["length"], found["checkpoint"]) == (2, limit, 200)
    assert (run_dir / "inspection.md").read_text() in out
    assert imageio.imread(run_dir / "inspection.png").shape[1] > 1000
    with imageio.get_reader(run_dir / "inspection.mp4") as film:
        assert film.count_frames() == limit
        assert film.get_meta_data()["size"] == (2 * 160 + WIDTH, 2 * 210)


def test_bars_are_as_long_as_the_preference():
    """The taken action has a colour of its own; a longer bar is more preferred; the line moves up with v."""
    thoughts = Thoughts(["LEFT", "RIGHT"], 200)
    frame = np.zeros((200, 10, 3), np.uint8)
    first = thoughts.beside(frame, np.array([0.25, 0.75]), 0.0, 1)
    second = thoughts.beside(frame, np.array([0.9, 0.1]), 5.0, 0)
    assert first.shape == (200, 10 + WIDTH, 3)

    def count(image, colour):
        return int((image == np.array(colour, np.uint8)).all(-1).sum())

    assert count(first, TAKEN) > 2.5 * count(first, BAR) and count(second, TAKEN) > 5 * count(second, BAR)


def test_mistakes_are_one_sentence(tmp_path):
    run_dir = make_run(tmp_path / "run")
    for options, message in [({"env": "Pong-v5"}, "learnt the actions"), ({"games": 0}, "--games must be above 0"),
                             ({"output": tmp_path / "none"}, "is not a folder"), ({"checkpoint": 7}, "no checkpoint 7"),
                             ({"run_dir": tmp_path}, "not the folder of a run")]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            script.main(dataclasses.replace(script.Config(run_dir), **options))
