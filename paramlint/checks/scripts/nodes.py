"""The syntax behind what was read: calls and dicts of a file, by their places."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache

from paramlint.record import dataclass
from paramlint.source.interpreter.project import File
from paramlint.source.terms import Span


@dataclass(frozen=True)
class Literal:
    """A dict as it is written down: `{"params": p, "lr": 1}` or `dict(params=p, lr=1)`.

    `keys` are its keys with the nodes that they stand at and their values, `whole` is False where it takes in another
    dict.
    """

    keys: Mapping[str, tuple[ast.AST, ast.expr]] = field(default_factory=dict)
    whole: bool = True


@dataclass(frozen=True, eq=False)
class Nodes:
    """All calls and dict displays of a file, in no order."""

    file: File
    calls: tuple[ast.Call, ...]
    dicts: tuple[ast.Dict, ...]

    def call(self, span: Span) -> ast.Call | None:
        """The call at a place."""
        near = (n for n in self.calls if n.lineno == span.line and n.end_lineno == span.end_line)
        return next((n for n in near if self.file.span(n) == span), None)

    def literal(self, span: Span | None) -> Literal | None:
        """The dict at a place; None where none is written down there."""
        if span is None:
            return None
        for node in self.dicts:
            if node.lineno == span.line and node.end_lineno == span.end_line and self.file.span(node) == span:
                return literal(node)
        call = self.call(span)
        return (
            literal(call) if call is not None and isinstance(call.func, ast.Name) and call.func.id == "dict" else None
        )


@lru_cache(maxsize=2)
def nodes(file: File) -> Nodes:
    """The calls and dicts of a file: it is walked once for all rules."""
    calls, dicts = [], []
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call):
            calls.append(node)
        elif isinstance(node, ast.Dict):
            dicts.append(node)
    return Nodes(file, tuple(calls), tuple(dicts))


def literal(node: ast.Dict | ast.Call) -> Literal:
    """The keys of a dict display, or of a call of `dict`, that are strings."""
    if isinstance(node, ast.Call):
        named = {k.arg: (k, k.value) for k in node.keywords if k.arg is not None}
        return Literal(named, not node.args and len(named) == len(node.keywords))
    found: dict[str, tuple[ast.AST, ast.expr]] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found[key.value] = (key, value)
    return Literal(found, len(found) == len(node.keys))
