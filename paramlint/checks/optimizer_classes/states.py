"""PML609: what a step remembers of each parameter, kept where `state_dict()` does not look."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import Source, mentions
from paramlint.finding import Finding
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.statements import every

#: What makes a tensor to remember something in.
_MAKES = frozenset(
    "zeros_like ones_like empty_like full_like rand_like randn_like zeros ones empty full eye clone new_zeros".split()
)
#: Attributes that a tensor has of its own, and those by which parameters are labelled.
_OF_TENSORS = frozenset({"data", "grad", "requires_grad", "names"})


def check(source: Source) -> Iterator[Finding]:
    """Tensors kept in a dict of the optimizer's own by parameter, in a list of its own, or on the parameter itself.

    Silent where the class has a `state_dict` of its own, and for what the step throws away again.
    """
    for c in source.classes:
        if c.step is None or c.wrapper or "state_dict" in c.names or "__getstate__" in c.names:
            continue
        thrown = _thrown(c)
        seen: set[str] = set()
        for node, holder, how in sorted(_kept(c), key=lambda k: (k[0].lineno, k[0].col_offset)):
            if holder in thrown or holder in seen:
                continue
            seen.add(holder)
            yield source.finding(
                "PML609",
                node,
                f"state is kept {how}: state_dict() leaves it out, and a resumed run begins without it",
                'keep it in self.state[p]["..."], which is saved and moved with the parameters',
                label=c.name,
            )


def _kept(c: OptimizerFacts) -> Iterator[tuple[ast.stmt, str, str]]:
    functions = dict.fromkeys((*c.reached, *(f for n, f in c.own.items() if n == "__init__")))
    for function in functions:
        parameters = _parameters(function)
        for node in every(function):
            match node:
                case ast.Assign(targets=[ast.Subscript() as target], value=value):
                    holder = _of_self(target.value)
                    if holder and _by_parameter(target.slice, parameters) and _makes(value):
                        yield node, holder, f"in self.{holder}, by parameter"
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=name), attr=attr)], value=value):
                    if name in parameters and attr not in _OF_TENSORS and _makes(value):
                        yield node, f".{attr}", f"on the parameter, as .{attr}"
                    elif name == "self" and attr not in ("state", "param_groups") and _one_each(value):
                        yield node, attr, f"in self.{attr}, one for each parameter"


def _parameters(function: ast.FunctionDef) -> set[str]:
    """The names that parameters go by: what is taken from `params`, and whose gradient is read."""
    found = set()
    for node in every(function):
        match node:
            case ast.For(target=target, iter=over) | ast.comprehension(target=target, iter=over):
                if "params" in ast.unparse(over):
                    found |= {n.id for n in every(target) if isinstance(n, ast.Name)}
            case ast.Attribute(value=ast.Name(id=name), attr="grad") if name != "self":
                found.add(name)
    return found - {"group", "i", "idx"}


def _by_parameter(key: ast.expr, parameters: set[str]) -> bool:
    if isinstance(key, ast.Call) and isinstance(key.func, ast.Name) and key.func.id == "id" and key.args:
        key = key.args[0]
    return isinstance(key, ast.Name) and key.id in parameters


def _of_self(node: ast.expr) -> str:
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=attr) if attr not in ("state", "param_groups", "defaults"):
            return attr
    return ""


def _makes(value: ast.expr) -> bool:
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in _MAKES for n in every(value)
    )


def _one_each(value: ast.expr) -> bool:
    """`[zeros_like(p) for p in params]`, and the like as a dict."""
    match value:
        case ast.ListComp(elt=made, generators=[one, *_]) | ast.DictComp(value=made, generators=[one, *_]):
            names = [n.id for n in every(one.target) if isinstance(n, ast.Name)]
            return "param" in ast.unparse(one.iter) and _makes(made) and any(mentions(made, n) for n in names)
    return False


def _thrown(c: OptimizerFacts) -> set[str]:
    """What a method other than `__init__` empties: attributes of self, and ".x" for those on parameters."""
    found = set()
    for function in c.methods.values():
        if function.name == "__init__":
            continue
        for node in every(function):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=attr), attr=did)):
                    found |= {attr} if did in ("clear", "pop") else set()
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attr)], value=value):
                    empty = isinstance(value, (ast.Dict, ast.List)) and not list(ast.iter_child_nodes(value))[1:]
                    found |= {attr} if empty or isinstance(value, ast.Constant) else set()
                case ast.Call(func=ast.Attribute(value=ast.Attribute(attr=attr), attr="zero_" | "fill_")):
                    found.add(f".{attr}")
                case ast.Assign(targets=[ast.Attribute(attr=attr)], value=ast.Constant()):
                    found.add(f".{attr}")
    return found
