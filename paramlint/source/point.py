"""What a condition is for one parameter given by name, dimensions and whether it is trained: plain evaluation."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from enum import Enum
from typing import Any

from paramlint.record import dataclass
from paramlint.source.likely_names import fits, instead
from paramlint.source.terms import Binder, Const, Op, Term, Var, binders
from paramlint.source.universe import path


class Unknown(Enum):
    """The value of a term that nothing is known of."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


@dataclass(frozen=True)
class Point:
    """One parameter of a universe. `values` says what else is known, of settings for one."""

    within: Binder
    name: str
    ndim: int
    requires_grad: bool = True
    values: Mapping[Term, object] = field(default_factory=dict)


#: What terms without variables were found to be, by their `id`: good for all points with the same `values`.
Kept = dict[int, object]


def named(point: Point, holds: Callable[[Point], bool], names: Iterable[str] = ()) -> Point:
    """The parameter by the first of these names, or else of those like its own, that it is likely to have and with
    which something holds; as it is where there is none."""
    for name in (*names, point.name):
        for likely in (*instead(name, point.ndim), name):
            if fits(likely, point.ndim) and holds(other := replace(point, name=likely)):
                return other
    return point


def truth(term: Term, at: Point, kept: Kept | None = None) -> bool | None:
    """Whether a condition holds; None where that hangs on what is not known."""
    found = value(term, at, kept)
    return None if found is UNKNOWN else bool(found)


def value(term: Term, at: Point, kept: Kept | None = None) -> object:
    """What a term is, UNKNOWN where that hangs on what is not known. Nothing of the script is run."""
    if isinstance(term, Const):
        return term.value
    if at.values and term in at.values:
        return at.values[term]
    if isinstance(term, Var):
        return at.name if term.binder == at.within and term.what == "name" else UNKNOWN
    if not isinstance(term, Op):
        return UNKNOWN
    if kept is None or binders(term):
        return _computed(term.op, term.args, at, kept)
    number = id(term)
    if number not in kept:
        kept[number] = _computed(term.op, term.args, at, kept)
    return kept[number]


def _computed(op: str, args: tuple[Term, ...], at: Point, kept: Kept | None) -> object:
    if op in ("and", "or"):
        return _joined(args, op == "or", at, kept)
    if op == "not":
        held = truth(args[0], at, kept)
        return UNKNOWN if held is None else not held
    if op == "if":
        held = truth(args[0], at, kept)
        return UNKNOWN if held is None else value(args[1 if held else 2], at, kept)
    if args and isinstance(args[0], Var) and args[0].what == "value" and args[0].binder == at.within:
        return _of_parameter(op, args, at)
    if op == "walked":
        return value(args[0], at, kept)
    values = [value(a, at, kept) for a in args]
    if op == "relative":
        name, above = values
        below = isinstance(name, str) and name.startswith(f"{above}.")
        return name[len(f"{above}.") :] if isinstance(name, str) and below else UNKNOWN
    if UNKNOWN in values:
        return _comparison_known(op, args, at)
    if op == "tuple":
        return tuple(values)
    if op == "concat":
        return "".join(map(str, values))
    function = _FUNCTIONS.get(op)
    if function is None:
        return UNKNOWN
    try:
        return function(*values)
    except Exception:  # as the script would fail on this parameter
        return UNKNOWN


def comparison(op: str, left: Term, right: Term) -> tuple[Op, bool]:
    """One way to write a comparison of two terms, and whether it is negated then: `a <= b` is not `b < a`."""
    if op == "<=":
        return Op("<", (right, left)), False
    if op == "==" and repr(right) < repr(left):
        left, right = right, left
    return Op(op, (left, right)), True


def _comparison_known(op: str, args: tuple[Term, ...], at: Point) -> object:
    """Whether it is known the other way round; as it stands it was looked for."""
    if op in ("==", "<=") and at.values:
        known = at.values.get(Op("<" if op == "<=" else op, args[::-1]), UNKNOWN)
        return known if known is UNKNOWN else bool(known) == (op == "==")
    return UNKNOWN


def _joined(args: tuple[Term, ...], absorbing: bool, at: Point, kept: Kept | None) -> object:
    open = False
    for a in args:
        held = truth(a, at, kept)
        if held is absorbing:
            return absorbing
        open = open or held is None
    return UNKNOWN if open else not absorbing


def _of_parameter(op: str, args: tuple[Term, ...], at: Point) -> object:
    if op == "attr:ndim":
        return at.ndim
    if op == "attr:requires_grad":
        return at.requires_grad
    if op == "is":
        return True if at.name == path(args[1], at.within.of) else UNKNOWN
    if op == "under" and isinstance(args[1], Const):
        return True if at.name.startswith(f"{args[1].value}.") else UNKNOWN
    return UNKNOWN


def _contains(needle: Any, where: Any) -> object:
    return needle in where


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "==": operator.eq,
    "is": lambda a, b: a == b and type(a) is type(b),
    "<": operator.lt,
    "<=": operator.le,
    "in": _contains,
    "+": operator.add,
    "-": operator.sub,
    "/": operator.truediv,
    "//": operator.floordiv,
    "neg": operator.neg,
    "getitem": operator.getitem,
    "call:len": len,
    "call:int": int,
    "call:str": str,
    "call:bool": bool,
    "call:min": min,
    "call:max": max,
    "call:any": any,
    "call:all": all,
    "call:re.search": re.search,
    "call:re.match": re.match,
    "call:re.fullmatch": re.fullmatch,
    "call:re.sub": re.sub,
    "call:fnmatch.fnmatch": fnmatch.fnmatchcase,
    "call:fnmatch.fnmatchcase": fnmatch.fnmatchcase,
    "method:group": re.Match.group,
}
_METHODS = (
    *("lower", "upper", "casefold", "strip", "lstrip", "rstrip", "startswith", "endswith", "replace", "split"),
    *("rsplit", "partition", "rpartition", "count", "find", "rfind", "removeprefix", "removesuffix", "isdigit"),
)
_FUNCTIONS |= {f"method:{name}": getattr(str, name) for name in _METHODS}
