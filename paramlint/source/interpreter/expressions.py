"""What an expression is worth."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paramlint.source.interpreter import calls, collections, conditions, folding, functions, loops
from paramlint.source.interpreter.values import (
    Bag,
    Bound,
    Class,
    Entry,
    Function,
    Known,
    Made,
    Phi,
    Row,
    Table,
    Value,
    relative,
)
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Attribute,
    Const,
    Op,
    Opaque,
    Term,
    Var,
    both,
    either,
    is_condition,
    mapped,
    negated,
)

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader

#: Attributes of tensors that say something of one parameter.
TENSOR = frozenset(
    {"ndim", "shape", "requires_grad", "dtype", "device", "grad", "is_sparse", "is_leaf", "grad_fn", "nbytes"}
)
#: What a wrapper calls the module that it wraps.
WRAPPED = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "data"})
_BUILTIN = frozenset(dir(builtins))
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}


def value(r: Reader, node: ast.expr) -> Value:
    match node:
        case ast.Constant(value=constant):
            return Const(constant) if constant is not ... else Opaque("...")
        case ast.Name(id=name):
            if r.open_settings and (opened := r.scope.opened(name)) is not None:
                return opened
            found = r.scope.find(name) or r.project.named(r.file, name, r)
            if found is not None:
                return found
            return Known(f"builtins.{name}") if name in _BUILTIN else Opaque(name)
        case ast.Attribute(value=of, attr=name):
            return attribute(r, r.value(of), name, node)
        case ast.Subscript(value=of, slice=index):
            return subscript(r, r.value(of), index, node)
        case ast.Call():
            return calls.call(r, node)
        case ast.BinOp(left=left, op=operator, right=right):
            return _binary(r, operator, r.value(left), r.value(right), node)
        case ast.BoolOp():
            return _logic(r, node)
        case ast.Compare():
            return conditions.compared(r, node)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return negated(conditions.condition(r, inner))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            v = r.value(inner)
            return folding.operation("neg", (v,)) if isinstance(v, Term) else r.opaque(node, [v])
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _either(r, test, body, orelse)
        case ast.Lambda():
            return Function(node, r.scope)
        case ast.Tuple(elts=parts):
            if not any(isinstance(p, ast.Starred) for p in parts):
                return Row(tuple(r.value(p) for p in parts))
            return loops.listed(r, "tuple", parts, node)
        case ast.List(elts=parts):
            return loops.listed(r, "list", parts, node)
        case ast.Set(elts=parts):
            return loops.listed(r, "set", parts, node)
        case ast.Dict():
            return _dict(r, node)
        case ast.ListComp(elt=element, generators=generators):
            return loops.comprehended(r, "list", element, None, generators, node)
        case ast.SetComp(elt=element, generators=generators):
            return loops.comprehended(r, "set", element, None, generators, node)
        case ast.GeneratorExp(elt=element, generators=generators):
            return loops.comprehended(r, "generator", element, None, generators, node)
        case ast.DictComp(key=key, value=element, generators=generators):
            return loops.comprehended(r, "dict", element, key, generators, node)
        case ast.JoinedStr(values=parts):
            return _concatenated(r, parts, node)
        case ast.FormattedValue(value=inner):
            return r.value(inner)
        case ast.NamedExpr(target=ast.Name(id=name), value=inner):
            held = r.value(inner)
            r.scope.names[name] = held
            return held
        case ast.Await(value=inner) | ast.Starred(value=inner):
            return r.value(inner)
        case ast.Yield(value=given):
            if given is not None and r.frame.yields is not None:
                r.frame.yields.entries.append(Entry(r.value(given), r.at(node)))
            return Const(None)
    return r.opaque(node)


def attribute(r: Reader, of: Value, name: str, node: ast.expr) -> Value:
    """`of.name`."""
    if isinstance(of, Known):
        found = r.project.member(Known(f"{of.name}.{name}", of.origin), r)
        return found if found is not None else Known(f"{of.name}.{name}", of.origin)
    if isinstance(of, Phi):
        return r.merge(of.when, attribute(r, of.then, name, node), attribute(r, of.otherwise, name, node))
    if isinstance(of, Made) and name == "param_groups":
        return _groups(r, of, node)
    if isinstance(of, Class):
        inner = next((n for n in of.node.body if isinstance(n, ast.Assign) and _assigns(n, name)), None)
        if inner is not None:
            return r.value(inner.value)
        method = functions.method(r, of.node, name, of.scope)
        return method if method is not None else Opaque(f"{of.name}.{name}")
    if isinstance(of, Table) and of.kind == "record" and of.find(Const(name)):
        return of.find(Const(name))[-1].value
    if isinstance(of, (Bag, Table, Row, Made)):
        return Bound(of, name, node)
    if isinstance(of, Term):
        return _of_term(r, of, name, node)
    return r.opaque(node)


def _groups(r: Reader, of: Made, node: ast.expr) -> Value:
    """The groups of an optimizer: torch makes a list of dicts of whatever it is given."""
    return _as_list(r, of.groups, node)


def _as_list(r: Reader, given: Value, node: ast.expr) -> Value:
    if isinstance(given, Phi):
        return r.merge(given.when, _as_list(r, given.then, node), _as_list(r, given.otherwise, node))
    if not isinstance(given, Bag):
        return given
    given = replace(given, kind="list")
    if given.unread or any(isinstance(e.value, (Table, Phi)) for e in given.entries):
        return given
    table = r.table(node)
    table.entries.append(Entry(given, r.at(node), Const("params")))
    return Row((table,))


def _of_term(r: Reader, of: Term, name: str, node: ast.expr) -> Value:
    if r.open_settings and (of, name) in r.opened:
        return r.opened[of, name]
    if (of, name) in r.attributes:
        return r.attributes[of, name]
    tagged = _tag(r, of, name)
    if tagged is not None:
        return tagged
    if name in WRAPPED:
        return of
    if name in TENSOR:
        return folding.operation(f"attr:{name}", (of,))
    function = r.frame.function
    if function is not None and function.owner is not None and of == function.self:
        constant = next((n for n in function.owner.body if isinstance(n, ast.Assign) and _assigns(n, name)), None)
        if constant is not None:
            return r.value(constant.value)
    if isinstance(of, (Const, Op)) and not _module_like(of):
        return Bound(of, name, node)
    return Attribute(of, name)


def _module_like(term: Term) -> bool:
    """Whether a term may stand for a module: an element of one, or one or the other."""
    return isinstance(term, Op) and term.op in ("getitem", "if", "call:getattr")


def _tag(r: Reader, of: Term, name: str) -> Value | None:
    """What the script itself has set as an attribute of every parameter of a loop."""
    if not (isinstance(of, Var) and of.what == "value"):
        return None
    found: Value | None = None
    for binder, tag, held, place in r.tags:
        if tag != name or binder.kind != of.binder.kind or binder.of != of.binder.of or not isinstance(held, Term):
            continue

        def change(t: Term, binder: object = binder) -> Term | None:
            return Var(of.binder, t.what) if isinstance(t, Var) and t.binder == binder else None

        _, when, _ = relative(place, r.place)
        new = mapped(held, change)
        found = new if found is None else r.merge(mapped(when, change), new, found)
    return found


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(t, ast.Name) and t.id == name for t in node.targets)


def subscript(r: Reader, of: Value, index: ast.expr, node: ast.expr) -> Value:
    """`of[index]`."""
    if isinstance(of, Phi):
        return r.merge(of.when, subscript(r, of.then, index, node), subscript(r, of.otherwise, index, node))
    at = _index(r, index)
    if isinstance(of, Table):
        return collections.looked_up(r, of, at, node)
    values = of.values if isinstance(of, Row) else of.plain() if isinstance(of, Bag) else None
    if values is not None and isinstance(at, Const):
        if isinstance(at.value, int) and -len(values) <= at.value < len(values):
            return values[at.value]
        return r.opaque(node, [of])
    if isinstance(of, Bag):
        calls.escaped(r, of)  # what is picked may be used
    if values is not None and isinstance(index, ast.Slice) and isinstance(at, Op):
        limits = [a.value for a in at.args if isinstance(a, Const) and (a.value is None or isinstance(a.value, int))]
        if len(limits) == 3:
            return Row(tuple(values[slice(*limits)]))
    if values is not None and isinstance(at, Term) and all(isinstance(v, Term) for v in values):
        return folding.operation("getitem", (Op("tuple", tuple(v for v in values if isinstance(v, Term))), at))
    if isinstance(of, Term) and isinstance(at, Term):
        return folding.operation("getitem", (of, at))
    if isinstance(of, Known):
        return Known(f"{of.name}[]", of.origin)
    return r.opaque(node, [of, at], "an element of a list that is not known")


def _index(r: Reader, index: ast.expr) -> Value:
    if not isinstance(index, ast.Slice):
        return r.value(index)
    limits = [r.value(n) if n is not None else Const(None) for n in (index.lower, index.upper, index.step)]
    return Op("call:slice", tuple(v if isinstance(v, Term) else Opaque("?") for v in limits))


def _binary(r: Reader, operator: ast.operator, left: Value, right: Value, node: ast.expr) -> Value:
    sign = _ARITHMETIC.get(type(operator))
    if isinstance(left, (Bag, Phi)) or isinstance(right, (Bag, Phi)):
        combined = loops.combined(r, operator, left, right, node)
        if combined is not None:
            return combined
    if isinstance(left, Row) and isinstance(right, Row) and sign == "+":
        return Row((*left.values, *right.values))
    if isinstance(operator, ast.BitOr) and isinstance(left, (Known, Row)):
        return Row((*_types(left), *_types(right)))
    if isinstance(left, Const) and isinstance(left.value, str) and sign == "%":
        return folding.formatted(left.value, right) or r.opaque(node, [left, right])
    if sign and isinstance(left, Term) and isinstance(right, Term):
        return folding.operation(sign, (left, right))
    if isinstance(operator, (ast.BitAnd, ast.BitOr)) and isinstance(left, Term) and isinstance(right, Term):
        return (both if isinstance(operator, ast.BitAnd) else either)(left, right)
    return r.opaque(node, [left, right])


def _types(v: Value) -> tuple[Value, ...]:
    return v.values if isinstance(v, Row) else (v,)


def _either(r: Reader, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Value:
    when = conditions.condition(r, test)
    if isinstance(when, Const):
        return r.value(body if when.value else orelse)
    with r.under(when, conditions.tests(r, test, True)):
        then = r.value(body)
    with r.under(negated(when), conditions.tests(r, test, False)):
        otherwise = r.value(orelse)
    return r.merge(when, then, otherwise)


def _dict(r: Reader, node: ast.Dict) -> Value:
    table = r.table(node)
    for key, element in zip(node.keys, node.values, strict=True):
        if key is None:
            collections.updated(r, table, r.value(element), element)
        else:
            table.entries.append(Entry(r.value(element), r.at(element), r.value(key)))
    return table


def _concatenated(r: Reader, parts: Sequence[ast.expr], node: ast.expr) -> Value:
    values = [r.value(p) for p in parts]
    if all(isinstance(v, Term) for v in values):
        return folding.operation("concat", tuple(v for v in values if isinstance(v, Term)))
    return r.opaque(node, values)


def _logic(r: Reader, node: ast.BoolOp) -> Value:
    """`a and b`, `a or b` as values: the operand that decides."""
    first = r.value(node.values[0])
    rest = node.values[1] if len(node.values) == 2 else ast.BoolOp(node.op, node.values[1:])
    ast.copy_location(rest, node)
    when = conditions.truth(r, first, node)
    if isinstance(node.op, ast.Or):
        return first if when == TRUE else r.value(rest) if when == FALSE else _chosen(r, when, first, rest, True)
    return first if when == FALSE else r.value(rest) if when == TRUE else _chosen(r, when, first, rest, False)


def _chosen(r: Reader, when: Term, first: Value, rest: ast.expr, keeps: bool) -> Value:
    with r.under(negated(when) if keeps else when):
        other = r.value(rest)
    if isinstance(first, Term) and isinstance(other, Term) and is_condition(first) and is_condition(other):
        return either(first, other) if keeps else both(first, other)
    return r.merge(when, first, other) if keeps else r.merge(when, other, first)
