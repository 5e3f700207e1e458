"""PML607: tensor operations that are given their factor first, an overload that PyTorch has deprecated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from paramlint.checks.optimizer_classes.context import Source
from paramlint.checks.optimizer_classes.places import exchangeable
from paramlint.checks.optimizer_classes.scalars import Numbers
from paramlint.finding import Finding, Fix
from paramlint.source.imports import dotted
from paramlint.source.reaching import is_grad
from paramlint.source.statements import every, statements

#: Number of tensors that each takes, and the keywords of the numbers that came before them. With so many arguments
#: none of these has another form. From `tools/autograd/deprecated.yaml` of PyTorch.
_FORMS: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys(("add_", "sub_", "add", "sub"), (1, ("alpha",))),
    **dict.fromkeys(("addcmul_", "addcdiv_", "addcmul", "addcdiv"), (2, ("value",))),
    **dict.fromkeys(("addmm_", "addbmm_", "baddbmm_", "addmv_", "addr_"), (2, ("beta", "alpha"))),
}
#: Those whose names others have too, for methods of two arguments: `pattern.sub("", text)`, `meter.add("loss", 2)`.
_COMMON = ("add", "sub")
_CALL = re.compile(rf"\.\s*(?:{'|'.join(n for n in _FORMS if n not in _COMMON)})\s*\(")
_COMMON_CALL = re.compile(rf"\.\s*(?:{'|'.join(_COMMON)})\s*\(")


def check(source: Source) -> Iterator[Finding]:
    """Anywhere in a file that imports torch, but of `add_` and `sub_` with a first argument that may be anything, and
    of `add` and `sub`, only what optimizer classes do."""
    if not source.imports.from_packages({"torch"}):
        return
    if not _CALL.search(source.text) and not (source.classes and _COMMON_CALL.search(source.text)):
        return
    look = _Look(source)
    for node in every(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr=name), args=given) if name in _FORMS:
                tensors, keywords = _FORMS[name]
            case _:
                continue
        if (dotted(of) or "").partition(".")[0] in source.imports.names or any(
            isinstance(a, ast.Starred) for a in given
        ):
            continue  # a function of a module
        scalars = len(given) - tensors
        if not 1 <= scalars <= len(keywords) or any(k.arg != "out" for k in node.keywords):
            continue
        if tensors == 1 and not look.deprecated(node, of, name):
            continue
        fix = exchangeable(given[:scalars], given[scalars:], look.numbers, source.imports)
        yield _finding(source, node, name, keywords[:scalars], fix)


class _Look:
    """What is known of the calls of a file."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers(self.source.tree)

    @cached_property
    def updates(self) -> dict[int, ast.AST]:
        """All that optimizer classes do, in their methods and in the functions of the file that their steps call."""
        functions = dict.fromkeys(f for c in self.source.classes for f in (*c.reached, *c.methods.values()))
        return {id(n): n for f in functions for n in every(f)}

    @cached_property
    def tensors(self) -> frozenset[str]:
        """The names there of gradients, and of what is changed in place."""
        found: set[str] = set()
        for node in self.updates.values():
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if _in_place(attr):
                    found.add(name)
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if _tensor(value):
                    found.add(name)
        return frozenset(found)

    @cached_property
    def own(self) -> frozenset[str]:
        """The functions and methods that the file defines."""
        return frozenset(s.name for s in statements(self.source.tree) if isinstance(s, ast.FunctionDef))

    def deprecated(self, call: ast.Call, of: ast.expr, name: str) -> bool:
        """Whether a call with two arguments gives a number and a tensor, in this order.

        A tensor's `add_` takes nothing else as two: for a tensor and a number there is a TypeError.
        """
        first, second = call.args
        if name not in _COMMON and self.numbers.is_number(first, call):
            return True
        if id(call) not in self.updates or name in self.own or (isinstance(of, ast.Name) and of.id == "self"):
            return False
        if name in _COMMON:
            named = {n.id for node in (of, second) for n in every(node) if isinstance(n, ast.Name)}
            tensors = named & self.tensors or any(_tensor(n) for node in (of, second) for n in every(node))
            return bool(tensors) and self.numbers.is_number(first, call)
        return not _tensor(first) and not isinstance(first, ast.Constant) and not self.numbers.is_number(second, call)


def _tensor(node: ast.AST) -> bool:
    """Whether an expression is a tensor with elements: a gradient, data, or arithmetic with one."""
    match node:
        case ast.Attribute(attr="data"):
            return True
        case ast.BinOp(left=left, right=right):
            return _tensor(left) or _tensor(right)
        case ast.UnaryOp(operand=operand):
            return _tensor(operand)
        case ast.Call(func=ast.Attribute(value=of, attr=attr)) if _in_place(attr):
            return _tensor(of) or isinstance(of, ast.Name)
    return is_grad(node)


def _in_place(attr: str) -> bool:
    return attr.endswith("_") and not attr.endswith("__")


def _finding(source: Source, node: ast.Call, name: str, keywords: Sequence[str], mended: bool) -> Finding:
    tensors = node.args[len(keywords) :]
    new = [_short(source, a) for a in tensors]
    new += [f"{k}={_short(source, a)}" for k, a in zip(keywords, node.args, strict=False)]
    fix = Fix(
        "deprecated-signature",
        source.start(node),
        source.end(node),
        True,
        f"Pass {' and '.join(keywords)} by keyword",
        {"keyword": keywords[-1]},
    )
    text = f"{name}({', '.join(new)})"
    return source.finding(
        "PML607",
        node,
        f"{name}() is given its {' and '.join(keywords)} first, a signature that PyTorch has deprecated",
        f"write .{text}",
        fix=fix if mended else None,
    )


def _short(source: Source, node: ast.expr) -> str:
    text = " ".join(source.segment(node).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
