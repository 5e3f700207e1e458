"""Checks of the script's own: assertions, and tests that raise, of what is in its groups.

A check is one of "sets" where it asks which parameters are there: what several sets share, what is missing in one, that
nothing is left over. It is one of "counts" where two numbers are compared, one of them that of parameters. That a list
is not empty, or how many lists there are, says nothing of what is in them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from paramlint.source.interpreter.values import Bag, Phi, Row, Table, Value
from paramlint.source.script import RuntimeCheck
from paramlint.source.statements import every
from paramlint.source.terms import Attribute, Const, Opaque, Term, binders

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader

Kind = Literal["sets", "counts"]

_ALGEBRA = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
_METHODS = frozenset(
    {"isdisjoint", "issubset", "issuperset", "intersection", "union", "difference", "symmetric_difference"}
)
_COUNTS = ("len", "sum")
_SIZES = ("numel", "nelement")
_EQUAL = (ast.Eq, ast.NotEq)
_NUMBER = re.compile(r"num|count|total|expect|size|(^|_)n(_|$)")
#: Names for what is in groups, or left out of them.
_WORDS = ("param", "group", "seen", "missing", "decay", "overlap", "unassigned")
_LEFT = ("missing", "overlap", "unassigned", "unused", "left", "dup", "inter", "param", "decay", "group")


def keep(r: Reader, test: ast.expr, node: ast.Assert | ast.If) -> None:
    """Keeps an assertion, or a test that raises, where it is a check."""
    kind = _kind(r, test, isinstance(node, ast.Assert))
    if kind is not None:
        r.checks.append(RuntimeCheck(kind, r.span(node)))


def _kind(r: Reader, test: ast.expr, holds: bool) -> Kind | None:
    """What kind of check a test is that has to hold, or has not to."""
    match test:
        case ast.BoolOp(values=values):
            kinds = [_kind(r, v, holds) for v in values]
            return "sets" if "sets" in kinds else "counts" if "counts" in kinds else None
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return _kind(r, inner, not holds)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compared(r, left, op, right, holds)
        case ast.Compare(left=left, comparators=[*middle, right]):
            return _compared(r, left, ast.Eq(), right, holds) or _compared(r, middle[0], ast.Eq(), right, holds)
        case ast.Call(func=ast.Name(id="any" | "all")):
            return "sets" if _among(r, test) or _walks(test) else None
    if _is_set(r, test, algebra_only=True):
        return "sets" if _about(r, test) else None
    return "sets" if not holds and _left_over(r, _size_of(test) or test) else None


def _left_over(r: Reader, node: ast.expr) -> bool:
    """Whether something with a name must not be there: what is missing, or in two sets."""
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return False
    held = _held(r, node)
    if isinstance(held, Bag) and (held.kind in ("set", "frozenset") or _has_parameters(held, False)):
        return True
    return isinstance(held, (Bag, Table, Opaque)) and any(word in r.text(node) for word in _LEFT)


def _compared(r: Reader, left: ast.expr, op: ast.cmpop, right: ast.expr, holds: bool) -> Kind | None:
    for size, limit in ((left, right), (right, left)):
        if isinstance(limit, ast.Constant) and (of := _size_of(size)) is not None:
            nothing = limit.value == 0 and isinstance(op, (ast.Eq, ast.LtE) if holds else (ast.NotEq, ast.Gt))
            return "sets" if (nothing and _left_over(r, of)) or _is_set(r, of, algebra_only=True) else None
    if isinstance(op, (ast.In, ast.NotIn)):
        return "sets" if _among(r, right) else None
    sides = (left, right)
    if any(_is_set(r, side) for side in sides) and (_about(r, left) or _about(r, right)):
        return "sets"
    if any(isinstance(_held(r, side), Const) or isinstance(side, ast.Constant) for side in sides):
        return None
    counts = [_is_count(r, side) or (isinstance(op, _EQUAL) and _is_number(side)) for side in sides]
    return "counts" if all(counts) and any(_counts_parameters(r, side) for side in sides) else None


def _is_number(node: ast.expr) -> bool:
    """Whether a name or an attribute says that it is a number of things."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return _NUMBER.search(name) is not None


def _size_of(node: ast.expr) -> ast.expr | None:
    match node:
        case ast.Call(func=ast.Name(id="len"), args=[of]):
            return of
    return None


