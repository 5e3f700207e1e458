"""Whether a class asks if a parameter has a gradient."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import passed
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.imports import dotted
from paramlint.source.reaching import callee, is_grad
from paramlint.source.statements import every


def asks(c: OptimizerFacts) -> bool:
    """Whether anything that the step reaches, or another method, tests a gradient for None, or gives a parameter one.

    A gradient is followed into the functions of the file that it is handed to, whatever they call it. One that a test
    hands to a function that is not seen counts as asked for, and so does a test by such a function as `has_grad(p)`.
    """
    functions = tuple(dict.fromkeys((*c.reached, *c.methods.values())))
    held = _held(c, functions)
    return any(_asks(c, f, held[id(f)]) for f in functions if f.name != "zero_grad")


def _asks(c: OptimizerFacts, function: ast.FunctionDef, held: set[str]) -> bool:
    def gradient(node: ast.expr) -> bool:
        return is_grad(node) or _name(node) in held

    for node in every(function):
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq()], comparators=[right]):
                nothing = any(isinstance(s, ast.Constant) and s.value is None for s in (left, right))
                left = left.value if isinstance(left, ast.NamedExpr) else left
                if nothing and (gradient(left) or is_grad(right)):
                    return True
            case ast.BoolOp(values=values) if any(gradient(v) for v in values):
                return True
            case ast.Attribute(attr="grad", ctx=ast.Store()):
                return True
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value="grad"), *_]):
                return True
            case ast.Try(handlers=handlers) if any(is_grad(n) for s in node.body for n in every(s)):
                if handlers:
                    return True
        for test in _tests(node):
            inner = test.operand if isinstance(test, ast.UnaryOp) else test
            if gradient(inner):
                return True
            calls = [n for n in every(test) if isinstance(n, ast.Call) and _unseen(c, n.func)]
            if any("grad" in (dotted(n.func) or "") or any(gradient(a) for a in n.args) for n in calls):
                return True
    return False


def _tests(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.Assert(test=test) | ast.While(test=test):
            return [test]
        case ast.comprehension(ifs=tests):
            return tests
        case ast.Call(func=ast.Name(id="filter"), args=[ast.Lambda(body=test), *_]):
            return [test]
    return []


def _unseen(c: OptimizerFacts, func: ast.expr) -> bool:
    """Whether a call is of a function that is neither of this file nor of Python or torch, and no tensor's method."""
    if callee(func, c.methods, c.functions) is not None:
        return False
    head = (dotted(func) or "").partition(".")[0]
    if head in c.imports.names:
        return not any(n.partition(".")[0] in ("torch", "math", "numpy") for n in c.imports.names[head])
    if isinstance(func, ast.Name):
        return not hasattr(builtins, func.id)
    return isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id in ("self", "cls")


def _held(c: OptimizerFacts, functions: tuple[ast.FunctionDef, ...]) -> dict[int, set[str]]:
    """The names that a gradient goes by in each function."""
    held = {id(f): set(_names(f)) for f in functions}
    calls = [
        (id(f), id(called), value, name)
        for f in functions
        for n in every(f)
        if isinstance(n, ast.Call) and (called := callee(n.func, c.methods, c.functions)) is not None
        for name, value in passed(n, called)
        if id(called) in held
    ]
    known = -1
    while known != (known := sum(map(len, held.values()))):
        for caller, called_id, value, name in calls:
            if is_grad(value) or _name(value) in held[caller]:
                held[called_id].add(name)
    return held


def _names(function: ast.FunctionDef) -> Iterator[str]:
    """Those that a function gives it itself, and arguments that are called like one."""
    a = function.args
    yield from (one.arg for one in (*a.posonlyargs, *a.args, *a.kwonlyargs) if one.arg == "g" or "grad" in one.arg)
    for node in every(function):
        match node:
            case ast.Assign(targets=[target], value=value) if any(is_grad(n) for n in every(value)):
                yield from (n.id for n in every(target) if isinstance(n, ast.Name))
            case ast.NamedExpr(target=ast.Name(id=name), value=value) if is_grad(value):
                yield name
            case ast.For(target=target) | ast.comprehension(target=target):
                yield from (n.id for n in every(target) if isinstance(n, ast.Name) and (n.id == "g" or "grad" in n.id))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else "?"
