"""Built-in functions, and those of the libraries that group-building code uses."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from paramlint.source.interpreter import calls, collections, conditions, expressions, folding, loops
from paramlint.source.interpreter.values import Bag, Class, Entry, Function, Known, Phi, Row, Table, Value
from paramlint.source.terms import Attribute, Const, Op, Opaque, Term, Var, chosen, either

if TYPE_CHECKING:
    from paramlint.source.interpreter.calls import Given
    from paramlint.source.interpreter.reader import Reader

_COLLECT = frozenset({"list", "tuple", "set", "frozenset", "sorted", "iter", "reversed"})
_PURE = frozenset({"int", "float", "str", "bool", "abs", "min", "max", "round", "repr", "len", "pow", "ord"})


def call(r: Reader, name: str, given: Given, node: ast.Call) -> Value | None:
    """A call of a built-in function; None where nothing is known of it."""
    values = given.values
    first = values[0] if values else None
    if name in _COLLECT:
        if first is None:
            return r.bag(name if name != "iter" else "list", node=node)
        kind = {"sorted": "list", "reversed": "iterator", "iter": "iterator"}.get(name, name)
        if name == "tuple" and isinstance(first, Row):
            return first
        if isinstance(first, Const) and isinstance(first.value, tuple):
            first = Row(tuple(Const(v) for v in first.value))
        if isinstance(first, Term) and not loops.module_like(first) and not isinstance(first, Opaque):
            return folding.operation(f"call:{name}", (first,))
        return loops.collected(r, kind, first, node)
    match name, values:
        case "dict", _:
            return _dict(r, given, node)
        case "dict.fromkeys", [over, *value]:
            return _keyed(r, over, value, node)
        case (("any" | "all"), [over]):
            return loops.quantified(r, over, name == "all", node)
        case "id", [Term() as term]:
            return Op("call:id", (term,))
        case "id", [_]:
            return r.opaque(node)
        case "len", [over]:
            return _length(r, over, node)
        case "enumerate", [over, *_]:
            return _numbered(r, over, node)
        case "zip", _:
            return _zipped(r, given, node)
        case "filter", [function, over]:
            return _filtered(r, function, over, node)
        case "map", [function, over]:
            return _mapped(r, function, over, node)
        case "getattr", [of, Const(value=str(attribute)), *default]:
            return _attribute(r, of, attribute, default, node)
        case "hasattr", [Term() as of, Const(value=str(attribute))]:
            return Op("call:hasattr", (of, Const(attribute)))
        case "setattr", [of, Const(value=str(attribute)), value]:
            target = ast.Attribute(node.args[0], attribute, ast.Store())
            ast.copy_location(target, node)
            _set(r, target, value, node)
            return Const(None)
        case "sum", [over, *_]:
            return _sum(r, over, values[1:], node)
        case "next", [over, *_]:
            return _first(r, over, node)
        case "range", _:
            constants = [v.value for v in values if isinstance(v, Const) and isinstance(v.value, int)]
            if len(constants) == len(values) and len(range(*constants)) <= loops.TURNS:
                return Row(tuple(Const(i) for i in range(*constants)))
            return r.opaque(node, values)
        case (("print" | "input" | "open" | "help"), _):
            return Const(None)
        case "type", [Term() as of]:
            return Op("call:type", (of,))
    if name in _PURE and not given.named:
        plain = [folding.constant(v) or v for v in values]
        if all(isinstance(v, Term) for v in plain):
            return folding.operation(f"call:{name}", tuple(v for v in plain if isinstance(v, Term)))
    return None


def _set(r: Reader, target: ast.Attribute, value: Value, node: ast.Call) -> None:
    from paramlint.source.interpreter import statements

    statements.assign(r, target, value, node)


def library(r: Reader, name: str, given: Given, node: ast.Call) -> Value | None:
    """A call of a library's function, by its qualified name."""
    values = given.values
    last = name.rpartition(".")[2]
    if name == "itertools.chain":
        bag = r.bag("iterator", node=node)
        for value, arg in zip(values, node.args, strict=False):
            loops.extend(r, bag, value, arg.value if isinstance(arg, ast.Starred) else arg)
        return bag
    if name == "itertools.chain.from_iterable" and values:
        return _flattened(r, values[0], node)
    if last == "defaultdict":
        table = r.table(node)
        table.make = values[0] if values and isinstance(values[0], (Function, Known)) else None  # type: ignore[assignment]
        return table
    if last in ("OrderedDict", "Counter") and name.startswith("collections"):
        return _dict(r, given, node)
    if name in ("copy.copy",) and values:
        return values[0]
    if last == "get_parameter_names" and values and isinstance(values[0], Term):
        return _parameter_names(r, values, node)
    if name.startswith(("re.", "fnmatch.")) and not given.named:
        plain = [folding.constant(v) or v for v in values]
        if all(isinstance(v, Term) for v in plain):
            return Op(f"call:{name}", tuple(v for v in plain if isinstance(v, Term)))
    return None


