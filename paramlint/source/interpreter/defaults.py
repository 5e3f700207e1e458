"""Defaults that a user may change.

Values are read with the defaults that a script has, tests of them with the defaults left open: the branch that they do
not take is of interest too. What is computed from a default is one itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paramlint.source.interpreter.values import Bag, Known, Phi, Row, Table, Value
from paramlint.source.statements import every
from paramlint.source.terms import Const, Op, Opaque, Term, binders

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader

#: Calls that do nothing but give a value: built-in functions, and methods of strings and dicts.
_FUNCTIONS = frozenset({"str", "bool", "int", "float", "len", "abs", "min", "max", "round", "getattr", "isinstance"})
_METHODS = frozenset(
    {"lower", "upper", "strip", "lstrip", "rstrip", "replace", "casefold", "split", "removeprefix", "removesuffix"}
    | {"startswith", "endswith", "get", "title", "capitalize"}
)
#: What may do more than give a value, or gives one that is walked only once.
_MORE = (ast.Lambda, ast.comprehension, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


@contextmanager
def left_open(r: Reader) -> Iterator[None]:
    """Reads what follows with names standing for whatever a user gives in the place of their defaults."""
    before, r.open_settings = r.open_settings, True
    try:
        yield
    finally:
        r.open_settings = before


def speaks_of(r: Reader, node: ast.AST) -> bool:
    """Whether an expression has a name or an attribute that rests on a default."""
    for n in every(node):
        if isinstance(n, ast.Name) and r.scope.opened(n.id) is not None:
            return True
        if r.opened and isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name):
            of = r.scope.find(n.value.id) or Opaque(n.value.id)
            if isinstance(of, Term) and (of, n.attr) in r.opened:
                return True
    return False


def computed(r: Reader, node: ast.expr, held: Value) -> Value | None:
    """What an expression that was read as `held` is with defaults left open; None where it rests on none, or where
    no test of it would be decided by one."""
    if r.open_settings or not (_decides(held) or isinstance(node, (ast.BoolOp, ast.IfExp))) or not speaks_of(r, node):
        return None
    if not all(_gives(r, n) for n in every(node)):
        return Opaque(r.text(node)) if isinstance(held, Const) else None
    with left_open(r):
        again = _same(r.value(node), {thing.made.span: thing for thing in _things(held)})
    return None if again == held else again


def _decides(held: Value) -> bool:
    return isinstance(held, Const) or (isinstance(held, Op) and held.op == "if" and not binders(held))


def _gives(r: Reader, node: ast.AST) -> bool:
    """Whether a part of an expression can be read twice: it does no more than give a value."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in _FUNCTIONS and r.scope.find(name) is None
        case ast.Call(func=ast.Attribute(value=of, attr=name), args=args, keywords=keywords):
            return name in _METHODS or (not args and not keywords and _imported(r, of))
        case ast.Call():
            return False
    return not isinstance(node, _MORE)


def _imported(r: Reader, node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    if not isinstance(node, ast.Name):
        return False
    return isinstance(r.scope.find(node.id) or r.project.named(r.file, node.id, r), Known)


def _things(value: Value) -> Iterator[Bag | Table]:
    """The collections that a value is, or may be."""
    if isinstance(value, (Bag, Table)):
        yield value
    elif isinstance(value, Phi):
        yield from _things(value.then)
        yield from _things(value.otherwise)


def _same(value: Value, things: dict[object, Bag | Table]) -> Value:
    """The value with the collections that were made at the same places before: what is put into one is in both."""
    if isinstance(value, (Bag, Table)):
        return things.get(value.made.span, value)
    if isinstance(value, Phi):
        return Phi(value.when, _same(value.then, things), _same(value.otherwise, things))
    if isinstance(value, Row):
        return Row(tuple(_same(v, things) for v in value.values))
    return value
