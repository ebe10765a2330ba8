"""The run loop on a real game: a killed and resumed run equals an uninterrupted one, to the bit."""

import csv
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxrl.agents import AGENTS, a3c, dqn, dqn_options
from jaxrl.environments import PROTOCOLS
from jaxrl.rollout import Games
from jaxrl.shell import folder, launch, loop, metrics
from jaxrl.shell.checkpoint import CheckpointError, Checkpoints
from jaxrl.shell.evaluation import play
from jaxrl.shell.tally import Tally

ROOT = Path(__file__).resolve().parents[1]
A3C = ROOT / "experiments" / "a3c.py"

COMMON = {
    "total_steps": 480, "num_envs": 4, "log_every": 120, "checkpoint_every": 240, "evaluation_games": 0, "video": False
}  # fmt: skip
A3C_CONFIG = a3c.Config(**COMMON, num_workers=2, t_max=10)
# All that DQN can be, with a replay that is full before the end, and epsilon still falling at the checkpoint.
DQN_CONFIG = dqn.Config(
    **COMMON | dqn_options.RAINBOW | {"epsilon_decay": 300, "epsilon_final": 0.1}, image_size=36, frame_stack=2,
    hidden=(16,), learning_starts=60, batch_size=8, replay_size=240, collect_steps=5, updates=2, target_period=7,
)  # fmt: skip
TIMES = ("seconds", "steps_per_second")


def train(run_dir, config=A3C_CONFIG, **options) -> Path:
    """Train in this process."""
    launch.train(AGENTS[config.algorithm], dataclasses.replace(config, run_dir=run_dir, **options))
    return run_dir


def resume(config):
    """Resume a run in this process, as `--resume` does."""
    launch.train(AGENTS[config.algorithm], config)


