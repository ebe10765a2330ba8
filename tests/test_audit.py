"""The audit finds what is wrong, each kind in its own column, and says so in its table, its files and its exit code."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import audit, layers
from jaxrl.audit import command
from jaxrl.audit.cases import Case
from jaxrl.layers import reference
from jaxrl.shell import cli

ROOT = Path(__file__).resolve().parents[1]
X = np.random.default_rng(0).normal(size=(2, 3))


def square(x):
    return x * x


def derived(fwd=lambda x: (x * x, x), bwd=lambda x, dy: (2 * dy * x,)):
    """The square with a derived gradient, right unless a rule is given."""
    function = jax.custom_vjp(lambda x: fwd(x)[0])
    function.defvjp(fwd, bwd)
    return function


def found(layer, plain=square, *args):
    return set(audit.over_bound(audit.compare(layer, plain, *args or (X,), time_pairs=0)))


def test_nothing_is_found_in_a_right_layer():
    row = audit.compare(derived(), square, X, time_pairs=4)
    assert audit.over_bound(row) == {} and row.cotangents64.keys() == {"x"}
    assert list(row.transformations) == ["jit", "vmap", "scan", "pmap", "shard_map", "checkpoint", "twice"]
    assert 0.3 < row.time_ratio < 3 and row.bytes_ratio == 1.0
    assert "vmap ok" in str(row) and "over its bound" not in str(row)


def test_a_wrong_gradient():
    wrong = derived(bwd=lambda x, dy: (2.001 * dy * x,))
    columns = found(wrong)
    assert columns == {"cotangent64", "float32", "differences", "twice"}
    row = audit.compare(wrong, square, X, time_pairs=0, transformations=False)
    assert row.cotangents64["x"] == pytest.approx(5e-4) and "over its bound: cotangent64" in str(row)


def test_a_wrong_value():
    assert {"value64", "float32"} <= found(derived(fwd=lambda x: (x * x + 1e-3, x)))


def test_a_gradient_that_agrees_with_a_wrong_reference_fails_the_differences():
    both = derived(bwd=lambda x, dy: (3 * dy * x,))
    assert found(both, both) == {"differences"}


def test_a_gradient_of_nan():
    columns = found(derived(bwd=lambda x, dy: (dy * x * jnp.nan,)))
    assert {"cotangent64", "float32", "differences", "bfloat16", "vmap", "twice"} <= columns


def test_a_result_in_another_type():
    narrow = lambda x: x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x  # noqa: E731
    wide = derived(fwd=lambda x: (narrow(x * x), x), bwd=lambda x, dy: ((2 * dy * x).astype(x.dtype),))
    assert found(wide) == {"bfloat16"}


def test_digits_lost_in_bfloat16():
    def rounded(x):
        return (x + 8) - 8 if x.dtype == jnp.bfloat16 else x

    assert found(derived(bwd=lambda x, dy: (rounded(2 * dy * x),))) == {"bfloat16"}


def test_a_layer_that_is_wrong_under_vmap():
    batched = jax.custom_batching.custom_vmap(square)
    batched.def_vmap(lambda size, mapped, x: (x * x + 1, True))
    assert found(derived(fwd=lambda x: (batched(x), x))) == {"vmap", "twice"}  # JAX cannot differentiate it twice


def test_a_layer_that_fails_under_vmap():
    batched = jax.custom_batching.custom_vmap(square)

    @batched.def_vmap
    def fail(size, mapped, x):
        raise NotImplementedError("one example at a time")

    row = audit.compare(derived(fwd=lambda x: (batched(x), x)), square, X, time_pairs=0)
    assert audit.over_bound(row)["vmap"] == "vmap: NotImplementedError: one example at a time"
    assert "vmap fail" in str(row) and "scan ok" in str(row)


def test_a_layer_that_changes_from_trace_to_trace_is_found_under_every_transformation():
    traces = []

    def fwd(x):
        traces.append(x)
        return len(traces) * x * x, x

    row = audit.compare(derived(fwd=fwd), square, X, time_pairs=0)
    assert set(row.transformations) <= set(audit.over_bound(row))


def test_a_wrong_second_derivative():
    frozen = derived(bwd=lambda x, dy: (2 * dy * jax.lax.stop_gradient(x),))
    assert found(frozen) == {"twice"}


def test_what_the_reference_stops_is_left_out_of_the_differences():
    plain = lambda x, noise: (x * jax.lax.stop_gradient(noise), jax.lax.stop_gradient(x + noise))  # noqa: E731
    assert found(plain, plain, X, X) == set()


def test_other_shapes_than_the_reference_are_an_error():
    with pytest.raises(ValueError, match=r"the layer returns arrays of the shapes \(3,\), its reference of \(2, 3\)"):
        audit.compare(lambda x: (x * x).sum(0), square, X)


def test_arguments_of_every_kind():
    def plain(x, scale, key, flags, index):
        return jnp.where(flags[:, None], x[index] * scale, x * jax.random.bernoulli(key))

    args = X, 0.5, jax.random.key(0), np.array([True, False]), np.array([1, 0])
    row = audit.compare(plain, plain, *args, time_pairs=0)
    assert audit.over_bound(row) == {} and row.cotangents64.keys() == {"x", "scale"}


def test_cotangents_have_the_names_of_their_arguments():
    def product(x, *xs, factor=2.0):
        return factor * x * xs[0] * xs[1]

    found = audit.compare(product, product, X, X, X, time_pairs=0, transformations=False)
    assert list(found.cotangents64) == ["x", "1", "2"]


def test_bytes_kept():
    assert audit.residual_bytes(jnp.sin, jnp.ones(10)) == 40
    both_twice = derived(fwd=lambda x: (x * x, (x, x)), bwd=lambda kept, dy: (2 * dy * kept[0],))
    assert audit.residual_bytes(both_twice, jnp.ones(10)) == 40
    assert audit.residual_bytes(lambda x: x + 1, jnp.ones(10)) == 0


def test_time_is_a_ratio():
    def slow(x):
        return jax.lax.fori_loop(0, 300, lambda i, y: jnp.sin(y), x) * 0 + x * x

    slower = derived(fwd=lambda x: (slow(x), x))
    args = np.random.default_rng(0).normal(size=(200, 100))
    row = audit.compare(slower, square, args, time_pairs=4, transformations=False)
    assert row.time_ratio > 5
    assert set(audit.over_bound(row, max_ratio=1.5)) == {"time_ratio"}


def test_every_layer_and_loss_has_a_timed_case_and_a_small_one():
    public = {name for module in (layers, sys.modules["jaxrl.losses"]) for name in vars(module)}
    public = {name for name in public if name in vars(reference) and callable(getattr(reference, name))}
    for kind in (audit.TIMED, audit.SMALL):
        assert {case.name for case in audit.cases(kind)} == public
    assert len({case.title for case in audit.cases()}) == len(audit.cases())


WRONG = partial(derived, bwd=lambda x, dy: (2.001 * dy * x,))


@pytest.fixture
def tiny(monkeypatch):
    """Four rows in the place of the true ones: right and timed, right, wrong, and one that raises."""

    def case(shape, layer, timed=False):
        class Tiny(Case):
            pair = layer, square

        return Tiny("square", shape, lambda draw: (draw.normal(2, 3),), {}, audit.TIMED if timed else audit.SMALL)

    def broken(x):
        raise TypeError("no | such layer")

    rows = [case("timed", derived(), True), case("small", derived()), case("wrong", WRONG()), case("broken", broken)]
    monkeypatch.setattr(command, "cases", lambda *kinds: rows)


def exit_code(*arguments) -> int:
    """What the command ends with, as a shell sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["audit", *arguments])
        try:
            cli.run(command.main, command.Config)
        except SystemExit as end:
            return end.code
    return 0


