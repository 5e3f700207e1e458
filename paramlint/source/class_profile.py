"""Which profile's calls look like those of a class: by its arguments and by the keys of groups that it reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from paramlint.source.class_kind import Kind, flagged
from paramlint.source.statements import every

_MUON_LIST = re.compile(r"^muon_(params?|parameters|param_groups|weights)$")
_ADAM_LIST = re.compile(r"^(adamw?|aux\w*|other|sgd|lion|scalar)_(params?|parameters|param_groups)$")
_DIST = ("get_world_size", "get_rank", "all_gather", "all_gather_into_tensor", "all_reduce", "reduce_scatter_tensor")


def profile_like(
    name: str, kind: Kind, methods: Mapping[str, ast.FunctionDef], reads: frozenset[str] | None
) -> str | None:
    """The name of the nearest profile, None where nothing tells.

    A class with a list for each half is taken for Moonlight's; one that reads `use_muon` for KellerJordan's with its
    exact keys, where it asserts them, else for one that takes any; one that orthogonalises all it is given for
    KellerJordan's Muon, in its edition for one device or for several. One that sends all of two dimensions and more to
    Muon itself is as HeavyBall's.
    """
    init = methods.get("__init__")
    taken = _arguments(init)
    keys = reads or frozenset()
    spread = any(_calls(m, _DIST) for m in methods.values())
    norm = "normuon" in name.lower()
    if any(_MUON_LIST.match(a) for a in taken) and any(_ADAM_LIST.match(a) for a in taken):
        return "moonlight"
    if "algorithm" in keys:
        return "normuon-dion" if norm else "dion" if name == "Dion" else "dion-muon"
    if "use_muon" in keys:
        if init is None or not _exact(init):
            return "pytorch-optimizer"
        stem = "normuon" if norm else "keller"
        return f"{stem}-dist" if spread else stem
    if "norm" in keys and "scion" in name.lower():
        return "scion"
    if kind == "muon":
        if "adjust_lr_fn" in taken:
            return "torch-muon"
        if {"rank", "world_size"} <= set(taken):
            return "muon-2024"
        if "adamuon" in name.lower():
            return "adamuon"
        return "keller-muon-dist" if spread else "keller-muon"
    if kind == "routed" and _by_dimensions(methods):
        return "heavyball"
    if kind == "adam":
        return "adamw" if "betas" in taken or "betas" in keys else "sgd"
    return None


def _arguments(init: ast.FunctionDef | None) -> list[str]:
    return [] if init is None else [a.arg for a in (*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs)]


def _by_dimensions(methods: Mapping[str, ast.FunctionDef]) -> bool:
    """Whether its only tests of what kind of parameter there is are of fewer than two dimensions against more."""
    found = False
    for method in methods.values():
        for node in every(method):
            if not isinstance(node, (ast.If, ast.IfExp)) or method.name == "__init__":
                continue
            if any(_below_two(n) for n in every(node.test)):
                found = True
            elif flagged(node.test, set()) or any(_two(n) for n in every(node.test)):
                return False
    return found


def _below_two(node: ast.AST) -> bool:
    """`p.ndim >= 2`, `p.ndim > 1`, `p.dim() < 2`, `p.dim() == 1` and the like."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[ast.Constant(value=int(n))]) if _dimensions(left):
            return (n == 2 and isinstance(op, (ast.GtE, ast.Lt))) or (
                n == 1 and isinstance(op, (ast.Gt, ast.LtE, ast.Eq, ast.NotEq))
            )
    return False


def _two(node: ast.AST) -> bool:
    match node:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq()], comparators=[ast.Constant(value=2)]):
            return _dimensions(left)
    return False


def _dimensions(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr="ndim") | ast.Call(func=ast.Attribute(attr="dim")):
            return True
    return False


def _exact(init: ast.FunctionDef) -> bool:
    """Whether a constructor compares the keys of a group with a set of them."""
    for node in every(init):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
            calls = (n.func for n in every(node) if isinstance(n, ast.Call))
            if any(isinstance(f, ast.Attribute) and f.attr == "keys" for f in calls):
                return True
    return False


def _calls(function: ast.FunctionDef, names: tuple[str, ...]) -> bool:
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in names for n in every(function)
    )
