"""Finds where a script makes an optimizer of a whole model's parameters. Reads the source, runs nothing."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Iterator

from paramlint.errors import ParamlintError
from paramlint.knowledge import Knowledge
from paramlint.record import dataclass
from paramlint.source.class_facts import TORCH as TORCH
from paramlint.source.imports import Imports, read
from paramlint.source.imports import imported as imported

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_CHANGES = ("append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault")


@dataclass(frozen=True)
class Construction:
    """A call of an optimizer's class.

    `optimizer` is the class's qualified name, `torch.optim.AdamW` wherever torch defines it. `model` is the source of
    the expression whose `.parameters()` the call takes, None where it takes anything else; `through` the variable that
    they came by. `statement` has the first and last line of the statement around it, `scopes` the functions and the
    module around that, innermost first. Lines count from 1.
    """

    call: ast.Call
    optimizer: str
    given: str
    model: str | None
    through: str
    statement: tuple[int, int]
    scopes: tuple[ast.AST, ...]

    @property
    def line(self) -> int:
        return self.call.lineno

    def covers(self, line: int) -> bool:
        return self.line <= line <= (self.call.end_lineno or self.line)


def parse(source: str, path: str) -> ast.Module:
    """
    Raises:
        ParamlintError: it is not Python; with the line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the script's own: invalid escapes and the like
            return ast.parse(source, path)
    except SyntaxError as e:
        raise ParamlintError(f"not Python: {e.msg}", where=f"{path}:{e.lineno or 1}") from None
    except (ValueError, RecursionError) as e:
        raise ParamlintError(f"not Python: {e}", where=path) from None


def find(tree: ast.Module, source: str, path: str, line: int | None, known: Knowledge) -> Construction:
    """The construction over a whole model that covers the line, or the only one.

    Raises:
        ParamlintError: there is none, or there are several; with their lines.
    """
    found = constructions(tree, source, known)
    whole = [c for c in found if c.model is not None]
    if line is not None:
        here = [c for c in found if c.covers(line)]
        here = here or [c for c in found if c.statement[0] <= line <= c.statement[1]]
        if not here:
            raise ParamlintError(
                "no optimizer is made here", where=f"{path}:{line}", hint=f"there is {_places(path, found)}"
            )
        whole = [c for c in here if c.model is not None]
        if not whole:
            raise _grouped(path, here)
    if len(whole) == 1:
        return whole[0]
    if whole:
        lines = list(dict.fromkeys(c.line for c in whole))
        say = f"say which with {path}:LINE" if len(lines) > 1 and line is None else "give each a line of its own"
        raise ParamlintError(f"{', '.join(f'{path}:{n}' for n in lines)}: {say}")
    if found:
        raise _grouped(path, found)
    raise ParamlintError(
        "no optimizer is made here of a model's parameters",
        where=path,
        hint="looked for calls such as torch.optim.AdamW(model.parameters(), ...)",
    )


def constructions(tree: ast.Module, source: str, known: Knowledge) -> list[Construction]:
    """Every call of an optimizer's class, in the order of their lines."""
    classes = _classes(known)
    imports = read(tree)
    found = []
    for call, statement, scopes in _calls(tree):
        optimizer = _optimizer(call.func, imports, classes)
        argument = parameters(call)
        if optimizer is None or argument is None:
            continue
        given, through = argument, ""
        if isinstance(argument, ast.Name) and (value := _value(argument.id, scopes)) is not None:
            given, through = value, argument.id
        model = _whole(given)
        lines = (statement.lineno, statement.end_lineno or statement.lineno)
        text = None if model is None else ast.get_source_segment(source, model)
        shown = " ".join((ast.get_source_segment(source, argument) or "").split())
        found.append(Construction(call, optimizer, shown, text, through if text else "", lines, scopes))
    return sorted(found, key=lambda c: (c.line, c.call.col_offset))


def parameters(call: ast.Call) -> ast.expr | None:
    """What an optimizer is given as its parameters: its first argument, or `params=`."""
    if call.args:
        return None if isinstance(call.args[0], ast.Starred) else call.args[0]
    return next((k.value for k in call.keywords if k.arg == "params"), None)


def keys(node: ast.expr, scopes: tuple[ast.AST, ...]) -> set[str] | None:
    """The keys that a dict may have, None where they cannot be told."""
    match node:
        case ast.Dict():
            said = [k.value if isinstance(k, ast.Constant) else None for k in node.keys]
            return {k for k in said if isinstance(k, str)} if all(isinstance(k, str) for k in said) else None
        case ast.Call(func=ast.Name(id="dict"), args=[]):
            named = [k.arg for k in node.keywords]
            return {k for k in named if k} if all(named) else None
        case ast.IfExp():
            one, other = keys(node.body, scopes), keys(node.orelse, scopes)
            return None if one is None or other is None else one | other
        case ast.Name() if (value := _value(node.id, scopes)) is not None:
            return keys(value, scopes)
    return None


