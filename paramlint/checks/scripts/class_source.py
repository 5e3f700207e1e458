"""The source of an optimizer's class, where the project has it: what it takes, what it insists on, how it scales lr."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property, lru_cache

from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.nodes import nodes
from paramlint.profile import LrScale, Profile
from paramlint.record import dataclass
from paramlint.source.interpreter.project import File, Project, top
from paramlint.source.reaching import methods, reached
from paramlint.source.script import Construction

_DEEPEST = 4


@dataclass(frozen=True, eq=False)
class ClassSource:
    """A class of the project and the file that it stands in."""

    file: File
    node: ast.ClassDef

    @cached_property
    def lineage(self) -> tuple[ast.ClassDef, ...]:
        """The class and its bases in the same file, nearest first."""
        found = [self.node]
        for node in found:
            for base in node.bases:
                here = self.file.definitions.get(base.id) if isinstance(base, ast.Name) else None
                if isinstance(here, ast.ClassDef) and here not in found:
                    found.append(here)
        return tuple(found)

    @cached_property
    def init(self) -> ast.FunctionDef | None:
        return next((m["__init__"] for c in self.lineage if "__init__" in (m := methods(c))), None)

    @cached_property
    def takes(self) -> frozenset[str] | None:
        """The names of the arguments that its constructor takes; None where it may take others too."""
        if self.init is None or self.init.args.kwarg or self.init.decorator_list:
            return None
        if any(c.decorator_list or c.keywords or "__new__" in methods(c) for c in self.lineage):
            return None
        if any(m.name == "__init__" for m in ast.walk(self.node) if isinstance(m, ast.FunctionDef) and m != self.init):
            return None
        args = self.init.args
        return frozenset(a.arg for a in (*args.args[1:], *args.kwonlyargs))

    def insists(self, key: str) -> bool:
        """Whether its constructor fails for a group without this key: by an assertion, or a test that raises."""
        for node in ast.walk(self.init) if self.init is not None else ():
            match node:
                case ast.Assert(test=test) if _has(test, key, ast.In):
                    return True
                case ast.If(test=test, body=[ast.Raise(), *_]) if _has(test, key, ast.NotIn):
                    return True
        return False

    @cached_property
    def key_sets(self) -> tuple[frozenset[str], ...]:
        """The sets that its constructor asserts a group's keys to be equal to."""
        found = []
        for node in ast.walk(self.init) if self.init is not None else ():
            match node:
                case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
                    for keys, written in ((left, right), (right, left)):
                        names = _strings(written)
                        if names is not None and any(_keys(n) for n in ast.walk(keys)):
                            found.append(names)
        return tuple(found)

    @cached_property
    def lr_scale(self) -> LrScale | None:
        """The factor on lr that its step has, where there is one way only to read it: kj, rms, or None."""
        functions = {n.name: n for n in top(self.file.tree.body) if isinstance(n, ast.FunctionDef)}
        own: dict[str, ast.FunctionDef] = {}
        for node in self.lineage:
            own = methods(node) | own
        if "step" not in own:
            return None
        found: set[LrScale] = set()
        for function in reached(own["step"], own, functions):
            for n in ast.walk(function):
                match n:
                    case ast.Call(func=ast.Name(id="max"), args=[one, other]):
                        found.add("kj" if _ratio(one, other) or _ratio(other, one) else "sqrt-max")
                    case ast.Constant(value=0.2):
                        found.add("rms")
                    case ast.Compare(left=ast.Name() | ast.Subscript() | ast.Attribute(), ops=[ast.Eq()]) if any(
                        "adjust" in w or "scale" in w for w in _words(n)
                    ):
                        return None  # the script chooses
        if found == {"kj"}:
            return "kj"
        return "rms" if found == {"rms", "sqrt-max"} else None


def described(ctx: ScriptContext, c: Construction) -> Profile | None:
    """The profile of the very class that is made: not of one that looks like it, nor of one that it derives from."""
    profile = ctx.profile(c)
    if c.made is None or c.made.assumed or profile is None:
        return None
    return profile if c.made.name in (*profile.imports, *profile.classes) else None


def of_construction(ctx: ScriptContext, c: Construction) -> ClassSource | None:
    """The class that a call in this file makes an instance of, where it is the project's and only one class can be
    meant."""
    call = nodes(ctx.file).call(c.span) if c.made is not None and ctx.here(c.span) else None
    if call is None or c.made is None:
        return None
    imported = ctx.file.imports.qualified(call.func)
    if isinstance(call.func, ast.Name) and not imported:
        return _defined(ctx.file, call.func.id)
    if len(imported) != 1 or (isinstance(call.func, ast.Name) and _defined(ctx.file, call.func.id) is not None):
        return None
    found = _followed(_project(ctx.file), ctx.file, imported[0], 0)
    return found if found is not None and found.node.name == c.made.name.rpartition(".")[2] else None


@lru_cache(maxsize=2)
def _project(file: File) -> Project:
    """The files that are opened for one that is looked at."""
    return Project()


def _followed(project: Project, file: File, name: str, depth: int) -> ClassSource | None:
    """The class of a qualified name, through modules that only pass it on."""
    module, _, last = name.rpartition(".")
    if name.startswith(".") and not module.strip("."):
        module = name[: len(name) - len(last)]
    inner = project.module(module, file.place) if module else None
    if inner is None or depth > _DEEPEST:
        return None
    here = _defined(inner, last)
    if here is not None:
        return here
    further = inner.imports.names.get(last, frozenset())
    return _followed(project, inner, next(iter(further)), depth + 1) if len(further) == 1 else None


def _defined(file: File, name: str) -> ClassSource | None:
    found = [n for n in top(file.tree.body) if name in _bound(n)]
    return ClassSource(file, found[0]) if len(found) == 1 and isinstance(found[0], ast.ClassDef) else None


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a file gives a meaning."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (a.asname or a.name for a in names)
        case ast.Assign(targets=targets):
            yield from (t.id for t in targets if isinstance(t, ast.Name))


def _has(test: ast.expr, key: str, kind: type[ast.cmpop]) -> bool:
    match test:
        case ast.Compare(left=ast.Constant(value=value), ops=[op]):
            return value == key and isinstance(op, kind)
        case ast.BoolOp(op=ast.And(), values=parts):
            return kind is ast.In and any(_has(p, key, kind) for p in parts)
        case ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp(elt=inner)]):
            return kind is ast.In and _has(inner, key, kind)
    return False


def _strings(node: ast.expr) -> frozenset[str] | None:
    """A set of strings that is written down: a display, or `set([...])`."""
    match node:
        case ast.Call(func=ast.Name(id="set" | "frozenset" | "sorted"), args=[inner]):
            return _strings(inner)
        case ast.Set(elts=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            texts = [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]
            return frozenset(texts) if texts and len(texts) == len(parts) else None
    return None


def _keys(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "keys"


def _ratio(one: ast.expr, other: ast.expr) -> bool:
    """`max(1, rows / columns)`."""
    return (
        isinstance(one, ast.Constant)
        and one.value == 1
        and isinstance(other, ast.BinOp)
        and isinstance(other.op, ast.Div)
    )


def _words(node: ast.AST) -> Iterator[str]:
    for n in ast.walk(node):
        text = getattr(n, "id", None) or getattr(n, "attr", None) or getattr(n, "value", None)
        if isinstance(text, str):
            yield text
