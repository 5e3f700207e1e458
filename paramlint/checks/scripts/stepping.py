"""PML513: of several optimizers that are made together, one is left out: not stepped, zeroed, saved or restored."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Literal

from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.nodes import nodes
from paramlint.finding import Finding
from paramlint.record import dataclass

Deed = Literal["step", "zero", "save", "restore"]

_METHODS: Mapping[str, Deed] = {
    "step": "step",
    "zero_grad": "zero",
    "state_dict": "save",
    "load_state_dict": "restore",
}
#: What else may be done to an optimizer without its going anywhere.
_HARMLESS = frozenset({"param_groups", "state", "defaults", "add_param_group", "train", "eval", "__class__"})
_LOOKS = frozenset({"len", "print", "isinstance", "type", "id", "repr", "str", "unscale_", "hasattr"})
_SCHEDULES = re.compile(r"LR$|LRScheduler|Scheduler$|^get_\w*schedule\w*$")
_PLAIN_BASES = frozenset({"object", "ABC", "Module", "Generic"})
_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SAYS: Mapping[Deed, tuple[str, str]] = {
    "step": ("is never stepped: its parameters do not change", "call its step() where that of `{other}` is called"),
    "zero": (
        "is never zeroed: its gradients add up from step to step",
        "call its zero_grad() where that of `{other}` is called",
    ),
    "save": (
        "is not saved: a run that is resumed begins with an empty state",
        "save its state_dict() beside that of `{other}`",
    ),
    "restore": (
        "is saved and never restored: a run that is resumed begins with an empty state",
        "call its load_state_dict() where that of `{other}` is called",
    ),
}


@dataclass(frozen=True)
class _Made:
    """A place where a name is given an optimizer. `arms` are the branches that it is in."""

    name: str
    node: ast.AST
    arms: Mapping[int, str]


@dataclass(frozen=True, eq=False)
class _Scope:
    """A function, a module, or a class whose methods keep optimizers in attributes of `self`."""

    node: ast.AST
    attributes: bool
    made: list[_Made] = field(default_factory=list)


@dataclass
class _Uses:
    """What is done to one optimizer, and the last line where it is. `away` says that it goes where nothing is seen of
    it."""

    deeds: dict[Deed, int] = field(default_factory=dict)
    away: bool = False
    seen: bool = False


def check(ctx: ScriptContext) -> Iterator[Finding]:
    found = nodes(ctx.file)
    calls = {
        id(call)
        for read in ctx.reads
        for c in read.build.constructions
        if c.made is not None and ctx.here(c.span) and (call := found.call(c.span)) is not None
    }
    if len(calls) < 2:
        return
    for scope in _scopes(ctx.file.tree, calls):
        names = list(dict.fromkeys(m.name for m in scope.made))
        if len(names) > 1:
            yield from _scope(ctx, scope, names)


def _scope(ctx: ScriptContext, scope: _Scope, names: list[str]) -> Iterator[Finding]:
    tree = ctx.file.tree if scope.attributes else scope.node
    uses, elsewhere = _uses(tree, names, scope.attributes)
    for name in names:
        own = uses[name]
        if own.away or (scope.attributes and not own.seen):
            continue
        others = [o for o in names if o != name and _together(scope, name, o)]
        since = 0 if scope.attributes else min(getattr(m.node, "lineno", 0) for m in scope.made if m.name == name)
        later = {o: {d for d, line in uses[o].deeds.items() if line > since} for o in others}
        deed, other = _left_out(own, later, elsewhere)
        if deed is not None:
            what, instead = _SAYS[deed]
            shown = f"self.{other}" if scope.attributes else other
            said = f"self.{name}" if scope.attributes else name
            yield ctx.finding(
                "PML513",
                ctx.file.span(next(m.node for m in scope.made if m.name == name)),
                f"`{said}` {what}, while `{shown}` is",
                instead.format(other=shown),
            )


def _left_out(own: _Uses, others: Mapping[str, set[Deed]], elsewhere: bool) -> tuple[Deed | None, str]:
    """What is done to another optimizer and not to this one. `elsewhere` says that gradients are zeroed otherwise."""
    for deed in _SAYS:
        other = next((o for o, deeds in others.items() if deed in deeds and "step" in deeds), None)
        if other is None or deed in own.deeds:
            continue
        if deed == "step":
            return "step", other
        if "step" not in own.deeds or (deed == "zero" and elsewhere) or (deed == "restore" and "save" not in own.deeds):
            continue
        return deed, other
    return None, ""


def _together(scope: _Scope, one: str, other: str) -> bool:
    """Whether two optimizers may both be there: they are not made in different arms of one branch."""
    return any(
        all(b.arms.get(branch, arm) == arm for branch, arm in a.arms.items())
        for a in scope.made
        if a.name == one
        for b in scope.made
        if b.name == other
    )


# Where optimizers are made


def _scopes(tree: ast.Module, calls: set[int]) -> list[_Scope]:
    """The scopes of a file that have optimizers, in its order."""
    found: dict[tuple[int, bool], _Scope] = {}
    stack: list[tuple[ast.AST, ast.AST, ast.ClassDef | None, Mapping[int, str]]] = [(tree, tree, None, {})]
    while stack:
        node, function, owner, arms = stack.pop()
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and id(node.value) in calls:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                place, name = _target(target, function, owner)
                if place is not None:
                    scope = found.setdefault((id(place), place is owner), _Scope(place, place is owner))
                    scope.made.append(_Made(name, target, arms))
        for part, child in _children(node):
            inner = dict(arms) | {id(node): part} if part else arms
            if isinstance(node, _Function):
                stack.append((child, node, owner, {}))
            elif isinstance(node, ast.ClassDef):
                stack.append((child, node, node if _plain(node) else None, {}))
            else:
                stack.append((child, function, owner, inner))
    for scope in found.values():
        scope.made.sort(key=lambda m: getattr(m.node, "lineno", 0))
    return sorted(found.values(), key=lambda s: getattr(s.node, "lineno", 0))


def _target(target: ast.expr, function: ast.AST, owner: ast.ClassDef | None) -> tuple[ast.AST | None, str]:
    match target:
        case ast.Name(id=name) if not isinstance(function, ast.ClassDef):
            return function, name
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return owner, name
    return None, ""


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The statements in a node, and the arm of it that each is in."""
    for name in ("body", "orelse", "handlers", "cases", "finalbody"):
        listed = getattr(node, name, ())
        for i, child in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(node, (ast.If, ast.Try)) and name != "finalbody":
                yield ("body" if name == "orelse" and isinstance(node, ast.Try) else name), child
            elif isinstance(node, ast.Match):
                yield f"{name} {i}", child
            else:
                yield "", child


