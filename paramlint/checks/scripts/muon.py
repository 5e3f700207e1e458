"""PML508 and PML509: Muon is given embeddings and heads whatever the model is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from paramlint.checks.scripts import fixes, heads, usual
from paramlint.checks.scripts.changed import Case
from paramlint.checks.scripts.context import ScriptContext, Way
from paramlint.finding import Finding, Fix
from paramlint.record import dataclass
from paramlint.source.prove import branches, possible
from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Binder,
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
    size,
    variables,
    walk,
)
from paramlint.source.universe import membership, universe

_HOME = (
    "embeddings and heads belong to AdamW: https://github.com/KellerJordan/Muon#usage, "
    "https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html"
)
_ALONE = "Muon is chosen by the number of dimensions alone: every embedding and every head has two as well"
_PASS = (
    f"Muon takes embeddings and heads as well: those called `{usual.TABLES[0]}` or `{usual.HEADS[0]}` pass each test"
)
#: Settings that say whether there is a Muon.
_SWITCH = re.compile(r"(^|\.)((use|with|enable|is|do)_?)?muon(_?(enabled|on|opt|optimizer))?$", re.IGNORECASE)
#: Settings under which more is given than this, or that are longer in terms, are not taken apart.
_MANY = 8
_LONG = 400


@dataclass(frozen=True)
class _Given:
    """One place that gives Muon parameters of the whole of a model. `asked` is under which settings it does."""

    made: Construction
    group: SymbolicGroup
    item: Item
    root: Root
    asked: Term


def check(ctx: ScriptContext) -> Iterator[Finding]:
    """PML508 where all parameters of a model are in Muon groups, PML509 where its embeddings and heads are."""
    for read in ctx.unknown:
        for way in ctx.ways(read):
            given = tuple(_to_muon(ctx, way))
            for root in dict.fromkeys(g.root for g in given):
                for when, some in _together(way, [g for g in given if g.root == root]):
                    yield from _said(ctx, way, when, some)


def _to_muon(ctx: ScriptContext, way: Way) -> Iterator[_Given]:
    """What Muon updates, and what an optimizer is given that goes by shape."""
    for c in way.constructions:
        for g in c.groups:
            if g.unread or not (ctx.half(c, g) == "muon" or _by_shape(c, g)):
                continue
            for item in g.items:
                root, asked = _whole(item), both(g.when, *_settings(item.when))
                if root is not None and not _elsewhere(asked):
                    yield _Given(c, g, item, root, asked)


def _by_shape(c: Construction, g: SymbolicGroup) -> bool:
    """Whether an optimizer gives Muon all that has the shape of a matrix."""
    return c.made is not None and g.half is None and c.made.by_shape(g.options)


def _together(way: Way, given: Sequence[_Given]) -> Iterator[tuple[Term, list[_Given]]]:
    """What is given at once, and under which settings: all of it, or else one alternative after the other.

    What settings may leave away is not asked: it is taken to be there.
    """
    when = both(way.when, *(g.asked for g in given))
    if possible(when):
        yield when, list(given)
        return
    asked = {g.asked: both(way.when, g.asked) for g in given if size(g.asked) <= _LONG}
    ways = [w for w in dict.fromkeys(asked.values()) if possible(w)]
    if len(ways) > _MANY:
        yield from ((w, [g for g in given if asked.get(g.asked) == w]) for w in ways)
        return
    for one in branches(ways):
        some = [g for g in given if g.asked in asked and not possible(both(one.when, negated(g.asked)))]
        if one.full and some:
            yield one.when, some


def _elsewhere(asked: Term) -> bool:
    """Whether it is where a setting says that there is no Muon: another optimizer may well get it."""
    failed = (t for part in conjuncts(asked) if isinstance(part, Op) and part.op == "not" for t in walk(part))
    return any(_SWITCH.search(str(getattr(t, key, ""))) for t in failed for key in ("text", "name", "value"))


def _said(ctx: ScriptContext, way: Way, when: Term, given: Sequence[_Given]) -> Iterator[Finding]:
    root = given[0].root
    within = universe(root)
    fixed = mapped(when, _trained)
    taken = _taken(given, within)
    if taken == FALSE or not _sure(taken):
        return
    matrices = _all_in(taken, fixed, within, 2)
    if not matrices and not usual.let_in(taken, fixed, within):
        return
    shaped = any(_by_shape(g.made, g.group) for g in given)
    if matrices and _all_in(taken, fixed, within, 1) and not (shaped and any(_test(g.item) for g in given)):
        places = {g.made.span: [o for o in given if o.made.span == g.made.span] for g in given}
        each = {span: _taken(some, within) for span, some in places.items()}
        whole = [s for s, t in each.items() if _all_in(t, fixed, within, 2) and _all_in(t, fixed, within, 1)]
        for span in whole or places:
            if ctx.here(span):
                yield _all(ctx, span, _name(places[span][0]), root, shaped)
        return
    through = [g for g in given if _lets_in(_taken([g], within), fixed, within, matrices)] or given
    shown = (*(_test(g.item) for g in through), *(g.item.span for g in through))
    at = next((s for s in shown if s is not None), None)
    if ctx.here(at):
        fix = _fix(Case(ctx, way, root), at)
        yield ctx.finding(
            "PML509",
            at,
            _ALONE if matrices else _PASS,
            "leave out nn.Embedding modules by their type, and the head by id(p)"
            + ("" if fix else "; the file does not tell which that is"),
            details=(_HOME,),
            fix=fix,
        )


def _taken(given: Sequence[_Given], within: Binder) -> Term:
    """What a parameter has to be like to be among what is given."""
    items = (replace(g.item, when=_tested(g.item.when)) for g in given)
    return mapped(either(*(membership((i,), within) for i in items)), _trained)


def _all_in(taken: Term, fixed: Term, within: Binder, dimensions: int) -> bool:
    """Whether all parameters with so many dimensions are."""
    shape = Op("==", (Op("attr:ndim", (Var(within, "value"),)), Const(dimensions)))
    return not possible(both(fixed, shape, negated(taken)), within)


def _lets_in(taken: Term, fixed: Term, within: Binder, matrices: bool) -> bool:
    return _all_in(taken, fixed, within, 2) if matrices else usual.let_in(taken, fixed, within)


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


def _name(given: _Given) -> str:
    made = given.made.made
    return made.name.rpartition(".")[2] if made is not None else "Muon"


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


def _test(item: Item) -> Span | None:
    """The last test of dimensions on the way of an item."""
    shape = (t for t in reversed(item.tests) if any(isinstance(p, Op) and p.op == "attr:ndim" for p in walk(t.holds)))
    return next((t.span for t in shape), None)
