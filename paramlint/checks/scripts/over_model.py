"""Fixes of what the rules on groups find over a known model, at the condition that let the parameters in."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from paramlint.checks.scripts import fixes, missing
from paramlint.checks.scripts.changed import Case, Put, partitioned
from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.named import named_as
from paramlint.checks.scripts.sites import Step, fix_at, syntax
from paramlint.finding import Finding, Fix
from paramlint.parameter import Inventory, Location, Parameter, Plain
from paramlint.source.interpreter.entries import Read
from paramlint.source.terms import Item, Span

_KEPT_OUT = ("PML201", "PML202", "PML203", "PML205", "PML206")
_VECTORS, _FROZEN, _UNORDERED = "PML204", "PML104", "PML106"
#: Parameters in no group, and in two.
_IN_NONE = "PML101"
_PARTITION: Mapping[str, Callable[[Case], Fix | None]] = {_IN_NONE: fixes.for_hole, "PML102": fixes.for_overlap}
#: Of `torch.nn`, by how their qualified names end, the more special first.
_CLASSES = ("EmbeddingBag", "Embedding")


def mended(ctx: ScriptContext, read: Read, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings of one set of groups, those with their fixes that have one.

    All that is to leave Muon at one condition leaves it by one fix. `ctx` has the inventory.
    """
    findings = list(findings)
    kept_out: dict[Location, list[Finding]] = {}
    for f in findings:
        if f.code in _KEPT_OUT and f.location is not None:
            kept_out.setdefault(f.location, []).append(f)
    unordered = any(ctx.here(g.unordered) for c in read.build.constructions for g in c.groups if g.unordered)
    for f in findings:
        if f.code == _UNORDERED and unordered:
            continue  # said of the set itself
        fix = f.fix
        if fix is None and f.location is not None and ctx.inventory is not None:
            if f.code in _KEPT_OUT:
                fix = _in_all_ways(ctx, read, f.location, kept_out[f.location])
            elif f.code == _VECTORS:
                fix = _in_all_ways(ctx, read, f.location, [f])
            elif f.code == _FROZEN:
                fix = _trainable(ctx, read, f.location)
            elif f.code in _PARTITION:
                fix = _partition(ctx, read, _PARTITION[f.code])
                if fix is None and f.code == _IN_NONE:
                    fix = _added(ctx, read, f)
        yield replace(f, fix=fix)


def _in_all_ways(ctx: ScriptContext, read: Read, at: Location, findings: Sequence[Finding]) -> Fix | None:
    """The fix of what is in Muon, where it is the same whatever the script's settings are."""
    found: list[Fix | None] = []
    for way in ctx.ways(read):
        for verdict in way.verdicts:
            case = Case(ctx, way, verdict.root) if verdict.root is not None else None
            place = _place(case, at) if case is not None and case.plain else None
            if case is None or place is None:
                continue
            fix = _fix(case, *place, findings)
            found += [] if fix in found else [fix]
    return found[0] if len(found) == 1 else None


def _partition(ctx: ScriptContext, read: Read, mend: Callable[[Case], Fix | None]) -> Fix | None:
    """The fix that makes the groups a partition, where there is one way to make them."""
    cases = [Case(ctx, w, v.root) for w in ctx.ways(read) for v in w.verdicts if v.root is not None]
    return mend(cases[0]) if len(cases) == 1 and not partitioned(cases[0].verdict) else None


def _added(ctx: ScriptContext, read: Read, finding: Finding) -> Fix | None:
    """The fix that gives what is in no group to one, where it is the same whatever the script's settings are."""
    cases = [Case(ctx, w, v.root) for w in ctx.ways(read) for v in w.verdicts if v.root is not None]
    return missing.added(cases[0], finding.parameters) if len(cases) == 1 else None


def _place(case: Case, at: Location) -> tuple[Put, Step] | None:
    """What puts parameters into Muon at a place, and the condition there."""
    for put in case.puts:
        span = _span(put.item, at)
        step = case.step(put, span) if span is not None and put.half == "muon" else None
        if step is not None:
            return put, step
    return None


def _span(item: Item, at: Location) -> Span | None:
    """What of an item starts at a place: a test on the way, or what puts it there."""
    spans = [*(t.span for t in item.tests), item.span]
    return next((s for s in spans if s and (s.path, s.line, s.column) == (at.path, at.line, at.column)), None)


def _fix(case: Case, put: Put, step: Step, findings: Sequence[Finding]) -> Fix | None:
    inventory = case.ctx.inventory
    if inventory is None:
        return None
    found = [p for f in findings for name in f.parameters if (p := inventory.find(name)) is not None]
    if findings[0].code == _VECTORS:
        return fixes.matrices_only(case, put, step) if all(p.ndim < 2 for p in found) else None
    owned = {p.name: kind for p in found if (kind := _embedding(inventory, p))}
    named = [p.name for p in found if p.name not in owned]
    told = named_as(inventory, named)
    if not found or told is None:
        return None
    attributes, endings = told
    classes = tuple(dict.fromkeys(owned.values()))
    data: dict[str, Plain] = {"roles": tuple(sorted({p.role for p in found})) if not owned else ()}
    if classes and classes != ("Embedding",):
        data["classes"] = classes
    data |= {"attributes": attributes, "endings": endings}
    data["needles"] = tuple(_needless(inventory, step.test, {*named} | ({*_all_owned(inventory, classes)})))
    return fixes.by_identity(case, put, step, **{k: v for k, v in data.items() if v or k == "needles"})


def _embedding(inventory: Inventory, p: Parameter) -> str:
    """The class of `torch.nn` that owns a parameter, where that is one of embeddings."""
    modules = {m.path: m.classes for m in inventory.modules}
    for site in p.sites:
        for kind in _CLASSES:
            if any(c.startswith("torch.nn.") and c.rpartition(".")[2] == kind for c in modules.get(site.module, ())):
                return kind
    return ""


def _all_owned(inventory: Inventory, classes: Sequence[str]) -> Iterator[str]:
    for p in inventory.parameters:
        if _embedding(inventory, p) in classes:
            yield p.name


def _needless(inventory: Inventory, test: ast.expr, kept: set[str]) -> Iterator[str]:
    """The strings in a condition that no name has but of parameters that are kept out by identity."""
    for n in ast.walk(test):
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value:
            sought = n.value.lower()
            matched = {p.name for p in inventory.parameters for s in p.sites if sought in s.name.lower()}
            if matched <= kept:
                yield n.value


def _trainable(ctx: ScriptContext, read: Read, at: Location) -> Fix | None:
    """Leaves out what is frozen: in the loop, or where a list is made."""
    source = syntax(ctx.file)
    for c in read.build.constructions:
        for g in c.groups:
            for item in g.items:
                if _span(item, at) is None:
                    continue
                site = source.site(item.span)
                title = "Leave out what is frozen"
                if site is not None:
                    return fix_at(ctx.file, "only-trainable", site.loop, title, {"parameter": site.parameter})
                for node in source.at(item.span):
                    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".parameters"):
                        return fix_at(ctx.file, "only-trainable", node, title)
    return None
