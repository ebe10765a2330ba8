"""Python expressions as MathML, which browsers draw themselves.

An equation on a page is written in Python, so that the very text which is shown is what `claims` evaluates.
"""

import ast
import html

import numpy as np

GREEK = {
    "alpha": "α", "gamma": "γ", "delta": "δ", "epsilon": "ε", "mu": "μ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "Phi": "Φ", "theta": "θ", "beta": "β", "oo": "∞",
}  # fmt: skip
SIGNS = {
    ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥", ast.In: "∈",
    ast.Add: "+", ast.Sub: "−",
}  # fmt: skip
BIG = {"sum": "∑", "prod": "∏", "max": "max", "min": "min", "all": "all"}
FENCES = {"abs": "||", "floor": "⌊⌋", "ceil": "⌈⌉", "iverson": "[]"}
SYMBOLS = {"sigmoid": "<mi>σ</mi>"}  # functions that have a symbol
COMPARED, ADDED, MULTIPLIED, RAISED, ATOM = range(5)  # how tightly an expression holds together
THIN = '<mspace width="0.2em"/>'


def parse(text: str) -> ast.expr:
    """One expression, over as many lines as it likes."""
    return ast.parse(f"({text}\n)", mode="eval").body


class Typesetter:
    """Typesets expressions.

    Attributes:
      spelled: names that are shown as another expression, such as {"log_std": "log(sigma)"}.
      brackets: whether every index stands in brackets, x[i], rather than below, for names with one or two of them.
      times: the sign between factors.
      differentials: names v for which dv is the cotangent of v, shown with an upright d.
    """

    def __init__(self):
        self.spelled, self.brackets, self.times, self.differentials = {}, False, THIN, set()

    def __call__(self, node: ast.expr | str) -> str:
        """MathML of an expression, without the <math> around it."""
        return self._set(parse(node) if isinstance(node, str) else node)[0]

    def _set(self, node):
        """(MathML, how tightly it holds together)."""
        return getattr(self, f"_{type(node).__name__}")(node)

    def _in(self, node, level: int) -> str:
        """The expression in parentheses if it holds together less tightly than `level`."""
        text, own = self._set(node)
        return text if own >= level else fenced(text)

    def _list(self, nodes) -> str:
        return "<mo>,</mo>".join(self(node) for node in nodes)

    def _Constant(self, node):
        if isinstance(node.value, str):  # <mi>, because a sign after <mtext> gets no space
            return f"<mi>{html.escape(node.value)}</mi>", ATOM
        if node.value is Ellipsis:
            return "<mo>…</mo>", ATOM
        return number(node.value), ATOM

    def _Name(self, node):
        return self.name(node.id), ATOM

    def name(self, name: str) -> str:
        """A variable."""
        if self.spelled.get(name, name) != name:
            return self(self.spelled[name])
        if name not in GREEK and name[0] == "d" and {name[1:], name[1:].partition("_")[0]} & self.differentials:
            return f'<mrow><mi mathvariant="normal">d</mi>{self.name(name[1:])}</mrow>'
        if name.endswith("_hat"):
            return f'<mover accent="true">{self.name(name[:-4])}<mo stretchy="false">^</mo></mover>'
        base, _, below = name.partition("_")
        if below:
            below = "<mi>t</mi><mo>−</mo><mn>1</mn>" if below == "tm1" else _letters(below)
            return f"<msub>{self.name(base)}<mrow>{below}</mrow></msub>"
        return _letters(name)

    def _Attribute(self, node):
        if node.attr != "T":
            raise ValueError(f"only .T can be typeset, not .{node.attr}")
        return f"<msup>{self._in(node.value, ATOM)}<mo>⊤</mo></msup>", RAISED

    def _Subscript(self, node):
        indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        plain = len(indices) <= 2 and all(map(_is_plain, indices))
        base = self._in(node.value, ATOM)
        if plain and not self.brackets:
            return f"<msub><mrow>{base}</mrow><mrow>{self._below(indices)}</mrow></msub>", ATOM
        return f"<mrow>{base}{fenced(self._list(indices), '[]')}</mrow>", ATOM

    def _below(self, indices):
        """Indices below a line; letters and numbers need no comma."""
        short = all(len(ast.unparse(i)) == 1 or getattr(i, "id", "") in GREEK for i in indices)
        return "".join(map(self, indices)) if short else self._list(indices)

    def _Slice(self, node):
        return "<mo>:</mo>", ATOM

    def _UnaryOp(self, node):
        if not isinstance(node.op, ast.USub):
            raise ValueError(f"cannot typeset {ast.unparse(node)}")
        return f'<mrow><mo form="prefix">−</mo>{self._in(node.operand, MULTIPLIED)}</mrow>', MULTIPLIED

    def _BinOp(self, node):
        kind = type(node.op)
        if kind in (ast.Add, ast.Sub):
            right = self._in(node.right, ADDED if kind is ast.Add else MULTIPLIED)
            if _is_signed(node.right):
                right = fenced(self(node.right))
            return f"{self._in(node.left, ADDED)}<mo>{SIGNS[kind]}</mo>{right}", ADDED
        if kind is ast.Div:
            return f"<mfrac><mrow>{self(node.left)}</mrow><mrow>{self(node.right)}</mrow></mfrac>", MULTIPLIED
        if kind is ast.Pow:
            return self._power(node)
        if kind in (ast.Mult, ast.MatMult):
            return self._product(node), MULTIPLIED
        if kind in (ast.FloorDiv, ast.Mod):
            sign = "/" if kind is ast.FloorDiv else "mod"
            return f"{self._in(node.left, MULTIPLIED)}<mo>{sign}</mo>{self._in(node.right, RAISED)}", MULTIPLIED
        raise ValueError(f"cannot typeset {ast.unparse(node)}")

    def _product(self, node):
        left = fenced(self(node.left)) if _is_big(node.left) else self._in(node.left, MULTIPLIED)
        right = self._in(node.right, MULTIPLIED if not _is_signed(node.right) else ATOM)
        sign = THIN if isinstance(node.op, ast.MatMult) else self.times
        if right.startswith("<mn>") and sign == THIN:
            sign = "<mo>×</mo>"
        return f"{left}{sign}{right}"

    def _power(self, node):
        base, exponent = node.left, self(node.right)
        if isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id in ("tanh", "log"):
            return f"<msup><mi>{base.func.id}</mi>{exponent}</msup>{self._argument(base)}", RAISED
        return f"<msup><mrow>{self._in(base, ATOM)}</mrow><mrow>{exponent}</mrow></msup>", RAISED

    def _Compare(self, node):
        parts = [self(node.left)]
        for op, side in zip(node.ops, node.comparators, strict=True):
            parts += [f"<mo>{SIGNS[type(op)]}</mo>", self(side)]
        return "".join(parts), COMPARED

    def _BoolOp(self, node):
        word = "and" if isinstance(node.op, ast.And) else "or"
        return f"<mtext>&nbsp;{word}&nbsp;</mtext>".join(self(value) for value in node.values), COMPARED

    def _IfExp(self, node):
        return self._cases(node), ATOM

    def _cases(self, node):
        rows = []
        while isinstance(node, ast.IfExp):
            rows.append((self(node.body), f"<mtext>if&nbsp;</mtext>{self(node.test)}"))
            node = node.orelse
        rows.append((self(node), "<mtext>otherwise</mtext>"))
        cells = "".join(f"<mtr><mtd>{value}</mtd><mtd>{when}</mtd></mtr>" for value, when in rows)
        return f'<mrow><mo>{{</mo><mtable class="cases">{cells}</mtable></mrow>'

    def _Tuple(self, node):
        return fenced(self._list(node.elts)), ATOM

    def _List(self, node):
        cells = "".join(f"<mtd>{self(item)}</mtd>" for item in node.elts)
        return f'<mrow><mo>[</mo><mtable class="matrix"><mtr>{cells}</mtr></mtable><mo>]</mo></mrow>', ATOM

    def _Call(self, node):
        name, args = node.func.id, node.args
        if name in BIG and isinstance(args[0], ast.GeneratorExp):
            return self._big(BIG[name], args[0]), MULTIPLIED
        if name == "where":
            return self._cases(ast.IfExp(args[0], args[1], args[2])), ATOM
        if name == "D":
            top, below = (f"<mrow><mo>∂</mo>{self._in(a, RAISED)}</mrow>" for a in args)
            return f"<mfrac>{top}{below}</mfrac>", MULTIPLIED
        if name == "integral":
            body, variable, low, high = map(self, args)
            differential = f'<mrow><mi mathvariant="normal">d</mi>{variable}</mrow>'
            sign = f"<msubsup><mo>∫</mo><mrow>{low}</mrow><mrow>{high}</mrow></msubsup>"
            return f"{sign}{body}{THIN}{differential}", ADDED
        if name == "delta":
            return f"<msub><mi>δ</mi><mrow>{self._below(args)}</mrow></msub>", ATOM
        if name == "sqrt":
            return f"<msqrt>{self(args[0])}</msqrt>", ATOM
        if name in FENCES:
            return fenced(self(args[0]), FENCES[name]), ATOM
        exponent = self(args[0])
        if name == "exp" and "<munder>" not in exponent:
            return f"<msup><mi>e</mi><mrow>{exponent}</mrow></msup>", RAISED
        return f"<mrow>{SYMBOLS.get(name) or self.name(name)}{self._argument(node)}</mrow>", RAISED

    def _argument(self, call):
        if call.func.id in ("tanh", "log") and isinstance(call.args[0], (ast.Name, ast.Subscript)):
            return f"<mo>&#x2061;</mo>{THIN}{self(call.args[0])}"
        return f"<mo>&#x2061;</mo>{fenced(self._list(call.args))}"

    def _big(self, sign, generator):
        names = "<mo>,</mo>".join(self(g.target) for g in generator.generators)
        tests = [self(test) for g in generator.generators for test in g.ifs]
        below = names + ("<mo>:</mo>" + "<mo>,</mo>".join(tests) if tests else "")
        body = self._in(generator.elt, MULTIPLIED)
        kind, space = ("mo", "") if len(sign) == 1 else ("mi", THIN)
        return f"<munder><{kind}>{sign}</{kind}><mrow>{below}</mrow></munder>{space}{body}"


