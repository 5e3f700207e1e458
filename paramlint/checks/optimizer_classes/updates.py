"""PML605: updates that get past autograd through `.data`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.closures import bare_call
from paramlint.checks.optimizer_classes.context import Source, first
from paramlint.finding import Finding
from paramlint.source.reaching import contexts


def check(source: Source) -> Iterator[Finding]:
    """The first update through `.data`, in a step under no `no_grad` or in a method that only such a step calls.

    Silent where the step or the place itself has gradients off: there `.data` is but superfluous.
    """
    for c in source.classes:
        if c.step is None or c.wrapper:
            continue
        if any(off and isinstance(n, ast.stmt) for n, off, _ in contexts(c.step)):
            continue
        places = (n for f in c.reached for n, off, _ in contexts(f) if not off and not _is_init(f))
        found = first(at for n in places if (at := _updated(n)) is not None)
        if found is None:
            continue
        yield source.finding(
            "PML605",
            found,
            "the parameter is updated through .data: autograd does not see it, and a backward that still needs the "
            "old values computes with the new ones",
            "decorate step() with @torch.no_grad(), "
            + ("call the closure under `with torch.enable_grad():`, " if bare_call(c) else "")
            + "and update the parameter itself",
            label=f"{c.name}.step",
        )


def _updated(node: ast.AST) -> ast.expr | None:
    """The `x.data` that a node changes: by an in-place method, `x.data += ...` or `x.data = ...`."""
    match node:
        case ast.Call(func=ast.Attribute(value=of, attr=attr)) if attr.endswith("_") and not attr.endswith("__"):
            return _data(of)
        case ast.AugAssign(target=target) | ast.Assign(targets=[target]):
            return _data(target.value if isinstance(target, ast.Subscript) else target)
    return None


def _data(node: ast.expr) -> ast.expr | None:
    """`p.data`, at the bottom of a chain of in-place calls; not `p.grad.data`, and not an attribute of self."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.endswith("_"):
        node = node.func.value
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr="data") | ast.Attribute(value=ast.Attribute(attr="grad")):
            return None
        case ast.Attribute(attr="data"):
            return node
    return None


def _is_init(function: ast.FunctionDef) -> bool:
    return function.name == "__init__"
