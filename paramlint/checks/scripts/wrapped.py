"""PML511: tests of how a name begins, or what it is, where the script wraps the model first."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.scripts.asked import deciding, is_whole
from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding
from paramlint.record import dataclass
from paramlint.source.imports import dotted
from paramlint.source.script import Needle

#: What wraps a model, by the end of the name of the call, and what it puts before the names of its parameters.
_WRAPPERS = {
    "torch.compile": "_orig_mod.",
    "DistributedDataParallel": "module.",
    "DDP": "module.",
    "DataParallel": "module.",
    "FullyShardedDataParallel": "_fsdp_wrapped_module.",
    "FSDP": "_fsdp_wrapped_module.",
}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True)
class _Wrapped:
    """`name = torch.compile(...)`: where, and what names begin with from there on."""

    name: str
    line: int
    prefix: str


@dataclass(frozen=True)
class _Body:
    """A function, or the file itself: what it wraps, the expressions whose parameters it walks, and its calls."""

    node: ast.AST
    wraps: tuple[_Wrapped, ...]
    walks: tuple[tuple[str, int], ...]
    calls: tuple[ast.Call, ...]


def check(ctx: ScriptContext) -> Iterator[Finding]:
    """PML511."""
    needles = [
        n
        for read in ctx.reads
        for n in deciding(read)
        if n.op in ("==", "method:startswith") and is_whole(n.within) and ctx.here(n.span)
    ]
    bodies = list(_bodies(ctx.file.tree)) if needles else []
    if not any(body.wraps for body in bodies):
        return
    for body in bodies:
        by = _around(body, bodies)
        if by is None or any(text.startswith(by.prefix) for text in _texts(ctx.file.tree)):
            continue  # not wrapped, or the script knows of the prefix
        start, end = getattr(body.node, "lineno", 1), getattr(body.node, "end_lineno", None) or len(ctx.file.lines)
        inner = [b for b in bodies if b is not body and start < getattr(b.node, "lineno", 0) <= end]
        first = next((n for n in needles if start <= n.span.line <= end and not any(_holds(b, n) for b in inner)), None)
        if first is not None:
            yield ctx.finding(
                "PML511",
                first.span,
                f"line {by.line} wraps `{by.name}`: its names begin with {by.prefix!r} then, and {first.text!r} is not "
                "found at their start",
                "build the groups before the model is wrapped, or take the prefix off the names",
            )


def _holds(body: _Body, needle: Needle) -> bool:
    first, last = getattr(body.node, "lineno", 0), getattr(body.node, "end_lineno", None) or 0
    return bool(body.walks) and first <= needle.span.line <= last


def _bodies(tree: ast.Module) -> Iterator[_Body]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)):
            own = list(_own(node))
            calls = tuple(n for n in own if isinstance(n, ast.Call))
            walked = (c.func for c in calls if isinstance(c.func, ast.Attribute))
            named = [f for f in walked if f.attr == "named_parameters"]
            yield _Body(
                node,
                tuple(w for n in own if isinstance(n, ast.Assign) for w in _wraps(n)),
                tuple((ast.unparse(f.value), f.lineno) for f in named),
                calls,
            )


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, but not in those inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _FUNCTIONS):
            yield child
            yield from _own(child)


def _wraps(node: ast.Assign) -> Iterator[_Wrapped]:
    call = node.value
    name = (dotted(call.func) or "") if isinstance(call, ast.Call) else ""
    prefix = _WRAPPERS.get(name) or _WRAPPERS.get(name.rpartition(".")[2])
    if prefix is not None and isinstance(node.targets[0], (ast.Name, ast.Attribute)):
        yield _Wrapped(ast.unparse(node.targets[0]), node.lineno, prefix)


def _around(body: _Body, bodies: list[_Body]) -> _Wrapped | None:
    """What wraps the model whose parameters a function walks before it does so: in the function, or in one that gives
    it the model."""
    walked = {name for name, _ in body.walks}
    if len(walked) != 1:
        return None
    name, line = next(iter(walked)), min(line for _, line in body.walks)
    for by in body.wraps:
        if by.name == name and by.line < line:
            return by
    given = getattr(body.node, "args", None)
    position = [a.arg for a in given.args].index(name) if given and name in [a.arg for a in given.args] else None
    if position is None or not isinstance(body.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    for other in bodies:
        for call in other.calls:
            if isinstance(call.func, ast.Name) and call.func.id == body.node.name:
                passed = [k.value for k in call.keywords if k.arg == name] or call.args[position : position + 1]
                text = ast.unparse(passed[0]) if passed else ""
                for by in other.wraps:
                    if by.name == text and by.line < call.lineno:
                        return by
    return None


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
