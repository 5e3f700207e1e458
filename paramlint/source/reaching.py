"""What a method calls of its class and of its file, and where in it gradients are off."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from paramlint.source.imports import dotted
from paramlint.source.statements import every

#: Decorators and contexts under which gradients are off. The wrapper of torch's own optimizers turns them off too,
#: unless `differentiable` is asked for.
_OFF = ("no_grad", "inference_mode", "_use_grad_for_differentiable")


def methods(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    """What a class itself defines, by name; the last one counts."""
    return {s.name: s for s in node.body if isinstance(s, ast.FunctionDef)}


def reached(
    start: ast.FunctionDef, own: Mapping[str, ast.FunctionDef], functions: Mapping[str, ast.FunctionDef]
) -> tuple[ast.FunctionDef, ...]:
    """A function, then those that it calls: methods through `self` or `super()`, and functions of the file."""
    found = [start]
    for function in found:
        for node in every(function):
            called = callee(node, own, functions)
            if called is not None and called not in found:
                found.append(called)
    return tuple(found)


def callee(
    node: ast.AST, own: Mapping[str, ast.FunctionDef], functions: Mapping[str, ast.FunctionDef]
) -> ast.FunctionDef | None:
    """The method or function of the file that a call calls; a function that is only passed on counts as well."""
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr, ctx=ast.Load()):
            return own.get(attr)
        case ast.Name(id=name, ctx=ast.Load()):
            return functions.get(name)
    return None


def is_grad(node: ast.AST) -> bool:
    """Whether a node reads `x.grad` of something that is not `self`."""
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "torch"), attr="grad"):
            return False
        case ast.Attribute(attr="grad", ctx=ast.Load()):
            return True
    return False


def grad_mode(node: ast.AST) -> str | None:
    """ "off" for `torch.no_grad`, called or not, and kin; "on" for `enable_grad`; None for what has no say."""
    call = node.func if isinstance(node, ast.Call) else node
    last = (dotted(call) or "").rpartition(".")[2] if isinstance(call, ast.expr) else ""
    if last == "set_grad_enabled" and isinstance(node, ast.Call) and node.args:
        value = node.args[0]
        return ("on" if value.value else "off") if isinstance(value, ast.Constant) else "on"
    return "off" if last in _OFF else "on" if last == "enable_grad" else None


def decorated_off(function: ast.FunctionDef) -> bool:
    """Whether a function as a whole runs with gradients off."""
    return any(grad_mode(d) == "off" for d in function.decorator_list)


def contexts(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, bool, ast.FunctionDef | ast.Lambda]]:
    """Every node of a function, whether gradients are off there, and the innermost function around it."""
    stack: list[tuple[ast.AST, bool, ast.FunctionDef | ast.Lambda]]
    stack = [(s, decorated_off(function), function) for s in function.body]
    while stack:
        node, off, inner = stack.pop()
        yield node, off, inner
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            inner = node
        body: list[ast.stmt] = []
        if isinstance(node, ast.With):
            body = node.body
            modes = [mode for item in node.items if (mode := grad_mode(item.context_expr))]
            inside = modes[-1] == "off" if modes else off
            stack.extend((s, inside, inner) for s in body)
        held = set(map(id, body))
        stack.extend((c, off, inner) for c in ast.iter_child_nodes(node) if id(c) not in held)