def rows(run_dir):
    with (run_dir / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def checkpoint(run_dir, step):
    """Every array of a checkpoint, the clock aside."""
    found = {}
    for item in ("policy", "training"):
        with ocp.CheckpointManager((run_dir / "checkpoints").absolute(), item_names=("policy", "training")) as manager:
            args = ocp.args.Composite(**{item: ocp.args.StandardRestore()})
            found |= {f"{item} {k}": v for k, v in manager.restore(step, args=args)[item].items()}
    return {name: value for name, value in found.items() if "seconds" not in name}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def whole_dqn(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "whole_dqn", DQN_CONFIG)


@pytest.fixture
def any_whole(request):
    return request.getfixturevalue(request.param)


BOTH = pytest.mark.parametrize(
    ("any_whole", "config"), [("whole", A3C_CONFIG), ("whole_dqn", DQN_CONFIG)], indirect=["any_whole"],
    ids=["a3c", "dqn"],
)  # fmt: skip


@BOTH
def test_a_run_that_starts_from_another_has_what_that_learnt(any_whole, config, tmp_path):
    """And nothing else of it, as if initialised so. Another network or game is refused before a folder is made."""
    config = dataclasses.replace(config, start_from=any_whole, seed=5)
    agent = launch.agent_of(AGENTS[config.algorithm], config)
    checkpoints = Checkpoints.create(tmp_path / "checkpoints")
    steps, state, tally = launch.begin(agent, config, checkpoints)
    learnt = {name: value for name, value in checkpoint(any_whole, 480).items() if name.startswith("policy")}
    started = {f"policy {jax.tree_util.keystr(path)}": leaf
               for path, leaf in jax.tree_util.tree_leaves_with_path(loop.frozen(agent, state))}  # fmt: skip
    assert (steps, tally.games) == (0, 0) and learnt.keys() == started.keys()
    for name, value in learnt.items():
        np.testing.assert_array_equal(value, started[name], err_msg=name)
    for options, message in [({"env": "Pong-v5"}, "learnt the actions .* of Riverraid-v5"),
                             ({"hidden": (7,) if config.algorithm == "dqn" else 7}, "its parameter .* has the shape"),
                             ({"start_from": tmp_path}, "not the folder of a run")]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            train(tmp_path / "run", config, **options)
        assert not (tmp_path / "run").exists()


def test_a_run_that_started_from_another_goes_on_without_it(whole, tmp_path):
    gone = shutil.copytree(whole, tmp_path / "gone")
    run_dir = train(tmp_path / "run", start_from=gone, total_steps=240)
    shutil.rmtree(gone)
    resume(dataclasses.replace(folder.saved_config(a3c.Config, run_dir), total_steps=480))
    assert len(rows(run_dir)) == 4


@BOTH
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(any_whole, config, tmp_path, monkeypatch):
    """Killed after the first checkpoint, past the row that it had written next: all is taken back and done again."""
    killed = tmp_path / "killed"

    class Killed(BaseException):
        pass

    original, calls = metrics.RunLog.write, []

    def write_then_die(log, row):
        original(log, row)
        calls.append(row)
        if len(calls) == 3:
            raise Killed

    monkeypatch.setattr(metrics.RunLog, "write", write_then_die)
    with pytest.raises(Killed):
        train(killed, config)
    monkeypatch.undo()
    assert len(rows(killed)) == 3 and len(rows(any_whole)) == 4
    resume(folder.saved_config(type(config), killed))
    assert rows(killed) == rows(any_whole)
    steps = Checkpoints.open(any_whole / "checkpoints").steps()
    assert Checkpoints.open(killed / "checkpoints").steps() == steps
    ours, theirs = (checkpoint(run, steps[-1]) for run in (killed, any_whole))
    assert ours.keys() == theirs.keys() and len(ours) > 60
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@BOTH
def test_another_seed_gives_another_run(any_whole, config, tmp_path):
    """That the same seed gives the same run is shown by the killed one above, in a folder of its own."""
    other = rows(train(tmp_path / "other", config, seed=1, total_steps=240))
    assert [row["params_digest"] for row in other] != [row["params_digest"] for row in rows(any_whole)[:2]]


def test_a_checkpoint_of_64_bit_mode_fits_the_run_that_resumes(tmp_path, x64):
    """Of prioritised replay, whose counts and priorities went from 32 bits to 64; test_types.py has all agents."""
    config = dqn.preset("prioritized", "CartPole-v1")
    small = {"hidden": (8,), "batch_size": 8, "updates": 1, "collect_steps": 16, "learning_starts": 144, "n_step": 1}
    config = dataclasses.replace(config, **small, replay_size=400)
    agent = launch.agent_of(dqn, config)
    first = partial(loop.first_state, agent, PROTOCOLS["control"], config.num_envs, 1, config.seed)
    turns = loop.updates(agent, first(), partial(launch.pools_of, config), loop.Schedule(10**4, 10**4, 10**4), 0)
    *_, (_, state, *_) = itertools.islice(turns, 2)
    assert state.learner.networks.updates == 1
    checkpoints = Checkpoints.create(tmp_path / "c")
    checkpoints.save(256, *launch.of_checkpoint(agent, state))
    _, again = checkpoints.restore(*jax.eval_shape(lambda: launch.of_checkpoint(agent, first())))
    np.testing.assert_array_equal(again.learner.priorities.tree[0], state.learner.priorities.tree[0])


def test_a_run_without_its_replay_fills_it_again(tmp_path):
    run = train(tmp_path / "run", DQN_CONFIG, total_steps=240, save_replay=False)
    assert not any("frame" in name for name in checkpoint(run, Checkpoints.open(run / "checkpoints").latest()))
    resume(dataclasses.replace(folder.saved_config(dqn.Config, run), total_steps=480))
    fill = [float(row["replay_fill"]) for row in rows(run)]
    assert fill[0] < fill[1] > fill[2] and len(fill) == 4 and float(rows(run)[-1]["updates"]) > 0


def test_a_dqn_run_reports_what_it_should(whole_dqn):
    last = {name: float(value) for name, value in rows(whole_dqn)[-1].items() if name != "params_digest"}
    assert {"q_mean", "td_error", "priority_mean", "priority_highest", "epsilon", "replay_fill", "loss"} <= last.keys()
    assert last["priority_highest"] >= last["priority_mean"] > 0 and last["replay_fill"] == 1
    assert last["epsilon"] == pytest.approx(0.1)


def test_dqn_learns_to_balance_the_pole(tmp_path):
    """A fifth of the steps of the preset: well above the 20 steps of a random player."""
    config = dqn.preset("prioritized", "CartPole-v1")
    run = train(
        tmp_path / "run", config, total_steps=20_000, evaluation_games=0, video=False, hidden=(64, 64), updates=2
    )
    assert float(rows(run)[-1]["score_mean_100"]) > 80


def test_a_run_is_a_folder(whole):
    assert {"config.json", "metrics.csv", "checkpoints", "curve.png"} <= set(os.listdir(whole))
    assert any(name.startswith("events.out") for name in os.listdir(whole))
    row = rows(whole)[-1]
    assert {"agent_steps", "score_mean_100", "params_digest", "entropy", "gradient_norm"} <= row.keys()
    assert json.loads((whole / "config.json").read_text())["algorithm"] == "a3c"
    assert int(row["agent_steps"]) >= 480


@pytest.mark.parametrize(
    ("config", "options", "leaves"), [(A3C_CONFIG, {"num_workers": 1}, 15), (DQN_CONFIG, {}, 22)], ids=["a3c", "dqn"]
)
def test_two_devices_train_alike_on_both(config, options, leaves, tmp_path):
    run = train(tmp_path / "two", config, device_count=2, total_steps=240, **options)
    state = checkpoint(run, Checkpoints.open(run / "checkpoints").latest())
    params = {name: value for name, value in state.items() if "training" in name and ".params" in name}
    assert len(params) == leaves
    for value in params.values():
        np.testing.assert_array_equal(value[0], value[1])


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(loop.NotFinite, match=r"agent step \d+.*no good checkpoint had been made yet"):
        train(tmp_path / "nan", learning_rate=1e30, max_grad_norm=1e30)
    original = loop.check_finite

    def fail_late(report, agent_steps):
        original({k: v * np.nan for k, v in report.items()} if agent_steps > 300 else report, agent_steps)

    loop.check_finite = fail_late
    try:
        with pytest.raises(loop.NotFinite, match="last good checkpoint is at agent step 240"):
            train(tmp_path / "late")
    finally:
        loop.check_finite = original
    assert Checkpoints.open(tmp_path / "late" / "checkpoints").latest() == 240


def test_nothing_is_learnt_from_a_draw_that_found_no_transition():
    config = dataclasses.replace(DQN_CONFIG, prioritized=False)
    agent = dqn.make(config, config.spec())
    learner, ring = jax.jit(agent.init)(jax.random.key(0)), agent.storage.init()
    assert not ring.row.valid.any()
    _, report = jax.jit(agent.learn)(learner, ring, jax.random.key(1))
    assert report["gradient_norm"] == 0


def test_the_row_in_which_learning_begins_shows_what_was_learnt():
    tally, nothing = Tally(), Games(np.ones(2, bool), np.zeros(2, bool), np.zeros(2), np.zeros(2, int))
    for loss in (np.nan, 2.0, 4.0):
        tally.add({"loss": np.float32(loss), "td_error": np.float32(np.nan)}, nothing)
    row = tally.row(3, 0, {"w": np.ones(2)})
    assert row["loss"] == 3 and np.isnan(row["td_error"])


def command(*arguments, script=A3C, **options):
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )


