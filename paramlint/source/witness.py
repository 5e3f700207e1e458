"""A parameter that shows what groups do wrong, and terms, as a reader is told of them."""

from __future__ import annotations

from dataclasses import replace

from paramlint.record import dataclass
from paramlint.source.point import Point, truth
from paramlint.source.terms import (
    Attribute,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Root,
    Term,
    Var,
    binders,
    conjuncts,
    mapped,
    parts,
    walk,
)

_SIGNS = ("==", "<", "<=", "is", "in", "and", "or", "+", "-", "*", "/", "//", "%", "**")


@dataclass(frozen=True)
class Witness:
    """A parameter, by its full name.

    `settings` are terms that are not about the parameter's name, dimensions or training, with the values that they
    have then: options of the script, sizes. `told` are those of them that a reader is told: the others decide nothing,
    or hold wherever the groups are made at all; None where all are. `groups` and `items` say who takes it: the places
    of the groups, and of the items in them as (group, item), from 0.
    """

    name: str
    ndim: int
    requires_grad: bool = True
    settings: tuple[tuple[Term, object], ...] = ()
    groups: tuple[int, ...] = ()
    items: tuple[tuple[int, int], ...] = ()
    told: tuple[tuple[Term, object], ...] | None = None


def needed(point: Point, *conditions: Term) -> tuple[tuple[Term, object], ...]:
    """The settings that are known of a parameter without those that conditions hold without; the first go first."""
    left = dict(point.values)
    for setting in point.values:
        fewer = {s: v for s, v in left.items() if s != setting}
        if all(truth(c, replace(point, values=fewer)) for c in conditions):
            left = fewer
    return tuple(left.items())


def describe(witness: Witness) -> str:
    """Such as "a frozen 3-D parameter, say `blocks.0.weight`, where `args.muon` is true"."""
    dims = f"{witness.ndim}-D"
    if not witness.requires_grad:
        dims = f"a frozen {dims}"
    else:
        dims = f"an {dims}" if dims.startswith(("8", "11-", "18-")) else f"a {dims}"
    told = witness.settings if witness.told is None else witness.told
    where = " and ".join(_said(t, v) for t, v in told)
    return f"{dims} parameter, say `{witness.name}`" + (f", where {where}" if where else "")


def spelled(term: Term) -> str:
    """A term as a script would have it: `p` for the parameter and `n` for its name."""
    match term:
        case Const(value):
            return repr(value)
        case Root(name):
            return name
        case Attribute(of, name):
            return f"{spelled(of)}.{name}"
        case Var(binder, what):
            if binder.kind == "parameter":
                return "n" if what == "name" else "p"
            return "name" if what == "name" else "module"
        case Opaque(text):
            return text
        case Member(of, items):
            return f"{spelled(of)} in ({', '.join(spelled(i.value) for i in items)})"
        case Op("under", (_, Const(path))):
            return f"{_model(term)}.{path}"
        case Op("is", (_, Attribute() as attribute)):
            return spelled(attribute)
        case Op("relative" | "walked" as op, args):
            return spelled(args[0]) if op == "walked" else "n"
        case Op("owner" | "child"):
            return "module"
        case Op("not", (one,)):
            return f"not {_part(one)}"
        case Op("isinstance", (of, Const(name))):
            return f"isinstance({spelled(of)}, {name})"
        case Op("getitem", (of, at)):
            return f"{spelled(of)}[{spelled(at)}]"
        case Op(op, args) if op in _SIGNS:
            return f" {op} ".join(_part(a) for a in args)
        case Op(op, args) if op.startswith("attr:"):
            return f"{spelled(args[0])}.{op[5:]}"
        case Op(op, args) if op.startswith("method:"):
            return f"{spelled(args[0])}.{op[7:]}({', '.join(map(spelled, args[1:]))})"
        case Op(op, args):
            return f"{op.removeprefix('call:')}({', '.join(map(spelled, args))})"
    return "?"


def _said(term: Term, value: object) -> str:
    """That a setting has a value."""
    if isinstance(term, Opaque):
        name, _, rest = term.text.rpartition(" ")
        if rest == "fails" and name.startswith("line "):
            return f"{name} fails" if value else f"{name} does not fail"
        for when in (" after the loop", " in a turn"):
            if term.text.endswith(when):
                return f"`{term.text.removesuffix(when)}` is {_value(value)}{when}"
    return f"`{spelled(term)}` is {_value(value)}"


def _part(term: Term) -> str:
    """A term in another one."""
    return f"({spelled(term)})" if isinstance(term, Op) and term.op in ("and", "or") else spelled(term)


def reason(term: Term) -> str:
    """Why nothing is known of a term, in a few words."""
    if isinstance(term, Opaque):
        return _unread(term)
    if isinstance(term, Member):
        unread = [t for i in term.items for t in parts(i.value) if isinstance(t, Opaque)]
        unread += [t for i in term.items for t in parts(i.when) if isinstance(t, Opaque) and t.args]
        if unread:
            return _unread(min(unread, key=_is_cut))
        over = [i for i in term.items if not any(isinstance(b.of, Const) for b in i.binders)]
        if not over:  # a model that is None, or the like, in some branch
            return "not read: whose parameters are taken"
        return f"depends on the model: {', '.join(dict.fromkeys(_of_item(i) for i in over))}"
    match term:
        case Op("relative", (_, Const(path))):
            return f"depends on the model: names in {_model(term)}.{path}"
    return f"depends on the model: {spelled(term)}"


def _unread(term: Opaque) -> str:
    return "not read: what is too long to follow" if _is_cut(term) else f"not read: {term.text}"


def _is_cut(term: Opaque) -> bool:
    """Whether it stands for a term that has grown past all use."""
    return term.why == "it is too long"


def _of_item(item: Item) -> str:
    """What it hangs on whether something is among the values of an item: a condition that joins several loops, or what
    the loops go through; `q` is another parameter."""
    own = binders(item.value)
    if not isinstance(item.value, Var) or not item.binders:
        return spelled(item.value)

    def change(part: Term) -> Term | None:
        return Opaque("q") if isinstance(part, Var) and part.what == "value" and part.binder not in own else None

    others = set(item.binders) - own
    joining = [c for c in conjuncts(item.when) if binders(c) & others]
    for condition in sorted(joining, key=lambda c: not binders(c) & own):
        return spelled(mapped(condition, change))
    over = item.binders[0]
    walks = {"parameter": ".parameters()", "module": ".modules()", "child": ".children()", "element": ""}
    return f"{spelled(over.of)}{walks[over.kind]}"


def _model(term: Term) -> str:
    return next((t.name for t in walk(term) if isinstance(t, Root)), "model")


def _value(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
