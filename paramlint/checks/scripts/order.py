"""PML106 and PML503 in source: parameters in the order of a set, and iterators that are walked twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.sites import Syntax, syntax
from paramlint.finding import Finding, Fix
from paramlint.parameter import Plain
from paramlint.source.script import Walks
from paramlint.source.terms import Span

#: What is done with a set that a dict cannot do.
_SETS_ONLY = (ast.BinOp, ast.AugAssign)


def unordered(ctx: ScriptContext) -> Iterator[Finding]:
    """PML106."""
    for read in ctx.reads:
        for c in read.build.constructions:
            for g in c.groups:
                if g.unordered is None or not g.items or not ctx.here(g.unordered):
                    continue
                yield ctx.finding(
                    "PML106",
                    g.unordered,
                    "the parameters of a group come from a set: their order changes from run to run, and an optimizer "
                    "that is resumed gives its state to the wrong ones",
                    "keep them in a list, or make the set with dict.fromkeys(...)",
                    details=("torch matches saved state by position: https://github.com/pytorch/pytorch/issues/1489",),
                    fix=_ordered(syntax(ctx.file), g.unordered),
                )


def walked_twice(ctx: ScriptContext) -> Iterator[Finding]:
    """PML503."""
    for read in ctx.reads:
        for walks in read.walks:
            if not ctx.here(walks.second):
                continue
            name = f"`{found}`" if (found := walks.name or _name(ctx, walks.second)) else "this iterator"
            line = f"line {walks.first.line}" if walks.first is not None else "another loop"
            yield ctx.finding(
                "PML503",
                walks.second,
                f"{name} has nothing left here: {line} has walked it to its end",
                "keep the parameters in a list: list(model.named_parameters())",
                fix=_listed(ctx, walks),
            )


def _name(ctx: ScriptContext, span: Span | None) -> str:
    return next((n.id for n in syntax(ctx.file).at(span) if isinstance(n, ast.Name)), "")


def _ordered(source: Syntax, span: Span) -> Fix | None:
    """A set that is made at once, and is used as nothing but a collection."""
    for node in source.at(span):
        match node:
            case ast.Call(func=ast.Name(id="set" | "frozenset"), args=[one], keywords=[]) if not isinstance(
                one, ast.Starred
            ):
                pass
            case ast.Set() | ast.SetComp():
                pass
            case _:
                continue
        return (
            None
            if _used_as_set(source, node)
            else _fix("ordered-set", span, "Use dict.fromkeys(...), which is ordered")
        )
    return None


def _used_as_set(source: Syntax, node: ast.AST) -> bool:
    """Whether arithmetic is done with a set, or it is asked for what a dict has not, under the name that it has."""
    if isinstance(source.parents.get(node), (*_SETS_ONLY, ast.Attribute)):
        return True
    match source.parents.get(node):
        case ast.Assign(targets=[target], value=value) | ast.NamedExpr(target=target, value=value) if value is node:
            name = ast.unparse(target)
        case ast.AnnAssign():
            return True
        case _:
            return False
    scope = source.function(node) or source.file.tree
    uses = (n for n in ast.walk(scope) if isinstance(n, (ast.Name, ast.Attribute)) and ast.unparse(n) == name)
    return any(isinstance(source.parents.get(use), (*_SETS_ONLY, ast.Attribute)) for use in uses)


def _listed(ctx: ScriptContext, walks: Walks) -> Fix | None:
    """A list where the iterator is made, or first thing in the function of this file that another file gives it to."""
    title = "Keep the parameters in a list"
    if walks.made is not None and ctx.here(walks.made):
        return _fix("wrap-list", walks.made, title)
    source = syntax(ctx.file)
    node = next(iter(source.at(walks.second)), None)
    function = source.function(node) if node is not None else None
    if function is None or (walks.name or _name(ctx, walks.second)) not in {
        a.arg for a in (*function.args.args, *function.args.kwonlyargs)
    }:
        return None
    return _fix("wrap-list", ctx.file.span(function), title, {"parameter": walks.name or _name(ctx, walks.second)})


def _fix(kind: str, span: Span, title: str, data: dict[str, Plain] | None = None) -> Fix:
    return Fix(kind, (span.line, span.column), (span.end_line, span.end_column), True, title, data or {})
