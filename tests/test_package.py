"""The package as others find it: names, version, licence, and what a distribution and a container are made of."""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jaxrl
from jaxrl import layers
from jaxrl.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("layers", "losses", "networks", "environments", "audit", "audit.cases")
FOR_OTHER_FILES = {"below", "plain_log_softmax"}  # parts of layers that files of the room share
PYTHONS = [f"3.{minor}" for minor in range(11, 15)]


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_version_is_the_same_everywhere():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "jaxrl.__version__"}
    assert re.search(r"^version: (.*)$", text("CITATION.cff"), re.MULTILINE)[1] == jaxrl.__version__
    assert re.search(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[1] == jaxrl.__version__


def test_the_licence_is_the_same_everywhere():
    assert text("LICENSE").startswith("Copyright 2026 The jaxrl authors\n") and "Version 2.0" in text("LICENSE")
    assert PROJECT["project"]["license"] == "Apache-2.0" and PROJECT["project"]["license-files"] == ["LICENSE"]
    assert "license: Apache-2.0\n" in text("CITATION.cff")


def test_type_checkers_are_told_that_there_are_types():
    assert (ROOT / "jaxrl" / "py.typed").exists()
    assert PROJECT["tool"]["setuptools"]["package-data"] == {"jaxrl": ["py.typed"]}


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_what_a_package_exports(name):
    module = importlib.import_module(f"jaxrl.{name}")
    public = {each for each, value in vars(module).items() if each[0] != "_" and not inspect.ismodule(value)}
    assert sorted(module.__all__) == sorted(public)


def test_no_function_is_out_of_reach_behind_one_of_its_modules_name():
    """`jaxrl.layers.lstm` is the function, whoever imported what first; so what else is public there is exported."""
    hidden = [each.name for each in pkgutil.iter_modules(layers.__path__) if each.name in layers.__all__]
    assert len(hidden) >= 6
    for name in hidden:
        file = sys.modules[f"jaxrl.layers.{name}"]
        for each, value in vars(file).items():
            own = inspect.isfunction(value) and value.__module__ == file.__name__ and each[0] != "_"
            assert not own or each in FOR_OTHER_FILES or getattr(layers, each) is value
    code = "import jaxrl.layers.lstm; from jaxrl.layers.lstm import _gates; print(callable(jaxrl.layers.lstm))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_same_pythons_are_promised_and_tested():
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    prefix = "Programming Language :: Python :: "
    named = [each.removeprefix(prefix) for each in PROJECT["project"]["classifiers"] if each.startswith(f"{prefix}3.")]
    tested = re.search(r"python: (\[.*\])", text(".github/workflows/tests.yml"))
    assert named == PYTHONS == json.loads(tested[1])
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in text("README.md")


def test_the_source_distribution_has_what_its_tests_need():
    lines = text("MANIFEST.in").splitlines()
    grafted = {line.removeprefix("graft ") for line in lines if line.startswith("graft ")}
    assert grafted >= {"tests", "experiments", "benchmarks", "docs", ".github"}
    named = [name for line in lines if line.startswith("include ") for name in line.split()[1:]]
    assert all(list(ROOT.glob(name)) for name in [*named, *grafted])
    assert {"Makefile", "mkdocs.yml", "Dockerfile", "*.lock", "CHANGELOG.md", "CITATION.cff"} <= set(named)


def test_the_container_copies_what_there_is_and_trains():
    copied = [line.split()[1:-1] for line in text("Dockerfile").splitlines() if line.startswith("COPY ")]
    kept = {line.removeprefix("!") for line in text(".dockerignore").splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names} == kept and all((ROOT / name).exists() for name in kept)
    assert json.loads(re.search(r"^ENTRYPOINT (.*)$", text("Dockerfile"), re.MULTILINE)[1]) == ["jaxrl"]
    assert json.loads(re.search(r"^CMD (.*)$", text("Dockerfile"), re.MULTILINE)[1])[0] in COMMANDS


def test_the_addresses_stand_in_one_place():
    """They are placeholders until the project has a home."""
    owner = {url for url in PROJECT["project"]["urls"].values() if "OWNER" in url}
    assert owner
    for name in ("README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "mkdocs.yml"):
        assert "OWNER" not in text(name), name


def test_every_file_that_contributors_are_sent_to_is_there():
    for path in re.findall(r"`((?:jaxrl|tests|docs|experiments)/[\w./]+\.\w+)`", text("CONTRIBUTING.md")):
        assert "NAME" in path or (ROOT / path).exists(), path
