"""The plan of the house: a room imports only from rooms before it, and nothing in jaxrl imports an experiment."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrl.agents import AGENTS

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [
    {"nearest"}, {"layers"}, {"losses", "returns"}, {"parallel"}, {"networks"}, {"environments"}, {"agent"},
    {"rollout"}, {"sum_tree"}, {"replay"}, {"tabular"}, {"algorithms"}, {"agents"}, {"shell"}, {"audit"},
    {"commands"}, {"__main__"},
]  # fmt: skip
PLACE = {room: i for i, rooms in enumerate(ROOMS) for room in rooms}
MODULES = sorted((ROOT / "jaxrl").rglob("*.py"))
EVERYTHING = [*MODULES, *(path for name in ("experiments", "benchmarks", "tests", "docs")
                          for path in sorted((ROOT / name).rglob("*.py")))]  # fmt: skip


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "jaxrl" and len(parts) > 1 else None


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_with_the_data(path):
    mine = path.relative_to(ROOT / "jaxrl").parts[0].removesuffix(".py")
    for name in imported(path):
        assert not name.startswith("experiments"), name
        theirs = room_of(name)
        if mine != "__init__" and theirs is not None:
            assert PLACE[theirs] <= PLACE[mine], f"{mine} imports {name}"


def test_no_file_edits_the_path():
    found = [str(path) for path in EVERYTHING if re.search(r"sys\.path\b(?!\\)", path.read_text())]
    assert not found


def test_every_agent_has_its_script():
    for name in AGENTS:
        assert (ROOT / "experiments" / f"{name}.py").exists(), name


ADAPTERS = {"envpool": 1, "orbax": 1, "tyro": 1, "tensorboardX": 1, "matplotlib": 1, "imageio": 1, "safetensors": 1,
            "rich": 2, "gymnasium": 4, "ale_py": 1, "cloudpickle": 1, "annotated_types": 2}  # fmt: skip


@pytest.mark.parametrize(("library", "files"), ADAPTERS.items())
def test_each_outside_library_has_its_adapter(library, files):
    users = [p for p in MODULES if any(name.split(".")[0] == library for name in imported(p))]
    assert len(users) <= files, f"{library} is imported in {users}"


def test_layers_import_alone():
    """`import jaxrl.layers` brings no environment, file format or terminal library with it."""
    code = (
        "import sys, jaxrl.layers; print([m for m in ('envpool', 'orbax', 'flax', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
