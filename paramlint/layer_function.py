"""Asks a user's function for the layer of every parameter. No torch."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paramlint.errors import ParamlintError

#: What a function that asks for the number of layers is told at first: more than any model has.
_MANY = 1_000_000


@dataclass(frozen=True)
class Answers:
    """The layer of every parameter by name, how many layers there are, and who says so."""

    of: Mapping[str, int]
    count: int
    source: str


def ask(names: Sequence[str], function: Callable[..., Any], source_text: str) -> Answers:
    """What `fn(name)` says of each name, or `fn(name, num_max_layer)` as in BEiT's code.

    A second argument is the number of layers. It is found by asking once with a number so large that layers counted
    from the end show. `source` of the answers is `source_text`, with `(name, num_max_layer)` behind it for such a
    function.

    Raises:
        ParamlintError: the function raises, gives no whole number, one below 0, or one that is not below the number
            of layers it was told.
    """
    if not _takes_count(function):
        of = {name: _asked(function, source_text, name) for name in names}
        return Answers(of, 1 + max(of.values(), default=-1), source_text)
    wide = {name: _asked(function, source_text, name, _MANY) for name in names}
    from_end = max((_MANY - layer for layer in wide.values() if layer > _MANY // 2), default=0)
    count = 1 + max((layer for layer in wide.values() if layer <= _MANY // 2), default=-1) + from_end
    of = {name: _asked(function, source_text, name, count) for name in names}
    for name, layer in of.items():
        if layer >= count or wide[name] >= _MANY:
            raise ParamlintError(f"{name!r} has a layer that is not below the number of layers", where=source_text)
    return Answers(of, count, f"{source_text}(name, num_max_layer)")


def _takes_count(function: Callable[..., Any]) -> bool:
    """Whether a function has a second positional argument that must be given."""
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    positional = [
        p
        for p in parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is inspect.Parameter.empty
    ]
    return len(positional) > 1


def _asked(function: Callable[..., Any], source: str, name: str, *count: int) -> int:
    call = f"({', '.join(map(repr, (name, *count)))})"
    try:
        answer = function(name, *count)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ParamlintError(
            f"{call} raised {type(error).__name__}{': ' + reason if reason else ''}", where=source
        ) from error
    try:
        layer = operator.index(answer)
    except TypeError:
        raise ParamlintError(f"{call} gives {answer!r}, not a layer as a whole number", where=source) from None
    if layer < 0 or isinstance(answer, bool):
        raise ParamlintError(f"{call} gives {answer!r}, not a layer: these count from 0", where=source)
    return layer
