"""Every kind of bad input over all entry points, from tables: exit code 2, one sentence, no traceback, nothing left.

Options come from the scripts' own dataclasses: for each the values that its type or its bounds forbid. Files are
damaged in every way that an editor, another program or a kill could damage them.
"""

import ast
import dataclasses
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl.agents import AGENTS, a3c
from jaxrl.agents.options import bounds_of, option
from jaxrl.shell import cli, folder, launch, metrics, mistakes, plots
from jaxrl.shell.checkpoint import Checkpoints

ROOT = Path(__file__).resolve().parents[1]
TABULAR = {"bandits": "play", "dynamic_programming": "solve", "temporal_difference": "run"}
STUDIES = ("overestimation", "cliff_walk", "vision", *TABULAR)
EVALUATE, INSPECT, COMPARE = (f"jaxrl.commands.{name}" for name in ("evaluate", "inspect_run", "compare"))
SCRIPTS = (*AGENTS, EVALUATE, INSPECT, COMPARE, *STUDIES, "jaxrl.audit.command")
TOO_LARGE = (str(2**31), str(2**64))


class Accepted(Exception):
    """Bad input that was not refused before work began."""


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """What would begin the work says so instead."""

    def accept(*args, **kwargs):
        raise Accepted

    monkeypatch.setattr(launch, "train_one", accept)
    monkeypatch.setattr(launch, "train_seeds", accept)
    for name, work in {EVALUATE: "play", "overestimation": "play", "cliff_walk": "count_updates", "vision": "learn",
                       **TABULAR, "jaxrl.audit.command": "_audit"}.items():  # fmt: skip
        monkeypatch.setattr(importlib.import_module(name), work, accept)
    monkeypatch.setattr(plots, "comparison", accept)


def config_of(name: str) -> type:
    return AGENTS[name].Config if name in AGENTS else importlib.import_module(name).Config