def _plain(node: ast.ClassDef) -> bool:
    """Whether nothing outside of the class can step its optimizers by their names: it has no bases that may."""
    return all(ast.unparse(b).partition("[")[0].rpartition(".")[2] in _PLAIN_BASES for b in node.bases)


# What is done to them


def _uses(tree: ast.AST, names: list[str], attributes: bool) -> tuple[dict[str, _Uses], bool]:
    """What is done to each, and whether gradients are zeroed in some other way."""
    parents: dict[ast.AST, ast.AST] = {}
    places: list[tuple[str, ast.AST]] = []
    uses = {name: _Uses() for name in names}
    elsewhere = False
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            parents[child] = node
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if not attributes and name in uses:
                places.append((name, node))
            case ast.Attribute(attr=name, ctx=ast.Load()) if attributes and name in uses:
                places.append((name, node))
            case ast.Attribute(value=of, attr="zero_grad"):
                elsewhere = elsewhere or _called(of, attributes) not in uses
            case ast.Attribute(attr="grad", ctx=ast.Store()) | ast.Attribute(attr="zero_"):
                elsewhere = True
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "vars" | "locals" | "globals")):
                for own in uses.values():
                    own.away = own.away or _any_name(node, attributes)
    for name, node in places:
        _use(uses[name], node, parents)
    return uses, elsewhere


def _called(node: ast.expr, attributes: bool) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr if attributes else ""
    return node.id if isinstance(node, ast.Name) and not attributes else ""


def _any_name(node: ast.Call, attributes: bool) -> bool:
    """Whether a call may reach an optimizer by a name that is made up."""
    if isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr"):
        of_self = bool(node.args) and isinstance(node.args[0], ast.Name) and node.args[0].id == "self"
        return attributes and of_self and not (len(node.args) > 1 and isinstance(node.args[1], ast.Constant))
    return not attributes


def _use(uses: _Uses, node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> None:
    uses.seen = True
    parent = parents.get(node)
    match parent:
        case ast.Attribute(attr=attr):
            above = parents.get(parent)
            if attr in _HARMLESS:
                return
            if attr in _METHODS and isinstance(above, ast.Call) and above.func is parent:
                if attr == "load_state_dict" and any("state_dict" in ast.unparse(a) for a in above.args):
                    uses.away = True  # a copy of another one
                if attr == "state_dict" and _copied(above, parents):
                    uses.away = True
                uses.deeds[_METHODS[attr]] = max(parent.lineno, uses.deeds.get(_METHODS[attr], 0))
                return
        case ast.Call() | ast.keyword() if (call := _call(parent, parents)) is not None:
            func = call.func
            last = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if last == "step":
                uses.deeds["step"] = max(call.lineno, uses.deeds.get("step", 0))
                return
            if last in _LOOKS or _SCHEDULES.search(last):
                return
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp() | ast.If() | ast.IfExp() | ast.Assert() | ast.While():
            if _tested(node, parents):
                return
        case ast.Delete() | ast.FormattedValue() | ast.Expr():
            return
    uses.away = True


def _call(parent: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> ast.Call | None:
    above = parents.get(parent) if isinstance(parent, ast.keyword) else parent
    return above if isinstance(above, ast.Call) else None


def _copied(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    above = parents.get(node)
    while isinstance(above, (ast.Call, ast.Attribute)):
        if (
            isinstance(above, ast.Call)
            and isinstance(above.func, ast.Attribute)
            and above.func.attr == "load_state_dict"
        ):
            return True
        above = parents.get(above)
    return False


def _tested(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Whether it is only asked whether there is an optimizer."""
    above = parents.get(node)
    while isinstance(above, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        node, above = above, parents.get(above)
    return isinstance(above, (ast.If, ast.IfExp, ast.Assert, ast.While)) and above.test is node
