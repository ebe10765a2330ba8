"""The conventions that docs/conventions.md tells: jaxrl keeps them, and every layer and loss has one."""

import inspect
import json
import math

import jax
import pytest
from builder import answers, conventions, witnesses
from builder.conventions import ROWS

from jaxrl import layers, losses


@pytest.fixture(scope="module")
def said():
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        return answers.answers(witnesses.ours, ROWS)


@pytest.mark.parametrize("place", range(len(ROWS)), ids=[row.call for row in ROWS])
def test_ours_is_what_the_page_promises(place, said):
    assert answers.same(ROWS[place], said[place]), f"{said[place]}, not {ROWS[place].ours}"


def test_every_layer_and_loss_has_a_convention_or_none():
    members = {**vars(layers), **vars(losses)}
    public = {name for name, member in members.items() if inspect.isfunction(member) and name[0] != "_"}
    assert {row.layer for row in ROWS} | set(conventions.NONE) == public
    assert not {row.layer for row in ROWS} & set(conventions.NONE)


def test_pytorch_was_asked_what_is_asked_now():
    """Every row but those of functions that it has not, and no row of long ago: else make the file anew."""
    asked = set(json.loads(answers.GOLDEN.read_text())["rows"])
    assert asked <= {row.call for row in ROWS}
    for row in ROWS:
        assert row.call in asked or row.layer in ("quantile_huber_loss", "conv_transpose2d"), row.call


def test_where_pytorch_differs_there_is_a_reason():
    """Plain JAX and Flax are asked when the page is made."""
    for row, theirs in zip(ROWS, answers.torch_answers(ROWS), strict=True):
        assert theirs is None or row.why or answers.same(row, theirs), f"{row.call}: {theirs}"


def test_no_two_rows_ask_the_same():
    assert len({row.call for row in ROWS}) == len(ROWS)


def test_a_broken_promise_stops_the_page(monkeypatch):
    row = conventions.Row("relu", "at 0", {"x": 0.0}, {"dx": 1.0}, {}, "a reason")
    monkeypatch.setitem(conventions.KINDS, "kink", [row])
    with pytest.raises(AssertionError, match="not {'dx': 1.0}"):
        answers.table("kink")
    monkeypatch.setitem(conventions.KINDS, "kink", [row._replace(ours={"dx": 0.0}, why="")])
    with pytest.raises(AssertionError, match="without a reason"):
        answers.table("kink")


def test_a_table_shows_each_answer_beside_its_name(monkeypatch):
    """In the order of the row, which `jax.jit` does not keep; errors once, and what differs in bold."""
    row = next(row for row in ROWS if list(row.ours) == ["y", "dx"] and row.layer == "elu")
    monkeypatch.setitem(conventions.KINDS, "kink", [row])
    (line,) = (line for line in answers.table("kink").splitlines() if "elu" in line)
    assert "| y<br>dx | −2<br>0 | −2<br>0 | −2<br>0 | −2<br>0 |" in line
    assert answers._cell(row, {"y": "IndexError", "dx": "IndexError"}) == "**IndexError**"
    assert answers._cell(row, {"dx": 0.0, "y": math.nan}) == "**NaN**<br>0"
