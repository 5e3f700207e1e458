"""PML106 and PML503 in source: parameters in the order of a set, and iterators that are walked twice."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding, Fix
from paramlint.source.terms import Span


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
                    fix=_fix("ordered-set", g.unordered, "Use dict.fromkeys(...), which keeps the order"),
                )


def walked_twice(ctx: ScriptContext) -> Iterator[Finding]:
    """PML503."""
    for read in ctx.reads:
        for walks in read.walks:
            if not ctx.here(walks.second):
                continue
            name = f"`{walks.name}`" if walks.name else "the iterator"
            made = walks.made
            fix = _fix("wrap-list", made, "Keep the parameters in a list") if made and ctx.here(made) else None
            yield ctx.finding(
                "PML503",
                walks.second,
                f"{name} is an iterator, and line {walks.first.line if walks.first else '?'} has walked it to its end: "
                "there is nothing left here",
                "keep the parameters in a list: list(model.named_parameters())",
                fix=fix,
            )


def _fix(kind: str, span: Span, title: str) -> Fix:
    return Fix(kind, (span.line, span.column), (span.end_line, span.end_column), True, title)