def _parameter_names(r: Reader, values: list[Value], node: ast.Call) -> Value:
    """What transformers' function of this name gives: the names of parameters outside modules of some types."""
    model = values[0]
    b = r.binder("parameter", model if isinstance(model, Term) else Opaque(r.text(node)))
    outside = Opaque(r.text(node), (Var(b, "value"),), "it depends on the types of modules")
    bag = r.bag("list", node=node)
    with r.under(outside, (), (b,)):
        bag.entries.append(Entry(Var(b, "name"), r.at(node)))
    return bag


def instance(r: Reader, of: Value, types: Value, node: ast.expr) -> Term:
    """`isinstance(of, types)`."""
    if isinstance(types, Phi):
        return chosen(types.when, instance(r, of, types.then, node), instance(r, of, types.otherwise, node))
    if not isinstance(of, Term):
        known = {"builtins.dict": Table, "builtins.list": Bag, "builtins.tuple": Row}
        if isinstance(types, Known) and types.name in known:
            return Const(isinstance(of, known[types.name]))
        return r.opaque(node)
    if isinstance(types, Known):
        return Op("isinstance", (of, Const(types.name)))
    if isinstance(types, Class):
        return Op("isinstance", (of, Const(types.name)))
    inner = types.values if isinstance(types, Row) else types.plain() if isinstance(types, Bag) else None
    if inner is not None:
        return either(*(instance(r, of, t, node) for t in inner))
    return Opaque(r.text(node), (of,), "the types are not known")


def _dict(r: Reader, given: Given, node: ast.Call) -> Table:
    table = r.table(node)
    for value, arg in zip(given.values, node.args, strict=False):
        if isinstance(value, Table) and not value.entries and not value.unread:
            continue
        collections.updated(r, table, value, arg)
    places = {k.arg: k.value for k in node.keywords if k.arg}
    for name, value in given.named.items():
        table.entries.append(Entry(value, r.at(places.get(name, node)), Const(name)))
    return table


def _keyed(r: Reader, over: Value, value: list[Value], node: ast.Call) -> Table:
    """`dict.fromkeys(...)`: each thing once, in the order in which it comes."""
    table = r.table(node)
    loops.hand_on(r, over)
    for turn in loops.turns(r, over, node.args[0]):
        with r.under(turn.when, turn.tests, turn.binders):
            b = turn.value.binder if isinstance(turn.value, Var) else None
            if b is not None and b.kind == "element" and isinstance(b.of, Opaque):
                table.unread.append(r.text(node))
            else:
                table.entries.append(Entry(value[0] if value else Const(None), r.at(node), turn.value))
    return table


def _length(r: Reader, over: Value, node: ast.Call) -> Value:
    if isinstance(over, Op) and over.op == "attr:shape":
        return Op("attr:ndim", over.args)
    if isinstance(over, Row):
        return Const(len(over.values))
    if isinstance(over, Const) and isinstance(over.value, (str, tuple)):
        return Const(len(over.value))
    if (
        isinstance(over, Bag)
        and over.kind in ("list", "tuple")
        and (plain := over.plain()) is not None
        and not _params(over)
    ):
        return Const(len(plain))
    if isinstance(over, Term):
        return Op("call:len", (over,))
    return r.opaque(node)


