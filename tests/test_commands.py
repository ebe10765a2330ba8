"""`jaxrl` as a command: every tool and agent under one name, and what it says when a word is not known."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import train

from jaxrl import __version__
from jaxrl.agents import AGENTS, a3c, dqn
from jaxrl.commands import COMMANDS, start
from jaxrl.shell import cli, mistakes
from jaxrl.shell.program import again, called

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {"inspect": "inspect_run"}


def ended_with(arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        start(arguments)
    return ended.value.code


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_alone_it_lists_every_command_in_one_line(arguments, capsys):
    start(arguments)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert set(AGENTS) < set(COMMANDS) and all(len(line.split()) > 2 and len(line) < 110 for line in lines)


def test_the_version(capsys):
    start(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_an_unknown_command_is_one_sentence_with_the_nearest(capsys):
    assert ended_with(["evalute", "runs/NAME"]) == 2
    assert capsys.readouterr().err == "error: there is no command 'evalute'; did you mean evaluate?\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help_and_names_itself(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/jaxrl"])
    assert ended_with([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: jaxrl {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_an_option_that_it_has_not(name, capsys):
    assert ended_with([name, "--no-such-option"]) == 2
    assert "there is no option '--no-such-option'; did you mean --" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*AGENTS, "evaluate", "inspect", "compare"])
def test_every_script_is_thin_and_starts_what_the_command_starts(name):
    source = (ROOT / "experiments" / f"{SCRIPTS.get(name, name)}.py").read_text()
    assert len(source.splitlines()) < 20
    last = ast.unparse(ast.parse(source).body[-1].body[0])
    module = COMMANDS[name].config_type.__module__.rpartition(".")[2].removesuffix("_options")
    assert last in (f"launch.main({module})", f"cli.run({module}.main, {module}.Config)")


@pytest.mark.parametrize(
    ("started", "shown"),
    [
        ("/usr/bin/jaxrl", "jaxrl evaluate"),
        (str(ROOT / "jaxrl" / "__main__.py"), "python -m jaxrl evaluate"),
        ("experiments/a3c.py", "python experiments/evaluate.py"),
        ("mine.py", "jaxrl evaluate"),
        ("", "jaxrl evaluate"),
    ],
)
def test_sentences_name_what_was_typed(started, shown, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [started])
    assert called("evaluate") == shown


@pytest.mark.parametrize(
    ("started", "then"),
    [
        ("/usr/bin/jaxrl", ["/usr/bin/jaxrl"]),
        (str(ROOT / "jaxrl" / "__main__.py"), ["-m", "jaxrl"]),
        ("experiments/a3c.py", ["experiments/a3c.py"]),
    ],
)
def test_a_program_is_started_again_as_it_was(started, then, monkeypatch):
    """For several processes on one machine."""
    monkeypatch.setattr(sys, "argv", [started, "a3c"])
    assert again() == then


def test_a_run_says_how_it_is_scored_by_the_command_it_was_started_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/jaxrl"])
    run = train(tmp_path / "run", evaluation_games=0)
    assert f"score it with: jaxrl evaluate {run}\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["1000000", "1_000_000", "1e6", "1E+6", "1000000.0"])
def test_a_whole_number_is_written_as_one_likes(text):
    assert cli.parse(dqn.Config, [f"--total-steps={text}"]).total_steps == 1_000_000
    assert cli.parse(dqn.Config, ["--hidden", text, "64", f"--image-size={text}"]).hidden == (1_000_000, 64)


@pytest.mark.parametrize("text", ["1e6.5", "1.5", "1e-3", "1e400", "nan", "inf", "", "many", "1__0"])
def test_what_is_no_whole_number_is_one_sentence(text, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.parse(dqn.Config, [f"--total-steps={text}"])
    said = " ".join(re.sub(r"[^\x21-\x7e]", " ", capsys.readouterr().err).split())
    assert ended.value.code == 2 and f"--total-steps: '{text}' is not a whole number" in said


@pytest.mark.parametrize(
    ("argument", "near"),
    [("--lerning-rate=3", "--learning-rate"), ("--enviroment", "--env"), ("--Total_steps", "--total-steps")],
)
def test_an_unknown_option_is_one_sentence_with_the_nearest(argument, near):
    with pytest.raises(ValueError, match="there is no option") as caught:
        cli.parse(a3c.Config, ["--seed", "3", argument])
    assert near in str(caught.value).rstrip("?").split() and mistakes.is_for_user(caught.value)


def test_options_are_known_in_all_their_forms():
    found = cli.parse(a3c.Config, ["--total_steps", "7", "--no-video", "--num-envs=3"])
    assert (found.total_steps, found.video, found.num_envs) == (7, False, 3)


def test_python_m_jaxrl_is_the_same(tmp_path):
    line = [sys.executable, "-m", "jaxrl", "evaluate", "/nowhere/at/all"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: /nowhere/at/all is not the folder of a run")


@pytest.mark.skipif(sys.platform != "linux", reason="what is loaded is read from /proc")
@pytest.mark.parametrize("library", ["_multiarray_umath", "libjax"])
def test_ctrl_c_while_libraries_are_imported_is_quiet(library, tmp_path):
    log, environment = tmp_path / "log", os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "jaxrl", "a3c", "--env", "CartPole-v1", "--run-dir", str(tmp_path / "run")]
    with log.open("w") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file, env=environment)
    while not re.search(library, Path(f"/proc/{process.pid}/maps").read_text()):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and log.read_text() == ""


def test_the_entry_point_sees_to_ctrl_c_before_it_imports(monkeypatch):
    """As `jaxrl` it is called by a script that was made when the package was installed."""
    code = "import signal, sys; sys.argv = ['jaxrl', '--version']; from jaxrl.__main__ import main; main(); "
    code += "print(signal.getsignal(signal.SIGINT).__name__, [m for m in ('jax',) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == [__version__, "end_at_once"]
    assert done.stdout.split()[2] == "['jax']"  # it was imported after
