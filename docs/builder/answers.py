"""What the witnesses answer to the rows of `conventions`, as a table; PyTorch answers from its golden file."""

import json
from functools import partial
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np

from builder import quotes, witnesses
from builder.conventions import KINDS, NONE, text
from jaxrl.audit.gradients import QUICK

GOLDEN = quotes.ROOT / "tests" / "golden" / "pytorch_conventions.json"
NAMES = "jaxrl", "plain JAX", "Flax, Optax", "PyTorch"


def answers(of, rows) -> list[dict | None]:
    """What a witness answers: for each row its answers by name, or None where it has no such function.

    Args:
      of: gives the witness's function of a layer's name, or None.
      rows: of `conventions`.
    """
    found = [None] * len(rows)

    def all_of(values):
        each = enumerate(zip(rows, values, strict=True))
        return [_asked(of(row.layer), row, args, found, i) for i, (row, args) in each]

    values = [{name: _array(value) for name, value in row.args.items()} for row in rows]
    computed = jax.jit(all_of, compiler_options=QUICK)(values)  # one program, because compiling many takes longer
    return [f if c is None else {k: np.asarray(v).tolist() for k, v in c.items()}
            for f, c in zip(found, computed, strict=True)]  # fmt: skip


def _array(value):
    array = np.asarray(value)
    return jnp.asarray(array, float if array.dtype == float else int)


def _asked(function, row, args, found, i):
    """The answers to one row; if there are none, what there is goes into `found`."""
    if function is None:
        return None
    args = {name: args[name] for name in row.args}  # in their order, which jit does not keep
    try:
        return {name: _answer(partial(function, **row.settings), args, name) for name in row.ours}
    except Exception as error:  # whatever a library raises is its answer
        found[i] = dict.fromkeys(row.ours, type(error).__name__)


def _answer(function, args, name):
    if name.startswith("dd"):
        return jax.grad(lambda x: jnp.sum(_answer(function, args | {name[2:]: x}, name[1:])))(args[name[2:]])
    if name.startswith("d"):
        y, vjp = jax.vjp(lambda x: _named(function(*(args | {name[1:]: x}).values()), "y"), args[name[1:]])
        return vjp(jnp.arange(1.0, y.size + 1, dtype=y.dtype).reshape(y.shape))[0]
    return _named(function(*args.values()), name)


def _named(value, name):
    return value[name] if isinstance(value, dict) else value


def version(library: str) -> str:
    """Of a library that was asked."""
    if library == "torch":
        return json.loads(GOLDEN.read_text())["torch"].partition("+")[0]
    return metadata.version(library)


def torch_answers(rows) -> list[dict | None]:
    """Those of PyTorch, from the golden file."""
    golden = json.loads(GOLDEN.read_text())
    return [golden["rows"].get(row.call) for row in rows]


def agree(a, b) -> bool:
    """Whether two answers are the same."""
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str)  # errors have other names in other libraries
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True)


def table(kind: str) -> str:
    """Markdown of the rows of one kind, each with the answers of all witnesses, and the reasons below.

    Raises: AssertionError where jaxrl answers otherwise than the row says, or another does so and no reason is given.
    """
    rows = KINDS[kind]
    columns = [answers(of, rows) for of in (witnesses.ours, witnesses.plain, witnesses.FLAX.get)]
    reasons = list(dict.fromkeys(row.why for row in rows if row.why))
    lines = [["", "", *NAMES], ["---"] * 6]
    for row, *said in zip(rows, *columns, torch_answers(rows), strict=True):
        _hold(row, *said)
        mark = f" <sup>{reasons.index(row.why) + 1}</sup>" if row.why else ""
        question = f"`{row.call}`{mark}" + (f"<br>{row.what}" if row.what else "")
        lines.append([question, "<br>".join(row.ours), *(_cell(row, answer) for answer in said)])
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"{n}. {reason}" for n, reason in enumerate(reasons, 1))
    return f"\n{grid}\n\n{notes}\n"


def same(row, said) -> bool:
    """Whether a witness says what the row promises of jaxrl."""
    return all(agree(value, said[name]) for name, value in row.ours.items())


def _hold(row, ours, *others):
    assert same(row, ours), f"{row.call} is {ours}, not {row.ours}"
    differ = not all(same(row, said) for said in others if said)
    assert differ == bool(row.why), f"{row.call}: others differ without a reason, or the reverse: {others}"


def _cell(row, said):
    """A witness's answers, one a line, bold where they are not ours."""
    if said is None:
        return "–"
    names = [name for name in row.ours if not isinstance(said[name], str)] or list(row.ours)[:1]  # one error for all
    shown = [said[name] if isinstance(said[name], str) else text(said[name]) for name in names]
    shown = [s.replace(" ", "\u00a0") for s in shown]  # a line that broke would no longer stand beside its name
    alike = [agree(row.ours[name], said[name]) for name in names]
    return "<br>".join(s if a else f"**{s}**" for s, a in zip(shown, alike, strict=True))


def without() -> str:
    """A sentence on what is in no table."""
    return "In no table: " + "; ".join(f"`{name}` ({why})" for name, why in NONE.items()) + "."