def _params(bag: Bag) -> bool:
    """An empty list may be filled in a way that is not seen; one with settings is what it is."""
    return not bag.entries or any(not isinstance(e.value, Const) for e in bag.entries)


def _numbered(r: Reader, over: Value, node: ast.Call) -> Value:
    bag = r.bag("iterator", node=node)
    for i, turn in enumerate(loops.turns(r, over, node)):
        with r.under(turn.when, turn.tests, turn.binders):
            number: Term = (
                Opaque(f"{r.text(node)} number", (Var(turn.binders[-1], "value"),)) if turn.binders else Const(i)
            )
            bag.entries.append(Entry(Row((number, turn.value)), r.at(node)))
    return bag


def _zipped(r: Reader, given: Given, node: ast.Call) -> Value:
    for value in given.values:
        calls.escaped(r, value)
    rows = [v.values if isinstance(v, Row) else v.plain() if isinstance(v, Bag) else None for v in given.values]
    if rows and all(row is not None for row in rows):
        return Row(tuple(Row(tuple(pair)) for pair in zip(*(row for row in rows if row is not None), strict=False)))
    bag = r.bag("iterator", node=node)
    bag.unread.append(r.text(node))
    return bag


def _filtered(r: Reader, function: Value, over: Value, node: ast.Call) -> Value:
    bag = r.bag("iterator", node=node)
    for turn in loops.turns(r, over, node):
        with r.under(turn.when, turn.tests, turn.binders):
            if isinstance(function, Function):
                when = conditions.truth(r, r.apply(function, [turn.value], {}, node), node)
            elif function == Const(None):
                when = conditions.truth(r, turn.value, node)
            else:
                when = r.opaque(node, [turn.value])
            with r.under(when, conditions.tests(r, function.node.body, True) if _lambda(function) else ()):  # type: ignore[union-attr, arg-type]
                bag.entries.append(Entry(turn.value, r.at(node)))
    return bag


def _lambda(function: Value) -> bool:
    return isinstance(function, Function) and isinstance(function.node, ast.Lambda)


def _mapped(r: Reader, function: Value, over: Value, node: ast.Call) -> Value:
    bag = r.bag("iterator", node=node)
    for turn in loops.turns(r, over, node):
        with r.under(turn.when, turn.tests, turn.binders):
            given = calls.Given([turn.value])
            bag.entries.append(Entry(calls.called(r, function, given, node), r.at(node)))
    return bag


def _flattened(r: Reader, over: Value, node: ast.Call) -> Value:
    bag = r.bag("iterator", node=node)
    for turn in loops.turns(r, over, node):
        with r.under(turn.when, turn.tests, turn.binders):
            loops.extend(r, bag, turn.value, node)
    return bag


def _attribute(r: Reader, of: Value, name: str, default: list[Value], node: ast.Call) -> Value:
    if isinstance(of, Var) and default and isinstance(default[0], Term):
        found = expressions.attribute(r, of, name, node)
        if found == Attribute(of, name):
            return Op("call:getattr", (of, Const(name), default[0]))
        return found
    return expressions.attribute(r, of, name, node)


def _sum(r: Reader, over: Value, start: list[Value], node: ast.Call) -> Value:
    """`sum(lists, [])` joins lists; other sums are numbers that nothing rests on."""
    if start and isinstance(start[0], Bag):
        return _flattened(r, over, node)
    return r.opaque(node)


def _first(r: Reader, over: Value, node: ast.Call) -> Value:
    if isinstance(over, Bag):
        over = replace(over, walks=[])  # it has more
    turns = loops.turns(r, over, node)
    if len(turns) == 1 and not turns[0].binders:
        return turns[0].value
    return r.opaque(node, [t.value for t in turns])
