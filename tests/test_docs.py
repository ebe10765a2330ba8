"""The documentation: a page for everything public, and a builder that lets nothing false through."""

import inspect
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from builder import mathml, quotes
from builder.page import BLOCK, Page

from jaxrl import layers, losses
from jaxrl.agents import dqn_options

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def public(module) -> list[str]:
    """What a module offers and made itself, or its parts did."""
    found = {name: inspect.unwrap(value) for name, value in vars(module).items() if callable(value)}
    return [name for name, value in found.items() if name[0] != "_" and value.__module__.startswith(module.__name__)]


@pytest.mark.parametrize("module", [layers, losses], ids=["layers", "losses"])
def test_everything_public_has_a_section(module):
    """A heading with the name, and its signature and docstring under it."""
    room = module.__name__.removeprefix("jaxrl.")
    text = "".join((DOCS / page).read_text() for page in PAGES if page.startswith(room))
    names = public(module)
    assert len(names) >= {"layers": 20, "losses": 10}[room]
    for name in names:
        section = re.search(rf"^#+ `{name}`.*\n(?:(?!##).*\n)*?```api {module.__name__}\.{name}\n", text, re.MULTILINE)
        assert section, f"jaxrl.{room}.{name} has no section in docs/{room}/"


def test_the_menu_has_every_page():
    menu = re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(menu) == PAGES


def test_nothing_is_fetched_from_elsewhere():
    """The plugin `offline` would load its worker from another site if mkdocs.yml did not name ours."""
    assert "polyfills: [assets/iframe-worker.js]" in (ROOT / "mkdocs.yml").read_text()
    assert (DOCS / "assets" / "iframe-worker.js").is_file()
    assert not any("http" in asset.read_text() for asset in (DOCS / "assets").iterdir())


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+\.md)", (DOCS / page).read_text()):
            assert (DOCS / page).parent.joinpath(target).is_file(), f"{page} links to {target}"


TRUE = """
```hidden
x = np.arange(3.0)
jacobians("y", lambda x: x**2, x=x)
```
```equations
D(y[i], x[j]) == 2 * x[i] * delta(i, j)
```
Twice {{ x[1] }} is {{= 2 * x[1] }}.
```python
print(x.sum())
```
```raises ZeroDivisionError
1 / 0
```
```lines jaxrl.layers.embedding._embedding_fwd
return => The rows.
```
"""


def test_a_page_of_true_claims_is_made():
    page = Page(TRUE)
    html = page.finish(page.body)
    assert page.checked == 1
    assert "Evaluated 9 times: equal to the bit" in html
    for said in ("is 2.0.", "```{.text .output}\n3.0\n```", "ZeroDivisionError: division by zero", "_embedding_fwd"):
        assert said in html
    assert "\ue000" not in html  # no placeholder is left


def block(kind, *lines):
    return "\n".join([f"```{kind}", *lines, "```\n"])


X = block("hidden", "x = np.arange(3.0)", "jacobians('y', lambda x: x**3, x=x)")
NAN = block("hidden", "x = np.array([np.nan])")
FWD = "jaxrl.layers.embedding._embedding_fwd"
FALSE = {
    "an equation": (X + block("equations", "x[i] + x[i] == 3 * x[i]"), AssertionError),
    "one place of three": (X + block("equations", "x[i] == min(x[i], 1)"), AssertionError),
    "a gradient": (X + block("equations", "D(y[i], x[j]) == 3 * x[i] * delta(i, j)"), AssertionError),
    "the last digits": (block("equations", "1 / 3 == 0.33333333"), AssertionError),
    "the third side": (block("equations", "4 == 2 + 2", "  == 2 * 3"), AssertionError),
    "the second equation": (block("equations", "4 == 2 + 2", "4 == 2 * 3"), AssertionError),
    "in the text": ("For {{ 2 + 2 == 5 }} see there.", AssertionError),
    "a nan": (NAN + block("equations", "x[i] == 1"), AssertionError),
    "a nan behind a truth": (NAN + block("equations", "1 == 1 == x[i]"), AssertionError),
    "an infinity": (block("hidden", "x = np.array([np.inf])") + block("equations", "x[i] == -x[i]"), AssertionError),
    "an example": (block("python", "agree(np.ones(2), np.array([1, 1 + 1e-9]))"), AssertionError),
    "a nan in an example": (block("python", "agree(np.ones(1), np.array([np.nan]))"), AssertionError),
    "a shape": (block("python", "agree(np.ones(2), np.ones((1, 2)))"), AssertionError),
    "an error that does not come": (block("raises ValueError", "int('1')"), AssertionError),
    "another error": (block("raises TypeError", "int('x')"), ValueError),
    "an index without a range": (block("equations", "1 == floor[i]"), ValueError),
    "no equation": (block("equations", "1 + 1"), ValueError),
    "an unknown name": (block("equations", "nowhere == 1"), NameError),
    "a line that is not there": (block(f"lines {FWD}", "y = table[ids] => The rows."), LookupError),
    "a line without a note": (block(f"lines {FWD}"), LookupError),
    "a function that is not there": (block("lines jaxrl.layers.linear._gone", "return => It."), LookupError),
    "a public name that is not there": (block("api jaxrl.layers.gone"), AttributeError),
}  # fmt: skip


