"""The benchmarks run, in the smallest form, and write what the README and the pages of the site read."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(request, monkeypatch):
    """A script of benchmarks/ by its name; one in experiments/ is called dqn too."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(f"benchmark_{request.param}", BENCHMARKS / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def positive(figures: dict) -> bool:
    return all(positive(each) if isinstance(each, dict) else each > 0 for each in figures.values())


@pytest.mark.parametrize("script", ["dqn"], indirect=True)
def test_dqn(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "KINDS", {"nature": {"prioritized": {"prioritized": True}}})
    output = tmp_path / "build" / "dqn_speed.json"
    script.main(script.Config(replay_size=1024, turns=1, repeats=1, output=output))
    found = json.loads(output.read_text())
    assert found["nature"]["replay_size"] == 1024 and found["nature"]["ratio"] == {"prioritized": 1.0}
    row = found["nature"]["training"]["prioritized"]
    learning = row.pop("learning")  # the difference of two times
    assert set(row) == {"steps_per_second", "acting", "storing"} and positive(row) and learning != 0
    assert set(found["nature"]["replay"]["prioritized"]) == set(script.CALLS)
    assert positive(found["nature"]["replay"])
    assert "commit" in found and "output" not in found["config"]


@pytest.mark.parametrize("script", ["throughput"], indirect=True)
def test_throughput(script, tmp_path):
    output = tmp_path / "throughput.json"
    script.main(script.Config(num_envs=2, updates=1, repeats=1, plain=False, output=output))
    found = json.loads(output.read_text())
    assert set(found["steps_per_second"]["jaxrl"]) == set(script.PARTS)
    assert positive(found["steps_per_second"]) and positive(found["ratios"])


def test_layers(tmp_path):
    output = tmp_path / "layers.json"
    options = ["--only=relu", "--rounds=1", "--sample-seconds=0.001", f"--output={output}"]
    subprocess.run([sys.executable, BENCHMARKS / "layers.py", *options], check=True, capture_output=True)
    rows = json.loads(output.read_text())["rows"]
    assert rows and all("relu" in name and positive(row) for name, row in rows.items())
    assert all(row["ratio"]["derived"] == 1 for row in rows.values())


def test_layers_names_its_rows_when_there_is_no_such(tmp_path):
    options = ["--only=convolution", f"--output={tmp_path / 'layers.json'}"]
    ended = subprocess.run([sys.executable, BENCHMARKS / "layers.py", *options], capture_output=True, text=True)
    assert ended.returncode != 0 and 'no row has "convolution"' in ended.stderr and "conv2d" in ended.stderr
    assert "Traceback" not in ended.stderr
