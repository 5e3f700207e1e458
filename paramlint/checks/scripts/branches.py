"""PML505 and PML514: tests that can never hold where they are reached, and tests of names that come too early."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from paramlint.checks.scripts.asked import of_group, signed, without_settings
from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding
from paramlint.source.interpreter.entries import Read
from paramlint.source.point import Point
from paramlint.source.prove import possible
from paramlint.source.script import Branch, SymbolicGroup
from paramlint.source.search import Search
from paramlint.source.statements import every, statements
from paramlint.source.terms import (
    FALSE,
    Binder,
    Const,
    Item,
    Op,
    Root,
    Span,
    Term,
    Var,
    binders,
    both,
    negated,
    parts,
    walk,
)
from paramlint.source.universe import universe

#: How the names end of parameters that have one dimension in every model.
_VECTORS = (".bias", "norm.weight")
_SHAPES = ("attr:ndim", "attr:shape", "method:size", "method:numel", "method:nelement", "call:torch.numel")


# PML505


def unreachable(ctx: ScriptContext) -> Iterator[Finding]:
    """PML505: where a group hangs on the test, and whatever the callers of its function ask for."""
    places: dict[Span, list[Branch]] = {}
    for read in ctx.reads:
        for branch in read.branches:
            if ctx.here(branch.span):
                places.setdefault(branch.span, []).append(branch)
    for span, same in places.items():
        # a test in a function that is called twice, or in a loop over known values, is dead where it is each time
        if not all(b.body for b in same) or not all(_is_dead(b) for b in dict.fromkeys(same)):
            continue
        users = [r for r in ctx.reads if any(b.span == span for b in r.branches)]
        if any(_decides(ctx, r, b) for r in users for b in same) and all(
            _is_dead(_for_any_caller(ctx, r, b)) for r in users for b in r.branches if b.span == span
        ):
            taken = _taken(same[0])
            yield ctx.finding(
                "PML505",
                span,
                "this test holds for no parameter that gets here"
                + (": all that it asks for went another way before" if taken else ": it contradicts itself"),
                "put the narrower test first, or take this one out",
            )


def _decides(ctx: ScriptContext, read: Read, branch: Branch) -> bool:
    """Whether a group hangs on a test: something in it is put there on one side of the test, or has an option by it."""
    groups = [g for c in read.build.constructions for g in c.groups]
    items = [i for g in groups for i in g.items]
    if any(_inside(t.span, branch.span) for i in items for t in i.tests):
        return True
    if both(branch.when, branch.test) != FALSE:
        return any(t == branch.test for g in groups for whole in of_group(g) for t in walk(whole))
    # What stands behind a plain contradiction is not read: does it collect, in a function that fills groups?
    function = _function(ctx, branch.span)
    places = [s for s in (*(g.span for g in groups), *(i.span for i in items)) if s is not None]
    fills = function is None or any(_inside(s, ctx.file.span(function)) for s in places)
    return fills and any(map(_collects, _behind(ctx, branch.span)))


def _behind(ctx: ScriptContext, span: Span) -> Iterator[ast.AST]:
    """What is done where a test holds."""
    for node in every(ctx.file.tree):
        match node:
            case ast.If(test=test, body=body) if ctx.file.span(test) == span:
                yield from (n for statement in body for n in every(statement))
            case ast.ListComp(generators=made) | ast.SetComp(generators=made) | ast.GeneratorExp(generators=made):
                if any(ctx.file.span(test) == span for one in made for test in one.ifs):
                    yield node


def _collects(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="append" | "extend" | "add" | "update" | "insert")):
            return True
        case ast.AugAssign() | ast.Yield() | ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return True
        case ast.Assign(targets=[ast.Subscript()]):
            return True
    return False


def _inside(span: Span, whole: Span) -> bool:
    if span.path != whole.path:
        return False
    start, end = (span.line, span.column), (span.end_line, span.end_column)
    return (whole.line, whole.column) <= start and end <= (whole.end_line, whole.end_column)


def _for_any_caller(ctx: ScriptContext, read: Read, branch: Branch) -> Branch:
    """The branch without what earlier tests say that ask by an argument of its function: other callers may give
    another. The model is no such argument, and neither are settings by their names (`args.all`)."""
    function = _function(ctx, branch.span)
    if function is None or function is read.node:
        return branch
    a = function.args
    names = {one.arg for one in (*a.posonlyargs, *a.args, *a.kwonlyargs)}
    asking = {ctx.file.span(test) for test in _tests(function) if names & _plain_names(test)}
    said: set[Term] = set()
    for other in read.branches:
        if other.span in asking and other.span != branch.span:
            said |= {*_conjuncts(other.test), *_conjuncts(negated(other.test))}
    return replace(branch, when=both(*(c for c in _conjuncts(branch.when) if c not in said)))


def _function(ctx: ScriptContext, span: Span) -> ast.FunctionDef | None:
    """The innermost function that a place is in."""
    found = None
    for node in statements(ctx.file.tree):  # from the outside in
        if isinstance(node, ast.FunctionDef) and _inside(span, ctx.file.span(node)):
            found = node
    return found


def _tests(function: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in every(function):
        match node:
            case ast.If(test=test) | ast.IfExp(test=test):
                yield test
            case ast.comprehension(ifs=tests):
                yield from tests


def _plain_names(test: ast.expr) -> set[str]:
    """The names in a test that stand for values themselves, without attributes."""
    nodes = list(every(test))
    owners = {id(n.value) for n in nodes if isinstance(n, (ast.Attribute, ast.Subscript))}
    return {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in owners}


def _conjuncts(term: Term) -> tuple[Term, ...]:
    if isinstance(term, Op) and term.op == "not" and isinstance(term.args[0], Op) and term.args[0].op == "or":
        return tuple(negated(t) for t in term.args[0].args)
    return term.args if isinstance(term, Op) and term.op == "and" else (term,)


def _is_dead(branch: Branch) -> bool:
    """Whether a test on parameters can never hold where it is reached, whatever the settings are."""
    reached = without_settings(branch.when)
    if not _speaks(branch.test) or reached == FALSE:
        return False
    shared = _subjects(reached) & _subjects(branch.test)
    parts = branch.test.args if isinstance(branch.test, Op) and branch.test.op == "and" else (branch.test,)
    if not shared and len(parts) < 2:
        return False
    within = _within(Op("and", (branch.test, reached)))
    return not possible(both(reached, branch.test), within) and possible(reached, within)


def _taken(branch: Branch) -> bool:
    """Whether the test could hold elsewhere."""
    return possible(branch.test, _within(branch.test))


def _speaks(term: Term) -> bool:
    """Whether a test speaks of a parameter, of its name, or of the module that it is in."""
    return any(isinstance(t, Var) and t.binder.kind in ("parameter", "module", "child") for t in walk(term))


def _subjects(term: Term) -> set[Term]:
    """What the conditions in a term are about: dimensions, names, or whole conditions that are not taken apart."""
    found: set[Term] = set()
    for t in walk(term):
        if isinstance(t, Op) and t.op in (
            "and",
            "or",
            "not",
            "in",
            "==",
            "<",
            "<=",
            "method:startswith",
            "method:endswith",
        ):
            found |= {a for a in t.args if binders(a)}
    return found | {term}


def _within(term: Term) -> Binder:
    """The loop over parameters that a condition is about."""
    loops = {t.binder for t in walk(term) if isinstance(t, Var) and t.binder.kind == "parameter"}
    return max(loops, key=lambda b: b.number, default=universe(Root("")))


# PML514


def order(ctx: ScriptContext) -> Iterator[Finding]:
    """PML514."""
    for read in ctx.reads:
        shaped = _shaped(read)
        for c in read.build.constructions:
            for g in c.groups:
                if shaped and ctx.half(c, g) == "muon":
                    yield from _group(ctx, read, g, shaped)


def _group(ctx: ScriptContext, read: Read, g: SymbolicGroup, shaped: set[Binder]) -> Iterator[Finding]:
    for item in g.items:
        span = _chosen_by(item, read)
        if span is None or not ctx.here(span) or not shaped & set(item.binders):
            continue
        witness = _vector(item)
        if witness is not None:
            yield ctx.finding(
                "PML514",
                span,
                f"this test lets vectors into Muon, `{witness.name}` for one: it goes by the name alone, and the test "
                "of dimensions is done for other parameters only",
                "test p.ndim first, or here as well",
            )


def _shaped(read: Read) -> set[Binder]:
    """The loops in which dimensions are tested."""
    tests = [b.test for b in read.branches]
    tests += [i.when for c in read.build.constructions for g in c.groups for i in g.items]
    return {
        b
        for t in parts(*tests)
        if isinstance(t, Op) and t.op == "attr:ndim"
        for b in binders(t)
        if b.kind == "parameter"
    }


def _chosen_by(item: Item, read: Read) -> Span | None:
    """The last test of names on the way to an item that goes by names and not by shapes."""
    if not (isinstance(item.value, Var) and item.value.what == "value" and item.value.binder.kind == "parameter"):
        return None
    if any(isinstance(t, Op) and t.op in _SHAPES for t in walk(item.when)):
        return None
    if not any(holds for _, holds in signed(item.when)):
        return None
    held = item.when.args if isinstance(item.when, Op) and item.when.op == "and" else (item.when,)
    spans = [b.span for b in read.branches if b.test in held and any(holds for _, holds in signed(b.test))]
    spans += [t.span for t in item.tests if any(holds for _, holds in signed(t.holds))]
    return max(spans, key=lambda s: (s.line, s.column), default=item.span)


def _vector(item: Item) -> Point | None:
    """A parameter with one dimension that certainly gets into the group."""
    assert isinstance(item.value, Var)
    b = item.value.binder
    when = without_settings(item.when)
    one = Op("==", (Op("attr:ndim", (Var(b, "value"),)), Const(1)))
    for end in _VECTORS:
        named = Op("method:endswith", (Var(b, "name"), Const(end)))
        search = Search(both(when, one, named), b).run((True,))
        if search.found is not None and not search.found.values:
            return search.found
    return None
