"""PML614: options that the step takes from elsewhere than its groups."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import Source, arguments, first
from paramlint.checks.optimizer_classes.options import options
from paramlint.finding import Finding
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.statements import every

_RATES = ("lr", "learning_rate")
#: Options that schedulers change, and that groups have of their own. Others may be meant for the optimizer as a whole.
_OPTIONS = frozenset({*_RATES, "weight_decay", "wd", "momentum", "betas", "beta1", "beta2", "eps"})


def check(source: Source) -> Iterator[Finding]:
    """A step that reads an option from `self.defaults`, or the learning rate from an attribute that only the
    constructor sets, where no method looks for it in a group.

    Silent where a group goes where it is not seen, for wrappers, and for bases that are not seen.
    """
    for c in source.classes:
        if c.step is None or not c.bare or c.foreign or c.delegates or not c.reached:
            continue
        places = [*_from_defaults(c), *_from_attributes(c)]
        if not places:
            continue
        seen = options(c)
        looked = seen.needed | seen.asked | seen.stored
        found = [] if seen.lost else [p for p in places if p[0] not in looked]
        for text in dict.fromkeys(text for _, _, text in found):
            same = {key: node for key, node, of in found if of == text}
            names = " and ".join(", ".join(sorted(same)).rsplit(", ", 1))
            node = first(same.values())
            assert node is not None
            yield source.finding(
                "PML614",
                node,
                f"{names} {'are' if len(same) > 1 else 'is'} read from {text} and from no group: schedulers, and the "
                "values that groups have of their own, change nothing",
                f'read group["{min(same, key=lambda k: (k not in _RATES, k))}"] for each group of self.param_groups',
                label=f"{c.name}.step",
            )


def _from_defaults(c: OptimizerFacts) -> Iterator[tuple[str, ast.expr, str]]:
    """The options that are read from `self.defaults` by what the step reaches, and where first."""
    found: dict[str, list[ast.expr]] = {}
    for node in (n for f in c.reached for n in every(f)):
        match node:
            case ast.Subscript(value=of, slice=ast.Constant(value=str(key)), ctx=ast.Load()) if _is_defaults(of):
                found.setdefault(key, []).append(node)
    for key, nodes in found.items():
        earliest = first(nodes)
        if key in _OPTIONS and earliest is not None:
            yield key, earliest, "self.defaults"


def _is_defaults(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "defaults" and _is_self(node.value)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _from_attributes(c: OptimizerFacts) -> Iterator[tuple[str, ast.expr, str]]:
    """The learning rate, where the constructor keeps its argument as an attribute, has it among the defaults too, and
    the step computes with the attribute."""
    init = c.own.get("__init__")
    rate = next((a.arg for a in arguments(init) if a.arg in _RATES), None) if init is not None else None
    if init is None or rate is None or not any(_has(c, made.defaults, rate) for made in c.init_calls):
        return
    for attribute in _kept(c, init, rate):
        used = first(n for f in c.reached for n in _operands(f) if _reads(n, attribute))
        if used is not None:
            yield rate, used, f"self.{attribute}"


def _kept(c: OptimizerFacts, init: ast.FunctionDef, rate: str) -> Iterator[str]:
    """The attributes that are the argument as it is given, for good."""
    stores: dict[str, list[ast.AST]] = {}
    for method in c.methods.values():
        for node in every(method):
            match node:
                case ast.Attribute(value=of, attr=attr, ctx=ast.Store()) if _is_self(of):
                    stores.setdefault(attr, []).append(node)
    rebound = any(isinstance(n, ast.Name) and n.id == rate and isinstance(n.ctx, ast.Store) for n in every(init))
    for node in () if rebound else every(init):
        match node:
            case ast.Assign(targets=[ast.Attribute(value=of, attr=attr)], value=ast.Name(id=name)) if _is_self(of):
                if name == rate and len(stores[attr]) == 1 and attr not in c.methods:
                    yield attr


def _operands(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a function computes with, or gives a name."""
    for node in every(function):
        match node:
            case ast.BinOp(left=left, right=right):
                yield from (left, right)
            case ast.UnaryOp(op=ast.USub(), operand=value) | ast.Assign(value=value):
                yield value
            case ast.keyword(arg="alpha" | "value" | "lr", value=value):
                yield value


def _reads(node: ast.expr, attribute: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == attribute and _is_self(node.value)


def _has(c: OptimizerFacts, defaults: ast.expr | None, key: str) -> bool:
    """Whether a dict of defaults has a key, as far as it is seen where it is made."""
    match defaults:
        case ast.Dict(keys=keys):
            return any(isinstance(k, ast.Constant) and k.value == key for k in keys)
        case ast.Call(func=ast.Name(id="dict"), keywords=given):
            return any(k.arg == key for k in given)
        case ast.Name(id=name):
            nodes = (n for m in c.own.values() for n in every(m))
            values = [n.value for n in nodes if isinstance(n, ast.Assign) and _names(n, name)]
            return len(values) == 1 and not isinstance(values[0], ast.Name) and _has(c, values[0], key)
    return False


def _names(node: ast.Assign, name: str) -> bool:
    return any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
