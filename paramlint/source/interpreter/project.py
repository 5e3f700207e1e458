"""The files of a project, found by the names that import them. They are parsed when something in them is wanted."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from paramlint.source import imports
from paramlint.source.imports import Imports
from paramlint.source.interpreter import disk
from paramlint.source.interpreter.values import Class, Function, Known, Scope, Value
from paramlint.source.statements import every
from paramlint.source.terms import Span, Term

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader

#: Where a search for the root of a project ends, upwards.
_ROOTS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
_HIGHEST = 6
#: How many files are opened for one that is read, and how many characters they may have together.
_FILES = 60
_TOGETHER = 1_000_000
_CALLED = ("optim", "param_group", "params_group", "parameter_group", "_groups")
_GROUPING = frozenset({"parameters", "named_parameters", "param_groups", "add_param_group"})
#: How many files of a project are searched for callers, and folders that hold none of its own.
_LOOKED_AT = 400
_NOT_OURS = frozenset({"node_modules", "venv", "env", "build", "dist", "site-packages", "tests"})


class File:
    """One module, parsed. `path` is what reports call it, `place` where it lies, None for text without a file."""

    def __init__(self, path: str, text: str, tree: ast.Module, place: Path | None = None) -> None:
        self.path = path
        self.text = text
        self.tree = tree
        self.place = place

    @cached_property
    def lines(self) -> list[str]:
        # As the parser counts: form feeds and the like do not end a line.
        return self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def span(self, node: ast.AST) -> Span:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        end = getattr(node, "end_lineno", None) or line
        last = getattr(node, "end_col_offset", None)
        return Span(
            self.path,
            line,
            self._characters(line, column) + 1,
            end,
            self._characters(end, column if last is None else last) + 1,
        )

    def text_of(self, node: ast.AST) -> str:
        """The source of a node, in one line."""
        line, end = getattr(node, "lineno", 0), getattr(node, "end_lineno", None)
        if not line or not end or end > len(self.lines):
            return ast.unparse(node)
        first, last = self._characters(line, node.col_offset), self._characters(end, node.end_col_offset)  # type: ignore[attr-defined]
        if line == end:
            return self.lines[line - 1][first:last]
        return ast.unparse(node)

    def qualified(self, name: str) -> str:
        """The name of something that this file defines."""
        return f"{Path(self.path).stem}.{name}"

    def _characters(self, line: int, column: int) -> int:
        if not 0 < line <= len(self.lines):
            return column
        text = self.lines[line - 1]
        return column if text.isascii() else len(text.encode()[:column].decode(errors="replace"))

    @cached_property
    def imports(self) -> Imports:
        return imports.read(self.tree)

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """What the module defines at its top, by name; the last one counts."""
        found: dict[str, ast.stmt] = {}
        for node in top(self.tree.body):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found[node.name] = node
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        found[target.id] = node
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = node
        return found


def concerns(node: ast.AST) -> bool:
    """Whether code may make groups or optimizers: it asks a module for parameters, or calls something of that name."""
    for n in every(node):
        if isinstance(n, ast.Attribute) and n.attr in _GROUPING:
            return True
        if isinstance(n, ast.Call):
            name = (
                n.func.attr if isinstance(n.func, ast.Attribute) else n.func.id if isinstance(n.func, ast.Name) else ""
            )
            if any(word in name.lower() for word in _CALLED) or name.endswith(("Muon", "AdamW", "Adam", "SGD")):
                return True
            if any(k.arg == "params" for k in n.keywords):
                return True
        if isinstance(n, ast.Constant) and n.value == "params":
            return True
    return False


def top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those in its branches among them."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from top(node.body)
            for handler in getattr(node, "handlers", []):
                yield from top(handler.body)
            yield from top(getattr(node, "orelse", []))


class Project:
    """Finds modules: beside the file that imports them, and in the folders above it up to the project's root."""

    def __init__(self) -> None:
        self._files: dict[Path, File | None] = {}
        self._scopes: dict[int, Scope] = {}
        self._reading: set[tuple[int, str]] = set()
        self._modules: dict[tuple[str, Path], File | None] = {}
        #: The optimizers that are known, by qualified name, once they have been asked for.
        self.optimizers: dict[str, tuple[str, str | None]] | None = None
        #: The classes of objects that were made, where these are the project's modules.
        self.instances: dict[Term, Class] = {}
        #: What was found out of functions: whether they are worth following, what they name children of modules, and
        #: whether they are generators; and of loops, by the first statement in them: the names that they set.
        self.matters: dict[ast.AST, bool] = {}
        self.children: dict[ast.AST, frozenset[str]] = {}
        self.yields: dict[ast.AST, bool] = {}
        self.stored: dict[ast.stmt, list[str]] = {}
        #: How much was read so far, of all entries.
        self.steps = 0
        self._disk = disk.current()
        self._opened = 0

    def add(self, file: File) -> None:
        if file.place is not None:
            self._files[file.place] = file

    def callers(self, file: File, name: str) -> Iterator[File]:
        """Other files of the project that call a function of this name."""
        if file.place is None:
            return
        call = name.encode() + b"("
        for place in self._disk.below(_above(file.place.parent)[-1], _sources):
            if place != file.place and self._disk.has(place, call):
                other = self.open(place)
                if other is not None:
                    yield other

    def scope(self, file: File) -> Scope:
        """The names of a module. What they hold is read when it is looked up."""
        if id(file) not in self._scopes:
            self._scopes[id(file)] = Scope(file)
        return self._scopes[id(file)]

    def open(self, place: Path) -> File | None:
        if place not in self._files:
            self._files[place] = None
            if len(self._files) <= _FILES and self._opened <= _TOGETHER:
                file = self._files[place] = self._disk.parsed(place, _parsed)
                self._opened += len(file.text) if file is not None else 0
        return self._files[place]

    def module(self, name: str, origin: Path | None) -> File | None:
        """The file of a module, by the name that a file imports it by; None where it is not the project's."""
        if origin is None:
            return None
        key = name, origin.parent
        if key not in self._modules:
            self._modules[key] = self._found(name, origin)
        return self._modules[key]

    def _found(self, name: str, origin: Path) -> File | None:
        dots = len(name) - len(name.lstrip("."))
        parts = [p for p in name.lstrip(".").split(".") if p]
        if dots:
            starts = [origin.parents[dots - 1]] if dots <= len(origin.parents) else []
        else:
            starts = list(_folders(origin.parent))
        for start in starts:
            if parts and not dots and parts[0] not in self._disk.names(start):
                continue
            base = start.joinpath(*parts)
            for candidate in (base.with_suffix(".py") if parts else None, base / "__init__.py"):
                if candidate is not None and _is_file(candidate):
                    return self.open(candidate)
        return None

    def member(self, known: Known, r: Reader) -> Value | None:
        """What a qualified name stands for, where the project defines it."""
        module, _, name = known.name.rpartition(".")
        if not module.strip(".") and not module.startswith("."):
            return None
        origin = _place(known.origin)
        file = self.module(module, origin)
        if file is None:
            return None
        return self.named(file, name, r)

    def named(self, file: File, name: str, r: Reader) -> Value | None:
        """What a name of a module holds: functions, classes, constants, and what it imports itself."""
        scope = self.scope(file)
        if name in scope.names:
            return scope.names[name]
        node = file.definitions.get(name)
        if node is None or (id(file), name) in self._reading:
            return None
        self._reading.add((id(file), name))
        try:
            value = self._read(file, scope, node, name, r)
        finally:
            self._reading.discard((id(file), name))
        if value is not None:
            scope.names[name] = value
        return value

    def _read(self, file: File, scope: Scope, node: ast.stmt, name: str, r: Reader) -> Value | None:
        from paramlint.source.interpreter.reader import Frame

        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return Function(node, scope)
        if isinstance(node, ast.ClassDef):
            return Class(node, scope, file.qualified(name))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    if isinstance(node, ast.Import):
                        return Known(alias.name if alias.asname else name, str(file.place or ""))
                    module = "." * node.level + (node.module or "")
                    dot = "" if module.endswith(".") else "."
                    known = Known(f"{module}{dot}{alias.name}", str(file.place or ""))
                    return self.member(known, r) or known
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and _constant(node.value):
            if isinstance(node.value, ast.Constant):
                scope.settings.add(name)
            with r.inside(file, scope, Frame(None)):
                return r.value(node.value)
        return None

    def exported(self, module: str, file: File, r: Reader) -> Iterator[tuple[str, Value]]:
        """What `from module import *` brings."""
        other = self.module(module, file.place)
        for name in other.definitions if other is not None else ():
            if other is not None and not name.startswith("_") and (value := self.named(other, name, r)) is not None:
                yield name, value
        if other is None and not module.startswith("."):
            for name in ("Muon", "AdamW", "Adam", "SGD", "SingleDeviceMuonWithAuxAdam", "MuonWithAuxAdam"):
                yield name, Known(f"{module}.{name}", file.path)


