"""Methods of lists, sets, dicts and tuples."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from paramlint.source.interpreter import calls, folding, loops, ordering
from paramlint.source.interpreter.values import Bag, Entry, Function, Known, Phi, Row, Table, Value, relative
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Attribute,
    Const,
    Op,
    Opaque,
    Term,
    Var,
    binders,
    both,
    conjuncts,
    negated,
)

if TYPE_CHECKING:
    from paramlint.source.interpreter.calls import Given
    from paramlint.source.interpreter.reader import Reader


def method(r: Reader, of: Bag | Table | Row, name: str, given: Given, node: ast.Call) -> Value:
    if isinstance(of, Table):
        return _of_table(r, of, name, given, node)
    if isinstance(of, Row):
        of = r.bag("tuple", of.values, node)
    return _of_bag(r, of, name, given, node)


def _of_bag(r: Reader, of: Bag, name: str, given: Given, node: ast.Call) -> Value:
    values = given.values
    match name, values:
        case (("append" | "add" | "appendleft" | "add_module"), [value]):
            of.entries.append(Entry(value, r.at(node)))
            return Const(None)
        case "insert", [_, value]:
            of.entries.append(Entry(value, r.at(node)))
            return Const(None)
        case (("extend" | "update"), _):
            for value, arg in zip(values, node.args, strict=False):
                loops.extend(r, of, value, arg)
            return Const(None)
        case (("remove" | "discard"), [value]):
            _removed(r, of, value, node)
            return Const(None)
        case "clear", []:
            of.entries.clear()
            return Const(None)
        case "copy", []:
            return loops.collected(r, of.kind, of, node)
        case "union", _:
            bag = r.bag("set", node=node)
            for value in (of, *values):
                loops.extend(r, bag, value, node)
            return bag
        case (("intersection" | "difference"), [value]):
            return loops.intersected(r, of, value, node, keep=name == "intersection")
        case "difference_update", [value]:
            other = loops.intersected(r, of, value, node, keep=False)
            if isinstance(other, Bag):
                of.entries[:] = other.entries
            return Const(None)
        case (("isdisjoint" | "issubset" | "issuperset" | "sort" | "reverse" | "count" | "index"), _):
            return r.opaque(node)
        case (("pop" | "popleft"), _):
            return Opaque(r.text(node))
    return calls.unknown(r, given, node)


def _removed(r: Reader, of: Bag, value: Value, node: ast.Call) -> None:
    """Takes a value out of a collection: from here on what is in it is something else."""
    if not isinstance(value, Term):
        of.unread.append(r.text(node))
        return
    here = r.place
    kept = []
    for entry in of.entries:
        if not isinstance(entry.value, Term):
            kept.append(entry)
        elif entry.value == value and not binders(value):
            continue
        else:
            same = Op("==", (entry.value, value))
            gone = both(same, *(t for t in conjuncts(here.when) if not binders(t)))
            place = entry.place
            when = both(place.when, negated(gone))
            kept.append(Entry(entry.value, type(place)(place.binders, when, place.tests, place.span), entry.key))
    of.entries[:] = kept


def _of_table(r: Reader, of: Table, name: str, given: Given, node: ast.Call) -> Value:
    match name, given.values:
        case "items", []:
            return _listed(r, of, node, lambda e: Row((e.key, e.value)) if e.key is not None else e.value)
        case "values", []:
            return _listed(r, of, node, lambda e: e.value)
        case "keys", []:
            keys = _listed(r, of, node, lambda e: e.key if e.key is not None else e.value)
            keys.distinct = ordering.distinct(of)
            return keys
        case (("get" | "setdefault" | "pop"), [key, *default]):
            found = of.find(key)
            if found:
                return _last(r, found)
            fallback: Value = default[0] if default else Const(None)
            if name == "setdefault":
                _keyed(of, key, fallback)
                of.entries.append(Entry(fallback, r.at(node), key))
                return fallback
            if of.entries and not isinstance(key, Const):
                return _any(r, of, key, fallback, node)
            return fallback if not of.unread else r.opaque(node)
        case "update", _:
            for value in given.values:
                updated(r, of, value, node)
            of.entries += [Entry(v, r.at(node), Const(k)) for k, v in given.named.items()]
            return Const(None)
        case "copy", []:
            copy = r.table(node)
            copy.entries += of.entries
            return copy
    return calls.unknown(r, given, node)


def _listed(r: Reader, of: Table, node: ast.Call, take: object) -> Bag:
    bag = Bag("view", of.made, [Entry(take(e), e.place) for e in of.entries], list(of.unread))  # type: ignore[operator]
    bag.given.append(r.place.when)
    r.bags.append(bag)
    return bag


def _last(r: Reader, found: list[Entry]) -> Value:
    """What a key holds: the last that was set, or an earlier one where that was under a condition."""
    *earlier, last = found
    value = last.value
    for entry in reversed(earlier):
        when = both(*(c for c in conjuncts(last.place.when) if c not in conjuncts(r.place.when)))
        if when in (TRUE, FALSE):
            break
        value = r.merge(when, value, entry.value)
        last = entry
    return value


def _any(r: Reader, of: Table, key: Value, fallback: Value, node: ast.expr) -> Value:
    """What a key that is not known yet picks from a dict of known ones."""
    if not isinstance(key, Term) or any(not isinstance(e.key, Const) for e in of.entries):
        return r.opaque(node, [key])
    value = fallback
    for entry in of.entries:
        if isinstance(entry.key, Const):
            value = r.merge(Op("==", (key, entry.key)), entry.value, value)
    return value


def looked_up(r: Reader, table: Table, key: Value, node: ast.expr) -> Value:
    """`table[key]`; a `defaultdict` makes what is missing."""
    found = table.find(key)
    if found:
        return _last(r, found)
    if table.make is not None:
        value = r.apply(table.make, [], {}, node) if isinstance(table.make, Function) else _made(r, table.make, node)
        _keyed(table, key, value)
        table.entries.append(Entry(value, r.at(node), key))
        return value
    named = _by_name(r, table, key)
    if named is not None:
        return named
    if table.entries and not isinstance(key, Const):
        return _any(r, table, key, Opaque(r.text(node)), node)
    return r.opaque(node, [key])


def _by_name(r: Reader, table: Table, key: Value) -> Value | None:
    """What a dict of parameters by their names has for a name that a walk over modules has put together."""
    if not isinstance(key, Term) or len(table.entries) != 1:
        return None
    entry = table.entries[0]
    if isinstance(key, Const):
        return _named(entry, key)
    end = folding.last_part(key)
    if not (isinstance(entry.key, Var) and entry.key.what == "name" and isinstance(end, Var)):
        return None
    whole = Var(entry.key.binder, "value")
    if entry.value != whole or end.what != "name" or end.binder.kind != "parameter":
        return None
    return Var(end.binder, "value")


def _named(entry: Entry, key: Const) -> Value | None:
    """The parameter of this name, where a dict has those of a whole model."""
    name, value = entry.key, entry.value
    if not (isinstance(key.value, str) and isinstance(name, Var) and value == Var(name.binder, "value")):
        return None
    if name.what != "name" or name.binder.kind != "parameter":
        return None
    found: Term = name.binder.of
    for part in key.value.split("."):
        found = Op("getitem", (found, Const(int(part)))) if part.isdigit() else Attribute(found, part)
    return found


def _made(r: Reader, make: object, node: ast.expr) -> Value:
    name = make.name if isinstance(make, Known) else ""
    if name == "builtins.dict":
        return r.table(node)
    kind = name.removeprefix("builtins.")
    return r.bag(kind, node=node) if kind in ("list", "set") else Const(0)


def _keyed(table: Table, key: Value, value: Value) -> None:
    if isinstance(value, (Bag, Table)) and value.key is None:
        value.key, value.family = key, table.family


def updated(r: Reader, table: Table, more: Value, node: ast.expr) -> None:
    """Takes over the entries of another dict."""
    if isinstance(more, Table):
        for entry in more.entries:
            binders_, when, tests = relative(entry.place, more.made)
            with r.under(when, tests, binders_):
                table.entries.append(Entry(entry.value, r.at(node), entry.key))
        table.unread += more.unread
    elif isinstance(more, Phi):
        with r.under(more.when):
            updated(r, table, more.then, node)
        with r.under(negated(more.when)):
            updated(r, table, more.otherwise, node)
    elif isinstance(more, Bag):
        for turn in loops.turns(r, more, node):
            if isinstance(turn.value, Row) and len(turn.value.values) == 2:
                with r.under(turn.when, turn.tests, turn.binders):
                    table.entries.append(Entry(turn.value.values[1], r.at(node), turn.value.values[0]))
            else:
                table.unread.append(r.text(node))
    else:
        table.unread.append(r.text(node))
