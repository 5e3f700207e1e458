"""PML508 and PML509: a Muon group that takes embeddings and heads whatever the model is."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding
from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Root,
    Term,
    Var,
    both,
    mapped,
    variables,
    walk,
)

_HEAD = (
    "embeddings and heads belong to AdamW: https://github.com/KellerJordan/Muon#usage, "
    "https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html"
)


def whole_model(ctx: ScriptContext) -> Iterator[Finding]:
    """PML508."""
    for c, g in _taken(ctx):
        for item in g.items:
            if _is_whole(item) and _relevant(item) == TRUE and ctx.here(c.span):
                name = c.made.name.rpartition(".")[2] if c.made else "Muon"
                routed = c.made is not None and c.made.kind == "routed"
                yield ctx.finding(
                    "PML508",
                    c.span,
                    f"{name} is given all parameters of {_root(item)}: its embedding and its head too"
                    + (", since it tells parameters apart by their shape alone" if routed else ""),
                    "give Muon the hidden matrices and AdamW the rest; `paramlint codegen` writes such groups",
                    details=(_HEAD,),
                )
                break


def ndim_only(ctx: ScriptContext) -> Iterator[Finding]:
    """PML509."""
    for _, g in _taken(ctx):
        for item in g.items:
            test = _dimensions(item) if _is_whole(item) else None
            if test is None:
                continue
            span = next((t.span for t in reversed(item.tests) if _speaks_of_dimensions(t.holds)), item.span)
            if ctx.here(span):
                yield ctx.finding(
                    "PML509",
                    span,
                    "Muon is chosen by the number of dimensions alone: every embedding and every head has two as well",
                    "leave out nn.Embedding modules and the head, by type and identity",
                    details=(_HEAD,),
                )


def _taken(ctx: ScriptContext) -> Iterator[tuple[Construction, SymbolicGroup]]:
    """Groups whose parameters Muon updates, or an optimizer that gives Muon all that has the shape."""
    yield from ctx.muon()
    for read in ctx.reads:
        for c in read.build.constructions:
            by_shape = c.made is not None and c.made.kind == "routed" and c.made.assumed and not _flagged(c)
            if by_shape and ctx.profile(c) is not None and not any(g.half for g in c.groups):
                yield from ((c, g) for g in c.groups)


def _flagged(c: Construction) -> bool:
    """Whether the groups, or what the class reads of them, say who updates them."""
    reads = c.made.reads if c.made is not None else None
    return reads is None or any(
        key in ("use_muon", "algorithm", "kind", "optim", "type", "is_muon")
        for key in (*reads, *(k for g in c.groups for k in g.options))
    )


def _is_whole(item: Item) -> bool:
    """Whether an item stands for the parameters of a whole model."""
    return (
        len(item.binders) == 1
        and item.value == Var(item.binders[0], "value")
        and isinstance(item.binders[0].of, Root)
        and item.binders[0].recurse
    )


def _root(item: Item) -> str:
    of = item.binders[0].of
    return f"`{of.name}`" if isinstance(of, Root) else "the model"


def _dimensions(item: Item) -> Term | None:
    """The condition of an item, where it speaks of dimensions and lets every matrix through; None else. What is frozen,
    and settings, make no difference."""

    when = _relevant(item)
    parts = [t for t in walk(when) if isinstance(t, (Op, Member, Opaque)) and _is_atom(t)]
    spoken = [t for t in parts if _speaks_of_dimensions(t)]
    others = [t for t in parts if not _speaks_of_dimensions(t) and _of_element(t, item)]
    if not spoken or others:
        return None
    two = mapped(when, lambda t: _with_two(t))
    return when if both(two) != FALSE else None


def _relevant(item: Item) -> Term:
    """The condition of an item without what makes no difference: whether it is trained, and settings."""

    def left_out(term: Term) -> Term | None:
        if isinstance(term, Op) and term.op == "attr:requires_grad":
            return TRUE
        return None

    when = mapped(item.when, left_out)
    parts = when.args if isinstance(when, Op) and when.op == "and" else (when,)
    return both(*(p for p in parts if variables(p)))


def _is_atom(term: Term) -> bool:
    return not (isinstance(term, Op) and term.op in ("and", "or", "not"))


def _with_two(term: Term) -> Term | None:
    """What a test of dimensions says of a matrix."""
    if isinstance(term, Op) and term.op in ("<", "==", "in") and _speaks_of_dimensions(term):
        left, right = (Const(2) if isinstance(a, Op) and a.op == "attr:ndim" else a for a in term.args)
        if isinstance(left, Const) and isinstance(right, Const):
            if term.op == "==":
                return Const(left.value == right.value)
            if isinstance(left.value, (int, float)) and isinstance(right.value, (int, float)):
                return Const(left.value < right.value)
    return None


def _speaks_of_dimensions(term: Term) -> bool:
    return any(isinstance(t, Op) and t.op == "attr:ndim" for t in walk(term)) and not any(
        isinstance(t, Var) and t.what == "name" for t in walk(term)
    )


def _of_element(term: Term, item: Item) -> bool:
    """Whether a test is about the parameter: about its name, its identity, its module."""
    if isinstance(term, Op) and term.op in ("attr:ndim", "attr:requires_grad"):
        return False
    return any(isinstance(t, Var) and t.binder in item.binders for t in walk(term))
