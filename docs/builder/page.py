"""A page: Markdown whose code runs, whose equations are evaluated, and whose quotes are read from the source.

Blocks, all in one namespace a page, from top to bottom:

    python         shown and run; what it prints is shown below
    hidden         run; what it prints is taken as Markdown
    raises ERROR   shown and run; the error that it must raise is shown
    equations      claims (see `claims`); what is indented goes on with the line before, and each == that starts a line
                   is typeset below the last. `equations NAME`: with each of a list of dicts of further names in turn
    symbolic       the same for symbols, proved by SymPy; NAME = EXPRESSION defines. `symbolic NAME positive=a,b`: with
                   a dict of names that have a meaning already, and with a and b above 0
    lines PATH     a function of the library, statement by statement beside its notes (see `quotes.explained`)
    api PATH       a public function's signature and docstring

In the text {{ expression }} is typeset, and evaluated when it is an equation; {{~ a == b }} is a condition, which does
not always hold, and only typeset; {{= expression }} is its value.
"""

import ast
import contextlib
import io
import re

import jax
import jax.numpy as jnp
import numpy as np

from builder import claims, figures, mathml, quotes
from jaxrl import audit, layers, losses
from jaxrl.audit.gradients import free, gradient, merge
from jaxrl.layers import reference

BLOCK = re.compile(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
INLINE = re.compile(r"\{\{([=~]?)(.+?)\}\}", re.DOTALL)
TOKEN = "\ue000{}\ue001"  # stands for a piece of HTML until Markdown is done
DISPLAY = ' displaystyle="true"'
TOKENS = re.compile("(?:<p>)?\ue000(\\d+)\ue001(?:</p>)?")


class Page:
    """One page, made by `Page(markdown).body`; `finish` puts the HTML pieces in after Markdown is done.

    Attributes:
      body: Markdown for MkDocs.
      checked: how many equations were evaluated.
    """

    def __init__(self, markdown: str):
        self._pieces, self._typeset, self.checked = [], mathml.Typesetter(), 0
        self._partials, self._shown = {}, []
        self._names = {
            "np": np, "jax": jax, "jnp": jnp, "layers": layers, "losses": losses, "reference": reference,
            "show": self._show, "html": self._html,
            "plot": lambda *args, **options: self._html(figures.plot(*args, **options)),
            "agree": agree, "back": back, "free": free, "merge": merge, "kept": audit.residual_bytes,
            "partials": self._partials, "jacobians": self._jacobians, "outside": claims.Outside,
            "spell": self._spell, "root": quotes.ROOT,
        }  # fmt: skip
        with jax.enable_x64(True):
            self.body = "".join(self._parts(markdown))

    def finish(self, html: str) -> str:
        """HTML with every piece in its place."""
        while TOKENS.search(html):
            html = TOKENS.sub(lambda match: self._pieces[int(match[1])], html)
        return html

    def _parts(self, markdown):
        end = 0
        for match in BLOCK.finditer(markdown):
            yield self._inline(markdown[end : match.start()])
            kind, argument, text = match.groups()
            make = getattr(self, f"_block_{kind}", None)
            yield make(argument, text) if make else match[0]
            end = match.end()
        yield self._inline(markdown[end:])

    def _inline(self, text):
        return INLINE.sub(lambda match: self._piece_of_text(match[1], match[2].strip()), text)

    def _piece_of_text(self, kind, text):
        if kind == "=":
            return str(eval(text, self._names))
        claim = kind != "~" and claims.is_claim(mathml.parse(text))
        mark = self._mark([self._check(text, self._names, self._partials)]) if claim else ""
        return self._piece(mathml.math(self._set(text)) + mark)

    def _set(self, text):
        self._typeset.differentials = set(self._names) | set(self._typeset.spelled)
        return self._typeset(text)

    def _check(self, text, names, partials=None):
        self.checked += 1
        return claims.check(text.strip(), names, partials)

    def _mark(self, found: list[claims.Checked], proved: bool = False):
        times, apart = sum(f.times for f in found), max(f.difference for f in found)
        how = "equal to the bit" if apart == 0 else f"apart by {apart:.0e} at most"
        said = "Proved by SymPy" if proved else f"Evaluated {times} time{'s' * (times != 1)}: {how}"
        return f'<span class="checked" title="{said} when this page was built." aria-label="checked">✓</span>'

    def _piece(self, html):
        self._pieces.append(html)
        return TOKEN.format(len(self._pieces) - 1)

    def _spell(self, brackets=None, times=None, **names):
        """How names are typeset, from here on."""
        self._typeset.spelled |= names
        if brackets is not None:
            self._typeset.brackets = brackets
        if times is not None:
            self._typeset.times = f"<mo>{times}</mo>" if times else mathml.THIN

    def _show(self, *items, decimals=3):
        """Arrays side by side: each an expression, or a pair of one and an index for each entry's background."""
        shown = []
        for item in items:
            text, shades = (item, None) if isinstance(item, str) else item
            name = mathml.math(f"{self._set(text)}{_infix('=')}")
            array = mathml.matrix(eval(text, self._names), decimals, shades)
            shown.append(f'<div class="array">{name}{array}</div>')
        self._html(f'<div class="arrays">{"".join(shown)}</div>')

    def _html(self, text):
        """Show HTML as it is."""
        self._shown.append(self._piece(text))

    def _jacobians(self, y, function, /, **args):
        """Partial derivatives of `function`, called y, by each of its floating-point arguments, for D(y, argument)."""
        values = list(args.values())
        names = [name for name, value in args.items() if free([value])]
        slopes = jax.jit(jax.jacrev(lambda *xs: function(*merge(values, xs)), range(len(names))))(*free(values))
        self._partials |= {(y, name): slope for name, slope in zip(names, slopes, strict=True)}

    def _run(self, code):
        """Run code; what it printed, and what it showed."""
        self._shown, printed = [], io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "<page>", "exec"), self._names)
        return printed.getvalue(), "".join(f"\n\n{token}\n\n" for token in self._shown)

    def _block_python(self, argument, text):
        printed, shown = self._run(text)
        output = f"\n\n```{{.text .output}}\n{printed.rstrip()}\n```" if printed else ""
        return f"```python\n{text}```{output}{shown}"

    def _block_hidden(self, argument, text):
        printed, shown = self._run(text)
        return printed + shown

    def _block_raises(self, argument, text):
        try:
            self._run(text)
        except Exception as error:
            if type(error).__name__ != argument:
                raise
            message = f"{argument}: {str(error).splitlines()[0]}"
            return f"```python\n{text}```\n\n```{{.text .output}}\n{message}\n```"
        raise AssertionError(f"this does not raise {argument}:\n{text}")

    def _block_equations(self, argument, text):
        settings = self._names[argument] if argument else [{}]

        def check(claim):
            found = [self._check(claim, self._names | each, each.get("partials", self._partials)) for each in settings]
            return claims.Checked(max(f.difference for f in found), sum(f.times for f in found))

        return self._equations(text, check)

    def _block_symbolic(self, argument, text):
        from builder import symbols  # only here, so that pages without symbols need no SymPy

        given, _, positive = argument.partition("positive=")
        names = symbols.FUNCTIONS | (self._names[given.strip()] if given.strip() else {})

        def check(line):
            symbols.add_unknown(line, names, positive.split(","))
            if defined := re.match(r"(\w+) = (.+)", line, re.DOTALL):
                names[defined[1]] = eval(defined[2], names)
                return None
            return self._check(line, names)

        return self._equations(text, check, proved=True)

    def _equations(self, text, check, proved=False):
        """Claims one below the other: left side, then the sign and what is right of it; the mark at the end."""
        rows, found = [], []
        for claim in _paragraphs(text):
            found.append(check(claim))
            rows += self._rows(claim)
        mark = self._mark([f for f in found if f], proved) if any(found) else ""
        cells = (f"<span>{mathml.math(side, DISPLAY) if side else ''}</span>" for row in rows for side in row)
        grid = f'<div class="equations">{"".join(cells)}</div>'
        return self._piece(f'<div class="claim"><div class="scroll">{grid}</div>{mark}</div>')

    def _rows(self, claim):
        """The rows of a claim: it breaks before every == that starts a line."""
        first, *more = re.split(r"\n\s*==", claim)
        if re.match(r"\w+ = ", first):
            first = first.replace(" = ", " == ", 1)
        node = mathml.parse(first)
        ops = [mathml.SIGNS[type(op)] for op in node.ops] if isinstance(node, ast.Compare) else []
        sides = [node.left, *node.comparators] if ops else [node]
        right = "".join(f"{_infix(op)}{self._side(side)}" for op, side in zip(ops, sides[1:], strict=True))
        return [(self._side(sides[0]), right), *(("", f"{_infix('=')}{self._side(side)}") for side in more)]

    def _side(self, side):
        if isinstance(side, str):
            side = mathml.parse(side)
        known = set(self._names) | set(self._typeset.spelled)
        self._typeset.differentials = known
        return self._typeset(side)

    def _block_lines(self, argument, text):
        rows = []
        for code, note in quotes.explained(argument, text):
            shown = self._piece(f'<div class="highlight"><pre><code>{quotes.coloured(code)}</code></pre></div>')
            note = f'<div class="note" markdown="span">{self._inline(note)}</div>'
            rows.append(f'<div class="line" markdown>\n{shown}\n{note}\n</div>')
        name = argument.rpartition(".")[2]
        head = f'<p class="from"><code>{name}</code> in <code>{quotes.where(argument)}</code></p>'
        return f'<div class="lines" markdown>\n{self._piece(head)}\n' + "\n".join(rows) + "\n</div>"

    def _block_api(self, argument, text):
        call, doc = quotes.signature(argument)
        code = f'<div class="highlight"><pre><code>{quotes.coloured(call)}</code></pre></div>'
        doc = f'<pre class="docstring"><code>{quotes.escaped(doc)}</code></pre>'
        return self._piece(f'<details class="api"><summary>{code}</summary>{doc}</details>')


def back(function, args, dy):
    """Value of a function, and the cotangents of its floating-point arguments from the cotangent of the value."""
    return jax.jit(gradient(function))(args, dy)


def agree(*results):
    """Print how far results are apart, which must be less than 1e-10; each a tree of arrays."""
    first, *others = ([np.asarray(leaf) for leaf in jax.tree.leaves(result)] for result in results)
    apart = 0.0
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
            here = float(np.max(np.abs(a - b), initial=0))
            assert here < claims.BOUND, f"apart by {here:.2g}"  # false for nan too
            apart = max(apart, here)
    print("they agree to the bit" if apart == 0 else f"they agree to {apart:.0e}")


def _infix(sign):
    return f'<mo form="infix">{sign}</mo>'


def _paragraphs(text):
    """Claims: a line that is indented, or starts with ==, goes on with the one before."""
    found = []
    for line in text.splitlines():
        if line[:1].isspace() or line.startswith("=="):
            found[-1] += "\n" + line
        elif line:
            found.append(line)
    return found
