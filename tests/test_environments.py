"""Pools: the compiled step against the host's, the flags, the scores against the emulator's, and refusals."""

import dataclasses
import gc
import os
import signal
import subprocess
import sys
import time
import warnings
import weakref

import ale_py
import cv2
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.agents import a3c, options
from jaxrl.environments import PROTOCOLS, envpool_pool, init_normalizer, make, normalize
from jaxrl.environments.pool import environment_seeds

GAME = "Riverraid-v5"


def actions_for(pool, steps, seed=0):
    return np.random.default_rng(seed).integers(pool.spec.action.n, size=(steps, pool.num_envs), dtype=np.int32)


def reckless(pool, steps):
    """Actions held for long, which end a game of Riverraid after some 200 steps."""
    return np.repeat(actions_for(pool, -(-steps // 16)), 16, axis=0)[:steps]


def play(pool, actions, state=None):
    """A compiled rollout, as NumPy: Step with [T, N, ...] leaves."""
    rollout = jax.jit(lambda state, actions: jax.lax.scan(pool.step, state, actions))
    return jax.tree.map(np.asarray, rollout(pool.reset() if state is None else state, actions)[1])


def play_on_host(pool, actions):
    state, steps = pool.reset(), []
    for action in actions:
        state, step = pool.host_step(state, action)
        steps.append(step)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *steps)


def assert_same(a, b):
    for name in a._fields:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def differs(a, b):
    return any(not np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------- the compiled rollout is the host's


@pytest.mark.parametrize(
    "env_id, protocol, steps",
    [(GAME, "machado", 150), (GAME, "nature", 300), (GAME, "origin", 150), ("CartPole-v1", "control", 100)],
)
def test_compiled_rollout_equals_the_host_s_to_the_bit(env_id, protocol, steps):
    pools = [make(env_id, protocol, 3, seed=1, max_episode_steps=70, num_threads=1) for _ in range(2)]
    actions = actions_for(pools[0], steps)
    compiled, host = play(pools[0], actions), play_on_host(pools[1], actions)
    assert (~compiled.valid).sum() > 3 and compiled.raw_reward.any(), "nothing much was seen"
    assert_same(compiled, host)
    assert all(isinstance(leaf, np.ndarray) for leaf in host)


@pytest.mark.parametrize("protocol", ["machado", "nature", "origin"])
def test_shapes_and_types_are_those_announced(protocol):
    pool = make(GAME, protocol, 2, num_threads=1)
    state = pool.reset()
    step = play(pool, actions_for(pool, 5), state)
    assert step.observation.shape == (5, 2, *pool.spec.observation.shape)
    assert step.observation.dtype == state.observation.dtype == pool.spec.observation.dtype
    assert {leaf.dtype for leaf in (step.reward, step.raw_reward)} == {np.dtype("float32")}
    assert {leaf.dtype for leaf in step[3:]} == {np.dtype(bool)}
    assert pool.spec.action.n == 18


def test_height_width_and_stack_are_the_callers_to_choose():
    pool = make(GAME, "machado", 1, height=50, width=60, stack=3)
    assert pool.spec.observation.shape == pool.reset().observation.shape[1:] == (50, 60, 3)
    assert (pool.protocol.height, pool.protocol.width, pool.protocol.stack) == (50, 60, 3)


def test_the_newest_frame_of_a_stack_is_last():
    pool = make(GAME, "nature", 1)
    step = play(pool, actions_for(pool, 20))
    np.testing.assert_array_equal(step.observation[1:, ..., :3], step.observation[:-1, ..., 1:])
    assert differs(step.observation[1:], step.observation[:-1])


# ---------------------------------------------------------------- the other families

# env_id: (shape, dtype, the number of actions or the shape of one)
FAMILIES = {
    "CartPole-v1": ((4,), "float32", 2),
    "Pendulum-v1": ((3,), "float32", (1,)),
    "MountainCarContinuous-v0": ((2,), "float32", (1,)),
    "FrozenLake-v1": ((16,), "float32", 4),
    "Taxi-v3": ((500,), "float32", 6),
    "CliffWalking-v1": ((48,), "float32", 4),
    "Blackjack-v1": ((3,), "float32", 2),
    "Catch-v0": ((10, 5), "float32", 3),
    "LunarLander-v3": ((8,), "float32", 4),
    "LunarLanderContinuous-v3": ((8,), "float32", (2,)),
    "BipedalWalker-v3": ((24,), "float32", (4,)),
    "CarRacing-v3": ((96, 96, 3), "uint8", (3,)),
    "MiniGrid-DoorKey-5x5-v0": ((7, 7, 3), "uint8", 7),
    "HalfCheetah-v5": ((17,), "float32", (6,)),
    "MazeEasy-v0": ((64, 64, 3), "uint8", 15),
}
ENDING_BY_THEMSELVES = ("Blackjack-v1", "Catch-v0", "MazeEasy-v0")  # EnvPool sets them no time limit


def make_or_skip(env_id, *arguments, **options):
    try:
        return make(env_id, None, *arguments, **options)
    except ValueError as error:
        if "Qt" in str(error):
            pytest.skip(str(error))  # Procgen needs a library of the system's
        raise


def random_actions(pool, steps, seed=0):
    space, draw = pool.spec.action, np.random.default_rng(seed)
    if not space.shape:
        return actions_for(pool, steps, seed)
    return draw.uniform(*space.bounds(), size=(steps, pool.num_envs, *space.shape)).astype(np.float32)


@pytest.mark.parametrize("env_id", FAMILIES)
def test_each_family_compiled_and_on_the_host(env_id):
    """One announced shape and type, the same rows either way, and a time limit that the caller sets."""
    shape, dtype, actions = FAMILIES[env_id]
    limit = {} if env_id in ENDING_BY_THEMSELVES else {"max_episode_steps": 9}
    pools = [make_or_skip(env_id, 2, seed=1, num_threads=1, **limit) for _ in range(2)]
    spec = pools[0].spec
    assert (spec.observation.shape, spec.observation.dtype) == (shape, dtype)
    assert (spec.action.shape or spec.action.n) == actions
    steps = 200 if limit else 510
    actions = random_actions(pools[0], steps)
    compiled = play(pools[0], actions)
    assert_same(compiled, play_on_host(pools[1], actions))
    assert compiled.observation.shape == (steps, 2, *shape) and compiled.observation.dtype == dtype
    assert differs(compiled.observation[1:], compiled.observation[:-1])
    ends = compiled.terminated | compiled.truncated
    assert ends.any() and not (compiled.terminated & compiled.truncated).any()
    np.testing.assert_array_equal(compiled.game_over, ends)
    np.testing.assert_array_equal(compiled.valid[1:], ~ends[:-1])
    lengths = np.diff(np.flatnonzero(~compiled.valid[:, 0]), prepend=-1) - 1
    assert not limit or lengths.max() <= 9 and (compiled.truncated[8] | ends[:8].any(0)).all()


def test_a_discrete_observation_is_one_hot():
    """FrozenLake's field is the one that EnvPool's own numbers say, and one alone."""
    pool = make("FrozenLake-v1", num_envs=3, seed=2, num_threads=1)
    raw = make("FrozenLake-v1", num_envs=3, seed=2, num_threads=1)._env
    raw.reset()
    state, actions = pool.reset(), actions_for(pool, 40)
    np.testing.assert_array_equal(np.asarray(state.observation), np.eye(16)[[0, 0, 0]])
    step = play(pool, actions, state)
    np.testing.assert_array_equal(step.observation, np.eye(16)[[raw.step(action)[0] for action in actions]])
    assert len(np.unique(step.observation.argmax(-1))) > 3


def test_bounds_that_mean_none_are_none():
    """EnvPool says for LunarLander: at least the smallest positive number."""
    assert make("LunarLander-v3", num_envs=1).spec.observation[2:] == (-np.inf, np.inf)


def test_float64_is_read_as_it_is():
    """MuJoCo's observations, which the compiled step would corrupt, against EnvPool's own by hand."""
    pool, raw = (make("Hopper-v5", num_envs=2, seed=3, num_threads=1) for _ in range(2))
    state, actions = pool.reset(), random_actions(pool, 60)
    first, _ = raw._env.reset()
    assert first.dtype == np.float64
    np.testing.assert_array_equal(state.observation, first.astype(np.float32))
    step = play(pool, actions, state)
    for t, action in enumerate(actions):
        observation, reward, *_ = raw._env.step(action)
        np.testing.assert_array_equal(step.observation[t], observation.astype(np.float32))
        np.testing.assert_array_equal(step.reward[t], reward)


def test_cliff_walking_has_a_time_limit_after_all():
    assert make("CliffWalking-v1", num_envs=1).protocol.max_episode_steps == 1000
    assert make("CliffWalking-v1", num_envs=1, max_episode_steps=50).protocol.max_episode_steps == 50


def test_without_a_compiled_step_envpool_is_stepped_from_the_host(monkeypatch):
    """As on macOS and Windows."""
    compiled = make(GAME, "machado", 2, seed=1)
    monkeypatch.setattr(envpool_pool, "_has_xla", lambda space: False)
    called = make(GAME, "machado", 2, seed=1)
    assert called._xla_step is None and compiled._xla_step is not None
    actions = actions_for(called, 60)
    assert_same(play(called, actions), play(compiled, actions))


@pytest.mark.parametrize("env_id, low, high", [("Pendulum-v1", -2, 2), ("LunarLanderContinuous-v3", -1, 1)])
def test_a_real_action_out_of_range_is_clipped_when_compiled_and_refused_on_the_host(env_id, low, high):
    wild, tame = (make(env_id, num_envs=2, seed=1, num_threads=1) for _ in range(2))
    actions = 3 * random_actions(wild, 30)
    assert (actions > high).any() and (actions < low).any()
    assert_same(play(wild, actions), play(tame, actions.clip(low, high)))
    for bad in (np.full_like(actions[0], high + 1), np.full_like(actions[0], np.nan)):
        with pytest.raises(ValueError, match=f"are {low}.0 to {high}.0, got"):
            wild.host_step(wild.reset(), bad)
    with pytest.raises(TypeError, match="must be float32, got int32"):
        wild.step(wild.reset(), actions[0].astype(np.int32))
    with pytest.raises(ValueError, match="must have the shape"):
        wild.step(wild.reset(), actions[0][:, 0])


# ---------------------------------------------------------------- the ends of episodes


@pytest.mark.parametrize("protocol", ["machado", "origin"])
def test_the_time_limit_truncates_and_the_next_row_is_a_reset(protocol):
    pool = make(GAME, protocol, 3, max_episode_steps=70, num_threads=1)
    step = play(pool, actions_for(pool, 142))
    row = np.arange(142)[:, None] % 71  # 70 steps and a reset
    np.testing.assert_array_equal(step.truncated, np.broadcast_to(row == 69, (142, 3)))
    np.testing.assert_array_equal(step.valid, np.broadcast_to(row != 70, (142, 3)))
    np.testing.assert_array_equal(step.game_over, step.truncated)
    assert not step.terminated.any()
    assert step.raw_reward[step.valid].any() and not step.raw_reward[~step.valid].any()


def test_the_action_of_a_reset_row_is_ignored():
    pools = [make(GAME, "machado", 2, max_episode_steps=15) for _ in range(2)]
    actions = actions_for(pools[0], 60)
    first = play(pools[0], actions)
    other = np.where(first.valid, actions, (actions + 1) % 18).astype(np.int32)
    assert_same(first, play(pools[1], other))


def test_a_game_over_on_the_last_permitted_step_is_terminated():
    pool = make(GAME, num_envs=1)
    actions = reckless(pool, 400)
    length = int(play(pool, actions).terminated[:, 0].argmax()) + 1
    assert 1 < length < 400
    step = play(make(GAME, num_envs=1, max_episode_steps=length), actions[: length + 1])
    assert step.terminated[length - 1] and step.game_over[length - 1] and not step.truncated.any()
    step = play(make(GAME, num_envs=1, max_episode_steps=length - 1), actions[: length + 1])
    assert step.truncated[length - 2] and not step.terminated.any()


def test_a_lost_life_ends_the_episode_in_training_only_and_never_the_game():
    training = make(GAME, "nature", 2, seed=4, height=21, width=21)
    step = play(training, reckless(training, 800))
    for env in range(2):
        ends = np.flatnonzero(step.terminated[:, env])
        overs = np.flatnonzero(step.game_over[:, env])
        assert len(overs) >= 2
        assert [np.searchsorted(ends, over) % 4 for over in overs] == [3] * len(overs), "four lives a game"
        np.testing.assert_array_equal(np.flatnonzero(~step.valid[:, env]), ends[ends < 799] + 1)
    playing = make(GAME, "nature", 2, seed=4, height=21, width=21, training=False)
    step = play(playing, reckless(playing, 500))
    assert step.terminated.any()
    np.testing.assert_array_equal(step.terminated, step.game_over)


def test_rules_in_place_of_the_protocols_own():
    """As options of a run give them: lives that end an episode, another reward, another image."""
    config = a3c.Config(env=GAME, life_loss=True, reward="root", image_size=24, image_width=20, frame_stack=2)
    pool, frozen = config.make_pool(2, seed=4), config.make_pool(2, seed=4, training=False)
    assert pool.spec.observation.shape == config.spec().observation.shape == (24, 20, 2)
    step = play(pool, reckless(pool, 500))
    assert step.terminated.sum() >= 3 * step.game_over.sum() > 0
    assert set(np.unique(step.raw_reward)) >= {0.0, 30.0, 60.0}
    np.testing.assert_allclose(step.reward, np.sqrt(step.raw_reward / 100), rtol=1e-6)
    host = play_on_host(config.make_pool(2, seed=4), reckless(pool, 500))
    np.testing.assert_allclose(host.reward, step.reward, rtol=1e-6)
    assert_same(host._replace(reward=0), step._replace(reward=0))
    step = play(frozen, reckless(frozen, 500))
    np.testing.assert_array_equal(step.terminated, step.game_over)
    with pytest.raises(ValueError, match="there is no rule 'hight'; did you mean height"):
        make(GAME, hight=24)
    with pytest.raises(ValueError, match="leaves the environment as it is: no .*episodic_life to set"):
        dataclasses.replace(config, env="CartPole-v1", protocol="control").spec()
    with pytest.raises(ValueError, match="--image-size and .* and --life-loss: only for Atari"):
        options.check(dataclasses.replace(config, env="CartPole-v1", protocol="control"))


def test_a_time_limit_ends_the_game_and_not_the_life():
    """Four lives again after the limit: else the emulator had only gone on with the next life."""
    pool = make(GAME, "nature", 1, seed=4, height=21, width=21, max_episode_steps=150)
    step = play(pool, reckless(pool, 1200))
    games = np.split(step.terminated[:, 0], np.flatnonzero(step.game_over[:, 0]) + 1)
    assert step.truncated.sum() > 3 and any(game[:-1].any() for game in games)
    assert all(game.sum() <= 4 for game in games)
    np.testing.assert_array_equal(step.game_over, step.truncated | (step.game_over & step.terminated))


# ---------------------------------------------------------------- the emulator, driven by hand


class Hand:
    """Riverraid as `machado` describes it, through ale-py, frame by frame."""

    def __init__(self, seed):
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setFloat("repeat_action_probability", 0.25)
        self.ale.loadROM(ale_py.roms.get_rom_path("riverraid"))
        self.actions = self.ale.getMinimalActionSet()

    def reset(self):
        self.ale.reset_game()
        self.ale.act(ale_py.Action.NOOP)
        return self.see(self.ale.getScreenGrayscale())

    def step(self, action):
        points, screens = 0, []
        for _ in range(4):
            points += self.ale.act(self.actions[action])
            screens.append(self.ale.getScreenGrayscale())
            if self.ale.game_over():
                break
        return self.see(np.maximum.reduce(screens[-2:])), points, self.ale.game_over()

    def see(self, screen):
        return cv2.resize(screen, (42, 42), interpolation=cv2.INTER_AREA)[..., None]


def test_machado_is_the_game_that_ale_plays_by_hand():
    """Frames, points, ends and scores of whole games; the last frame of a game may be stale in EnvPool."""
    pool = make(GAME, "machado", 1, seed=7)
    hand = Hand(environment_seeds(7, 1)[0])
    state, actions = pool.reset(), reckless(pool, 1200)
    step = play(pool, actions, state)
    np.testing.assert_array_equal(state.observation[0], hand.reset())
    over, score, scores = False, 0, []
    for t, action in enumerate(actions[:, 0]):
        observation, points, over = (hand.reset(), 0, False) if over else hand.step(action)
        score += points
        assert step.raw_reward[t, 0] == points
        assert step.reward[t, 0] == np.sign(points)
        assert step.terminated[t, 0] == step.game_over[t, 0] == over
        if over:
            scores.append(score)
            score = 0
        else:
            np.testing.assert_array_equal(step.observation[t, 0], observation)
    assert len(scores) >= 2
    totals = np.cumsum(step.raw_reward[:, 0])[step.game_over[:, 0]]
    np.testing.assert_array_equal(np.diff(totals, prepend=0), scores)


class Literal:
    """The origin's environment, by Gymnasium's own old registration of it, and its picture, by OpenCV."""

    def __init__(self, seed, limit, dtype):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium's, that a -v0 is old
            self.env = gymnasium.make("Riverraid-v0", max_episode_steps=limit, disable_env_checker=True)
        self.seed, self.dtype = seed, dtype
        self.mean = self.std = self.count = 0

    def reset(self):
        frame, _ = self.env.reset(seed=self.seed)
        self.seed = None
        return self.see(frame)

    def step(self, action):
        frame, points, terminated, truncated, _ = self.env.step(action)
        return *self.see(frame), points, terminated, truncated

    def see(self, frame):
        frame = frame[34 : 34 + 160, :160].astype(self.dtype)
        frame = cv2.resize(cv2.resize(frame, (80, 80)), (42, 42)).mean(2).astype(np.float32) / 255
        self.count += 1
        self.mean = 0.9999 * self.mean + (1 - 0.9999) * frame.mean(dtype=float)
        self.std = 0.9999 * self.std + (1 - 0.9999) * frame.std(dtype=float)
        bias = 1 - 0.9999**self.count
        return frame, (frame - self.mean / bias) / (self.std / bias + 1e-8)


@pytest.mark.parametrize("dtype, atol, atol_normal", [(np.float32, 5e-6, 2e-4), (np.uint8, 1 / 255, 0.05)])
def test_origin_is_its_literal_implementation(dtype, atol, atol_normal):
    """Without the rounding to whole grey levels, which OpenCV does in uint8, to float32's accuracy. With it,
    to that level: 1/255 of the range, and so much over the deviation, some 0.1, of a normalised picture."""
    limit, steps = 70, 200
    pool = make(GAME, "origin", 2, seed=5, max_episode_steps=limit, num_threads=1)
    state, actions = pool.reset(), actions_for(pool, steps)
    step = play(pool, actions, state)
    normalizer, first = normalize(init_normalizer(2), state.observation)
    _, normalized = jax.lax.scan(normalize, normalizer, step.observation)
    for env, seed in enumerate(environment_seeds(5, 2)):
        literal = Literal(seed, limit, dtype)
        observation, standard = literal.reset()
        np.testing.assert_allclose(state.observation[env, ..., 0], observation, rtol=0, atol=atol)
        np.testing.assert_allclose(first[env, ..., 0], standard, rtol=0, atol=atol_normal)
        done = False
        for t in range(steps):
            row = (*literal.reset(), 0, False, False) if done else literal.step(actions[t, env])
            observation, standard, points, terminated, truncated = row
            assert step.valid[t, env] == (not done)
            done = terminated or truncated
            assert (step.raw_reward[t, env], step.reward[t, env]) == (points, np.sign(points))
            assert (step.terminated[t, env], step.truncated[t, env]) == (terminated, truncated)
            np.testing.assert_allclose(step.observation[t, env, ..., 0], observation, rtol=0, atol=atol)
            np.testing.assert_allclose(normalized[t, env, ..., 0], standard, rtol=0, atol=atol_normal)
        literal.env.close()
    assert step.truncated.sum() >= 4


# ---------------------------------------------------------------- seeds


@pytest.mark.parametrize("protocol", ["machado", "origin"])
def test_the_seed_alone_decides(protocol):
    def trajectory(seed, num_envs=3, **options):
        pool = make(GAME, protocol, num_envs, seed=seed, max_episode_steps=40, **options)
        one = np.random.default_rng(0).integers(18, size=(100, 1), dtype=np.int32)
        return play(pool, np.broadcast_to(one, (100, num_envs)))

    threads = 2 if protocol == "machado" else 1  # the processes of `origin` have their own test
    first = trajectory(3, num_threads=1)
    assert_same(first, trajectory(3, num_threads=threads))
    assert_same(jax.tree.map(lambda leaf: leaf[:, :2], first), trajectory(3, num_envs=2, num_threads=threads))
    assert differs(first, trajectory(4, num_threads=1))
    assert differs(*(jax.tree.map(lambda leaf, env=env: leaf[:, env], first) for env in (0, 1)))


@pytest.mark.parametrize("protocol", ["nature", "origin"])
def test_a_second_reset_goes_on_with_the_random_streams(protocol):
    pool = make(GAME, protocol, 2, seed=3, num_threads=1)
    actions = actions_for(pool, 60)
    assert differs(play(pool, actions), play(pool, actions))


def test_pools_of_neighbouring_seeds_share_no_environment():
    assert not set(environment_seeds(0, 64)) & set(environment_seeds(1, 64))
    assert all(0 <= seed < 2**31 for seed in environment_seeds(123, 64))
    assert environment_seeds(0, 3) == environment_seeds(0, 5)[:3]


# ---------------------------------------------------------------- devices, processes, lifetimes


@pytest.mark.parametrize("protocol", ["machado", "origin"])
def test_one_pool_a_device_inside_pmap(protocol):
    def pools():
        return [make(GAME, protocol, 2, seed=seed, max_episode_steps=20, num_threads=1) for seed in (0, 1)]

    mapped, alone = pools(), pools()

    def rollout(state, actions):
        device = jax.lax.axis_index("device")
        steps = [pool.step for pool in mapped]
        return jax.lax.scan(lambda s, a: jax.lax.switch(device, steps, s, a), state, actions)

    state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[pool.reset() for pool in mapped])
    actions = np.stack([actions_for(mapped[0], 50, seed) for seed in (0, 1)])
    _, step = jax.pmap(rollout, axis_name="device", devices=jax.devices()[:2])(state, actions)
    for device in range(2):
        expected = play(alone[device], actions[device])
        assert_same(jax.tree.map(lambda leaf, device=device: np.asarray(leaf[device]), step), expected)


def test_processes_play_what_one_process_plays_and_end_with_the_pool():
    pools = [make(GAME, "origin", 4, seed=2, max_episode_steps=30, num_threads=n) for n in (1, 2)]
    actions = actions_for(pools[0], 80)
    assert_same(*(play(pool, actions) for pool in pools))
    processes = pools[1]._vector.processes
    assert len(processes) == 2
    for process in processes:
        os.kill(process.pid, signal.SIGINT)  # Ctrl-C reaches every process of a terminal
    assert play(pools[1], actions).valid.any() and all(process.is_alive() for process in processes)
    pools[1].close()
    assert not any(process.is_alive() for process in processes)


def test_python_ends_with_a_pool_of_processes_still_open(tmp_path):
    """No main guard, no close: the workers neither run the script, nor outlive it, nor complain."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "import jax.numpy as jnp\n"
        "from jaxrl.environments import make\n"
        "pool = make('Riverraid-v5', 'origin', 4, num_threads=2)\n"
        "state, step = pool.step(pool.reset(), jnp.zeros(4, jnp.int32))\n"
        "print(*[process.pid for process in pool._vector.processes])\n"
    )
    command = [sys.executable, "-W", "error", str(script)]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    once, pids = done.stdout.splitlines()
    assert once == "once" and len(pids.split()) == 2
    assert not any(_runs(pid) for pid in pids.split())


def _runs(pid):
    for _ in range(50):  # the end of a process takes its moment
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return False
        except FileNotFoundError:
            return False
        time.sleep(0.1)
    return True


def test_a_jitted_function_keeps_its_pool_alive_and_then_lets_it_go():
    pool = make(GAME, num_envs=1)
    state, emulators = pool.reset(), weakref.ref(pool._env)
    step = jax.jit(pool.step)
    step(state, jnp.zeros(1, jnp.int32))
    del pool
    gc.collect()
    assert emulators() is not None
    step(state, jnp.zeros(1, jnp.int32))
    del step
    gc.collect()
    assert emulators() is None


def test_a_pool_may_be_dropped_while_it_steps():
    """In a process of its own, with one core: it would wait for ever."""
    code = (
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import jax, numpy as np\n"
        "from jaxrl.environments import make\n"
        "for env_id in ['Taxi-v3', 'gymnasium:CartPole-v1'] * 8:\n"
        "    pool = make(env_id, num_envs=2, num_threads=1)\n"
        "    row = jax.jit(pool.step)(pool.reset(), np.zeros(2, np.int32))\n"
        "    del pool\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, timeout=120, env=os.environ | {"PYTHONPATH": root}, check=True)


@pytest.mark.parametrize("protocol", ["machado", "origin"])
def test_a_closed_pool_refuses(protocol):
    pool = make(GAME, protocol, 1)
    state, action = pool.reset(), np.zeros(1, np.int32)
    pool.close()
    pool.close()
    for call in (pool.reset, lambda: pool.step(state, action), lambda: pool.host_step(state, action)):
        with pytest.raises(RuntimeError, match="is closed"):
            call()


@pytest.mark.parametrize("protocol", ["machado", "origin"])
def test_render_shows_the_latest_frame(protocol):
    pool = make(GAME, protocol, 2, render=True, num_threads=1)
    state = pool.reset()
    before = pool.render()
    play(pool, actions_for(pool, 30), state)
    assert before.shape == (210, 160, 3) and before.dtype == np.uint8
    assert differs(before, pool.render())


# ---------------------------------------------------------------- what EnvPool is told


def test_envpool_is_told_the_protocol():
    """In Riverraid a FIRE at the start changes nothing, so no game would show it."""
    for name, fire, noop in (("machado", False, 1), ("nature", True, 30)):
        config = make(GAME, name, 1)._env.config
        assert (config["use_fire_reset"], config["noop_max"]) == (fire, noop)


@pytest.mark.parametrize(
    "num_envs, asked, cores, expected",
    [
        (8, None, 4, {"num_threads": 4, "thread_affinity_offset": 0}),
        (8, 1, 4, {"num_threads": 1}),
        (2, None, 4, {"num_threads": 2}),
        (8, None, 2, {"num_threads": 2}),
    ],
)
def test_threads_are_pinned_only_when_they_fill_the_machine(monkeypatch, num_envs, asked, cores, expected):
    monkeypatch.setattr(envpool_pool, "available_cores", lambda: cores)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert envpool_pool._threads(num_envs, asked) == expected


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "base, change, message",
    [
        ("machado", {"noop_max": None}, "needs noop_max and max_pool"),
        ("machado", {"max_pool": False}, "needs noop_max and max_pool"),
        ("origin", {"noop_max": 30, "max_pool": True}, "random frame skip has no max_pool or noop_max"),
    ],
)
def test_a_protocol_of_one_s_own_that_cannot_be_played_is_refused(monkeypatch, base, change, message):
    monkeypatch.setitem(PROTOCOLS, "mine", dataclasses.replace(PROTOCOLS[base], name="mine", **change))
    with pytest.raises(ValueError, match=message):
        make(GAME, "mine", 1)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"env_id": "Riveraid-v5"}, "did you mean Riverraid-v5"),
        ({"env_id": "ALE/Riverraid-v5"}, "did you mean Riverraid-v5"),
        ({"env_id": "PongNoFrameskip-v4"}, "did you mean Pong-v5"),
        ({"env_id": "cartpole"}, "did you mean CartPole-v0 or CartPole-v1"),
        ({"env_id": ""}, "no environment ''; did you mean"),
        ({"env_id": "phys2d/Pendulum"}, "did you mean phys2d/Pendulum-v0"),
        ({"env_id": "Snake-v1"}, "family 'jumanji', whose observations are dicts of arrays; jaxrl plays atari, "),
        ({"env_id": "CliffWalking-v0"}, "did you mean CliffWalking-v1"),
        ({"env_id": "Catch-v0", "max_episode_steps": 9}, "Catch-v0: EnvPool sets no time limit here"),
        ({"env_id": "D1Basic-v1"}, "family 'vizdoom', with which jaxrl was not tried"),
        ({"env_id": "Taxi-v3", "render": True}, "draws no Taxi-v3; .* play it as gymnasium:Taxi-v3"),
        ({"env_id": "HalfCheetah-v5", "render": True}, "draws no HalfCheetah-v5"),
        ({"env_id": "CartPole-v1", "env_module": "os"}, "gymnasium:CartPole-v1, or leave env_module out"),
        ({"env_id": "CartPole-v1", "protocol": "machado"}, "'machado' is not for it; use control"),
        ({"protocol": "control"}, "use machado or nature or origin"),
        ({"protocol": "machao"}, "did you mean machado"),
        ({"protocol": "xyz"}, "did you mean machado or nature or origin or control"),
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1, got 0"),
        ({"num_envs": 2.0}, "num_envs must be a whole number of at least 1, got 2.0"),
        ({"num_envs": True}, "num_envs must be"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"height": 0}, "height must be"),
        ({"width": -3}, "width must be"),
        ({"stack": 0}, "stack must be"),
        ({"max_episode_steps": 0}, "max_episode_steps must be"),
        ({"num_threads": 0}, "num_threads must be"),
        ({"protocol": "origin", "height": 84}, r"height 42, width 42, stack 1, got \(84, 42, 1\)"),
        ({"env_id": "CartPole-v1", "protocol": "control", "stack": 4}, "as it is: no stack to set"),
    ],
)
def test_make_refuses_in_a_sentence(wrong, message):
    with pytest.raises(ValueError, match=message):
        make(**{"env_id": GAME} | wrong)


@pytest.fixture(scope="module")
def pool_of_two():
    return make(GAME, num_envs=2, seed=1)


@pytest.mark.parametrize(
    "action, error, message",
    [
        (np.zeros(3, np.int32), ValueError, r"shape \(2,\), one row an environment, got \(3,\)"),
        (np.zeros((2, 1), np.int32), ValueError, r"got \(2, 1\)"),
        (np.int32(0), ValueError, r"got \(\)"),
        (np.zeros(2, np.float32), TypeError, "must be int32, got float32"),
        (np.zeros(2, np.uint8), TypeError, "must be int32, got uint8"),
    ],
)
def test_an_action_of_another_shape_or_type_is_refused(pool_of_two, action, error, message):
    state = pool_of_two.reset()
    with pytest.raises(error, match=message):
        jax.jit(pool_of_two.step)(state, action)
    with pytest.raises(error, match=message):
        pool_of_two.host_step(state, action)


@pytest.mark.parametrize("action", [-1, 18])
def test_an_action_out_of_range_is_refused_on_the_host(pool_of_two, action):
    with pytest.raises(ValueError, match="are 0 to 17, got"):
        pool_of_two.host_step(pool_of_two.reset(), np.array([0, action], np.int32))


def test_an_action_out_of_range_is_clipped_when_compiled():
    wild, tame = (make(GAME, num_envs=1, seed=1) for _ in range(2))
    actions = np.repeat(np.array([[-1], [18], [1_000_000], [-(2**31)]], np.int32), 10, axis=0)
    assert_same(play(wild, actions), play(tame, actions.clip(0, 17)))


def test_render_without_having_asked_is_refused(pool_of_two):
    with pytest.raises(ValueError, match="render=True"):
        pool_of_two.render()
