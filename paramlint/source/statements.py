"""The statements of a file, at any depth, without a look into their expressions: a tenth of what `ast.walk` visits."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Every statement in a node, in the order of the source."""
    stack = list(reversed(_bodies(tree)))
    while stack:
        statement = stack.pop()
        yield statement
        stack.extend(reversed(_bodies(statement)))


def every(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all nodes in it, in the order of `ast.walk`, in less than half of its time."""
    todo = [node]
    for one in todo:  # which grows
        for name in one._fields:
            value = getattr(one, name, None)
            if isinstance(value, ast.AST):
                todo.append(value)
            elif isinstance(value, list):
                todo += [item for item in value if isinstance(item, ast.AST)]
        yield one


def _bodies(node: ast.AST) -> list[ast.stmt]:
    found: list[ast.stmt] = list(getattr(node, "body", ()))
    for inner in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        found += inner.body
    return [*found, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
