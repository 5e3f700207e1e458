"""Which parameters a group takes, said of one parameter of a model that is not known: a condition on it alone.

A universe is the parameters of one `Root`, once each, as `named_parameters()` gives them: a binder, whose "value" is
the parameter and whose "name" its full name. Loops over all of them become conditions on these two. What depends on how
a model is built stays a term of its own, equal for equal things:

- `Op("under", (U, Const("a.b")))`: one of `model.a.b.parameters()`; with `Op("relative", (N, Const("a.b")))`
  for its name there;
- `Op("is", (U, model.a.weight))`: that parameter;
- `Op("owner", (U,))`, `Op("child", (U,))`: the module that holds it, the child of the model that it is in, as a walk
  over modules meets it, and `Op("walked", (N,))`: the name under which it does. A tied weight is met more than once.
- `Member(U, items)`: all else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from paramlint.source import in_common
from paramlint.source.script import SymbolicGroup
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Attribute,
    Binder,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Root,
    Term,
    Var,
    binders,
    both,
    conjuncts,
    either,
    mapped,
    mapped_item,
    operation,
    walk,
)

#: What stands for the variables of an item, and the condition that its parameter is met there at all.
Place = tuple[Mapping[Term, Term], Term]


def universe(root: Root) -> Binder:
    """Any one parameter of a model."""
    return Binder(-1, "parameter", root)


def roots(groups: Iterable[SymbolicGroup]) -> tuple[Root, ...]:
    """The models whose parameters are in the groups, in order."""
    found: dict[Root, None] = {}
    for group in groups:
        for item in group.items:
            found |= dict.fromkeys(_roots(item))
    return tuple(found)


def membership(items: SymbolicGroup | Iterable[Item], within: Binder) -> Term:
    """The condition under which the parameter of a universe is in a group, or the value of one of the items.

    What was not read of a group is an `Opaque` of the parameter: it may be in there, and nothing says so.
    """
    if isinstance(items, SymbolicGroup):
        unread = (Opaque(why, (Var(within, "value"),)) for why in items.unread)
        return both(items.when, either(membership(items.items, within), *unread))
    return either(*(_of_item(item, within) for item in items))


def rewritten(term: Term, within: Binder) -> Term:
    """A condition with what it asks of sets of parameters, ids and names said of the parameter itself."""

    def change(part: Term) -> Term | None:
        if isinstance(part, Member):
            return _member(part, within)
        match part:
            case Op("==" | "is", (Op("call:id", (one,)), Op("call:id", (other,)))):
                return rewritten(Op("is", (one, other)), within)
            case Op("is", (other, Var(binder, "value") as u)) if binder == within:
                return Op("is", (u, other)) if other != u else TRUE
        return None

    return mapped(term, change)


def path(term: Term, root: Term) -> str | None:
    """The dotted path of an attribute of a model, or of an entry of one by its key; "" for the model itself."""
    if term == root:
        return ""
    match term:
        case Attribute(of, name):
            above, step = path(of, root), name
        case Op("getitem", (of, Const(value=key))) if isinstance(key, str) or (type(key) is int and key >= 0):
            above, step = path(of, root), str(key)
        case _:
            return None
    return None if above is None else f"{above}.{step}" if above else step


def first_part(name: Term) -> Term:
    return Op("getitem", (Op("method:split", (name, Const("."))), Const(0)))


def last_part(name: Term) -> Term:
    return Op("getitem", (Op("method:split", (name, Const("."))), Const(-1)))


def met_more_than_once(term: Term) -> bool:
    """Whether the term speaks of where a walk over modules meets a parameter: a tied one is met at several places."""
    return any(isinstance(t, Op) and t.op in ("owner", "child", "walked") for t in walk(term))


def _roots(item: Item) -> Iterator[Root]:
    for term in (item.value, *(b.of for b in item.binders)):
        yield from (t for t in walk(term) if isinstance(t, Root))


def _of_item(item: Item, within: Binder) -> Term:
    of = set(_roots(item))
    if of and within.of not in of:
        return FALSE
    if isinstance(item.value, Op) and item.value.op == "call:id":
        item = replace(item, value=item.value.args[0])
    item = replace(item, when=_fullnames(item.when))
    without = in_common.alone(item)
    item = item if without is None else without[0]
    u = Var(within, "value")
    where = path(item.value, within.of)
    if where and not item.binders:
        return both(Op("is", (u, item.value)), rewritten(item.when, within))
    place = _place(item, within)
    if place is not None:
        stands, condition = place
        when = _substituted(item.when, stands)
        if not binders(when) & set(item.binders):
            return both(condition, rewritten(when, within))
    return both(_own(item, within), Member(u, (_numbered(item),)))


def _own(item: Item, within: Binder) -> Term:
    """What an item with several loops asks of its parameter alone."""
    if not isinstance(item.value, Var) or binders(item.value) != {item.value.binder}:
        return TRUE
    b = item.value.binder
    place = _place(replace(item, binders=(b,)), within)
    if place is None:
        return TRUE
    stands, condition = place
    asked = both(*(c for c in conjuncts(item.when) if binders(c) <= {b}))
    return both(condition, rewritten(_substituted(asked, stands), within))


def _substituted(term: Term, stands: Mapping[Term, Term]) -> Term:
    """The term with others for its variables, but for those that items in it bind themselves."""

    def change(part: Term) -> Term | None:
        if not isinstance(part, Member):
            return stands.get(part)
        items = []
        for item in part.items:
            free = {v: t for v, t in stands.items() if not (isinstance(v, Var) and v.binder in item.binders)}
            items.append(mapped_item(item, partial(_substituted, stands=free)))
        return Member(_substituted(part.of, stands), tuple(items))

    return mapped(term, change)


def _place(item: Item, within: Binder) -> Place | None:
    """Where a walk meets the parameter that an item is about. None where no condition on that one alone says it."""
    u = Var(within, "value")
    match item.value, item.binders:
        case Var(b, "value"), (only,) if b == only and b.kind == "parameter":
            return _all_of(b, within)
        case Var(b, "value"), (m, inner) if b == inner and b.kind == "parameter" and b.of == Var(m, "value"):
            start = _start(m.of, within)
            if start is None:
                return None
            name, condition = start
            if m.kind == "module" and b.recurse:  # at each module above it: says nothing of which one
                return {Var(b, "value"): u}, condition
            stands: dict[Term, Term] = {Var(b, "value"): u}
            if m.kind == "module":
                stands |= _owner(m, u, name)
                stands[Var(b, "name")] = last_part(name)
                return stands, condition
            if m.kind in ("child", "element") and b.recurse:
                stands |= {Var(m, "value"): Op("child", (u,)), Var(m, "name"): first_part(name)}
                stands[Var(b, "name")] = _rest(name)
                return stands, both(condition, _dotted(name))
        case Attribute(Var(m, "value"), attribute), (only,) if m == only:
            start = _start(m.of, within)
            if start is None:
                return None
            name, condition = start
            if m.kind == "module":
                return _owner(m, u, name), both(condition, Op("==", (last_part(name), Const(attribute))))
            if m.kind in ("child", "element"):
                stands = {Var(m, "value"): Op("child", (u,)), Var(m, "name"): first_part(name)}
                return stands, both(condition, Op("==", (_rest(name), Const(attribute))))
    return None


def _all_of(b: Binder, within: Binder) -> Place | None:
    u, n = Var(within, "value"), Var(within, "name")
    where = path(b.of, within.of)
    if where is None:
        return None
    name: Term = Op("relative", (n, Const(where))) if where else n
    condition: Term = Op("under", (u, Const(where))) if where else TRUE
    if not b.recurse:
        condition = both(condition, operation("not", (_dotted(name),)))
    return {Var(b, "value"): u, Var(b, "name"): name}, condition


def _start(of: Term, within: Binder) -> tuple[Term, Term] | None:
    """Where a walk starts: the name of the parameter from there on, and the condition that it is there."""
    where = path(of, within.of)
    if where is None:
        return None
    walked: Term = Op("walked", (Var(within, "name"),))
    if not where:
        return walked, TRUE
    return Op("relative", (walked, Const(where))), Op("under", (Var(within, "value"), Const(where)))


def _owner(m: Binder, u: Term, name: Term) -> dict[Term, Term]:
    above = Op("getitem", (Op("method:rpartition", (name, Const("."))), Const(0)))
    return {Var(m, "value"): Op("owner", (u,)), Var(m, "name"): above}


def _rest(name: Term) -> Term:
    return Op("getitem", (Op("method:partition", (name, Const("."))), Const(2)))


def _dotted(name: Term) -> Term:
    return Op("in", (Const("."), name))


def _fullnames(term: Term) -> Term:
    """`f"{module}.{name}" if module else name`, in a walk over modules and their parameters, is the full name."""

    def change(part: Term) -> Term | None:
        match part:
            case Op("if", (above, Op("concat", (first, Const(value="."), name)), otherwise)):
                match above, name:
                    case Var(m, "name"), Var(b, "name") if (
                        (first, otherwise) == (above, name)
                        and (m.kind, b.kind, b.of) == ("module", "parameter", Var(m, "value"))
                        and isinstance(m.of, Root)
                    ):
                        return Op("walked", (Var(universe(m.of), "name"),))
        return None

    return mapped(term, change)


def _member(member: Member, within: Binder) -> Term:
    u, n = Var(within, "value"), Var(within, "name")
    of = rewritten(member.of, within)
    by_id = of == Op("call:id", (u,))
    ids = [isinstance(i.value, Op) and i.value.op == "call:id" for i in member.items]
    if (of == u or by_id) and all(is_id == by_id for is_id in ids):
        return membership(member.items, within)
    found = []
    for item in member.items:
        match _fullnames(item.value), item.binders:
            case Const() as value, ():
                found.append(both(rewritten(item.when, within), Op("==", (of, value))))
            case Var(b, "name"), (only,) if b == only and of == n and b.of == within.of and b.kind == "parameter":
                found.append(_of_item(replace(item, value=Var(b, "value")), within))
            case Op("walked", (name,)), (_, b) if name == of == n:
                found.append(_of_item(replace(item, value=Var(b, "value")), within))
            case _:
                found.append(Member(of, (_numbered(item),)))
    return either(*found)


def _numbered(item: Item) -> Item:
    """The item with its binders numbered by their order, for two that say the same to be equal."""
    known: dict[Binder, Binder] = {}

    def change(part: Term) -> Term | None:
        if isinstance(part, Var) and part.binder in known:
            return Var(known[part.binder], part.what)
        return None

    for i, b in enumerate(item.binders):
        known[b] = replace(b, number=-2 - i, of=mapped(b.of, change))
    new = mapped_item(replace(item, binders=(), tests=(), span=None), change)
    return replace(new, binders=tuple(known.values()))