def _classes(known: Knowledge) -> dict[str, str]:
    """The qualified names of all optimizers that are known, and the name that each goes by."""
    classes = {n: n for p in known.profiles.values() for n in (*p.imports, *p.classes)}
    for name in TORCH:
        canonical = f"torch.optim.{name}"
        classes |= {canonical: canonical, f"torch.optim.{name.lower()}.{name}": canonical}
    return classes


def _optimizer(func: ast.expr, imports: Imports, classes: dict[str, str]) -> str | None:
    return next((classes[n] for n in imports.qualified(func) if n in classes), None)


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.stmt, tuple[ast.AST, ...]]]:
    """Every call, with the innermost statement and the scopes around it, innermost first. A class is no scope."""
    stack: list[tuple[ast.AST, ast.stmt | None, tuple[ast.AST, ...]]] = [(tree, None, (tree,))]
    while stack:
        node, statement, scopes = stack.pop()
        if isinstance(node, ast.Call) and statement is not None:
            yield node, statement, scopes
        inner = (node, *scopes) if isinstance(node, _SCOPES) else scopes
        for child in ast.iter_child_nodes(node):
            stack.append((child, child if isinstance(child, ast.stmt) else statement, inner))


def _value(name: str, scopes: Collection[ast.AST]) -> ast.expr | None:
    """What a variable holds, where it is assigned in one place and never changed."""
    for scope in scopes:
        nodes = list(_own_nodes(scope))
        stores = [n for n in nodes if isinstance(n, ast.Name) and n.id == name and not isinstance(n.ctx, ast.Load)]
        if any(isinstance(n, ast.arg) and n.arg == name for n in nodes):
            return None
        if not stores:
            continue
        changed = any(_changes(n, name) for n in nodes)
        if len(stores) > 1 or changed:
            return None
        for n in nodes:
            if isinstance(n, ast.Assign) and len(n.targets) == 1 and n.targets[0] is stores[0]:
                return n.value
            if isinstance(n, ast.AnnAssign) and n.target is stores[0]:
                return n.value
        return None
    return None


def _changes(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=held), attr=attr):
            return held == name and attr in _CHANGES
        case ast.Subscript(value=ast.Name(id=held), ctx=ast.Store() | ast.Del()):
            return held == name
    return False


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the functions and classes inside it."""
    stack = list(ast.iter_child_nodes(scope))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*_SCOPES, ast.ClassDef)):
            stack.extend(ast.iter_child_nodes(node))


def _whole(node: ast.expr) -> ast.expr | None:
    """The model all of whose trainable parameters an expression yields, or None."""
    match node:
        case ast.Call(func=ast.Attribute(value=model, attr="parameters" | "named_parameters"), args=[], keywords=[]):
            return model
        case ast.Call(func=ast.Name(id="list" | "tuple" | "iter"), args=[inner], keywords=[]):
            return _whole(inner)
        case ast.Call(func=ast.Name(id="filter"), args=[ast.Lambda(args=given, body=test), inner], keywords=[]):
            taken = given.args[0].arg if given.args else ""
            return _whole(inner) if _trains(test, taken) else None
        case ast.List(elts=[ast.Starred(value=inner)]) | ast.Tuple(elts=[ast.Starred(value=inner)]):
            return _whole(inner)
        case ast.ListComp(elt=element, generators=[one]) | ast.GeneratorExp(elt=element, generators=[one]):
            return _comprehended(element, one)
    return None


def _comprehended(element: ast.expr, one: ast.comprehension) -> ast.expr | None:
    """`p for p in model.parameters() if p.requires_grad`, by name too."""
    match one.target:
        case ast.Name(id=taken) | ast.Tuple(elts=[ast.Name(), ast.Name(id=taken)]):
            bare = isinstance(element, ast.Name) and element.id == taken
            same = ast.unparse(element) == ast.unparse(one.target)
            if (bare or same) and all(_trains(test, taken) for test in one.ifs):
                return _whole(one.iter)
    return None


def _trains(test: ast.expr, taken: str) -> bool:
    match test:
        case ast.Attribute(value=ast.Name(id=name), attr="requires_grad"):
            return name == taken
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[ast.Constant(value=True)]):
            return _trains(left, taken)
    return False


def _grouped(path: str, found: list[Construction]) -> ParamlintError:
    first = found[0]
    lines = ", ".join(dict.fromkeys(f"{path}:{c.line}" for c in found))
    given = first.given if len(first.given) <= 60 else f"{first.given[:57]}..."
    return ParamlintError(
        f"{first.optimizer.rpartition('.')[2]} is not given a whole model's parameters here, but {given}"
        if len(found) == 1
        else "no optimizer is given a whole model's parameters here",
        where=lines,
        hint="only model.parameters() and what filters it by requires_grad is replaced by groups",
    )


def _places(path: str, found: list[Construction]) -> str:
    return ", ".join(dict.fromkeys(f"{path}:{c.line}" for c in found)) or "none in this file"
