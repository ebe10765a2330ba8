"""Gymnasium's environments behind `make`: row for row what Gymnasium itself gives, and one's own environments."""

import dataclasses
import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from test_environments import assert_same, differs, play, play_on_host, random_actions

from jaxrl.environments import PROTOCOLS, Box, Discrete, ale_pool, envpool_pool, family, make, spec
from jaxrl.environments.pool import environment_seeds

WORLD = '''
import gymnasium, numpy as np

class World(gymnasium.Env):
    """A walk on 1 .. 5 by the actions 7 (left) and 8 (right); the field is seen, or a picture of it, or a dict."""
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, kind="field", render_mode=None):
        self.kind, self.render_mode, self.field = kind, render_mode, 3
        spaces = gymnasium.spaces
        if kind == "breaks":
            raise OSError("the map is missing")
        self.action_space = spaces.Discrete(2, start=7)
        image = spaces.Box(0, 255, (6, 5, 1), np.uint8)
        self.observation_space = {
            "image": image, "dict": spaces.Dict(image=image, n=spaces.Discrete(2)),
            "float64": spaces.Box(-np.inf, np.inf, (2,), np.float64), "text": spaces.Text(3),
        }.get(kind, spaces.Discrete(5, start=1))
        if kind == "buttons":
            self.action_space = spaces.MultiDiscrete([2, 2])
        if kind == "thrust":
            self.action_space = spaces.Box(np.float32([-1, 0]), np.float32([1, 2]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.kind == "falls":
            raise RuntimeError("no such level")
        self.field = int(self.np_random.integers(2, 5))
        return self.see(), {}

    def step(self, action):
        if self.kind == "thrust":
            return self.see(), float(action[0] + 10 * action[1]), False, False, {}
        assert action in (7, 8), action
        self.field += 2 * int(action) - 15
        return self.see(), float(self.field), self.field in (1, 5), False, {"field": self.field}

    def see(self):
        if self.kind == "image":
            return np.full((6, 5, 1), 50 * self.field, np.uint8)
        return np.array([self.field, 1e300]) if self.kind == "float64" else self.field

    def render(self):
        return np.full((8, 8, 3), self.field, np.uint8)

class Unseen(World):
    def __init__(self):
        super().__init__()

gymnasium.register("World-unseen-v0", Unseen, max_episode_steps=6)
for kind in ("field", "image", "dict", "float64", "text", "buttons", "thrust", "falls", "breaks"):
    gymnasium.register(f"World-{kind}-v0", World, kwargs={"kind": kind}, max_episode_steps=6)
'''


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The name of a module that registers the environments above when it is imported."""
    (tmp_path / "my_world.py").write_text(WORLD)
    (tmp_path / "my_mistake.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_world"
    sys.modules.pop("my_world", None)
    for name in [name for name in gymnasium.registry if name.startswith("World-")]:
        del gymnasium.registry[name]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "FrozenLake-v1"])
def test_every_row_is_gymnasium_s(env_id):
    pool = make(f"gymnasium:{env_id}", None, 3, seed=4, max_episode_steps=30)
    envs = [lambda: gymnasium.make(env_id, max_episode_steps=30)] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's, on a Box's precision
        hand = SyncVectorEnv(envs, autoreset_mode=AutoresetMode.NEXT_STEP)
    state, actions = pool.reset(), random_actions(pool, 200)
    step = play(pool, actions, state)
    raw, _ = hand.reset(seed=environment_seeds(4, 3))
    discrete = isinstance(hand.single_observation_space, gymnasium.spaces.Discrete)
    see = np.eye(pool.spec.observation.shape[0], dtype=np.float32).__getitem__ if discrete else np.float32
    np.testing.assert_array_equal(state.observation, see(raw))
    done = np.zeros(3, bool)
    for t, action in enumerate(actions):
        raw, reward, terminated, truncated, _ = hand.step(action)
        np.testing.assert_array_equal(step.observation[t], see(raw))
        np.testing.assert_array_equal(step.reward[t], reward.astype(np.float32))
        np.testing.assert_array_equal(step.raw_reward[t], step.reward[t])
        np.testing.assert_array_equal(step.terminated[t], terminated)
        np.testing.assert_array_equal(step.truncated[t], truncated & ~terminated)
        np.testing.assert_array_equal(step.game_over[t], terminated | truncated)
        np.testing.assert_array_equal(step.valid[t], ~done)
        done = terminated | truncated
    assert (~step.valid).sum() > 10


def test_compiled_equals_host_and_seeds_repeat():
    def pool(seed, num_envs=3):
        return make("gymnasium:CartPole-v1", "control", num_envs, seed=seed)

    actions = random_actions(pool(0), 100)
    first = play(pool(5), actions)
    assert_same(first, play(pool(5), actions))
    assert_same(first, play_on_host(pool(5), actions))
    assert_same(jax.tree.map(lambda leaf: leaf[:, :2], first), play(pool(5, 2), actions[:, :2]))
    assert differs(first, play(pool(6), actions))
    again = pool(5)
    play(again, actions)
    assert differs(first, play(again, actions)), "a second reset goes on with the random streams"


def test_a_closed_pool_refuses_and_closes_its_environments():
    pool = make("gymnasium:CartPole-v1", num_envs=2)
    pool.reset()
    pool.close()
    assert pool._vector.closed
    with pytest.raises(RuntimeError, match="is closed"):
        pool.reset()


# ---------------------------------------------------------------- one's own environment


def test_one_s_own_environment_by_either_name(world):
    """Fields 1 .. 5 are one-hot, the actions 0 and 1 are its 7 and 8, and its limit of 6 steps holds."""
    assert family("gymnasium:World-field-v0") == "gymnasium"
    pools = [
        make("gymnasium:World-field-v0", num_envs=2, seed=1, env_module=world),
        make("gymnasium:my_world:World-field-v0", num_envs=2, seed=1),
    ]
    assert pools[0].spec == spec("gymnasium:World-field-v0", env_module=world)
    assert pools[0].spec == (Box((5,), np.dtype("float32"), 0.0, 1.0), Discrete(2))
    state, actions = pools[0].reset(), random_actions(pools[0], 60)
    step = play(pools[0], actions, state)
    assert_same(step, play(pools[1], actions))
    field = 1 + np.concatenate([state.observation[None], step.observation]).argmax(-1)
    np.testing.assert_array_equal(np.diff(field, axis=0)[step.valid], (2 * actions - 1)[step.valid])
    np.testing.assert_array_equal(step.reward, np.where(step.valid, field[1:], 0))
    np.testing.assert_array_equal(step.terminated, step.valid & np.isin(field[1:], (1, 5)))
    assert step.truncated.any() and step.terminated.any()


def test_a_compiled_step_clips_each_entry_of_an_action_to_its_bounds(world):
    """The reward is the first entry and ten times the second."""
    pool = make("gymnasium:World-thrust-v0", num_envs=3, env_module=world)
    action = np.array([[-5, -5], [5, 5], [0.5, 1]], np.float32)
    _, step = jax.jit(pool.step)(pool.reset(), action)
    np.testing.assert_array_equal(step.reward, np.array([-1, 21, 10.5], np.float32))


def test_images_stay_as_they_are_and_float64_becomes_float32(world):
    image, vector = (make(f"gymnasium:World-{kind}-v0", num_envs=1, env_module=world) for kind in ("image", "float64"))
    assert image.spec.observation == Box((6, 5, 1), np.dtype("uint8"), 0, 255)
    assert image.reset().observation.dtype == np.uint8
    assert vector.spec.observation == Box((2,), np.dtype("float32"), -np.inf, np.inf)
    with np.errstate(over="ignore"):
        observation = np.asarray(vector.reset().observation)
    assert observation.dtype == np.float32 and observation[0, 0] in (2, 3, 4)


def test_render(world):
    pool = make("gymnasium:World-field-v0", num_envs=2, env_module=world, render=True)
    state = pool.reset()
    before = pool.render()
    jax.block_until_ready(pool.step(state, jnp.ones(2, jnp.int32)))
    assert before.shape == (8, 8, 3) and (pool.render() == before + 1).all()
    with pytest.raises(ValueError, match="render=True"):
        make("gymnasium:World-field-v0", num_envs=1, env_module=world).render()


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("CartPol-v1", {}, "no Gymnasium environment 'CartPol-v1'; did you mean gymnasium:CartPole-v"),
        ("CartPole-v7", {}, "did you mean gymnasium:CartPole-v"),
        ("", {}, "no Gymnasium environment ''"),
        ("World-field-v1", {}, "did you mean gymnasium:World-"),
        ("World-field-v0", {"env_module": "my_wurld"}, "'my_wurld'.* cannot be imported; .*PYTHONPATH"),
        ("my_mistake:World-field-v0", {}, "'my_mistake'.* cannot be imported; .*No module named 'no_such_library'"),
        ("World-dict-v0", {}, "observations of the kind Dict; jaxrl reads one array .* FlattenObservation"),
        ("World-text-v0", {}, "observations of the kind Text"),
        ("World-buttons-v0", {}, r"actions of the kind MultiDiscrete\(\[2 2\]\); jaxrl chooses"),
        ("World-breaks-v0", {}, "World-breaks-v0 cannot be made; OSError: the map is missing"),
        ("World-field-v0", {"protocol": "machado"}, "'machado' is not for it; use control"),
        ("World-field-v0", {"stack": 4}, "no stack to set"),
    ],
)
def test_a_mistake_is_one_sentence(world, name, options, message):
    importlib.import_module(world)
    for ask in (make, spec):
        with pytest.raises(ValueError, match=message) as caught:
            ask(f"gymnasium:{name}", **options)
        assert "\n" not in str(caught.value)


def test_an_environment_that_fails_in_reset_is_one_sentence(world):
    pool = make("gymnasium:World-falls-v0", num_envs=1, env_module=world)
    with pytest.raises(ValueError, match="World-falls-v0 cannot be reset; RuntimeError: no such level"):
        pool.reset()


# ---------------------------------------------------------------- where EnvPool cannot be imported


def both(env_id, protocol, num_envs, training=True, processes=1, **changes):
    """EnvPool's pool and ale-py's, by the same rules."""
    rules = dataclasses.replace(PROTOCOLS[protocol], **changes)
    theirs = envpool_pool.EnvPoolPool(env_id, rules, num_envs, 3, training, 1, False)
    return theirs, ale_pool.AlePool(env_id, rules, num_envs, 3, training, processes, False)


def held(pool, steps):
    """Actions held for long, which end games."""
    return np.repeat(random_actions(pool, -(-steps // 16)), 16, axis=0)[:steps]


@pytest.mark.parametrize(
    "env_id, protocol, changes",
    [
        ("Riverraid-v5", "machado", {"repeat_action_probability": 0.0}),
        ("Riverraid-v5", "machado", {"max_episode_steps": 60}),  # sticky actions too
        ("Riverraid-v5", "nature", {"max_episode_steps": 190}),  # lives, no-ops and FIRE; limits within a life
        (
            "Pong-v5",
            "machado",
            {"repeat_action_probability": 0.0, "height": 105, "width": 80, "stack": 3, "max_episode_steps": 150},
        ),
        ("Pong-v5", "nature", {"max_episode_steps": 150}),
        ("Adventure-v5", "machado", {"max_episode_steps": 150}),  # whose screen has more rows
        ("Breakout-v5", "nature", {"frame_skip": (1, 1), "max_pool": False, "reward": "raw"}),
    ],
)
def test_ale_plays_what_envpool_plays_to_the_bit(env_id, protocol, changes):
    theirs, ours = both(env_id, protocol, 2, **changes)
    assert theirs.spec == ours.spec
    states, actions = (theirs.reset(), ours.reset()), held(ours, 600)
    np.testing.assert_array_equal(*(np.asarray(state.observation) for state in states))
    rows = play(theirs, actions, states[0])
    assert_same(rows, play(ours, actions, states[1]))
    assert (env_id == "Adventure-v5" or rows.raw_reward.any()) and (env_id == "Breakout-v5" or (~rows.valid).any())
    if env_id == "Riverraid-v5" and protocol == "nature":
        assert (rows.terminated & ~rows.game_over).sum() > 5 and rows.truncated.any()


def test_a_life_lost_on_the_last_permitted_step_is_a_truncated_game():
    theirs, ours = both("Riverraid-v5", "nature", 1)
    actions = held(ours, 300)
    length = int(play(ours, actions).terminated[:, 0].argmax()) + 1
    theirs, ours = both("Riverraid-v5", "nature", 1, max_episode_steps=length)
    rows = play(theirs, actions)
    assert_same(rows, play(ours, actions))
    assert 1 < length < 300 and rows.truncated[length - 1] and not rows.terminated[length - 1]


def test_whole_games_of_evaluation_too():
    theirs, ours = both("Riverraid-v5", "nature", 2, training=False)
    actions = held(ours, 500)
    rows = play(theirs, actions)
    assert_same(rows, play(ours, actions))
    assert rows.terminated.any() and (rows.terminated == rows.game_over).all()


def test_a_second_reset_is_a_new_game_there_too():
    theirs, ours = both("Riverraid-v5", "nature", 1)
    actions = held(ours, 40)
    for pool in (theirs, ours):
        play(pool, actions)
    assert_same(play(theirs, actions), play(ours, actions))


def test_processes_play_the_same_and_import_no_jax():
    theirs, ours = both("Riverraid-v5", "machado", 4, processes=2, max_episode_steps=40)
    actions = held(ours, 100)
    assert_same(play(theirs, actions), play(ours, actions))
    with pytest.raises(ValueError, match="render=True"):
        ours.render()
    for process in ours._vector.processes:
        with open(f"/proc/{process.pid}/maps") as maps:
            assert "jaxlib" not in maps.read()
    ours.close()


def test_the_names_are_envpool_s():
    theirs = {name for name, kind in envpool_pool.families().items() if kind == "atari"}
    assert theirs == set(ale_pool.families())
    assert spec("TicTacToe3d-v5", "origin").action == spec("TicTacToe3d-v5").action


WITHOUT = """
import sys
{hide}
import numpy as np
from jaxrl.environments import default_protocol, family, make, spec
for env_id, observation in (("Pong-v5", (42, 42, 1)), ("CartPole-v1", (4,)), ("Pendulum-v1", (3,))):
    pool = make(env_id, num_envs=2, num_threads=1, max_episode_steps=5)
    assert pool.spec == spec(env_id) and pool.spec.observation.shape == observation
    state = pool.reset()
    for _ in range(5):
        state, step = pool.step(state, np.zeros((2, *pool.spec.action.shape), pool.spec.action.dtype))
    assert step.truncated.all() and step.observation.shape == (2, *observation), step
