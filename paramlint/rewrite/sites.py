"""What a fix is about: the place that it names, and what it brings along."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite.conditions import TIGHT, bound, operand
from paramlint.rewrite.edits import SkipFix
from paramlint.rewrite.script import Script

_Node = TypeVar("_Node", bound=cst.CSTNode)
Comprehension = cst.ListComp | cst.SetComp | cst.GeneratorExp | cst.DictComp
COMPREHENSIONS = (cst.ListComp, cst.SetComp, cst.GeneratorExp, cst.DictComp)


def place(script: Script, fix: Fix) -> tuple[int, int]:
    """The offsets of a fix."""
    start, end = script.offset(fix.start), script.offset(fix.end)
    if start is None or end is None:
        raise SkipFix("the file has no such place")
    return start, end


def node(script: Script, fix: Fix, what: str, *types: Callable[..., _Node]) -> _Node:
    """The node that a fix is about.

    Args:
        what: what it should be, for the reason given where it is not there: "expression".
    """
    found = script.find(*place(script, fix), *types)
    if found is None:
        raise SkipFix(f"no {what} stands exactly there")
    return found


def text_of(fix: Fix, key: str, default: str | None = None) -> str:
    """A text that a fix brings along."""
    value = fix.data.get(key, default)
    if not isinstance(value, str) or not value:
        raise SkipFix(f"the fix does not say {key!r}")
    return value


def texts_of(fix: Fix, key: str) -> tuple[str, ...]:
    """Texts that a fix brings along, one or several; () where it brings none."""
    value = fix.data.get(key, ())
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, (tuple, list)) or not all(isinstance(x, str) and x for x in given):
        raise SkipFix(f"what the fix says of {key!r} are no texts")
    return tuple(x for x in given if isinstance(x, str))


def expression(text: str) -> cst.BaseExpression:
    """The tree of an expression that a fix brings along."""
    try:
        return cst.parse_expression(text)
    except cst.ParserSyntaxError:
        raise SkipFix(f"{text!r} is no expression") from None


def primary(text: str) -> str:
    """An expression that a fix brings along, as one can ask it for attributes."""
    return operand(text, bound(expression(text)), TIGHT)


def also(script: Script, fix: Fix) -> list[tuple[cst.BaseExpression, str]]:
    """The other conditions that a fix is about, each with the name of the parameter there."""
    given = fix.data.get("also", ())
    found = []
    for one in given if isinstance(given, (tuple, list)) else ():
        match one:
            case [[int(row), int(column)], [int(last), int(past)], *name] if all(isinstance(n, str) for n in name):
                start, end = script.offset((row, column)), script.offset((last, past))
            case _:
                raise SkipFix("what the fix says of 'also' are no places")
        there = None if start is None or end is None else script.find(start, end, cst.BaseExpression)
        if there is None:
            raise SkipFix("the other condition is not there")
        found.append((there, str(name[0]) if name else _own(script, there, text_of(fix, "parameter", "p"))))
    return found


def bound_by(target: cst.BaseExpression) -> list[str]:
    """The names that the target of a loop binds, in order."""
    if isinstance(target, cst.Name):
        return [target.value]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [name for e in target.elements for name in bound_by(e.value)]
    return []


def _own(script: Script, there: cst.BaseExpression, name: str) -> str:
    """What a parameter is called in another comprehension: the same, or the last name that its loop binds."""
    around = next((a for a in script.ancestors(there) if isinstance(a, (*COMPREHENSIONS, cst.For))), None)
    if around is None or isinstance(around, cst.For):
        return name if around is None or name in bound_by(around.target) else (bound_by(around.target) or [name])[-1]
    loop: cst.CompFor | None = around.for_in
    names: list[str] = []
    while loop is not None:
        names += bound_by(loop.target)
        loop = loop.inner_for_in
    return name if name in names or not names else names[-1]
