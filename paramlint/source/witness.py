"""A parameter that shows what groups do wrong, and terms, as a reader is told of them."""

from __future__ import annotations

from paramlint.record import dataclass
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
    walk,
)

_SIGNS = ("==", "<", "<=", "is", "in", "and", "or", "+", "-", "*", "/", "//", "%", "**")


@dataclass(frozen=True)
class Witness:
    """A parameter, by its full name.

    `settings` are terms that are not about the parameter's name, dimensions or training, with the values that they
    have then: options of the script, sizes. `groups` and `items` say who takes it: the places of the groups, and of the
    items in them as (group, item), from 0.
    """

    name: str
    ndim: int
    requires_grad: bool = True
    settings: tuple[tuple[Term, object], ...] = ()
    groups: tuple[int, ...] = ()
    items: tuple[tuple[int, int], ...] = ()


def describe(witness: Witness) -> str:
    """Such as "a frozen 3-D parameter, say `blocks.0.weight`, where `args.muon` is true"."""
    dims = f"{witness.ndim}-D"
    if not witness.requires_grad:
        dims = f"a frozen {dims}"
    else:
        dims = f"an {dims}" if dims.startswith(("8", "11-", "18-")) else f"a {dims}"
    where = " and ".join(f"`{spelled(t)}` is {_value(v)}" for t, v in witness.settings)
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


def _part(term: Term) -> str:
    """A term in another one."""
    return f"({spelled(term)})" if isinstance(term, Op) and term.op in ("and", "or") else spelled(term)


def reason(term: Term) -> str:
    """Why nothing is known of a term, in a few words."""
    if isinstance(term, Opaque):
        return f"not read: {term.text}"
    if isinstance(term, Member):
        unread = [t for i in term.items for t in walk(i.value) if isinstance(t, Opaque)]
        unread += [t for i in term.items for t in walk(i.when) if isinstance(t, Opaque) and t.args]
        if unread:
            return f"not read: {unread[0].text}"
        return f"depends on the model: {', '.join(dict.fromkeys(_of_item(i) for i in term.items))}"
    return f"depends on the model: {spelled(term)}"


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
