"""What every script does with its options: a mistake is one sentence, all are explained, and all are used."""

import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

import pytest

from jaxrl import shell
from jaxrl.agents import AGENTS, optimizers
from jaxrl.shell import cli

OF_AGENTS = ["--env=Riverrad-v5", "--total-steps=-3", "--preset=natur", "--optimizer=adm"]
MISTAKES = dict.fromkeys(AGENTS, OF_AGENTS) | {
    "evaluate": ["--games=0", "--games=many"],
    "compare": ["--output=nowhere"],
    "inspect_run": ["--games=0", "--games=many"],
    "overestimation": ["--games=many", "--games=0"],
    "cliff_walk": ["--states=1", "--seeds=-3", "--alpha=much"],
    "bandits": ["--runs=0", "--probabilities=2", "--horizon=many"],
    "dynamic_programming": ["--gamma=0", "--lake=5x5", "--threshold=much"],
    "temporal_difference": ["--examples=clif", "--runs=-1", "--step-size=2"],
    "vision": ["--network=lenett", "--epochs=-3", "--epochs=many"],
}


@pytest.fixture
def script(request, monkeypatch):
    """A script of experiments/ by its name."""
    if request.param == "vision":
        pytest.importorskip("sklearn.datasets", reason="the images come with scikit-learn")
    return importlib.import_module(request.param)


def config_of(script) -> type:
    """The options of a script: its own, or those of the agent or the tool whose name it has."""
    return script.Config if hasattr(script, "Config") else getattr(script, script.__name__).Config


def ended_with(monkeypatch, script, *arguments) -> int:
    """The exit code of a script that ends by itself; its last lines say how it is called."""
    call = ast.parse(inspect.getsource(script)).body[-1].body[0].value
    monkeypatch.setattr(sys, "argv", [script.__file__, *arguments])
    with pytest.raises(SystemExit) as ended:
        eval(compile(ast.Expression(call), script.__file__, "eval"), vars(script))
    return ended.value.code


@pytest.mark.parametrize(
    ("script", "option"),
    [(name, option) for name, options in MISTAKES.items() for option in [*options, "--no-such-option=1"]],
    indirect=["script"],
)
def test_a_mistake_ends_with_2_and_no_traceback(script, option, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    folder = [str(tmp_path)] if script.__name__ in ("evaluate", "inspect_run", "compare", "overestimation") else []
    assert ended_with(monkeypatch, script, *folder, option) == 2
    err = capsys.readouterr().err
    assert option.partition("=")[0].strip("-") in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", MISTAKES, indirect=True)
def test_every_option_has_its_help(script, monkeypatch, capsys):
    assert ended_with(monkeypatch, script, "--help") == 0
    shown = letters(capsys.readouterr().out)
    documented = fields_of(config_of(script))
    assert set(documented) == {field.name for field in dataclasses.fields(config_of(script))}
    for name, text in documented.items():
        assert len(text.split()) > 2 and letters(text) in shown, name
        assert letters(name) in shown or name in ("run_dir", "run_dirs"), name


@pytest.mark.parametrize("script", MISTAKES, indirect=True)
def test_every_option_is_read(script):
    source = "".join(without_checks(path.read_text()) for path in readers_of(script))
    for field in dataclasses.fields(config_of(script)):
        used = rf'(config|self)\.{field.name}\b|"{field.name}"(?!:)'  # with a colon it is an entry of a preset
        assert re.search(used, source), f"{field.name} is read nowhere"


def readers_of(script) -> list[Path]:
    """The files that may read a script's options: its own, and of an agent its modules and the shell."""
    if script.__name__ not in AGENTS:
        return [Path(inspect.getfile(config_of(script)))]
    own = {inspect.getmodule(each) for each in config_of(script).__mro__[:-1]} | {AGENTS[script.__name__], optimizers}
    return [*(Path(module.__file__) for module in own), *Path(shell.__file__).parent.glob("*.py")]


def without_checks(source: str) -> str:
    """A module without its functions that refuse options: to be refused is not to be used."""
    checks = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and "check" in n.name]
    for text in [ast.get_source_segment(source, node) for node in checks]:
        source = source.replace(text, "")
    return source


def letters(text: str) -> str:
    """The letters and digits of a text, wherever its lines break."""
    return re.sub(r"[\W_]", "", text)


def fields_of(config_type) -> dict[str, str]:
    """The text under each field of a dataclass and of those that it comes from."""
    found = {}
    for each in filter(dataclasses.is_dataclass, reversed(config_type.__mro__)):
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0].body
        for field, text in zip(body, body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[field.target.id] = text.value.value
    return found


def test_options_are_found_in_arguments():
    arguments = ["--env", "Pong-v5", "--seed=3", "--last"]
    assert cli.value_of("--env", arguments) == "Pong-v5" and cli.value_of("--seed", arguments) == "3"
    assert cli.value_of("--env", [*arguments, "--env=Boxing-v5"]) == "Boxing-v5"  # the last, as the parser takes it
    assert cli.value_of("--env-module", ["--env_module", "mine"]) == "mine"  # which the parser takes too
    assert cli.value_of("--last", arguments) is None and cli.value_of("--other", arguments) is None
