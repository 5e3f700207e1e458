"""PML601: any learning rate is taken."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import Source, arguments, mentions
from paramlint.checks.optimizer_classes.options import options
from paramlint.finding import Finding
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.reaching import reached
from paramlint.source.statements import every

_NAMES = ("lr", "learning_rate")
_CHECKS = ("valid", "check", "assert", "ensure", "positive", "negative", "verify")


def check(source: Source) -> Iterator[Finding]:
    """Speaks where `__init__` hands its lr to `torch.optim.Optimizer`, and compares it with nothing on the way.

    Silent where a base class in the file, or one that is not seen, may do it, and where nothing uses the lr.
    """
    for c in source.classes:
        init = c.own.get("__init__")
        if init is None or not c.steps or c.wrapper or c.foreign or not c.inits_torch or not c.init_calls:
            continue
        lr = next((a for a in arguments(init) if a.arg in _NAMES), None)
        if lr is None or any(_tests(n, lr.arg) for m in c.methods.values() for n in ast.walk(m)):
            continue
        if not _uses(c, init, lr.arg):
            continue
        yield source.finding(
            "PML601",
            lr,
            f"{c.name} takes a negative {lr.arg}, and would climb",
            f"raise a ValueError where not {lr.arg} >= 0, as torch.optim's own classes do",
            label=f"{c.name}.__init__",
        )


def _uses(c: OptimizerFacts, init: ast.FunctionDef, lr: str) -> bool:
    """Whether a method reads the lr: from a group, from the defaults, or from what the constructor made of it."""
    if options(c).lost:
        return True
    kept = {lr}
    for node in every(init):
        if isinstance(node, ast.Assign) and mentions(node.value, lr):
            kept |= {t.attr for t in node.targets if isinstance(t, ast.Attribute)}
    others = dict.fromkeys(f for m in c.methods.values() if m is not init for f in reached(m, c.methods, c.functions))
    for node in (n for f in others for n in every(f)):
        match node:
            case ast.Attribute(attr=name) if name in kept:
                return True
            case ast.Constant(value=str(name)) if name == lr:
                return True
    return False


def _tests(node: ast.AST, lr: str) -> bool:
    """Whether a node compares lr with something other than None, or gives it to what checks values by its name."""
    match node:
        case ast.Compare(ops=ops):
            order = any(isinstance(op, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for op in ops)
            return order and any(_lr(n, lr) for n in ast.walk(node))
        case ast.For(iter=over) | ast.comprehension(iter=over):
            return isinstance(over, (ast.Tuple, ast.List, ast.Dict, ast.Call)) and mentions(over, lr) and _several(over)
        case ast.Call(func=func):
            name = (func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")).lower()
            given = [*node.args, *(k.value for k in node.keywords)]
            return any(w in name for w in _CHECKS) and any(mentions(a, n) for a in given for n in (lr, "defaults"))
    return False


def _lr(node: ast.AST, lr: str) -> bool:
    match node:
        case ast.Name(id=name):
            return name == lr
        case ast.Subscript(slice=ast.Constant(value=key)):
            return bool(key == lr)
    return False


def _several(over: ast.expr) -> bool:
    """A walk over values by name, such as `for k, v in {"lr": lr}.items()`, is there to look at each."""
    return not isinstance(over, ast.Call) or isinstance(over.func, ast.Attribute)
