"""PML608, PML612, PML613: what a step takes for granted of gradients, and what it does to them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import Source, first
from paramlint.checks.optimizer_classes.flow import changes
from paramlint.finding import Finding
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.reaching import is_grad
from paramlint.source.statements import every


def none_gradient(source: Source) -> Iterator[Finding]:
    """PML608: a step that reads `p.grad`, in a class that nowhere asks whether there is one.

    Silent where the class has bases that are not seen, and where a gradient is put in the place of a missing one.
    """
    for c in source.classes:
        if c.step is None or c.wrapper or not c.bare or c.foreign or any(_asks(f) for f in (*c.reached, *_methods(c))):
            continue
        used = first(n for f in c.reached for n in every(f) if is_grad(n))
        if used is None:
            continue
        yield source.finding(
            "PML608",
            used,
            "p.grad is used as it is: None for a parameter that the loss did not use, or that is frozen",
            "skip it: `if p.grad is None: continue`",
            label=f"{c.name}.step",
        )


def sparse(source: Source) -> Iterator[Finding]:
    """PML612: nothing in the class speaks of sparse gradients."""
    for c in source.classes:
        if c.step is None or c.wrapper or not c.bare or c.foreign:
            continue
        functions = (*c.reached, *_methods(c))
        names = {getattr(n, "attr", getattr(n, "id", "")) for f in functions for n in every(f)}
        if any("sparse" in name.lower() or name == "layout" for name in names if isinstance(name, str)):
            continue
        if not any(is_grad(n) for f in c.reached for n in every(f)):
            continue
        yield source.finding(
            "PML612",
            c.step,
            f"{c.name} neither handles nor refuses sparse gradients",
            "raise a RuntimeError where p.grad.is_sparse, as torch.optim's own classes do",
            label=f"{c.name}.step",
        )


def mutated(source: Source) -> Iterator[Finding]:
    """PML613: an in-place operation on `p.grad`, or on what shares its memory."""
    for c in source.classes:
        if c.step is None or c.wrapper:
            continue
        for node in changes(c):
            yield source.finding(
                "PML613",
                node,
                "the gradient is changed in place: what reads p.grad after the step gets something else",
                "work on a new tensor: the operation without its underscore, or a clone",
                label=f"{c.name}.step",
            )


def _methods(c: OptimizerFacts) -> list[ast.FunctionDef]:
    return list(c.methods.values())


def _asks(function: ast.FunctionDef) -> bool:
    """Whether a function tests a gradient for None, or gives a parameter one."""
    if function.name == "zero_grad":
        return False
    held = set(_held(function))
    for node in every(function):
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq()], comparators=[right]):
                nothing = any(isinstance(s, ast.Constant) and s.value is None for s in (left, right))
                left = left.value if isinstance(left, ast.NamedExpr) else left
                if nothing and (is_grad(left) or is_grad(right) or _name(left) in held):
                    return True
            case ast.If(test=test) | ast.IfExp(test=test) | ast.comprehension(ifs=[test, *_]):
                inner = test.operand if isinstance(test, ast.UnaryOp) else test
                if is_grad(inner) or _name(inner) in held:
                    return True
            case ast.BoolOp(values=values) if any(is_grad(v) or _name(v) in held for v in values):
                return True
            case ast.Attribute(attr="grad", ctx=ast.Store()):
                return True
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value="grad"), *_]):
                return True
            case ast.Try(handlers=handlers) if any(is_grad(n) for s in node.body for n in every(s)):
                return bool(handlers)
    return False


def _held(function: ast.FunctionDef) -> Iterator[str]:
    """The names that a gradient goes by."""
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
