"""PML501, PML502, PML504, PML515, PML516: whether the groups of a script are a partition of any model's parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from paramlint.checks.scripts import fixes
from paramlint.checks.scripts.changed import Case
from paramlint.checks.scripts.context import ScriptContext, Way
from paramlint.checks.scripts.sites import Syntax, syntax
from paramlint.finding import Finding, Fix
from paramlint.source.interpreter.entries import Read
from paramlint.source.prove import Verdict, possible
from paramlint.source.script import Collected, Construction, RuntimeCheck
from paramlint.source.terms import FALSE, Binder, Const, Op, Span, Term, both, either, negated, parts
from paramlint.source.universe import membership, universe
from paramlint.source.witness import Witness, describe, spelled


def check(ctx: ScriptContext) -> Iterator[Finding]:
    for read in ctx.unknown:
        if read.stopped:
            continue  # what was not read may be the rest
        said: set[Span | str | None] = set()
        for way in ctx.ways(read):
            for finding in _way(ctx, read, way):
                at = finding.location
                spot: Span | str | None = Span(at.path, at.line, at.column, 0, 0) if at else None
                if finding.severity == "error" or not {spot, finding.code} & said:
                    said |= {spot} if finding.severity == "error" else {spot, finding.code}
                    yield finding


def _way(ctx: ScriptContext, read: Read, way: Way) -> Iterator[Finding]:
    """What is wrong with optimizers that are made together."""
    made = way.constructions
    if any(c.unread or any(g.unread for g in c.groups) for c in made):
        return
    several = sum(len(c.groups) for c in made) > 1
    span = _where(ctx, way)
    for verdict in way.verdicts:
        case = Case(ctx, way, verdict.root) if verdict.root is not None else None
        hole, overlap = verdict.covered, verdict.disjoint
        wrong = False
        if hole.state == "refuted" and hole.certain and hole.witness and way.full:
            unused = _unused(read, way)
            if unused is not None:
                yield _never_used(ctx, unused, hole.witness)
            elif several and not _asked(read):
                yield _hole(ctx, hole.witness, span, fixes.for_hole(case) if case else None, whole=_groups(made))
            wrong = several or unused is not None
        if overlap.state == "refuted" and overlap.certain and overlap.witness and _together(ctx, way, verdict):
            yield _overlap(ctx, way, overlap.witness, span, fixes.for_overlap(case) if case else None)
            wrong = True
        settled = [hole.state == "proved" or hole.certain, overlap.state == "proved" or overlap.certain]
        if all(settled) or wrong:
            continue
        counts = [c for c in read.build.checks if c.kind == "counts"]
        if counts and len(counts) == len(read.build.checks):
            yield _only_counted(ctx, counts[0], fixes.check_of_sets(case) if case else None)
        elif several and not read.build.checks:
            yield _not_provable(ctx, verdict, span, fixes.check_of_sets(case) if case else None)


def _where(ctx: ScriptContext, way: Way) -> Span | None:
    spans = [c.span for c in way.constructions if ctx.here(c.span)]
    groups = [g.span for c in way.constructions for g in c.groups if g.span is not None and ctx.here(g.span)]
    return min([*spans] or [*groups], key=lambda s: (s.line, s.column), default=None)


def _asked(read: Read) -> bool:
    """Whether the script itself asks which parameters are there, and stops where it finds others."""
    return any(c.kind == "sets" for c in read.build.checks)


def _groups(made: Sequence[Construction]) -> bool:
    """Whether these are groups. Lists that a function gives back are not: whoever calls it may have the rest."""
    return any(c.made is not None or any(g.options or g.half for g in c.groups) for c in made)


def _hole(ctx: ScriptContext, witness: Witness, span: Span | None, fix: Fix | None, *, whole: bool) -> Finding:
    return ctx.finding(
        "PML501",
        span,
        f"no group takes {describe(witness)}: such a parameter is never trained",
        "give what is left to a group: end the chain with `else`, or make one test the exact complement of the others",
        severity=None if whole else "warning",
        fix=fix,
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


def _overlap(ctx: ScriptContext, way: Way, witness: Witness, span: Span | None, fix: Fix | None) -> Finding:
    groups = way.groups
    places = [groups[g].items[i].span or groups[g].span for g, i in witness.items]
    at = next((s for s in reversed(places) if s is not None and ctx.here(s)), span)
    lines = " and ".join(dict.fromkeys(f"line {s.line}" for s in places if s is not None))
    return ctx.finding(
        "PML502",
        at,
        f"{describe(witness)}{',' if witness.settings else ''} is in two groups{f' ({lines})' if lines else ''}",
        "make one test the exact complement of the other: torch refuses a parameter that is in two groups of one "
        "optimizer, and two optimizers would both step it",
        fix=fix,
    )


def _only_counted(ctx: ScriptContext, check: RuntimeCheck, fix: Fix | None) -> Finding:
    return ctx.finding(
        "PML516",
        check.span,
        "this check counts parameters: where one is missing and another is there twice, the numbers agree",
        "compare sets of id(p), and see that no id is there twice",
        fix=fix,
    )


def _together(ctx: ScriptContext, way: Way, verdict: Verdict) -> bool:
    """Whether what is in two groups is stepped twice. Of two optimizers where one has all that the other has, one may
    be for another stage of the training, or in the place of the other, and a module that both have whole may be trained
    by both in turn: these count only where one statement makes both."""
    witness = verdict.disjoint.witness
    owners = [c for c in way.constructions for _ in c.groups]
    made = list(dict.fromkeys(id(owners[g]) for g in (witness.groups if witness else ())))
    if len(made) < 2 or verdict.root is None or witness is None:
        return True
    one, other = (next(c for c in way.constructions if id(c) == number) for number in made[:2])
    source = syntax(ctx.file)
    nodes = [next(iter(source.at(c.span)), None) for c in (one, other)]
    statements = {source.statement(n) for n in nodes if n is not None}
    if len(statements) == 1 and None not in nodes and not _alternatives(source, nodes):
        return True
    within = universe(verdict.root)
    a, b = (either(*(both(g.when, membership(g, within)) for g in c.groups)) for c in (one, other))
    if any(witness.name.startswith(f"{path}.") and _whole(m, way, a, b, within) for m, path in _modules(a, b)):
        return False
    return all(possible(both(way.when, x, negated(y)), within) for x, y in ((a, b), (b, a)))


def _alternatives(source: Syntax, nodes: Sequence[ast.AST | None]) -> bool:
    """Whether all stand in one dict: a table, of which one is chosen."""
    tables = []
    for node in nodes:
        while node is not None and not isinstance(node, ast.Dict):
            node = source.parents.get(node)
        tables.append(node)
    return None not in tables and len(set(tables)) == 1


def _modules(*terms: Term) -> Iterator[tuple[Term, str]]:
    """The modules of which all terms speak, each with its path."""
    for m in set.intersection(*({t for t in parts(term) if isinstance(t, Op) and t.op == "under"} for term in terms)):
        match m:
            case Op(args=(_, Const(path))):
                yield m, str(path)


def _whole(module: Term, way: Way, one: Term, other: Term, within: Binder) -> bool:
    """Whether two optimizers have all that is in a module."""
    return not any(possible(both(way.when, module, negated(term)), within) for term in (one, other))


def _not_provable(ctx: ScriptContext, verdict: Verdict, span: Span | None, fix: Fix | None) -> Finding:
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
        "the source does not show that each parameter is in exactly one group, and nothing checks it",
        "check the ids of the parameters when the groups are made, or name the model: "
        "`# paramlint: target=pkg.module:build`",
        details=open_,
        fix=fix,
    )
