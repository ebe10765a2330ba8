"""The names that equations of symbols may use."""

import ast
import re

import sympy

from builder import mathml

FUNCTIONS = {name: getattr(sympy, name) for name in ("exp", "log", "sqrt", "tanh", "erfc", "pi", "oo")} | {
    "D": sympy.diff,
    "integral": lambda body, *limits: sympy.integrate(body, limits),
    "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
    "sum": lambda terms: sympy.Add(*terms),
    "delta": sympy.KroneckerDelta,
    "abs": sympy.Abs,
}


def add_unknown(line: str, names: dict, positive: list[str]):
    """Add a symbol, a real number, for each name of an equation that is neither known nor called as a function."""
    tree = list(ast.walk(mathml.parse(re.sub(r"^(\w+) = ", "", line))))
    called = {node.func.id for node in tree if isinstance(node, ast.Call)}
    bound = {node.target.id for node in tree if isinstance(node, ast.comprehension)} | {"every"}
    for name in {node.id for node in tree if isinstance(node, ast.Name)} - called - bound:
        if name not in names or names[name] is FUNCTIONS.get(name) and callable(names[name]):
            names[name] = sympy.Symbol(name, real=True, positive=True if name in positive else None)
