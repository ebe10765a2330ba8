"""The library's source on a page, read when the page is made: a line that is gone cannot be quoted."""

import ast
import html
import importlib
import inspect
import textwrap
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parents[2]


def function(path: str) -> tuple[ast.FunctionDef, str]:
    """A function of the library, such as "jaxrl.layers.linear._linear_bwd": its syntax tree and its module's text."""
    module, _, name = path.rpartition(".")
    text = Path(importlib.import_module(module).__file__).read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node, text
    raise LookupError(f"{module} has no function {name}")


def statements(path: str) -> list[str]:
    """The statements of a function in order, without docstrings; of a compound one its head, then what is in it."""
    node, text = function(path)
    lines = text.splitlines()

    def walk(body):
        for at in body:
            if isinstance(at, ast.Expr) and isinstance(at.value, ast.Constant):
                continue
            inner = getattr(at, "body", None)
            last = at.end_lineno if inner is None else inner[0].lineno - 1
            code = (line for line in lines[at.lineno - 1 : last] if not line.lstrip().startswith("#"))
            yield textwrap.dedent("\n".join(code)).strip()
            if inner is not None:
                yield from walk(inner)
                yield from ["else:"] * bool(getattr(at, "orelse", []))
                yield from walk(getattr(at, "orelse", []))

    return list(walk(node.body))


def explained(path: str, notes: str) -> list[tuple[str, str]]:
    """The statements of a function, each with its note.

    Args:
      path: the function.
      notes: one a line, "start of the statement => note"; a line "..." passes over any number of statements.

    Raises: LookupError unless every statement has its note, in order, and every note its statement.
    """
    left, rows, skip = statements(path), [], False
    for line in filter(None, map(str.strip, notes.splitlines())):
        if line == "...":
            skip = True
            continue
        start, arrow, note = line.partition(" =>")
        while skip and left and not left[0].startswith(start):
            left.pop(0)
        if not arrow or not left or not left[0].startswith(start):
            raise LookupError(f"{path}: the note “{line}” meets “{left[0] if left else 'the end'}”")
        rows.append((left.pop(0), note.strip()))
        skip = False
    if left and not skip:
        raise LookupError(f"{path}: no note explains “{left[0]}”")
    return rows


def where(path: str) -> str:
    """The file and line of a function, as text."""
    module, _, _ = path.rpartition(".")
    file = Path(importlib.import_module(module).__file__).relative_to(ROOT)
    return f"{file}:{function(path)[0].lineno}"


def signature(path: str) -> tuple[str, str]:
    """The call of a public function, and its docstring."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    node, _ = function(f"{found.__module__}.{name}")
    return f"{name}({ast.unparse(node.args)})", inspect.getdoc(found)


def coloured(code: str) -> str:
    """Code as HTML, in the site's colours."""
    return highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n")


def escaped(text: str) -> str:
    """Text as HTML."""
    return html.escape(text)