def _is_set(r: Reader, node: ast.expr, *, algebra_only: bool = False) -> bool:
    """Whether an expression is a set, what sets share, or how large such a one is."""
    held = _held(r, node)
    if not algebra_only and isinstance(held, Bag) and held.kind in ("set", "frozenset"):
        return True
    for n in every(node):
        match n:
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ALGEBRA):
                if not (_is_count(r, left) or _is_count(r, right)):
                    return True
            case ast.Call(func=ast.Attribute(attr=name)) if name in _METHODS:
                return True
            case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")) if not algebra_only:
                return True
    return False


def _is_count(r: Reader, node: ast.expr) -> bool:
    return any(True for _ in _counts(r, node))


def _counts_parameters(r: Reader, node: ast.expr) -> bool:
    return any(_of_parameters(r, of, summed) for of, summed in _counts(r, node))


def _counts(r: Reader, node: ast.expr) -> Iterator[tuple[ast.expr, bool]]:
    """What is counted in an expression, or in what the names in it were computed from; and whether it is summed up."""
    for n in every(node):
        match n:
            case ast.Call(func=ast.Name(id=name), args=[of, *_]) if name in _COUNTS:
                yield of, name == "sum"
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in _SIZES:
                yield of, True
            case ast.Name() | ast.Attribute():
                held = _held(r, n)
                if isinstance(held, Opaque) and held.text.startswith(tuple(f"{c}(" for c in _COUNTS)):
                    yield from _parsed(held.text)


def _parsed(text: str) -> Iterator[tuple[ast.expr, bool]]:
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return
    match node:
        case ast.Call(func=ast.Name(id=name), args=[of, *_]) if name in _COUNTS:
            yield of, name == "sum"


def _of_parameters(r: Reader, counted: ast.expr, summed: bool) -> bool:
    """Whether what is counted are parameters, or what is in them."""
    for n in every(counted):
        if isinstance(n, ast.Attribute) and n.attr in ("parameters", "named_parameters", *_SIZES):
            return True
        if isinstance(n, ast.Constant) and n.value == "params":
            return True
        if isinstance(n, (ast.Name, ast.Attribute)):
            held = _held(r, n)
            word = n.id if isinstance(n, ast.Name) else n.attr
            named = "param" in word and "group" not in word and not isinstance(held, Const)
            if named or _has_parameters(held, summed):
                return True
    return False


def _has_parameters(held: Value | None, deep: bool) -> bool:
    """Whether parameters, or their names, are in a collection: in itself, or (`deep`) in those that it has."""
    if isinstance(held, Phi):
        return _has_parameters(held.then, deep) or _has_parameters(held.otherwise, deep)
    if isinstance(held, (Bag, Table)):
        return any(_is_parameter(e.value) or (deep and _has_parameters(e.value, deep)) for e in held.entries)
    return False


def _is_parameter(value: Value) -> bool:
    if isinstance(value, Row):
        return any(map(_is_parameter, value.values))
    return isinstance(value, Attribute) or (
        isinstance(value, Term) and any(b.kind == "parameter" for b in binders(value))
    )


def _about(r: Reader, test: ast.expr) -> bool:
    """Whether a test may be about the parameters in groups."""
    return any(v.entries or v.unread for v in _collections(r, test)) or _named(r, test)


def _among(r: Reader, test: ast.expr) -> bool:
    """Whether a test asks what is among parameters; in a loop they may be put there later."""
    return any(_has_parameters(v, True) or (not v.entries and _named(r, test)) for v in _collections(r, test))


def _walks(test: ast.expr) -> bool:
    """Whether a test goes through a model's parameters itself."""
    return any(isinstance(n, ast.Attribute) and n.attr in ("parameters", "named_parameters") for n in every(test))


def _named(r: Reader, test: ast.expr) -> bool:
    return any(word in r.text(test) for word in _WORDS)


def _collections(r: Reader, test: ast.expr) -> Iterator[Bag | Table]:
    for n in every(test):
        if isinstance(n, (ast.Name, ast.Attribute)) and isinstance(held := _held(r, n), (Bag, Table)):
            yield held


def _held(r: Reader, node: ast.AST) -> Value | None:
    """What a name holds, or an attribute of one."""
    if isinstance(node, ast.Name):
        return r.scope.find(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        of = r.scope.find(node.value.id)
        return r.attributes.get((of, node.attr)) if isinstance(of, Term) else None
    return None
