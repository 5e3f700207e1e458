"""Operations on constants, worked out; what is left is a term."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from paramlint.source.interpreter.values import Bag, Row, Table, Value
from paramlint.source.terms import Const, Op, Term, chosen, negated, small
from paramlint.source.terms import operation as simplified

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "is": operator.eq,
    "<": operator.lt,
    "in": lambda a, b: a in b,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "getitem": operator.getitem,
}
_STRINGS = frozenset(
    {"lower", "upper", "strip", "lstrip", "rstrip", "replace", "split", "rsplit", "startswith", "endswith", "count"}
    | {"find", "join", "title", "capitalize", "casefold", "removeprefix", "removesuffix", "partition", "isdigit"}
)
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "len": len,
    "bool": bool,
    "abs": abs,
}
#: Constants do not grow past this.
_LONGEST = 10_000


def operation(op: str, args: tuple[Term, ...]) -> Term:
    """The operation on these terms: a constant where all are."""
    return small(_operation(op, args))


def _operation(op: str, args: tuple[Term, ...]) -> Term:
    if op == "concat":
        args = tuple(_merged(args))
        if len(args) == 1 and isinstance(args[0], Const) and isinstance(args[0].value, str):
            return args[0]
        return Op(op, args)
    if op == "if":
        return chosen(*args)
    if len(args) == 2 and isinstance(args[0], Op) and args[0].op == "if" and isinstance(args[1], Const):
        when, then, otherwise = args[0].args
        if isinstance(then, Const) and isinstance(otherwise, Const):
            return chosen(when, operation(op, (then, args[1])), operation(op, (otherwise, args[1])))
    if args and all(isinstance(a, Const) for a in args):
        found = _worked_out(op, [a.value for a in args if isinstance(a, Const)])
        if found is not None:
            return found
    if op == "not":
        return negated(args[0])
    return simplified(op, args)


def _worked_out(op: str, values: list[Any]) -> Const | None:
    try:
        if op in _BINARY and len(values) == 2:
            found = _BINARY[op](*values)
        elif op == "neg":
            found = -values[0]
        elif op == "**" and all(abs(v) < 1000 for v in values):
            found = values[0] ** values[1]
        elif op.startswith("method:") and isinstance(values[0], str) and op[7:] in _STRINGS:
            found = getattr(values[0], op[7:])(*values[1:])
        elif op.startswith("call:") and op[5:] in _FUNCTIONS and len(values) == 1:
            found = _FUNCTIONS[op[5:]](values[0])
        elif op in ("call:min", "call:max"):
            found = (min if op == "call:min" else max)(*values)
        else:
            return None
    except Exception:  # whatever it is, it is the script's own affair
        return None
    if isinstance(found, list):
        found = tuple(found)
    if isinstance(found, (str, tuple)) and len(found) > _LONGEST:
        return None
    return Const(found) if _plain(found) else None


def _plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


def constant(value: Value) -> Const | None:
    """The constant that a value is: tuples and lists of constants are tuples."""
    if isinstance(value, Const):
        return value
    inner = value.values if isinstance(value, Row) else value.plain() if isinstance(value, Bag) else None
    if isinstance(value, Table):
        fixed = all(e.place.binders == value.made.binders for e in value.entries)
        inner = [e.key for e in value.entries if e.key is not None] if fixed and not value.unread else None
    if inner is None:
        return None
    parts = [constant(v) for v in inner]
    return Const(tuple(p.value for p in parts if p)) if all(parts) else None


def formatted(text: str, given: Value) -> Term | None:
    """`text % given`, where only %s and %d stand in it."""
    values = given.values if isinstance(given, Row) else (given,)
    pieces = text.replace("%d", "%s").split("%s")
    terms = [v for v in values if isinstance(v, Term)]
    if "%" in "".join(pieces) or len(pieces) != len(terms) + 1 or len(terms) != len(values):
        return None
    parts: list[Term] = [Const(pieces[0])]
    for term, piece in zip(terms, pieces[1:], strict=True):
        parts += [term, Const(piece)]
    return operation("concat", tuple(parts))


def last_part(key: Term) -> Term:
    """The last part of a name: `f"{mn}.{pn}" if mn else pn` ends in `pn`."""
    if isinstance(key, Op) and key.op == "if":
        then, otherwise = last_part(key.args[1]), last_part(key.args[2])
        return then if then == otherwise else key
    if isinstance(key, Op) and key.op in ("concat", "+"):
        return last_part(key.args[-1])
    return key


def _merged(args: tuple[Term, ...]) -> list[Term]:
    """Neighbouring constants as one string, empty ones left out, what is joined already taken in."""
    found: list[Term] = []
    for arg in args:
        for part in arg.args if isinstance(arg, Op) and arg.op == "concat" else (arg,):
            if isinstance(part, Const):
                text = str(part.value)
                if found and isinstance(found[-1], Const):
                    found[-1] = Const(f"{found[-1].value}{text}")
                elif text:
                    found.append(Const(text))
            else:
                found.append(part)
    return found or [Const("")]
