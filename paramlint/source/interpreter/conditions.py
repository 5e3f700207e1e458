"""What a test asks for, and where a collection has something."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paramlint.source.interpreter import defaults, folding
from paramlint.source.interpreter.values import (
    Bag,
    Known,
    Phi,
    Row,
    Table,
    Value,
    items,
)
from paramlint.source.script import Needle
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Term,
    Test,
    Var,
    binders,
    both,
    chosen,
    either,
    mapped,
    negated,
    variables,
    walk,
)

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader


def condition(r: Reader, node: ast.expr) -> Term:
    """What a test asks for."""
    if isinstance(node, ast.BoolOp):
        r.step()
        parts: list[Term] = []
        for part in node.values:
            held = both(*parts) if isinstance(node.op, ast.And) else negated(either(*parts))
            if held == FALSE:
                break
            with r.under(held):
                parts.append(condition(r, part))
        return (both if isinstance(node.op, ast.And) else either)(*parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return negated(condition(r, node.operand))
    when = truth(r, r.value(node), node)
    if (isinstance(when, Const) or _of_nothing(when)) and not r.open_settings and defaults.speaks_of(r, node):
        # A default that a user may change: both ways are of interest.
        with defaults.left_open(r):
            when = truth(r, r.value(node), node)
    r.tested[node] = when
    return when


def _of_nothing(when: Term) -> bool:
    """Whether something is asked of None, which no script does: there it is another value."""
    return any(
        isinstance(t, Op) and t.op.startswith(("method:", "getitem")) and t.args[0] == Const(None) for t in walk(when)
    )


def truth(r: Reader, v: Value, node: ast.expr) -> Term:
    """Whether a value counts as true. A list that the script fills does: an empty one changes nothing."""
    if isinstance(v, Const):
        return TRUE if v.value else FALSE
    if isinstance(v, Op) and v.op == "if":
        # `a or b` and `a and b`, and choices among constants.
        when, then, otherwise = v.args
        if when in (then, otherwise) or isinstance(then, Const) or isinstance(otherwise, Const):
            first, second = truth(r, then, node), truth(r, otherwise, node)
            return either(both(when, first), both(negated(when), second))
        return v
    if isinstance(v, Term):
        return v
    if isinstance(v, (Bag, Table)):
        return TRUE if v.entries or v.unread else FALSE
    if isinstance(v, Row):
        return TRUE if v.values else FALSE
    if isinstance(v, Phi):
        return chosen(v.when, truth(r, v.then, node), truth(r, v.otherwise, node))
    if isinstance(v, Known):
        return Opaque(v.name)
    return TRUE


def compared(r: Reader, node: ast.Compare) -> Term:
    sides = [r.value(n) for n in (node.left, *node.comparators)]
    filled = _filled(r, node)
    if filled is not None:
        return filled
    parts = []
    for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
        part = _compare(r, operator, left, right, node)
        parts.append(part)
    return both(*parts)


def _filled(r: Reader, node: ast.Compare) -> Term | None:
    """`len(x) > 0` of a list that the script fills: an empty one would change nothing."""
    match node:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="len"), args=[of]),
            ops=[op],
            comparators=[ast.Constant(value=(0 | 1) as size)],
        ):
            held = r.value(of)
            if isinstance(held, (Bag, Table)) and any(not isinstance(e.value, Const) for e in held.entries):
                more = isinstance(op, (ast.Gt, ast.NotEq)) if size == 0 else isinstance(op, ast.GtE)
                none = isinstance(op, (ast.Eq, ast.LtE)) if size == 0 else isinstance(op, ast.Lt)
                return TRUE if more else FALSE if none else None
    return None


def _compare(r: Reader, operator: ast.cmpop, left: Value, right: Value, node: ast.Compare) -> Term:
    for one, other, swap in ((left, right, False), (right, left, True)):
        if isinstance(one, Phi):
            then = (other, one.then) if swap else (one.then, other)
            otherwise = (other, one.otherwise) if swap else (one.otherwise, other)
            return chosen(one.when, _compare(r, operator, *then, node), _compare(r, operator, *otherwise, node))
    match operator:
        case ast.In():
            return contains(r, left, right, node)
        case ast.NotIn():
            return negated(contains(r, left, right, node))
        case ast.Is() | ast.Eq():
            return _equal(r, "is" if isinstance(operator, ast.Is) else "==", left, right, node)
        case ast.IsNot() | ast.NotEq():
            return negated(_equal(r, "is" if isinstance(operator, ast.IsNot) else "==", left, right, node))
    if isinstance(left, Term) and isinstance(right, Term):
        match operator:
            case ast.Lt():
                return folding.operation("<", (left, right))
            case ast.Gt():
                return folding.operation("<", (right, left))
            case ast.LtE():
                return negated(folding.operation("<", (right, left)))
            case ast.GtE():
                return negated(folding.operation("<", (left, right)))
    return r.opaque(node, [left, right])


def _equal(r: Reader, sign: str, left: Value, right: Value, node: ast.expr) -> Term:
    left, right = _plain(left), _plain(right)
    if isinstance(left, Const) and isinstance(right, Const):
        return Const(left.value == right.value)
    if isinstance(left, Const):
        left, right = right, left
    none = right == Const(None)
    if none and not isinstance(left, Term):
        return Const(isinstance(left, Known) and left.name == "builtins.None")
    if none and isinstance(left, Var):
        return FALSE
    if none and isinstance(left, Op) and left.op not in ("getitem", "if", "attr:grad") and "call" not in left.op:
        return FALSE
    if isinstance(right, Const) and isinstance(right.value, bool) and isinstance(left, Term):
        return left if right.value else negated(left)
    if isinstance(left, Known) and isinstance(right, Known):
        return Const(left.name == right.name)
    if isinstance(left, Known) or isinstance(right, Known):
        left, right = (Const(x.name) if isinstance(x, Known) else x for x in (left, right))
    if isinstance(left, Op) and isinstance(right, Const) and left.op == "if":
        when, then, otherwise = left.args
        return chosen(when, _equal(r, sign, then, right, node), _equal(r, sign, otherwise, right, node))
    if isinstance(left, Term) and isinstance(right, Term):
        if left == right:
            return TRUE
        needle(r, "==", right, left, node)
        one, other = _identified(left), _identified(right)
        if one is not None and other is not None:
            return Op("is", (one, other))
        return Op(sign, (left, right))
    return r.opaque(node, [left, right])


def _identified(term: Term) -> Term | None:
    """What `id(x)` and `x.data_ptr()` are the identity of."""
    return term.args[0] if isinstance(term, Op) and term.op in ("call:id", "method:data_ptr") else None


def _plain(v: Value) -> Value:
    constant = folding.constant(v)
    return constant if constant is not None else v


def contains(r: Reader, element: Value, collection: Value, node: ast.expr) -> Term:
    """`element in collection`."""
    if isinstance(collection, Phi):
        then, otherwise = (contains(r, element, c, node) for c in (collection.then, collection.otherwise))
        return chosen(collection.when, then, otherwise)
    constant = folding.constant(collection)
    if constant is not None and isinstance(constant.value, tuple) and isinstance(element, Term):
        return either(*(_equal(r, "==", element, Const(v), node) for v in constant.value))
    if isinstance(collection, Row):
        return either(*(_equal(r, "is", element, v, node) for v in collection.values))
    if isinstance(collection, (Bag, Table)) and isinstance(element, Term):
        if isinstance(collection, Table) and binders(element) and any(e.key == element for e in collection.entries):
            return Opaque(f"{r.text(node)} (met before)", variables(element))
        found = member(element, items(collection))
        if collection.unread:
            found = either(found, Opaque(r.text(node), (element,), collection.unread[0]))
        return found
    if isinstance(element, Term) and isinstance(collection, Term):
        needle(r, "in", element, collection, node)
        return folding.operation("in", (element, collection))
    return r.opaque(node, [element, collection])


def member(element: Term, among: Sequence[Item]) -> Term:
    """Membership as a plain condition where the collection ranges over what the element does."""
    parts: list[Term] = []
    rest: list[Item] = []
    for item in among:
        plain = _ranges(element, item)
        if plain is None:
            rest.append(item)
        else:
            parts.append(plain)
    if rest:
        parts.append(Member(element, tuple(rest)))
    return either(*parts)


def _ranges(element: Term, item: Item) -> Term | None:
    if not item.binders:
        one, other = element, item.value
        if one == other:
            return item.when
        left, right = _identified(one), _identified(other)
        if left is not None and right is not None:
            return both(Op("is", (left, right)), item.when)
        return both(Op("==" if isinstance(other, Const) else "is", (one, other)), item.when)
    if len(item.binders) != 1:
        return None
    inner = item.binders[0]
    own = [b for b in binders(element) if b.kind == inner.kind == "parameter" and b.of == inner.of]
    if len(own) != 1 or own[0].recurse != inner.recurse:
        return None

    def change(t: Term) -> Term | None:
        return Var(own[0], t.what) if isinstance(t, Var) and t.binder == inner else None

    return mapped(item.when, change) if mapped(item.value, change) == element else None


def needle(r: Reader, op: str, sought: Term, within: Term, node: ast.expr) -> None:
    """Keeps a test of a parameter's name for the rules on such tests."""
    named = any(isinstance(t, Var) and t.what == "name" for t in walk(within))
    if isinstance(sought, Const) and isinstance(sought.value, str) and named:
        r.needles.append(Needle(op, sought.value, within, r.place.when, r.span(node)))


def tests(r: Reader, node: ast.expr, holds: bool) -> tuple[Test, ...]:
    """The conditions that a test stands for, one by one, where it holds or does not."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return tests(r, node.operand, not holds)
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And) == holds:
        return tuple(t for part in node.values for t in tests(r, part, holds))
    term = r.tested.get(node)
    if term is None:
        return ()
    return (Test(term if holds else negated(term), r.span(node)),)
