"""Loops over what parameters have in common: `for shape in {q.shape for q in ps}`, and `[p for p in ps if p.shape ==
shape]` inside.

Such an item has two loops over the same, and a condition that joins them. Each parameter that passes the conditions of
the inner loop has itself for a partner, so that the outer loop leaves none out: without it the item says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paramlint.source.terms import TRUE, Binder, Item, Op, Term, Var, binders, both, conjuncts, mapped

Renamed = Mapping[Binder, Binder]


def alone(item: Item) -> tuple[Item, Renamed] | None:
    """The item without the loops whose partners are those of its value, and what stands for their variables; None where
    it has no such loops."""
    used = binders(item.value)
    inner = tuple(b for b in item.binders if b in used)
    outer = tuple(b for b in item.binders if b not in used)
    if not outer or len(outer) != len(inner):
        return None
    names = dict(zip(outer, inner, strict=True))
    if any((o.kind, renamed(o.of, names), o.recurse) != (i.kind, i.of, i.recurse) for o, i in names.items()):
        return None
    kept = [c for c in conjuncts(item.when) if not binders(c) & set(outer)]
    partner = mapped(renamed(item.when, names), _itself)
    if not set(conjuncts(partner)) <= set(kept):
        return None
    tests = tuple(t for t in item.tests if not binders(t.holds) & set(outer))
    return replace(item, binders=inner, when=both(*kept), tests=tests), names


def renamed(term: Term, names: Renamed) -> Term:
    """The term with the variables of other loops."""

    def change(part: Term) -> Term | None:
        return Var(names[part.binder], part.what) if isinstance(part, Var) and part.binder in names else None

    return mapped(term, change)


def shared(item: Item, key: Term) -> Term | None:
    """The key of a group said of the item's own parameter: it is computed from that, or a condition says that both are
    equal. None where neither is so."""
    used = binders(item.value)
    if binders(key) <= used:
        return key
    for c in conjuncts(item.when):
        match c:
            case Op("==" | "is", (one, other)):
                for own, theirs in ((one, other), (other, one)):
                    if theirs == key and binders(own) <= used:
                        return own
    return None


def _itself(part: Term) -> Term | None:
    match part:
        case Op("==" | "is", (one, other)) if one == other:
            return TRUE
    return None