def fenced(text: str, fences: str = "()") -> str:
    """Between fences, which grow with fractions and matrices."""
    tall = "true" if "<mfrac" in text or "<mtable" in text else "false"
    before, after = (f'<mo fence="true" stretchy="{tall}" form="{form}">{sign}</mo>'
                     for sign, form in zip(fences, ("prefix", "postfix"), strict=True))  # fmt: skip
    return f"<mrow>{before}{text}{after}</mrow>"


def number(value, decimals: int | None = None) -> str:
    """A number, with a minus sign and not a hyphen."""
    text = (f"{value:.{decimals}f}" if decimals is not None else str(value)).replace("-", "−")
    return f"<mn>{text}</mn>"


def math(content: str, attributes: str = "") -> str:
    """A formula in a line of text; the sign after it keeps a comma from being torn off."""
    return f"<math{attributes}><mrow>{content}</mrow></math>&#8288;"


def matrix(array, decimals: int = 3, shades=None) -> str:
    """An array of at most two axes as a table, with at most so many decimals.

    `shades` has for each entry the index of its background, 0 for none. A table, and not MathML, because browsers
    centre the cells of MathML.
    """
    array = np.round(np.asarray(array, float), decimals) + 0.0  # no −0
    places = next(n for n in range(decimals + 1) if np.array_equal(np.round(array, n), array))
    if array.ndim == 0:
        return math(number(array, places))
    rows = np.atleast_2d(array)
    shades = np.zeros(rows.shape, int) if shades is None else np.asarray(shades, int).reshape(rows.shape)

    def cell(value, shade):
        return f'<td class="shade{shade}">{f"{value:.{places}f}".replace("-", "−")}</td>'

    body = "".join(f"<tr>{''.join(map(cell, *both))}</tr>" for both in zip(rows, shades, strict=True))
    return f'<table class="matrix"><tbody>{body}</tbody></table>'


def _letters(name: str) -> str:
    """A name of one letter slants, a longer one stands upright; a number is a number."""
    return f"<mn>{name}</mn>" if name.isdigit() else f"<mi>{GREEK.get(name) or html.escape(name)}</mi>"


def _is_plain(index) -> bool:
    """Whether an index is a name, a number, or a name with such an index."""
    if isinstance(index, ast.Subscript):
        return isinstance(index.value, ast.Name) and _is_plain(index.slice)
    return isinstance(index, (ast.Name, ast.Constant))


def _is_big(node) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in BIG and isinstance(
        node.args[0], ast.GeneratorExp
    )  # fmt: skip


def _is_signed(node) -> bool:
    while isinstance(node, ast.BinOp) and not isinstance(node.op, (ast.Div, ast.Pow)):
        node = node.left
    return isinstance(node, ast.UnaryOp)