@pytest.mark.parametrize(("text", "error"), FALSE.values(), ids=FALSE)
def test_what_is_false_stops_the_build(text, error):
    with pytest.raises(error):
        Page(text)


def test_every_difference_from_a_paper_has_its_reason(monkeypatch):
    """The tables are read from the presets, and the page is not made when one of them leaves its paper."""
    text = (DOCS / "papers.md").read_text()
    body = Page(text).body
    for name in dqn_options.PRESETS["atari"]:
        assert f"`{name}`" in body, name
    assert "| nature | nature |" in body and "52×52" in body
    for preset, setting in (("rainbow-paper", {"learning_rate": 1e-4}), ("rainbow", {"batch_size": 64})):
        changed = dqn_options.PRESETS["atari"] | {preset: dqn_options.PRESETS["atari"][preset] | setting}
        monkeypatch.setitem(dqn_options.PRESETS, "atari", changed)
        with pytest.raises(AssertionError, match="without a reason"):
            Page(text)
        monkeypatch.undo()


def test_symbols_are_proved():
    Page(block("symbolic", "D(tanh(z), z) == 1 - tanh(z)**2"))
    with pytest.raises(AssertionError):
        Page(block("symbolic", "D(tanh(z), z) == 1 + tanh(z)**2"))


def test_parentheses_are_shown_where_they_matter():
    typeset = mathml.Typesetter()
    assert typeset("a - (b - c)") != typeset("a - b - c") == typeset("(a - b) - c")
    assert typeset("(a + b) * c") != typeset("a + b * c") == typeset("a + (b * c)")
    assert typeset("(a * b)**2") != typeset("a * b**2")
    assert typeset("a * (-b)") != typeset("a - b")
    with pytest.raises(ValueError, match="cannot typeset"):
        typeset("a << b")


def test_an_array_is_shown_as_it_is():
    shown = mathml.matrix(np.array([[-0.0001, 1.5]]), shades=np.array([[True, False]]))
    assert '<td class="shade1">0.0</td><td class="shade0">1.5</td>' in shown


def test_every_statement_has_its_note_in_order():
    path = "jaxrl.layers.linear._linear_bwd"
    notes = [f"{code.splitlines()[0]} => why" for code in quotes.statements(path)]
    assert len(quotes.explained(path, "\n".join(notes))) == len(notes) > 1
    for wrong in (notes[:-1], notes[1:], notes[::-1]):
        with pytest.raises(LookupError):
            quotes.explained(path, "\n".join(wrong))


@pytest.mark.parametrize("page", PAGES)
def test_quotes_are_in_the_source(page):
    """Every quoted function is there, and has the statements that the page explains."""
    for kind, path, notes in BLOCK.findall((DOCS / page).read_text()):
        if kind == "lines":
            assert quotes.explained(path, notes)
        elif kind == "api":
            assert quotes.signature(path)


@pytest.mark.parametrize("page", [page for page in PAGES if "/" in page])  # the others tell what was measured
def test_a_page_is_made(page):
    with jax.numpy_rank_promotion("allow"):  # as a reader of the page has it
        made = Page((DOCS / page).read_text())
    assert made.checked >= 2
    assert "\ue000" not in made.finish(made.body)