def test_bad_input_is_one_sentence(whole, tmp_path):
    """In this process, for speed: what main raises is what the command line prints."""
    damaged = tmp_path / "damaged"
    train(damaged, total_steps=40)
    for file in (damaged / "checkpoints").rglob("*"):
        if file.is_file() and "_CHECKPOINT_METADATA" not in file.name:
            file.write_bytes(b"")
    make = lambda **options: lambda: train(tmp_path / "new", **options)  # noqa: E731
    cases = [
        (make(env="Riverad-v5"), "Riverraid-v5"),
        (make(protocol="machada"), "machado"),
        (make(num_envs=5), "does not divide.*nearest.*is 4"),
        (make(device_count=9), "1 to 2"),
        (make(total_steps=0), "--total-steps must be above 0; got 0"),
        (make(gamma=1.5), "--gamma must be at least 0 and at most 1; got 1.5"),
        (lambda: train(whole), "exists; resume with --resume"),
        (lambda: train(Path("/proc/none/run")), "/proc/none"),
        (lambda: folder.saved_config(a3c.Config, tmp_path), "not the folder of a run"),
        (lambda: folder.config_to_resume(a3c.Config, ["--resume", str(whole), "--seed=3"]), "--seed cannot"),
        (lambda: resume(folder.saved_config(a3c.Config, damaged)), "damaged"),
    ]
    for call, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            call()
        assert "\n" not in str(caught.value).strip(), message


