"""PML501, PML502, PML504, PML515, PML516: whether the groups of a script are a partition of any model's parameters."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.scripts.context import ScriptContext, Way
from paramlint.finding import Finding
from paramlint.source.interpreter.entries import Read
from paramlint.source.prove import Verdict
from paramlint.source.script import Collected
from paramlint.source.terms import FALSE, Span, both
from paramlint.source.witness import Witness, describe, spelled


def check(ctx: ScriptContext) -> Iterator[Finding]:
    for read in ctx.reads:
        said: set[Span | None] = set()
        for way in ctx.ways(read):
            for finding in _way(ctx, read, way):
                at = finding.location
                spot = Span(at.path, at.line, at.column, 0, 0) if at else None
                if finding.severity == "error" or spot not in said:
                    said.add(spot)
                    yield finding


def _way(ctx: ScriptContext, read: Read, way: Way) -> Iterator[Finding]:
    """What is wrong with optimizers that are made together."""
    made = way.constructions
    if any(c.unread or any(g.unread for g in c.groups) for c in made):
        return
    several = sum(len(c.groups) for c in made) > 1
    span = _where(ctx, way)
    for verdict in way.verdicts:
        hole, overlap = verdict.covered, verdict.disjoint
        if hole.state == "refuted" and hole.certain and hole.witness and way.full:
            unused = _unused(read, way)
            if unused is not None:
                yield _never_used(ctx, unused, hole.witness)
            elif several:
                yield _hole(ctx, hole.witness, span)
        if overlap.state == "refuted" and overlap.certain and overlap.witness:
            yield _overlap(ctx, way, overlap.witness, span)
        settled = [hole.state == "proved" or hole.certain, overlap.state == "proved" or overlap.certain]
        if not all(settled) and several and not read.build.checks:
            yield _not_provable(ctx, verdict, span)
        counts = [c for c in read.build.checks if c.kind == "counts"]
        if not all(settled) and counts and len(counts) == len(read.build.checks):
            yield ctx.finding(
                "PML516",
                counts[0].span,
                "this check compares how many parameters there are: one that is missing and one that is there twice "
                "cancel out",
                "compare the sets of id(p), and that no id is there twice",
            )


def _where(ctx: ScriptContext, way: Way) -> Span | None:
    spans = [c.span for c in way.constructions if ctx.here(c.span)]
    groups = [g.span for c in way.constructions for g in c.groups if g.span is not None and ctx.here(g.span)]
    return min([*spans] or [*groups], key=lambda s: (s.line, s.column), default=None)


def _hole(ctx: ScriptContext, witness: Witness, span: Span | None) -> Finding:
    return ctx.finding(
        "PML501",
        span,
        f"no group takes {describe(witness)}: such a parameter is never trained",
        "give what is left to a group with a final `else`, or with the exact complement of the other tests",
    )


def _never_used(ctx: ScriptContext, unused: Collected, witness: Witness) -> Finding:
    where = " and ".join(f"`{spelled(t)}` is {v!r}" for t, v in witness.settings)
    return ctx.finding(
        "PML504",
        unused.span,
        f"the parameters in `{unused.name}` are given to no optimizer{f' where {where}' if where else ''}: they are "
        "never trained",
        f"give `{unused.name}` to an optimizer, or freeze what is in it",
        details=(f"in no group: {describe(witness)}",),
    )


def _unused(read: Read, way: Way) -> Collected | None:
    """A list of parameters that nothing is done with where these optimizers are made."""
    for one in read.lists:
        if both(one.when, way.when) == FALSE or any(both(g, way.when) != FALSE for g in one.given):
            continue
        return one
    return None


def _overlap(ctx: ScriptContext, way: Way, witness: Witness, span: Span | None) -> Finding:
    groups = way.groups
    places = [groups[i].span for i in witness.groups if i < len(groups)]
    at = next((s for s in reversed(places) if s is not None and ctx.here(s)), span)
    lines = " and ".join(dict.fromkeys(f"line {s.line}" for s in places if s is not None))
    return ctx.finding(
        "PML502",
        at,
        f"{describe(witness)} is in two groups{f' ({lines})' if lines else ''}",
        "make one test the exact complement of the other: torch refuses a parameter that is in two groups of one "
        "optimizer, and two optimizers would both step it",
    )


def _not_provable(ctx: ScriptContext, verdict: Verdict, span: Span | None) -> Finding:
    open_ = [
        f"{what}: {reason}"
        for what, answer in (("every parameter in a group", verdict.covered), ("none in two", verdict.disjoint))
        if answer.state != "proved" and not answer.certain
        for reason in (
            answer.reasons or ([f"it depends on the model, e.g. {describe(answer.witness)}"] if answer.witness else [])
        )[:2]
    ]
    return ctx.finding(
        "PML515",
        span,
        "that each parameter is in exactly one group can be told neither from the source nor from a check of its own",
        "insert a check of the sets of id(p), or name the model: `# paramlint: target=pkg.module:build`",
        details=open_,
    )
