"""PML602, PML603, PML604: what a step does with the closure that it may be given."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import Source, first
from paramlint.finding import Finding
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.reaching import contexts, decorated_off, grad_mode
from paramlint.source.statements import every

_FORM = (
    "def step(self, closure=None), `loss = closure()` under `torch.enable_grad()` where there is one, and `return loss`"
)


def no_closure(source: Source) -> Iterator[Finding]:
    """PML602: silent where a closure is refused aloud, and for wrappers that take none."""
    for c in source.classes:
        step = c.step
        if step is None or step.args.vararg or step.args.kwarg or (c.delegates and c.closure is None):
            continue
        if c.closure is None:
            message = "step() takes no closure: callers that pass one, as Lightning does, get a TypeError"
        elif not _used(step, c.closure.arg) and not _refused(step, c.closure.arg):
            message = "step() takes a closure and never calls it: a loop that leaves the backward to it trains nothing"
        else:
            continue
        help = "hand it on to the inner step(), or call it and return its loss" if c.delegates else _FORM
        yield source.finding("PML602", step, message, help, label=_label(c))


def returns_nothing(source: Source) -> Iterator[Finding]:
    """PML603: only where the closure is called; PML602 is about those that do not."""
    for c in source.classes:
        if c.step is None or c.closure is None or c.wrapper or not _used(c.step, c.closure.arg):
            continue
        returns = [n for n, _, inner in contexts(c.step) if isinstance(n, ast.Return) and inner is c.step]
        if any(r.value is not None and not _is_none(r.value) for r in returns):
            continue
        yield source.finding(
            "PML603",
            c.step,
            "step() calls the closure and drops its loss: callers get None",
            "return what the closure returned",
            label=_label(c),
        )


def without_grad(source: Source) -> Iterator[Finding]:
    """PML604: a direct call of the closure, where nothing turns gradients on again.

    A warning where the step cannot do without a closure: it may mean one that only evaluates the loss.
    """
    for c in source.classes:
        if c.step is None or c.closure is None or _wrapped(c.step, c.closure.arg):
            continue
        calls = [n for n, off, inner in contexts(c.step) if off and inner is c.step and _calls(n, c.closure.arg)]
        call = first(calls)
        if call is None:
            continue
        why = "step() is decorated" if decorated_off(c.step) else "this is inside `with`"
        yield source.finding(
            "PML604",
            call,
            f"the closure is called with gradients off ({why}): its backward() fails with a RuntimeError",
            "call it under `with torch.enable_grad():`",
            label=_label(c),
            severity="warning" if _refused(c.step, c.closure.arg) else None,
        )


def bare_call(c: OptimizerFacts) -> bool:
    """Whether the step calls its closure where nothing turns gradients on: with gradients off in the step as a whole,
    the closure would have none."""
    if c.step is None or c.closure is None or _wrapped(c.step, c.closure.arg):
        return False
    on = {
        id(n)
        for w in every(c.step)
        if isinstance(w, ast.With) and any(grad_mode(i.context_expr) == "on" for i in w.items)
        for n in every(w)
    }
    return any(_calls(n, c.closure.arg) and id(n) not in on for n in every(c.step))


def _used(step: ast.FunctionDef, closure: str) -> bool:
    """Whether the closure is called or handed on: read anywhere but in a test of whether there is one."""
    tested = {id(n) for node in ast.walk(step) for n in _test_of(node)}
    return any(
        isinstance(n, ast.Name) and n.id == closure and isinstance(n.ctx, ast.Load) and id(n) not in tested
        for n in ast.walk(step)
    )


def _refused(step: ast.FunctionDef, closure: str) -> bool:
    """Whether a closure ends in an exception, or the lack of one does."""
    for node in ast.walk(step):
        match node:
            case ast.Assert(test=test):
                refused = True
            case ast.If(test=test, body=body, orelse=orelse):
                refused = any(isinstance(s, ast.Raise) for s in (*body, *orelse))
            case _:
                continue
        if refused and any(isinstance(n, ast.Name) and n.id == closure for n in ast.walk(test)):
            return True
    return False


def _test_of(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq()]):
            yield left
        case ast.If(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            yield test
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Delete(targets=targets):
            yield from targets
        case ast.Assign(targets=[ast.Name(id="_")], value=value):
            yield value


def _wrapped(step: ast.FunctionDef, closure: str) -> bool:
    """Whether gradients are turned on for it in another way: `closure = torch.enable_grad()(closure)`, or a
    statement that sets the mode."""
    for node in ast.walk(step):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) if name == closure:
                return True
            case ast.Expr(value=ast.Call() as call) if grad_mode(call) == "on":
                return True
            case ast.Call(func=ast.Attribute(attr="__enter__")):
                return True
    return False


def _calls(node: ast.AST, closure: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == closure


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _label(c: OptimizerFacts) -> str:
    return f"{c.name}.step"
