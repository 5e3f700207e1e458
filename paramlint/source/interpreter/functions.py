"""Functions of the script: what they give for their arguments, read at the place where they are called."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paramlint.source.interpreter import calls, instances
from paramlint.source.interpreter.project import concerns
from paramlint.source.interpreter.values import (
    Bag,
    Class,
    Entry,
    Function,
    Known,
    Made,
    Phi,
    Place,
    Row,
    Scope,
    Table,
    Value,
)
from paramlint.source.statements import every
from paramlint.source.terms import FALSE, Binder, Const, Opaque, Term, Var, variables

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader


#: A function of so few statements is read whatever it does.
_SHORT = 4


def method(r: Reader, owner: ast.ClassDef, name: str, scope: Scope, of: Value | None = None) -> Function | None:
    """A method of a class of the project, or of its bases there."""
    for node in owner.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
            return Function(node, scope, None if static else (of or Opaque("cls")), owner)
    for base in owner.bases:
        if isinstance(base, (ast.Name, ast.Attribute)):
            held = r.value(base)
            found = r.project.member(held, r) if isinstance(held, Known) else held
            if isinstance(found, Class) and found.node is not owner:
                inner = method(r, found.node, name, found.scope, of)
                if inner is not None:
                    return inner
    return None


def apply(
    r: Reader, function: Function, given: Sequence[Value], named: dict[str, Value], node: ast.AST, more: bool = False
) -> Value:
    """What a function of the project gives for these arguments."""
    from paramlint.source.interpreter.reader import DEPTH, Frame

    if isinstance(function.node, ast.Lambda):
        scope = Scope(function.scope.file, {}, function.scope)
        _bind(r, function, scope, given, named, node)
        with r.inside(function.scope.file, scope, Frame(function)):  # type: ignore[arg-type]
            return r.value(function.node.body)
    running = sum(f.function is not None and f.function.node is function.node for f in r.frames)
    if not running and not _matters(r, function, (*given, *named.values())):
        return Opaque(r.text(node), (), "it has nothing to do with parameters")
    if running or len(r.frames) > DEPTH:
        if running and any(isinstance(v, Var) and v.binder.kind in ("child", "module") for v in given):
            return Const(None)  # of a walk down the tree of modules every step is read as one
        for value in (*given, *named.values()):
            calls.escaped(r, value)
        return r.opaque(node, [v for v in given if isinstance(v, Term)], "too deep")
    scope = Scope(function.scope.file, {}, function.scope)
    place, loops_of = r.place, Frame(function)
    before = r.place
    r.inlined.add(function.node)
    _bind(r, function, scope, given, named, node)
    walks = _descends(r, function, scope)
    if walks:
        r.place = Place((*place.binders, *walks), place.when, place.tests, place.span)
    if _yields(r, function.node):
        loops_of.yields = r.bag("generator", node=node)
    r.calls.append(r.span(node))
    with r.inside(function.scope.file, scope, loops_of):  # type: ignore[arg-type]
        r.run(function.node.body)
        fell = r.place.when
        r.place = before
        r.calls.pop()
        if loops_of.yields is not None:
            return loops_of.yields
        returns = list(loops_of.returns)
        if fell != FALSE:
            returns.append((fell, Const(None), r.span(function.node)))
        if not returns:
            r.place = Place(before.binders, FALSE, before.tests, before.span)
            return Opaque(r.text(node), why="it never returns")
        return r.joined(returns)


def _descends(r: Reader, function: Function, scope: Scope) -> list[Binder]:
    """Makes a function that calls itself on the children of a module go through all its modules at once."""
    found: list[Binder] = []
    name = getattr(function.node, "name", "")
    targets = _children(r, function.node)
    if not targets:
        return found
    own = [a.arg for a in _parameters(function)]
    for inner in every(function.node):
        if isinstance(inner, ast.Call) and _last(inner.func) == name:
            offset = 1 if function.self is not None and isinstance(inner.func, ast.Attribute) else 0
            for i, arg in enumerate(inner.args):
                if isinstance(arg, ast.Name) and arg.id in targets and i + offset < len(own):
                    held = scope.names.get(own[i + offset])
                    if isinstance(held, Term) and not isinstance(held, Var):
                        b = r.binder("module", held)
                        scope.names[own[i + offset]] = Var(b, "value")
                        found.append(b)
    return found


def _matters(r: Reader, function: Function, given: Sequence[Value]) -> bool:
    """Whether a function is worth following: it is handed parameters, or asks for them, or it is short."""
    if any(_carries(v) for v in given):
        return True
    if function.node not in r.project.matters:
        short = isinstance(function.node, ast.Lambda) or len(function.node.body) <= _SHORT
        r.project.matters[function.node] = short or concerns(function.node)
    return r.project.matters[function.node]


def _carries(value: Value) -> bool:
    if isinstance(value, Term):
        return bool(variables(value))
    if isinstance(value, (Row, Phi)):
        return any(_carries(v) for v in (value.values if isinstance(value, Row) else (value.then, value.otherwise)))
    return isinstance(value, (Bag, Table, Function, Made))


def _children(r: Reader, function: ast.AST) -> frozenset[str]:
    """The names that a function gives children of modules in its loops."""
    if function in r.project.children:
        return r.project.children[function]
    r.project.children[function] = frozenset(
        n.id
        for loop in every(function)
        if isinstance(loop, ast.For) and isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Attribute)
        if loop.iter.func.attr in ("children", "named_children")
        for n in every(loop.target)
        if isinstance(n, ast.Name)
    )
    return r.project.children[function]


def _yields(r: Reader, function: ast.AST) -> bool:
    if function not in r.project.yields:
        r.project.yields[function] = any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in every(function))
    return r.project.yields[function]


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _parameters(function: Function) -> list[ast.arg]:
    given = function.node.args
    return [*given.posonlyargs, *given.args]


def _bind(
    r: Reader, function: Function, scope: Scope, given: Sequence[Value], named: dict[str, Value], node: ast.AST
) -> None:
    """Gives a function's parameters their values. Where the reading begins with it, defaults are no more than that."""
    entry = node is function.node
    args = function.node.args
    names = [a.arg for a in _parameters(function)]
    values = list(given)
    if function.self is not None and names:
        values = [function.self, *values]
    defaults = dict(zip(reversed(names), reversed(args.defaults), strict=False))
    defaults |= {a.arg: d for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is not None}
    annotations = {a.arg: a.annotation for a in (*_parameters(function), *args.kwonlyargs)}
    for i, name in enumerate([*names, *(a.arg for a in args.kwonlyargs)]):
        if i < min(len(values), len(names)):
            scope.names[name] = values[i]
        elif name in named:
            scope.names[name] = named[name]
        elif name in defaults:
            before = r.scope
            r.scope = function.scope
            try:
                scope.names[name] = r.value(defaults[name])
            finally:
                r.scope = before
            if entry and isinstance(defaults[name], ast.Constant):
                scope.settings.add(name)
        else:
            scope.names[name] = instances.annotated(r, Opaque(name), annotations.get(name), function.scope)
    if args.vararg is not None:
        scope.names[args.vararg.arg] = Row(tuple(values[len(names) :]))
    if args.kwarg is not None:
        table = r.table(node)
        taken = {*names, *(a.arg for a in args.kwonlyargs)}
        table.entries += [Entry(v, r.place, Const(k)) for k, v in named.items() if k not in taken]
        scope.names[args.kwarg.arg] = table
