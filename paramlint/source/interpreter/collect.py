"""From what the reader has seen to groups: who gives which parameters to which optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from paramlint.parameter import Destination
from paramlint.source import in_common
from paramlint.source.interpreter import ordering
from paramlint.source.interpreter.folding import last_part
from paramlint.source.interpreter.values import (
    Bag,
    Entry,
    Known,
    Made,
    Phi,
    Place,
    Row,
    Table,
    Value,
    relative,
)
from paramlint.source.script import Collected, Construction, SymbolicGroup
from paramlint.source.terms import (
    TRUE,
    Attribute,
    Binder,
    Const,
    Item,
    Op,
    Opaque,
    Term,
    Var,
    binders,
    both,
    negated,
)

_HALVES: dict[str, Destination] = {"muon": "muon", "adam": "adam"}


def construction(made: Made) -> Construction:
    """One optimizer, with its groups."""
    groups: list[SymbolicGroup] = []
    if made.halves:
        for half, value in made.halves.items():
            groups += (replace(g, half=_HALVES[half]) for g in grouped(value, made.place))
        if isinstance(made.groups, Bag) and made.groups.entries:
            groups += grouped(made.groups, made.place)
    else:
        groups = list(grouped(made.groups, made.place))
    options = {k: _term(v) for k, v in made.arguments.items() if not isinstance(v, (Bag, Table, Phi))}
    unread = () if groups else (_unread(made.groups),)
    assert made.place.span is not None
    return Construction(made.optimizer, tuple(groups), made.place.span, options, made.place.when, made.name, unread)


def _unread(value: Value) -> str:
    if isinstance(value, Bag) and value.unread:
        return value.unread[0]
    return "what it is given cannot be read"


def _term(value: Value) -> Term:
    if isinstance(value, Term):
        return value
    if isinstance(value, Row):
        parts = [_term(v) for v in value.values]
        if all(isinstance(p, Const) for p in parts):
            return Const(tuple(p.value for p in parts if isinstance(p, Const)))
        return Op("tuple", tuple(parts))
    if isinstance(value, Bag) and (plain := value.plain()) is not None:
        return _term(Row(tuple(plain)))
    if isinstance(value, Known):
        return Opaque(value.name)
    return Opaque("?")


def grouped(value: Value, base: Place) -> Iterator[SymbolicGroup]:
    """The groups that a value gives an optimizer that is made at `base`."""
    loose: list[Item] = []
    unread: list[str] = []
    span = base.span
    for entry in _entries(value, base):
        inner = entry.value
        if isinstance(inner, Table):
            yield from _of_table(inner, entry, base)
        elif isinstance(inner, Bag):
            # A list of lists: each is a group of its own, as functions return them.
            yield from grouped(inner, base) if _has_tables(inner) else _of_bag(inner, entry, base)
        elif (item := _item(inner, entry, base)) is not None:
            loose.append(item)
        elif inner != Const(None):
            unread.append(_text(inner))
    if isinstance(value, Bag):
        unread += value.unread
        span = value.made.span or span
    if loose or unread or (isinstance(value, Bag) and not value.entries):
        kind = value.kind if isinstance(value, Bag) else "list"
        yield SymbolicGroup(
            tuple(loose),
            span=span,
            container=kind,
            unread=tuple(dict.fromkeys(unread)),
            unordered=ordering.unordered(value),
            distinct=ordering.distinct(value),
        )


def _entries(value: Value, base: Place, when: Term = TRUE) -> Iterator[Entry]:
    """What a value has, one by one; with the conditions under which it does."""
    if isinstance(value, Bag):
        for e in value.entries:
            yield Entry(e.value, _also(e.place, when), e.key) if not isinstance(e.value, Phi) else e
    elif isinstance(value, Phi):
        yield from _entries(value.then, base, both(when, value.when))
        yield from _entries(value.otherwise, base, both(when, negated(value.when)))
    elif isinstance(value, Row):
        for v in value.values:
            yield from _entries(v, base, when) if isinstance(v, Phi) else [Entry(v, _also(base, when))]
    else:
        yield Entry(value, _also(base, when))


def _also(place: Place, when: Term) -> Place:
    return place if when == TRUE else replace(place, when=both(place.when, when))


def _has_tables(bag: Bag) -> bool:
    return any(isinstance(e.value, Table) for e in bag.entries)


def _of_table(table: Table, entry: Entry, base: Place) -> Iterator[SymbolicGroup]:
    """A group that is a dict."""
    held = table.find(Const("params"))
    options = {
        e.key.value: _term(e.value)
        for e in table.entries
        if isinstance(e.key, Const) and isinstance(e.key.value, str) and e.key.value != "params"
    }
    if not held:
        # A dict of lists, or of groups, by what they are for.
        for e in table.entries:
            if isinstance(e.value, (Bag, Table, Phi)):
                half = _half(e.key)
                yield from (replace(g, half=half) if half else g for g in grouped(_listed(e), base))
        return
    outer, when, _ = relative(entry.place, base)
    params = _listed_keys(held[-1].value)
    key, family = _key(table, params, outer)
    items: list[Item] = []
    unread: list[str] = list(table.unread)
    container = "list"
    span = table.made.span or held[-1].place.span
    for inner in _entries(params, held[-1].place):
        given = inner
        if key is not None and family is None:
            given = Entry(inner.value, replace(inner.place, when=both(inner.place.when, when)))
        found = _item(given.value, given, base, outer if family is None else ())
        if found is not None:
            items.append(found)
        else:
            unread.append(_text(inner.value))
    if isinstance(params, Bag):
        unread += params.unread
        container = params.kind
    whole = SymbolicGroup(
        tuple(items),
        options,
        span,
        container,
        key=key,
        family=family,
        when=TRUE if key is not None else when,
        unread=tuple(dict.fromkeys(unread)),
        unordered=ordering.unordered(params),
        distinct=ordering.distinct(params) or table.distinct,
    )
    yield from _by_partners(whole) if family is not None else (whole,)


def _by_partners(group: SymbolicGroup) -> Iterator[SymbolicGroup]:
    """Groups by what parameters have in common, said of each parameter itself."""
    if group.key is None or not group.distinct:
        yield group
        return
    parts: dict[tuple[tuple[Binder, Binder], ...], list[Item]] = {}
    for item in group.items:
        found = in_common.alone(item)
        one, names = found if found is not None else (item, {})
        parts.setdefault(tuple(names.items()), []).append(one)
    for pairs, items in parts.items() or [((), [])]:
        names = dict(pairs)
        options = {k: in_common.renamed(v, names) for k, v in group.options.items()}
        yield replace(group, items=tuple(items), options=options, key=in_common.renamed(group.key, names))


def _listed_keys(params: Value) -> Value:
    """A dict of parameters as torch takes it: the list of its keys."""
    if not isinstance(params, Table):
        return params
    keys = [Entry(e.key, e.place) for e in params.entries if e.key is not None]
    return Bag("dict", params.made, keys, params.unread, distinct=True)


def _half(key: Value | None) -> Destination | None:
    """Who gets what a dict of lists has under a key, where the key says so."""
    text = str(key.value).lower() if isinstance(key, Const) else ""
    if "adam" in text:
        return "adam"
    return "muon" if "muon" in text else None


def _listed(e: Entry) -> Value:
    return e.value if not isinstance(e.value, Table) else Row((e.value,))


def _key(table: Table, params: Value, outer: tuple[Binder, ...]) -> tuple[Term | None, int | None]:
    """What tells the groups apart that one place makes: the key of the dict that they are kept in, or what the loop
    takes."""
    for holder in (table, params):
        if isinstance(holder, (Table, Bag)) and holder.key is not None:
            key = _term(holder.key)
            if binders(key):
                return key, holder.family
    if outer:
        parts = tuple(Var(b, "value") for b in outer)
        return (parts[0] if len(parts) == 1 else Op("tuple", parts)), None
    return None, None


def _of_bag(bag: Bag, entry: Entry, base: Place) -> Iterator[SymbolicGroup]:
    _, when, _ = relative(entry.place, base)
    items = []
    unread = list(bag.unread)
    for e in bag.entries:
        found = _item(e.value, e, base)
        if found is not None:
            items.append(found)
        else:
            unread.append(_text(e.value))
    yield SymbolicGroup(
        tuple(items),
        span=bag.made.span,
        container=bag.kind,
        when=when,
        unread=tuple(dict.fromkeys(unread)),
        unordered=ordering.unordered(bag),
        distinct=ordering.distinct(bag),
    )


def collected(bags: Iterable[Bag], base: Place) -> Iterator[Collected]:
    """The lists of parameters that have names."""
    for bag in bags:
        items = [item for e in bag.entries if (item := _item(e.value, e, base)) is not None and _taken(item.value)]
        if bag.name and items and bag.kind in ("list", "set", "tuple") and bag.made.span is not None:
            yield Collected(bag.name, tuple(items), bag.made.span, bag.made.when, tuple(bag.given))


def _item(value: Value, entry: Entry, base: Place, outer: tuple[Binder, ...] = ()) -> Item | None:
    """A parameter in a group; None where it is not known to be one."""
    if isinstance(value, Row) and value.values and len(value.values) == 2:
        value = value.values[1]  # a pair of a name and a parameter
    if isinstance(value, Phi) or not isinstance(value, Term):
        return None
    if isinstance(name := last_part(value), Var) and name.what == "name" and name.binder.kind == "parameter":
        value = Var(name.binder, "value")  # by its name, which others look it up by
    if not is_parameter(value):
        return None
    bound, when, tests = relative(entry.place, base)
    bound = tuple(dict.fromkeys((*outer, *bound)))
    return Item(value, bound, when, tests, entry.place.span)


def _taken(term: Term) -> bool:
    return isinstance(term, Var) and term.binder.kind == "parameter"


def is_parameter(term: Term) -> bool:
    """Whether a term may stand for one parameter: an element of a loop, or an attribute of a module."""
    match term:
        case Var(what="value", binder=binder):
            return binder.kind == "parameter" or not isinstance(binder.of, (Opaque, Const))
        case Attribute():
            return True
        case Op(op="getitem", args=(of, _)):
            return is_parameter(of)
        case Op(op="if", args=(_, then, otherwise)):
            return is_parameter(then) and is_parameter(otherwise)
        case Op(op="call:getattr"):
            return True
    return False


def _text(value: Value) -> str:
    if isinstance(value, Opaque):
        return value.text
    if isinstance(value, Term):
        return "something that is not known to be a parameter"
    return "something that cannot be read"
