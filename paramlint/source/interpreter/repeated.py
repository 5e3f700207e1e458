"""Loops as statements: what is done again and again, and what names hold then."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paramlint.source.interpreter import loops, ordering
from paramlint.source.interpreter.values import Value
from paramlint.source.statements import every
from paramlint.source.terms import FALSE, TRUE, Opaque, Term, Var, binders, both, either, negated

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader


def run(r: Reader, node: ast.For | ast.AsyncFor) -> None:
    """Reads a loop: one turn for each kind of thing that it takes."""
    over = r.value(node.iter)
    if _acts(node):
        loops.hand_on(r, over)
    with r.through(ordering.unordered(over)):
        _turns(r, node, over)


def _acts(node: ast.For | ast.AsyncFor) -> bool:
    """Whether something is done with what a loop takes, beside to put it elsewhere: `p.grad = None`, `p.mul_(2)`."""
    taken = {n.id for n in every(node.target) if isinstance(n, ast.Name)}

    def of_it(target: ast.expr) -> bool:
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            target = target.value
        return isinstance(target, ast.Name) and target.id in taken

    for n in (n for statement in node.body for n in every(statement)):
        if isinstance(n, (ast.Attribute, ast.Subscript)) and isinstance(n.ctx, (ast.Store, ast.Del)) and of_it(n):
            return True
        called = n.func if isinstance(n, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr.endswith("_") and of_it(called):
            return True
    return False


def _turns(r: Reader, node: ast.For | ast.AsyncFor, over: Value) -> None:
    from paramlint.source.interpreter.reader import Loop

    turns = loops.turns(r, over, node.iter)[: loops.TURNS]
    number = r.fresh() if ordering.distinct(over) else 0
    loop = Loop()
    r.frame.loops.append(loop)
    for turn in turns:
        generic = bool(turn.binders)
        if generic:
            _forget(r, node.body, tuple(Var(b, "value") for b in turn.binders))
        before = r.place
        left, loop.again = loop.left, FALSE
        if not generic and left != FALSE:
            r.place = replace(r.place, when=both(r.place.when, negated(left)))
        start = r.place
        with r.under(turn.when, turn.tests, turn.binders), r.turn(turn.value, number):
            if r.place.when != FALSE:
                loops.bind(r, node.target, turn.value, node.iter)
                r.run(node.body)
            fell = r.place.when
        if generic:
            _leaving(r, turn.binders, node.body)
            r.place = before
            loop.left = FALSE
        elif turn.when == TRUE:
            r.place = replace(start, when=_reached(start.when, fell, loop.again), tests=start.tests)
        else:
            r.place = before
    r.frame.loops.pop()
    if loop.left == FALSE:
        r.run(node.orelse)
    else:
        if node.orelse:
            r.run(node.orelse)
        r.place = replace(r.place, when=either(r.place.when, loop.left))


def _reached(start: Term, fell: Term, again: Term) -> Term:
    return start if fell == start else either(fell, again)


def once(r: Reader, body: Sequence[ast.stmt]) -> None:
    """The body of a loop of which nothing is known but that it may run."""
    from paramlint.source.interpreter.reader import Loop

    r.frame.loops.append(Loop())
    _forget(r, body, ())
    before = r.place
    r.run(body)
    r.place = before
    r.frame.loops.pop()


def _forget(r: Reader, body: Sequence[ast.stmt], turn: tuple[Term, ...]) -> None:
    """What a loop changes from turn to turn is not known when a turn begins."""
    for name in _stored(r, body):
        held = r.scope.names.get(name)
        if isinstance(held, Term) and not isinstance(held, Var):
            r.scope.names[name] = Opaque(f"{name} in a turn", turn, f"{name} changes from turn to turn")
            r.scope.forget(name)


def _leaving(r: Reader, bound: tuple[object, ...], body: Sequence[ast.stmt]) -> None:
    """What a loop's variables hold after it is what the last turn left."""
    for name in _stored(r, body):
        held = r.scope.names.get(name)
        if isinstance(held, Term) and any(b in bound for b in binders(held)):
            r.scope.names[name] = Opaque(f"{name} after the loop")


def _stored(r: Reader, body: Sequence[ast.stmt]) -> list[str]:
    """The names that a loop's body gives values to. It is read again on every turn, and in every call."""
    if body[0] not in r.project.stored:
        inside = (n for statement in body for n in every(statement))
        names = [n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        r.project.stored[body[0]] = list(dict.fromkeys(names))
    return r.project.stored[body[0]]
