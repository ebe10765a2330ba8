"""What a figure was measured with."""

import subprocess

import jax

from jaxrl.shell import provenance


def test_versions_machine_and_commit_are_named():
    measured_on = provenance.measured_on("numpy")
    assert measured_on["versions"]["jax"] == jax.__version__
    assert measured_on["versions"].keys() == {"jax", "jaxlib", "numpy"}
    assert "cores of" in measured_on["machine"]


def test_a_commit_is_marked_where_code_has_changed(tmp_path, monkeypatch):
    def git(*words):
        identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        command = ["git", "-C", tmp_path, *identity, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit() is None
    git("init")
    assert provenance.commit() is None
    (tmp_path / "results").mkdir()
    for name in ("code.py", "results/figures.json"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    first = git("rev-parse", "--short", "HEAD").strip()
    (tmp_path / "results" / "figures.json").write_text("2")
    assert provenance.commit() == first
    (tmp_path / "code.py").write_text("2")
    assert provenance.commit() == first + "-dirty"
