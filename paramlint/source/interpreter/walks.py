"""Iterators are walked once: who walks one, and who finds nothing left in it."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from paramlint.source.interpreter.values import Bag, Phi, Place, Row, Table, Value
from paramlint.source.script import Walks
from paramlint.source.terms import FALSE, Const, Term, binders, both, negated

if TYPE_CHECKING:
    from paramlint.source.interpreter.calls import Given
    from paramlint.source.interpreter.reader import Reader


def walked(r: Reader, bag: Bag, node: ast.AST) -> None:
    """Keeps that a collection is walked from end to end: an iterator of parameters gives what it has once only."""
    _emptied(r, bag, r.at(node))
    bag.walks.append(r.at(node))


def consumed(r: Reader, given: Given, node: ast.Call) -> None:
    """An optimizer makes lists of what it is given, in the groups themselves."""
    for value, arg in _arguments(given, node):
        for bag in _iterators(r, value):
            walked(r, bag, arg)
        _listed(value)


def _listed(value: Value) -> None:
    """Groups have lists once an optimizer has them."""
    if isinstance(value, Phi):
        _listed(value.then)
        _listed(value.otherwise)
    elif isinstance(value, Table):
        for i, e in enumerate(value.entries):
            if e.key == Const("params") and isinstance(e.value, Bag) and e.value.once:
                value.entries[i] = replace(e, value=replace(e.value, kind="list", walks=[]))
    elif isinstance(value, (Bag, Row)):
        for held in [e.value for e in value.entries] if isinstance(value, Bag) else value.values:
            if isinstance(held, (Table, Row, Phi)):
                _listed(held)


def handed(r: Reader, given: Given, node: ast.Call) -> None:
    """Who knows what a function does with an iterator: but one that is empty is of no use to it."""
    for value, arg in _arguments(given, node):
        if isinstance(value, Bag):
            _emptied(r, value, r.at(arg))


def _arguments(given: Given, node: ast.Call) -> list[tuple[Value, ast.expr]]:
    named = {k.arg: k.value for k in node.keywords if k.arg}
    found = [(v, a) for v, a in zip(given.values, node.args, strict=False) if not isinstance(a, ast.Starred)]
    return found + [(v, named[k]) for k, v in given.named.items() if k in named]


def _iterators(r: Reader, value: Value) -> list[Bag]:
    """What is given to an optimizer: an iterator, or what groups have as their parameters."""
    if isinstance(value, Phi):
        with r.under(value.when):
            then = _iterators(r, value.then)
        with r.under(negated(value.when)):
            return then + _iterators(r, value.otherwise)
    if isinstance(value, Table):
        return [b for e in value.find(Const("params")) for b in _iterators(r, e.value)]
    if isinstance(value, Bag) and value.once:
        return [value]
    held = (
        [e.value for e in value.entries] if isinstance(value, Bag) else value.values if isinstance(value, Row) else []
    )
    return [b for v in held if isinstance(v, (Table, Row, Phi)) for b in _iterators(r, v)]


def _emptied(r: Reader, bag: Bag, place: Place) -> None:
    if not (bag.once and any(_of_parameters(e.value) for e in bag.entries)):
        return
    for earlier in bag.walks:
        if both(earlier.when, place.when) != FALSE and earlier.span != place.span:
            r.walks.append(Walks(bag.name, bag.made.span, earlier.span, place.span, both(earlier.when, place.when)))
            break


def _of_parameters(value: Value) -> bool:
    """Whether a value is a parameter, a name of one, or has some in it."""
    if isinstance(value, Term):
        return any(b.kind == "parameter" for b in binders(value))
    if isinstance(value, Phi):
        return _of_parameters(value.then) or _of_parameters(value.otherwise)
    if isinstance(value, (Bag, Table)):
        return any(_of_parameters(e.value) for e in value.entries)
    return isinstance(value, Row) and any(map(_of_parameters, value.values))