def test_the_exit_code_and_the_files(tiny, tmp_path, capsys):
    files = tmp_path / "audit.json", tmp_path / "audit.md"
    assert exit_code("--pairs", "2", "--json", str(files[0]), "--markdown", str(files[1])) == 1
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    assert "over its bound: square wrong: cotangent64 = 0.0005" in err
    assert "over its bound: square broken: TypeError: no | such layer" in err

    content = json.loads(files[0].read_text())
    rows = {row["shape"]: row for row in content["rows"]}
    assert list(rows) == ["timed", "small", "wrong", "broken"]
    assert rows["timed"]["time_ratio"] > 0 and rows["timed"]["transformations"] is None
    assert rows["small"]["time_ratio"] is None and rows["small"]["over_bound"] == {}
    assert rows["wrong"]["cotangents64"]["x"] == pytest.approx(5e-4)
    assert rows["broken"]["error"] == "TypeError: no | such layer"
    assert content["versions"]["jax"] == jax.__version__ and content["bounds"]["value64"] == 1e-10

    lines = files[1].read_text().splitlines()
    tables = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|") and "broken" not in line]
    assert tables == [9, 9, 9, 14, 14, 14, 14]
    assert any("`square` | small" in line and line.count("| ok ") == 7 for line in lines)


def test_only_and_the_bounds_of_the_command_line(tiny):
    assert exit_code("--only", "small") == 0
    assert exit_code("--only", "timed", "--pairs", "0", "--max-ratio", "0.001") == 0  # nothing was timed
    assert exit_code("--only", "timed", "--pairs", "2", "--max-ratio", "0.001") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "conv3d"], "error: there is no row whose name contains 'conv3d'; did you mean conv2d?"),
        (["--pairs", "-1"], "error: --pairs must be at least 0; got -1."),
        (["--max-ratio", "0"], "error: --max-ratio must be above 0 and finite; got 0.0."),
        (["--json", "nowhere/audit.json"], "error: --json nowhere/audit.json is in a folder that does not exist"),
        (["--pairs", "many"], "--pairs"),
        (["--time", "5"], "--time"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, capsys):
    assert exit_code(*arguments) == 2
    assert message in capsys.readouterr().err


def test_every_option_has_its_help(capsys):
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    for words in ("--only", "--pairs", "0 for", "--max-ratio", "a time ratio is above", "--json", "--markdown"):
        assert words in shown


def test_as_a_program():
    """Its own process forces two devices for pmap, and has the names of real layers."""
    command = [sys.executable, "-m", "jaxrl.audit", "--only", "relu 3x5"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "relu" in run.stdout and "leaky_relu" in run.stdout and max(map(len, run.stdout.splitlines())) <= 80
