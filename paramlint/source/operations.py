"""Operations on values that are known: what Python would compute, within bounds. Whatever fails is unknown."""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from paramlint.parameter import Parameter
from paramlint.source.values import UNKNOWN, Identity, Node, Value, key, wholly_known

#: Longer text, longer ranges and larger exponents are not computed.
_LONGEST = 10_000
_EXPONENT = 64
#: Of regular expressions: how long they and what they search may be, and how often they may repeat.
_PATTERN, _SEARCHED, _REPEATS = 400, 1_000, 8

_STRING = frozenset(
    "lower upper title capitalize casefold swapcase replace split rsplit splitlines count strip lstrip rstrip "
    "startswith endswith find rfind index rindex join isdigit isnumeric isdecimal isalpha isalnum islower isupper "
    "isidentifier isspace partition rpartition removeprefix removesuffix".split()
)
_OTHER_METHODS: dict[type, frozenset[str]] = {
    str: _STRING,
    tuple: frozenset(("index", "count")),
    re.Match: frozenset(("group", "groups", "groupdict", "start", "end", "span")),
}
_SEARCHES = frozenset(("match", "search", "fullmatch", "findall", "sub", "split"))


def apply(op: str, args: Sequence[Value]) -> Value:
    """The value of an operation on these arguments; UNKNOWN where it fails, or is none that is known."""
    if op == "in":
        return _contains(args[0], args[1])
    if not all(map(wholly_known, args)):
        return UNKNOWN
    try:
        if op.startswith("method:"):
            return _frozen(_method(op.removeprefix("method:"), *args))
        function = _FUNCTIONS.get(op.removeprefix("call:"))
        return UNKNOWN if function is None else _frozen(function(*args))
    except Exception:  # as the script would fail, or what is no value of this operation
        return UNKNOWN


def _frozen(value: Any) -> Value:
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, str) and len(value) > _LONGEST:
        return UNKNOWN
    return UNKNOWN if value is NotImplemented else value


def _contains(needle: Value, haystack: Value) -> Value:
    if isinstance(haystack, str):
        return needle in haystack if isinstance(needle, str) else UNKNOWN
    if not isinstance(haystack, tuple):
        return UNKNOWN
    wanted = key(needle)
    keys = [key(v) for v in haystack]
    if wanted is UNKNOWN:
        return UNKNOWN if keys else False
    if wanted in keys:
        return True
    return UNKNOWN if UNKNOWN in keys else False


# Operators


def _equal(a: Any, b: Any) -> Value:
    if isinstance(a, Parameter) or isinstance(b, Parameter):
        return UNKNOWN  # elementwise
    return bool(a == b)


def _is(a: Any, b: Any) -> Value:
    """Of plain values too: a script that asks whether one is among others means an equal one."""
    one, other = key(a), key(b)
    return UNKNOWN if UNKNOWN in (one, other) else type(a) is type(b) and one == other


def _times(a: Any, b: Any) -> Value:
    for whole, count in ((a, b), (b, a)):
        if isinstance(whole, (str, tuple)) and len(whole) * count > _LONGEST:
            return UNKNOWN
    return _number(a * b)


def _power(a: Any, b: Any) -> Value:
    return UNKNOWN if abs(b) > _EXPONENT else _number(a**b)


def _number(value: Any) -> Value:
    return UNKNOWN if isinstance(value, complex) or (isinstance(value, int) and abs(value) > 2**256) else value


def _concat(*parts: Any) -> Value:
    if not all(part is None or isinstance(part, (str, bool, int, float)) for part in parts):
        return UNKNOWN
    return "".join(map(str, parts))


def _remainder(a: Any, b: Any) -> Value:
    return UNKNOWN if isinstance(a, str) and re.search(r"%[^%]*\d{3}", a) else a % b


def _range(*bounds: int) -> Value:
    steps = range(*bounds)
    return tuple(steps) if len(steps) <= _LONGEST else UNKNOWN


def _of_plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that would go by the text or the order of what has neither here."""

    def checked(*args: Any) -> Any:
        return UNKNOWN if any(isinstance(a, (Parameter, Node, Identity)) for a in args) else function(*args)

    return checked


def _prod(values: Any) -> Value:
    return _number(math.prod(values))


# Methods


def _method(name: str, of: Any, *args: Any) -> Value:
    if isinstance(of, re.Pattern) and name in _SEARCHES:
        return _search(name, of, *args)
    if isinstance(of, tuple) and name == "numel" and not args:
        return _prod(of)
    for kind, allowed in _OTHER_METHODS.items():
        if isinstance(of, kind) and name in allowed:
            return getattr(of, name)(*args)
    return UNKNOWN


# Regular expressions


def _compiled(pattern: Any, flags: int = 0) -> Any:
    return pattern if isinstance(pattern, re.Pattern) else re.compile(pattern, flags) if _harmless(pattern) else UNKNOWN


def _searching(name: str) -> Callable[..., Any]:
    def searched(pattern: Any, *args: Any) -> Any:
        found = _compiled(pattern)
        return UNKNOWN if found is UNKNOWN else _search(name, found, *args)

    return searched


def _search(name: str, pattern: re.Pattern[str], *args: Any) -> Any:
    if any(not isinstance(a, str) or len(a) > _SEARCHED for a in args):
        return UNKNOWN  # flags and counts among them
    return getattr(pattern, name)(*args)


def _harmless(pattern: Any) -> bool:
    """Whether an expression surely ends soon: few repetitions, none of a group that repeats or chooses inside."""
    if not isinstance(pattern, str) or len(pattern) > _PATTERN:
        return False
    bare = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", pattern)
    if len(re.findall(r"[*+{]", bare)) > _REPEATS:
        return False
    groups: list[bool] = []  # of each open group: whether something in it repeats or chooses
    for i, char in enumerate(bare):
        if char == "(":
            groups.append(False)
        elif char == ")" and groups:
            inside = groups.pop()
            if inside and bare[i + 1 : i + 2] in ("*", "+", "{"):
                return False
            if inside and groups:
                groups[-1] = True
        elif char in "*+{|" and groups:
            groups[-1] = True
    return True


def _fnmatch(name: str, pattern: str) -> Value:
    # on the systems where models are trained, case counts
    stars = pattern.count("*") <= _REPEATS and len(name) <= _SEARCHED
    return fnmatch.fnmatchcase(name, pattern) if stars else UNKNOWN


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "==": _equal,
    "is": _is,
    "<": operator.lt,
    "<=": operator.le,
    "+": operator.add,
    "-": operator.sub,
    "*": _times,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": _remainder,
    "**": _power,
    "neg": operator.neg,
    "getitem": operator.getitem,
    "slice": lambda *bounds: slice(*bounds),
    "concat": _concat,
    "len": len,
    "int": _of_plain(int),
    "float": _of_plain(float),
    "str": _of_plain(str),
    "bool": _of_plain(bool),
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "sum": lambda values, start=0: _number(sum(values, start)),
    "sorted": sorted,
    "reversed": lambda values: tuple(reversed(values)),
    "range": _range,
    "list": tuple,
    "tuple": tuple,
    "enumerate": lambda values: tuple(enumerate(values)),
    "zip": lambda *values: tuple(zip(*values, strict=False)),
    "math.prod": _prod,
    "math.floor": math.floor,
    "math.ceil": math.ceil,
    "math.sqrt": math.sqrt,
    "re.compile": _compiled,
    **{f"re.{name}": _searching(name) for name in _SEARCHES},
    "fnmatch.fnmatch": _fnmatch,
    "fnmatch.fnmatchcase": _fnmatch,
}