pool = make("Pong-v5", num_envs=2, render=True)
pool.reset()
assert pool.render().shape == (210, 160, 3) and len(np.unique(pool.render())) > 2
assert (family("Pong-v5"), family("Acrobot-v1")) == ("atari", "classic_control")
assert default_protocol("Breakout-v5") == "machado"
for name in ("ALE/Pong-v5", "FrozenLake-v1"):
    try:
        make(name)
    except ValueError as error:
        print(error)
assert "envpool.core" not in sys.modules and not sys.modules.get("envpool")
"""


@pytest.mark.parametrize("broken", [False, True])
def test_without_envpool_atari_and_classic_control_are_played_all_the_same(tmp_path, broken):
    """Not installed, or, as in a bare container, without a library of the system's."""
    hide = "" if broken else "sys.modules['envpool'] = None"
    if broken:
        (tmp_path / "envpool.py").write_text("raise ImportError('libEGL.so.1: cannot open\\nshared object file')")
    root = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    command = [sys.executable, "-W", "error", "-c", WITHOUT.format(hide=hide)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == 0, done.stderr
    notice, *more = done.stderr.splitlines()
    cure = "apt-get install libegl1 libopengl0" if broken else "pip install envpool"
    assert notice.startswith("jaxrl: EnvPool cannot be imported (") and f"try `{cure}`" in notice and not more
    assert "libEGL.so.1: cannot open shared object file" in notice or not broken
    pong, lake = done.stdout.splitlines()
    assert "did you mean Pong-v5?" in pong and "did you mean gymnasium:FrozenLake-v1?" in lake and cure in lake


def test_an_environment_that_cannot_be_shown_need_not_know_of_it(world):
    pool = make("gymnasium:World-unseen-v0", num_envs=2, env_module=world)
    assert play(pool, random_actions(pool, 10)).valid.any()
    with pytest.raises(ValueError, match="render_mode"):
        make("gymnasium:World-unseen-v0", num_envs=1, env_module=world, render=True)
