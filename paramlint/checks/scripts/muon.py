"""PML508 and PML509: Muon is given embeddings and heads whatever the model is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from paramlint.checks.scripts import fixes, heads
from paramlint.checks.scripts.changed import Case
from paramlint.checks.scripts.context import ScriptContext, Way
from paramlint.finding import Finding, Fix
from paramlint.source.prove import possible
from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Const,
    Item,
    Op,
    Root,
    Span,
    Term,
    Var,
    both,
    conjuncts,
    either,
    mapped,
    negated,
    variables,
    walk,
)
from paramlint.source.universe import membership, universe

_HOME = (
    "embeddings and heads belong to AdamW: https://github.com/KellerJordan/Muon#usage, "
    "https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html"
)
_Given = tuple[Construction, SymbolicGroup]


def check(ctx: ScriptContext) -> Iterator[Finding]:
    """PML508 where all parameters of a model are in Muon groups, PML509 where all matrices are."""
    for read in ctx.unknown:
        for way in ctx.ways(read):
            given = tuple(_to_muon(ctx, way))
            for root in dict.fromkeys(r for _, g in given for item in g.items if (r := _whole(item)) is not None):
                yield from _root(ctx, way, given, root)


def _to_muon(ctx: ScriptContext, way: Way) -> Iterator[_Given]:
    """Groups whose parameters Muon updates, those of an optimizer among them that goes by their shape."""
    for c in way.constructions:
        for g in c.groups:
            if g.unread or any(_whole(i) is None for i in g.items):
                continue  # lists of parts of a model, picked one by one
            if ctx.half(c, g) == "muon" or _by_shape(c, g):
                yield c, g


def _by_shape(c: Construction, g: SymbolicGroup) -> bool:
    """Whether an optimizer gives Muon all that has the shape of a matrix."""
    return c.made is not None and g.half is None and c.made.by_shape(g.options)


def _root(ctx: ScriptContext, way: Way, given: Sequence[_Given], root: Root) -> Iterator[Finding]:
    within = universe(root)
    # Where all of them are given: what settings may leave away is not asked.
    items = [item for _, g in given for item in _of(g, root)]
    fixed = both(way.when, *(g.when for _, g in given), *(s for i in items for s in _settings(i.when)))
    if not possible(fixed):
        # They are alternatives: each by itself.
        for one in given if len(given) > 1 else ():
            yield from _root(ctx, way, (one,), root)
        return
    taken = either(*(membership((replace(i, when=_tested(i.when)),), within) for i in items))
    taken = mapped(taken, _trained)
    u = Var(within, "value")
    ndim = Op("attr:ndim", (u,))
    fixed = mapped(fixed, _trained)
    matrices = both(fixed, Op("==", (ndim, Const(2))), negated(taken))
    if taken == FALSE or not _sure(taken) or possible(matrices, within):
        return
    vectors = both(fixed, Op("==", (ndim, Const(1))), negated(taken))
    shaped = next((c for c, g in given if _by_shape(c, g)), None)
    test = next((s for c, g in given for s in _tests(g)), None)
    if not possible(vectors, within) and (test is None or shaped is None):
        for c in dict.fromkeys(c.span for c, _ in given):
            if ctx.here(c):
                yield _all(ctx, c, _name(given, c), root, shaped is not None)
        return
    span = test or next((i.span for _, g in given for i in g.items if i.span is not None), None)
    if ctx.here(span):
        fix = _fix(Case(ctx, way, root), span)
        yield ctx.finding(
            "PML509",
            span,
            "Muon is chosen by the number of dimensions alone: every embedding and every head has two as well",
            "leave out nn.Embedding modules by their type, and the head by id(p)"
            + ("" if fix else "; the file does not tell which that is"),
            details=(_HOME,),
            fix=fix,
        )


def _fix(case: Case, span: Span | None) -> Fix | None:
    """Embeddings leave by their type, the head by its name: where one condition lets all in, and the file shows the
    head."""
    muon = [p for p in case.puts if p.half == "muon"]
    if len(muon) != 1 or muon[0].site is None or not case.plain:
        return None
    step = case.step(muon[0], span)
    named = heads.shown(case.ctx.file, muon[0].site.model)
    if step is None or not named:
        return None
    return fixes.by_identity(case, muon[0], step, attributes=named, needles=())


def _settings(when: Term) -> tuple[Term, ...]:
    """What a condition asks of settings alone."""
    return tuple(t for t in conjuncts(when) if not variables(t))


def _tested(when: Term) -> Term:
    """What a condition asks of the parameter."""
    return both(*(t for t in conjuncts(when) if variables(t)))


def _all(ctx: ScriptContext, span: Span, name: str, root: Root, shaped: bool) -> Finding:
    why = ", since it tells parameters apart by their shape alone" if shaped else ""
    return ctx.finding(
        "PML508",
        span,
        f"{name} is given all parameters of {_model(root)}: its embedding and its head too{why}",
        "give Muon the hidden matrices and AdamW the rest, as does "
        f"`paramlint codegen TARGET --in-place {span.path}:{span.line}`",
        details=(_HOME,),
    )


def _model(root: Root) -> str:
    return f"`{root.name}`" if all(part.isidentifier() for part in root.name.split(".")) else "the model"


def _name(given: Sequence[_Given], span: Span) -> str:
    made = next((c.made for c, _ in given if c.span == span), None)
    return made.name.rpartition(".")[2] if made is not None else "Muon"


def _of(g: SymbolicGroup, root: Root) -> tuple[Item, ...]:
    return tuple(i for i in g.items if _whole(i) == root)


def _whole(item: Item) -> Root | None:
    """The model all of whose parameters an item goes through; None where it takes them from elsewhere."""
    if len(item.binders) != 1 or item.value != Var(item.binders[0], "value") or not item.binders[0].recurse:
        return None
    of = item.binders[0].of
    return of if isinstance(of, Root) else None


def _trained(term: Term) -> Term | None:
    return TRUE if isinstance(term, Op) and term.op == "attr:requires_grad" else None


def _sure(taken: Term) -> bool:
    """Whether a condition is not so long that its proof would be worth nothing."""
    return sum(1 for _ in walk(taken)) < 2_000


def _tests(g: SymbolicGroup) -> Iterator[Span]:
    """The tests of dimensions that parameters of a group pass."""
    for item in g.items:
        for test in reversed(item.tests):
            if any(isinstance(t, Op) and t.op == "attr:ndim" for t in walk(test.holds)):
                yield test.span
