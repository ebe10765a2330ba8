"""Several seeds in one process: each is the run that it would be alone, to the bit."""

import dataclasses

import pytest
from test_run import rows, train

from jaxrl.agents import a3c
from jaxrl.commands import compare, evaluate
from jaxrl.shell import folder, launch, loop, metrics
from jaxrl.shell.checkpoint import Checkpoints, steps_in

SMALL = dataclasses.replace(a3c.preset(None, "CartPole-v1"), num_envs=4, hidden=8, widths=(8,), total_steps=480,
                            log_every=120, checkpoint_every=240, evaluation_games=0, video=False)  # fmt: skip


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "together", SMALL, num_seeds=2, seed=3)


def test_each_seed_is_the_run_that_it_would_be_alone(tmp_path):
    """With convolutions too."""
    together = train(tmp_path / "together", num_seeds=2, seed=3)
    assert rows(together / "seed_4") == rows(train(tmp_path / "alone", seed=4))
    assert len(rows(together / "seed_4")) == 4 and rows(together / "seed_3") != rows(together / "seed_4")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_killed_seeds_go_on_with_one_command(together, tmp_path, monkeypatch):
    """Killed when one seed has a checkpoint that the other has not: each goes on from its own."""
    killed = tmp_path / "killed"

    class Killed(BaseException):
        pass

    saved = Checkpoints.save

    def save_then_die(checkpoints, *args):
        saved(checkpoints, *args)
        raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_then_die)
    with pytest.raises(Killed):
        train(killed, SMALL, num_seeds=2, seed=3)
    monkeypatch.undo()
    assert sorted(len(steps_in(killed / f"seed_{seed}" / "checkpoints")) for seed in (3, 4)) == [0, 1]
    with pytest.raises(ValueError, match="killed exists; resume with --resume"):
        train(killed, SMALL, num_seeds=2, seed=3)
    launch.train(a3c, folder.config_to_resume(a3c.Config, ["--resume", str(killed)]))
    for seed in (3, 4):
        assert rows(killed / f"seed_{seed}") == rows(together / f"seed_{seed}")


def test_a_resumed_run_of_seeds_takes_what_may_change(together):
    config = dataclasses.replace(folder.saved_config(a3c.Config, together), total_steps=960)
    parts = folder.of_seeds(config, together)
    assert [(part.seed, part.num_seeds, part.total_steps) for part in parts] == [(3, 1, 960), (4, 1, 960)]
    assert [part.resume for part in parts] == [together / "seed_3", together / "seed_4"]


def test_a_seed_that_is_lost_ends_when_the_others_are_done(tmp_path, monkeypatch):
    """And is the run's error."""

    def phases(agent, state, make_pools, schedule, start, how, original=loop.phases):
        for number, update in enumerate(original(agent, state, make_pools, schedule, start, how)):
            if number == 3 and make_pools.args[0].seed == 3:
                raise loop.NotFinite("the loss became nan.")
            yield update

    monkeypatch.setattr(loop, "phases", phases)
    with pytest.raises(loop.NotFinite, match="the loss became nan. Training stopped; no good checkpoint"):
        train(tmp_path / "run", SMALL, num_seeds=2, seed=3)
    assert (tmp_path / "run" / "curve.png").exists() and not steps_in(tmp_path / "run" / "seed_3" / "checkpoints")
    assert max(steps_in(tmp_path / "run" / "seed_4" / "checkpoints")) >= SMALL.total_steps


def test_turns_are_taken_one_by_one():
    order = []

    def course(name, count):
        for _ in range(count):
            order.append(name)
            yield
        return name

    assert launch.by_turns(course(name, count) for name, count in [("a", 1), ("b", 3), ("c", 2)]) == ["a", "b", "c"]
    assert "".join(order) == "abcbcb"


def test_the_folder_of_all_is_compared_as_one_and_evaluated_by_seed(together, tmp_path, capsys):
    compare.main(compare.Config((together,), tmp_path))
    assert "| A3C-LSTM | 2 | " in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds the runs of 2 seeds; give one of them, such as .*seed_3"):
        evaluate.main(evaluate.Config(together))


def test_progress_has_a_line_for_each_seed(capsys):
    progress = metrics.Together(200, {})
    parts = [progress.part(f"seed {seed}", start) for seed, start in ((3, 0), (4, 50))]
    parts[1].update({"agent_steps": 75, "score_mean_100": 12.0})
    parts[0].note("a note")
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("75/200 steps, ETA ")
    assert [line.rstrip() for line in out[1:]] == ["seed 3", "seed 4  score 12", "seed 3: a note"]