def test_a_saved_config_is_the_one_that_was_written(tmp_path):
    config = dataclasses.replace(DQN_CONFIG, run_dir=tmp_path / "run", hidden=(64, 32))
    folder.new_run(config)
    expected = dataclasses.replace(config, run_dir=None, resume=config.run_dir)
    assert folder.saved_config(type(config), config.run_dir) == expected


def test_bad_input_of_dqn_is_one_sentence(tmp_path):
    make = lambda **options: lambda: train(tmp_path / "new", DQN_CONFIG, **options)  # noqa: E731
    cases = [
        (make(batch_size=61), "--batch-size 61 is more than the 60 steps that learning starts with"),
        (make(learning_starts=300), "--learning-starts 300 is more than --replay-size 240 can hold"),
        (make(learning_starts=8), "--learning-starts 8 is not enough.* it takes 40"),
        (make(replay_size=10**9), r"--replay-size 10+ needs .* GiB to read it .*, and .* would fit"),
        (make(replay_size=10**9, save_replay=False), r"--replay-size 10+ needs .* GiB, and .* would fit"),
        (make(replay_size=8 * 4, learning_starts=20), "--replay-size 32 is not enough.* it takes 40"),
        (make(learning_starts=480, replay_size=999), "--learning-starts 480 leaves none of --total-steps 480"),
        (make(checkpoint_every=7), "--checkpoint-every 7 must be at least twice the 4"),
        (make(distributional="qr", loss="squared"), "--distributional qr has a loss of its own"),
        (make(dueling=False, dueling_rescale=True), "--dueling-rescale is for the gradient of --dueling"),
        (make(image_size=8), r"observations \(8, 8, 2\) do not fit the network: .*kernel"),
        (make(seed=2**31), "--seed must be below 2.31"),
        (make(total_steps=5 * 10**9), "--total-steps must be below 2.31"),
        (make(protocol="origin", image_size=42, frame_stack=1), "--protocol origin normalises them"),
        (make(n_step=0), "--n-step must be above 0"),
        (make(hidden=()), "--hidden takes one or more widths; got none"),
        (make(v_min=3.0, v_max=-3.0), "c51 needs .* --v-max that is larger"),
        (make(device_count=2, num_envs=5), "--num-envs 5 does not divide among 2 devices; the nearest .* 4"),
        (make(epsilon_final=1.5), "--epsilon-final must be at least 0 and at most 1"),
        (lambda: folder.config_to_resume(dqn.Config, ["--resume", "x", "--no-save-replay"]), "--save-replay cannot"),
        (lambda: dqn.preset("natur", "Pong-v5"), "no --preset 'natur' for Pong-v5; did you mean nature"),
        (lambda: dqn.preset("nature", "CartPole-v1"), "no --preset 'nature' for CartPole-v1"),
        (lambda: train(tmp_path / "new", dqn.preset(None, "Pendulum-v1")), "Pendulum-v1 has continuous actions"),
        (lambda: dqn.preset(None, "Riverad-v5"), "did you mean Riverraid-v5"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value).strip(), message


@pytest.mark.parametrize("env", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1"])
@pytest.mark.parametrize("name", dqn_options.PRESETS["control"])
def test_the_points_of_c51_go_as_far_as_the_returns(env, name):
    config = dqn.preset(name, env)
    pool = config.make_pool(1, 0)
    _, step = pool.step(pool.reset(), np.zeros(1, np.int32))
    pool.close()
    forever = float(step.reward[0]) / (1 - config.gamma)
    assert (config.v_min, config.v_max) == pytest.approx((min(forever, 0), max(forever, 0)))


def test_a_run_of_an_older_form_is_not_resumed(whole, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    config = json.loads((whole / "config.json").read_text())
    del config["form"]
    (old / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="made by another version of jaxrl.*cannot be resumed, but .* evaluate"):
        folder.config_to_resume(a3c.Config, ["--resume", str(old)])
    assert folder.saved_config(a3c.Config, old).num_workers == 2


def test_the_command_line_prints_one_sentence_and_exits_with_2():
    done = command("--env", "Riverad-v5")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "Riverraid-v5" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    done = command("--no-such-option", "3")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    done = command("--help")
    assert done.returncode == 0
    for field in dataclasses.fields(a3c.Config):
        assert f"--{field.name.replace('_', '-')}" in done.stdout.replace("--no-", "--"), field.name


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    run = tmp_path / "run"
    options = ["--num-envs", "4", "--log-every", "80", "--evaluation-games", "0", "--run-dir", str(run)]
    process = subprocess.Popen(
        [sys.executable, A3C, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines = [process.stdout.readline() for _ in range(2)]  # what it is, and the first row: training is under way
    assert "1 update(s) old" in lines[0] and "80/" in lines[1]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert f"--resume {run}" in out and "Traceback" not in err
    assert Checkpoints.open(run / "checkpoints").latest() > 0


def test_a_signal_after_a_row_was_shown_saves_too(tmp_path, monkeypatch):
    shown, stopped = metrics.Progress.update, []

    def show(progress, row):
        shown(progress, row)
        if not stopped:  # a second one would interrupt at once
            stopped.append(os.kill(os.getpid(), signal.SIGINT))

    monkeypatch.setattr(metrics.Progress, "update", show)
    run = train(tmp_path / "run", log_every=80)
    assert 80 < Checkpoints.open(run / "checkpoints").latest() < 240


@pytest.mark.parametrize("name", AGENTS)
def test_no_nan_comes_out_of_compiled_code(name):
    """Not before learning begins, when it stands in reports, nor where a segment is one row that is a reset."""
    algorithm = AGENTS[name]
    config = algorithm.preset(None, "CartPole-v1")
    short = {"t_max": 1, "num_envs": 2, "hidden": 8, "widths": (8,)}  # of A3C a worker for each environment
    few = {"learning_starts": 64, "batch_size": 8, "hidden": (16,), "updates": 1, "num_envs": 4}
    config = dataclasses.replace(config, **(few if name == "dqn" else short))
    agent = launch.agent_of(algorithm, config)
    state = loop.first_state(agent, PROTOCOLS["control"], config.num_envs, 1, seed=0)
    schedule = loop.Schedule(10_000, 10_000, 10_000)
    with jax.debug_nans(True):
        turns = loop.updates(agent, state, partial(launch.pools_of, config), schedule, 0)
        reports, games = zip(*((turn.report, turn.games) for turn in itertools.islice(turns, 40)), strict=True)
    assert len({tuple(report) for report in reports}) == 1  # the same columns in each row
    assert any(not each.valid.all() for each in games)
    before = [np.isnan(report["loss"]).all() for report in reports]
    assert before == sorted(before, reverse=True) and any(before) == (name == "dqn") and not all(before)
    assert all(np.isfinite(value).all() for report in reports if "updates" not in report for value in report.values())


def test_keys_go_through_a_checkpoint(tmp_path):
    checkpoints = Checkpoints.create(tmp_path / "c", keep=2)
    tree = {"key": jax.random.key(3), "n": np.array([np.nan, 1.0], np.float32), "b": np.array(True)}
    for step in (1, 2, 3):
        checkpoints.save(step, {"p": np.float32(step)}, tree)
    assert checkpoints.steps() == [2, 3]
    policy, back = checkpoints.restore({"p": np.float32(0)}, tree)
    assert policy["p"] == 3
    np.testing.assert_array_equal(jax.random.key_data(back["key"]), jax.random.key_data(tree["key"]))
    np.testing.assert_array_equal(back["n"], tree["n"])
    with pytest.raises(CheckpointError, match="no checkpoint 7; it has 2, 3"):
        checkpoints.restore_policy({"p": np.float32(0)}, 7)


def greedy_score(name: str, run_dir, **options) -> float:
    """The mean of 50 whole games of CartPole, played greedily by an agent that its preset trained."""
    algorithm = AGENTS[name]
    config = algorithm.preset(None, "CartPole-v1")
    config = dataclasses.replace(config, run_dir=run_dir, evaluation_games=0, video=False, **options)
    agent = launch.agent_of(algorithm, config)
    state = launch.run(agent, config, folder.new_run(config)).state
    pool = config.make_pool(50, seed=1, training=False)
    params = loop.frozen(agent, state)["params"]
    return play(agent.policy, params, pool, 50, jax.random.key(0), greedy=True).summary()["mean"]


@pytest.mark.parametrize("name", ["a3c", "reinforce"])
def test_a_preset_balances_the_pole(name, tmp_path):
    """To the 475 of 500 points at which Gymnasium calls the task solved."""
    assert greedy_score(name, tmp_path / "run") >= 475