def _constant(node: ast.expr) -> bool:
    """Whether an expression is made of constants, names and the collections and operators over them."""
    allowed = (
        *(ast.Constant, ast.Name, ast.Attribute, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.BinOp, ast.operator),
        *(ast.expr_context, ast.Starred, ast.UnaryOp, ast.unaryop),
    )
    calls = {"set", "frozenset", "tuple", "list", "dict"}
    for n in every(node):
        if isinstance(n, ast.Call):
            if not (isinstance(n.func, ast.Name) and n.func.id in calls):
                return False
        elif not isinstance(n, (*allowed, ast.keyword)):
            return False
    return True


@cache
def _place(path: str) -> Path | None:
    return Path(path).absolute() if path and path != "-" else None


@cache
def _folders(folder: Path) -> tuple[Path, ...]:
    """Where an absolute import may start: the file's folder and those above, to the root of the project."""
    found: list[Path] = []
    for above in _above(folder):
        found += [above, above / "src"]
    return tuple(f for f in found if f.is_dir())


@cache
def _above(folder: Path) -> tuple[Path, ...]:
    """A folder and those above it, to the one that looks like a project's root; without one, as long as there is
    Python in them."""
    found: list[Path] = []
    for above in (folder, *folder.parents)[:_HIGHEST]:
        found.append(above)
        if any((above / mark).exists() for mark in _ROOTS):
            return tuple(found)
    return tuple(takewhile(_has_python, found)) or (folder,)


def _has_python(folder: Path) -> bool:
    try:
        return any(p.suffix == ".py" for p in folder.iterdir())
    except OSError:
        return False


def _sources(root: Path) -> tuple[Path, ...]:
    """The Python files below a folder that are searched for callers, in a stable order."""
    return tuple(islice(_below(root), _LOOKED_AT))


def _below(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")) and f not in _NOT_OURS)
        yield from (Path(folder, n) for n in sorted(names) if n.endswith(".py"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


#: A file without any of these words builds no groups. Small ones are read all the same: they may hold constants.
_WORDS = re.compile(rb"[pP]arameters|param_group|params|[oO]ptim|[mM]uon|Adam|SGD")
_SMALL = 6_000


def _parsed(place: Path, data: bytes) -> File | None:
    if len(data) > _SMALL and not _WORDS.search(data):
        return None
    try:
        text = data.decode("utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return File(str(place), text, ast.parse(text), place)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