def ended_with(name: str, arguments, monkeypatch) -> int:
    """The exit code of a script in this process; its last lines say how it is called."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    script = importlib.import_module(name)
    last = ast.parse(inspect.getsource(script)).body[-1]
    call = ast.unparse(last.body[0].value) if isinstance(last, ast.If) else "cli.run(main, Config)"  # of __main__.py
    with pytest.raises(SystemExit) as ended:
        eval(call, {"cli": cli} | vars(script))
    return ended.value.code


def forbidden(hint) -> list[str]:
    """Values that the type of an option, or its bounds, forbid."""
    parts = [part for part in (hint, *typing.get_args(hint)) if part is not type(None)]
    bare = {typing.get_args(part)[0] if hasattr(part, "__metadata__") else part for part in parts}
    found = []
    for kind in bare:
        if kind is bool:
            found += ["=maybe"]
        elif kind in (int, float):
            found += ["x", "", *("1.5", *TOO_LARGE, "nan")] if kind is int else ["x", "", "1,5"]
        elif typing.get_origin(kind) is typing.Literal:
            found += ["nonsense", ""]
        elif typing.get_origin(kind) is tuple and int in typing.get_args(kind):
            found += ["x", "0.5"]
    for words, _, limit in bounds_of(hint):
        strict = words.startswith(("above", "below", "finite"))
        outward = 1 if words.startswith(("finite", "below", "at most")) else -1
        found += [str(limit)] if strict else [str(limit + outward)]
        found += ["nan", f"{'-' if outward < 0 else ''}inf"] if float in bare else []
    return list(dict.fromkeys(found))


def of_options():
    """(script, arguments, what the sentence must name); what agents have in common is tried with the first of them."""
    seen = set()
    for name in SCRIPTS:
        hints = typing.get_type_hints(config_of(name), include_extras=True)
        for field in dataclasses.fields(config_of(name)):
            if name in AGENTS and (field.name, str(hints[field.name])) in seen:
                continue
            seen.add((field.name, str(hints[field.name])))
            for value in forbidden(hints[field.name]):
                run = ["RUN"] if name in (EVALUATE, "overestimation") else []
                if value == "=maybe":  # of a flag the parser names only what was too much
                    yield name, [*run, f"{option(field.name)}=maybe"], "maybe"
                else:
                    yield name, [*run, f"{option(field.name)}={value}"], field.name


NOWHERE, A_FILE, A_FOLDER = "/nowhere/at/all", "FILE", "FOLDER"
CARTPOLE = ("--env", "CartPole-v1")
OF_AGENTS = [
    ("--env=",), ("--env=Pong",), ("--env=ALE/Pong-v5",), ("--env=PongNoFrameskip-v4",), ("--env=../../etc/passwd",),
    ("--env=Pong-v5\n",), ("--env=é",), ("--env=gymnasium:None-v0",), ("--env=gymnasium:",),
    ("--env-module=no_such_module", "--env=gymnasium:CartPole-v1"), ("--env-module=os",),
    ("--protocol=",), ("--protocol=Machado",), ("--protocol=control",), (*CARTPOLE, "--protocol=machado"),
    (*CARTPOLE, "--image-size=84"), (*CARTPOLE, "--frame-stack=4"), ("--protocol=origin", "--frame-stack=4"),
    ("--protocol=origin", "--image-size=84"), ("--preset=nothing",), (*CARTPOLE, "--preset=nature"),
    ("--env=Pendulum-v1",), ("--image-size=1",), ("--image-size=2",), ("--image-size=7",), ("--device-count=99",),
    ("--num-envs=2000000000", *CARTPOLE), ("--num-envs=100000000",), ("--image-size=100000",), ("--image-size=20000",),
    ("--resume",), ("--resume=",), (f"--resume={NOWHERE}",), ("--resume=/etc/passwd",), (f"--resume={A_FOLDER}",),
    (f"--resume={A_FILE}",), (f"--resume={NOWHERE}", "--seed=3"), (f"--resume={NOWHERE}", "--num_envs=4"),
    (f"--resume={NOWHERE}", "--no-video", "--run-dir=x"), (f"--run-dir={A_FILE}",), (f"--run-dir={A_FILE}/x",),
    (f"--run-dir={A_FOLDER}",), ("--run-dir=/proc/x",), ("--run-dir=" + 300 * "a",), ("extra",), ("--Num-envs=3",),
    ("--no-such-option",), ("--total-steps",), ("--learning-rate",), ("--env=Pong-v5", "--env=Pong"),
    ("--env=Pong", "--seed=x", "--env=Pong"), ("--video", "maybe"),
]  # fmt: skip
OF_ONE = {
    "a3c": [("--num-envs=7",), ("--num-workers=3", "--num-envs=4"), ("--hidden=10000000",)],
    "reinforce": [("--device-count=2", "--num-envs=7"), ("--hidden=10000000",)],
    "dqn": [
        ("--batch-size=100000000",), ("--learning-starts=3", "--batch-size=3"), ("--replay-size=100",),
        ("--replay-size=2000000000",), ("--collect-steps=1000000000",), ("--n-step=1000000",), ("--total-steps=10",),
        ("--checkpoint-every=1",), ("--protocol=origin",), ("--distributional=c51", "--atoms=1"),
        ("--distributional=c51", "--v-min=nan"), ("--distributional=c51", "--v-max=nan"),
        ("--distributional=c51", "--v-min=-inf"), ("--distributional=c51", "--v-max=inf"),
        ("--distributional=c51", "--v-min=3", "--v-max=-3"), ("--distributional=qr", "--loss=squared"),
        ("--distributional=qr", "--atoms=1000000000"), ("--hidden",), ("--hidden=10000000",),
    ],
    EVALUATE: [
        (), (A_FOLDER,), (NOWHERE,), ("/etc/passwd",), (A_FILE,), (A_FOLDER, "--weights", A_FILE), ("RUN", "RUN"),
        ("--weights", NOWHERE), ("--weights", A_FOLDER), ("--weights", A_FILE), ("--weights", A_FILE, "--checkpoint=3"),
        ("RUN", "--env=Pong"), ("RUN", "--env=Pong-v5"), ("RUN", "--protocol=machado"), ("RUN", "--protocol=x"),
        ("RUN", "--checkpoint=7"), ("RUN", "--checkpoint=-1"), ("RUN", "--output", A_FOLDER),
        ("RUN", "--output", NOWHERE), ("RUN", "--output", "/proc/x/y"),
        ("RUN", "--num-envs=2000000000", "--games=2000000000"),
    ],
    INSPECT: [
        (), (A_FOLDER,), (NOWHERE,), (A_FILE,), ("RUN", "RUN"), ("RUN", "--env=Pong"), ("RUN", "--env=Pong-v5"),
        ("RUN", "--protocol=machado"), ("RUN", "--protocol=x"), ("RUN", "--checkpoint=7"), ("RUN", "--output", A_FILE),
        ("RUN", "--output", NOWHERE), ("RUN", "--num-envs=2000000000", "--games=2000000000"),
    ],
    COMPARE: [
        (), (A_FOLDER,), (NOWHERE,), (A_FILE,), ("RUN", A_FOLDER), ("RUN", "--output", NOWHERE),
        ("RUN", "--output", A_FILE), ("RUN", "--references", NOWHERE), ("RUN", "--references", A_FOLDER),
        ("RUN", "--references", A_FILE),
    ],
    "overestimation": [
        (), (A_FOLDER,), (NOWHERE,), (A_FILE,), ("RUN",), (A_FOLDER, "--output", A_FILE), ("RUN", "RUN"),
    ],
    "cliff_walk": [
        ("--states=1",), ("--states=21",), ("--states",), ("--states", "2", "2"), ("--states", "-2"),
        ("--seeds=2000000000",), ("--output", A_FILE), ("--output", "/proc/x"), ("--epsilon=1e-30",), ("--alpha=2",),
    ],
    "vision": [
        ("--network=",), ("--network=foo",), ("--network=lenet", "--network=foo"), ("--batch-size=100000",),
        ("--network=alexnet", "--size=8"), ("--network=densenet121", "--size=8"), (f"--run-dir={A_FOLDER}",),
        (f"--run-dir={A_FILE}",), ("--size=7",), ("--shift=9",),
    ],
    "bandits": [
        ("--probabilities",), ("--probabilities", "0.5"), ("--probabilities", "0.5", "0.5"), ("--horizon=99",),
        ("--runs=2000000000",), ("--regret-runs=2000000000",), ("--output", A_FILE), ("--output", "/proc/x"),
    ],
    "dynamic_programming": [("--lake=",), ("--lake=5x5",), ("--output", A_FILE), ("--output", "/proc/x")],
    "temporal_difference": [
        ("--examples",), ("--examples", "cliff", "cliff"), ("--examples", "none"), ("--cliff-episodes=99",),
        ("--groups-episodes=150",), ("--groups-episodes=2000000",), ("--runs=20000",), ("--cliff-ends=maybe",),
        ("--output", A_FILE), ("--output", "/proc/x"),
    ],
    "jaxrl.audit.command": [
        ("--only=nothing of the kind",), ("--json", f"{NOWHERE}/x"), ("--markdown", f"{NOWHERE}/x"),
    ],
}  # fmt: skip


def of_meaning():
    """(script, arguments, "")."""
    for name in SCRIPTS:
        for arguments in [*(OF_AGENTS if name == "dqn" else ()), *OF_ONE.get(name, ())]:
            yield name, list(arguments), ""


OPTIONS = [*of_options(), *of_meaning()]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """The folder that a small run would have left."""
    config = dataclasses.replace(a3c.preset(None, "CartPole-v1"), hidden=8, widths=(8,), num_envs=4)
    path = folder.new_run(dataclasses.replace(config, run_dir=tmp_path_factory.mktemp("runs") / "run"))
    agent = launch.agent_of(a3c, config)
    checkpoints = Checkpoints.create(path / "checkpoints")
    for step in (100, 200):
        params = agent.frozen(jax.jit(agent.init)(jax.random.key(step)))
        checkpoints.save(step, {"params": params, "normalizer": None}, {"n": np.int32(step)})
    checkpoints.close()
    rows = "".join(f"{step},{step}.5,{step / 2}\n" for step in (100, 200))
    (path / "metrics.csv").write_text("agent_steps,seconds,score_mean_100\n" + rows)
    return path


@pytest.mark.parametrize(("name", "arguments", "named"), OPTIONS)
def test_options(name, arguments, named, run_dir, tmp_path, monkeypatch, capsys):
    refused(name, arguments, named, run_dir, tmp_path, monkeypatch, capsys)


def refused(name, arguments, named, run_dir, tmp_path, monkeypatch, capsys):
    """A script refuses these arguments in one sentence, which names an option, and leaves nothing."""
    if name == "vision":
        pytest.importorskip("sklearn.datasets", reason="the images come with scikit-learn")
    place = {"RUN": run_dir, A_FILE: tmp_path / A_FILE, A_FOLDER: tmp_path / A_FOLDER}
    (tmp_path / A_FILE).write_bytes(b"\xff\x00 no table, no weights")
    (tmp_path / A_FOLDER).mkdir()
    (tmp_path / A_FOLDER / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    for word, path in place.items():
        arguments = [argument.replace(word, str(path)) for argument in arguments]
    assert ended_with(name, arguments, monkeypatch) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err and "Accepted" not in err and "not a mistake of yours" not in err, err
    assert named.replace("_", "") in "".join(filter(str.isalnum, err)), err
    assert sorted(path.name for path in tmp_path.iterdir()) == [A_FILE, A_FOLDER]


def change(**options):
    """A config.json with other options; None for a missing one."""

    def damage(path):
        saved = json.loads(path.read_text()) | options
        path.write_text(json.dumps({name: value for name, value in saved.items() if value is not Missing}))

    return damage


class Missing:
    """Stands for an option that is left out."""


def text(content):
    """A file with this content."""
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def as_folder(path):
    path.unlink()
    path.mkdir()


DAMAGED = {  # for every reader
    "empty": text(""), "not JSON": text("x"), "cut": lambda path: path.write_text(path.read_text()[:30]),
    "a list": text("[]"), "null": text("null"), "a string": text('"x"'), "a number": text("3"),
    "deep": text("[" * 100_000),
    "not UTF-8": text(b"\xff\xfe"), "an empty object": text("{}"), "gone": Path.unlink, "a folder": as_folder,
    "no algorithm": change(algorithm=Missing), "another algorithm": change(algorithm="sarsa"),
    "algorithm 5": change(algorithm=5), "algorithm a list": change(algorithm=[]), "an unknown key": change(foo=1),
    "a key with a dash": change(**{"num-envs": 3}),
    **{f"no {name}": change(**{name: Missing}) for name in ("seed", "gamma", "num_envs", "env", "protocol", "hidden")},
    **{f"{name} {value!r}": change(**{name: value}) for name, values in {
        "num_envs": ("8", None, [], 2.5, 8.0, True, {}), "seed": ("a", None, 1.5), "learning_rate": ("x", None, True),
        "gamma": (None, "0.9x", []), "env": (3, None, {}), "protocol": ({}, None, 3), "optimizer": ("sgd", 3, None),
        "video": ("yes", 1, None), "hidden": ("x", None, 0.5, [3]), "widths": ("x", None, [0.5], [[3]]),
        "total_steps": ("80", None, 1e6), "image_size": ("x", {}), "device_count": ("1", None),
        "log_every": (None, "x"),
    }.items() for value in values},
}  # fmt: skip
OTHERS = {"seed": 7, "t_max": 6, "gamma": 0.5, "num_envs": 16}
EDITED = {name: change(**{name: value}) for name, value in OTHERS.items()}


@pytest.fixture
def damaged(request, run_dir, tmp_path):
    path = shutil.copytree(run_dir, tmp_path / "run")
    request.param(path / "config.json")
    return path


def one_sentence(call, *must_name):
    """What a call raises, as the command line would print it."""
    with pytest.raises((ValueError, OSError)) as caught:
        call()
    said = mistakes.sentence(caught.value)
    assert "Traceback" not in said and "\n" not in said, said
    for name in must_name:
        assert name in said, said


@pytest.mark.parametrize("damaged", [*DAMAGED.values(), *EDITED.values()], indirect=True, ids=[*DAMAGED, *EDITED])
def test_config_json_of_a_run_to_resume(damaged):
    before = sorted(damaged.rglob("*"))
    one_sentence(lambda: folder.config_to_resume(a3c.Config, ["--resume", str(damaged)]), str(damaged))
    assert sorted(damaged.rglob("*")) == before


@pytest.mark.parametrize("damaged", DAMAGED.values(), indirect=True, ids=DAMAGED)
@pytest.mark.parametrize("name", [EVALUATE, COMPARE])
def test_config_json_of_a_run_to_score_or_draw(name, damaged):
    script = importlib.import_module(name)
    config = script.Config(damaged) if name == EVALUATE else script.Config((damaged,), output=damaged)
    one_sentence(lambda: script.main(config), str(damaged))


HEAD = "agent_steps,seconds,score_mean_100\n"
TABLES = {
    "a word in the step": HEAD + "thousand,1,2\n", "a word in the score": HEAD + "1,1,high\n",
    "a short row": HEAD + "1,2\n",
    "a long row": HEAD + "1,2,3,4\n", "not text": b"\x00\xff\xb0\n", "no score": "agent_steps,seconds\n1,2\n",
    "no step": "seconds,score_mean_100\n1,2\n", "an empty score": HEAD + "1,2,\n", "a quote": HEAD + '1,"2,3\n4,5,6\n',
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_metrics_csv(name, run_dir, tmp_path):
    """To draw, one sentence with the file; to resume, that or a table that is gone on with."""
    path = shutil.copytree(run_dir, tmp_path / "run") / "metrics.csv"
    text(TABLES[name])(path)
    script = importlib.import_module(COMPARE)
    one_sentence(lambda: script.main(script.Config((path.parent,), output=path.parent)), "metrics.csv")
    one_sentence(lambda: plots.curve(path.parent), "metrics.csv")
    if name in ("a word in the step", "a short row", "a long row", "not text", "a quote"):
        before = path.read_bytes()
        one_sentence(lambda: metrics.RunLog(path.parent, 200), "metrics.csv")
        assert path.read_bytes() == before
    else:
        metrics.RunLog(path.parent, 200)


@pytest.mark.parametrize("content", ["", "[]", '{"mean": "high", "games": 3}', '{"games": 3}', b"\xff"])
def test_evaluation_json(content, run_dir, tmp_path):
    path = shutil.copytree(run_dir, tmp_path / "run") / "evaluation.json"
    text(content)(path)
    script = importlib.import_module(COMPARE)
    one_sentence(lambda: script.main(script.Config((path.parent,), output=path.parent)), "evaluation.json")


def test_an_option_that_is_newer_than_a_run_has_its_default(run_dir, monkeypatch):
    """The digest says that nothing was taken out: the run was begun before there was such an option."""
    @dataclasses.dataclass(frozen=True)
    class Newer(a3c.Config):
        another: int = 3

    assert folder.saved_config(Newer, run_dir).another == 3
    monkeypatch.setattr(Newer, "may_change", (*a3c.Config.may_change, "another"))
    one_sentence(lambda: folder.saved_config(Newer, run_dir), "'another' is missing")


@pytest.mark.parametrize("extra", ["\n", "\r\n", "  \n", "9999"])
def test_blank_lines_in_metrics_csv_and_one_that_was_cut_are_left_out(extra, run_dir, tmp_path):
    path = shutil.copytree(run_dir, tmp_path / "run") / "metrics.csv"
    table = metrics.read(path)
    path.write_text("\ufeff" + path.read_text() + extra)
    metrics.RunLog(path.parent, 200)
    assert metrics.read(path) == table


COLUMNS = "agent,frames,mean,protocol\n"
REFERENCES = {
    "empty": "", "only its head": COLUMNS, "other columns": "name,x\nDQN,1\n", "a short row": COLUMNS + "DQN,1\n",
    "a word in frames": COLUMNS + "DQN,many,1,Nature CNN\n", "a word in mean": COLUMNS + "DQN,1,high,Nature CNN\n",
    "not text": b"\xff\xfe\n", "another agent": COLUMNS + "SARSA,1,2,Nature CNN\n",
    "a number for a name": COLUMNS + "3,1,2,4\n",
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCES)
def test_references(name, run_dir, tmp_path):
    path = tmp_path / "published.csv"
    text(REFERENCES[name])(path)
    script = importlib.import_module(COMPARE)
    one_sentence(lambda: script.main(script.Config((run_dir,), output=tmp_path, references=path)), "published.csv")


def not_finite(path):
    shutil.rmtree(path)
    agent = launch.agent_of(a3c, folder.saved_config(a3c.Config, path.parent))
    params = jax.tree.map(lambda leaf: leaf * np.nan, agent.frozen(jax.jit(agent.init)(jax.random.key(0))))
    checkpoints = Checkpoints.create(path)
    checkpoints.save(200, {"params": params, "normalizer": None}, {"n": np.int32(0)})


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def a_file_in_its_place(path):
    shutil.rmtree(path)
    path.write_text("")


CHECKPOINTS = {
    "gone": shutil.rmtree, "empty": lambda path: [shutil.rmtree(each) for each in path.iterdir()] and None,
    "a file in its place": a_file_in_its_place, "not finite": not_finite,
    "a bit flipped": lambda path: flip(next((path / "200").rglob("d/*"))),
    "a file cut": lambda path: next((path / "200").rglob("d/*")).write_bytes(b"x"),
    "a file gone": lambda path: next((path / "200").rglob("d/*")).unlink(),
    "an item gone": lambda path: shutil.rmtree(path / "200" / "policy"),
    "sums that are binary": lambda path: (path / "200" / "SHA256SUMS").write_bytes(b"\xff\x00"),
    "sums that are empty": lambda path: (path / "200" / "SHA256SUMS").write_text(""),
    "a file more": lambda path: (path / "200" / "notes.txt").write_text(""),
    "the newest an empty folder": lambda path: (path / "9999").mkdir(),
}


@pytest.mark.parametrize("damage", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoints(damage, run_dir, tmp_path):
    path = shutil.copytree(run_dir, tmp_path / "run")
    damage(path / "checkpoints")
    script = importlib.import_module(EVALUATE)
    one_sentence(lambda: script.main(script.Config(path)), str(path))


COMMANDS = [
    (["experiments/a3c.py", "--env", "CartPole-v1"], {"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS"),
    (["experiments/evaluate.py", NOWHERE], {"PYTHONIOENCODING": "ascii"}, NOWHERE),
    (["experiments/dqn.py", "--hidden", "é"], {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "hidden"),
]


@pytest.mark.parametrize(("command", "environment", "named"), COMMANDS)
def test_real_command_lines(command, environment, named):
    clean = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr and named in done.stderr, done.stderr


def test_there_are_five_hundred_kinds():
    tables = (OPTIONS, DAMAGED, DAMAGED, DAMAGED, EDITED, TABLES, TABLES, REFERENCES, CHECKPOINTS, COMMANDS)
    assert sum(map(len, tables)) >= 500
