"""Puts the definitions of a generated module into a script: what is needed of them, under names that are free there."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import libcst as cst

from paramlint.codegen.find_optimizer import imported
from paramlint.errors import ParamlintError


@dataclass(frozen=True)
class Function:
    """A generated function of a model: its keyword arguments with the source of their defaults, what it returns, and
    the name of the argument that takes further ones ("" where there is none)."""

    defaults: Mapping[str, str]
    returns: str
    more: str = ""


class Module:
    """The text of a generated module, taken apart."""

    def __init__(self, text: str) -> None:
        self.text, self.tree = text, ast.parse(text)
        self._defining = {name: s for s in self.tree.body for name in _defined(s)}

    def function(self, name: str, profile: str) -> Function:
        """
        Raises:
            ParamlintError: the module has no function of that name that takes a model and nothing else it must have.
        """
        node = self._defining.get(name)
        if not isinstance(node, ast.FunctionDef) or len(node.args.args) != 1 or None in node.args.kw_defaults:
            raise ParamlintError(
                f"what is written for {profile} makes no optimizer by itself, so none can be replaced in place",
                hint="write a module with --output-file",
            )
        keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        defaults = {a.arg: ast.get_source_segment(self.text, v) or "" for a, v in keywords if v is not None}
        more = node.args.kwarg.arg if node.args.kwarg else ""
        return Function(defaults, ast.unparse(node.returns) if node.returns else "", more)

    def defines(self, name: str) -> bool:
        return name in self._defining

    def needed(self, names: Iterable[str]) -> list[ast.stmt]:
        """The statements that define names, and all that those use, in order; not the imports."""
        chosen: set[ast.stmt] = set()
        open = [self._defining[name] for name in names]
        while open:
            statement = open.pop()
            if statement not in chosen and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                chosen.add(statement)
                open += [self._defining[name] for name in _used(statement) if name in self._defining]
        return [s for s in self.tree.body if s in chosen]

    def imports(self) -> list[ast.Import | ast.ImportFrom]:
        found = [s for s in self.tree.body if isinstance(s, (ast.Import, ast.ImportFrom))]
        return [s for s in found if not isinstance(s, ast.ImportFrom) or s.module != "__future__"]


class Script:
    """What a script binds, and where. `index` is that of the top-level statement that definitions are put before."""

    def __init__(self, source: str, tree: ast.Module, index: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = symtable.symtable(source, "script", "exec")
        before = ast.Module([s for s in tree.body[:index] if isinstance(s, (ast.Import, ast.ImportFrom))], [])
        anywhere, stars = imported(tree)
        symbols = {s.get_name(): s for s in table.get_symbols()}
        self.bound = {n for n, s in symbols.items() if s.is_assigned() or s.is_imported() or s.is_namespace()}
        self.local: set[str] = set()
        for inner in table.get_children():
            self._enter(inner)
        if stars:  # they may come from there
            self.bound |= {n for n, s in symbols.items() if s.is_referenced() and not hasattr(builtins, n)}
        self.imported = {
            name: next(iter(origins))
            for name, origins in imported(before)[0].items()
            if len(anywhere[name]) == 1 and not symbols[name].is_assigned() and not symbols[name].is_namespace()
        }
        future = [s for s in tree.body if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
        self.has_future = any(a.name == "annotations" for s in future for a in s.names)

    def _enter(self, table: symtable.SymbolTable) -> None:
        for s in table.get_symbols():
            if s.is_declared_global() and s.is_assigned():
                self.bound.add(s.get_name())
            elif table.get_type() == "function" and s.is_local():
                self.local.add(s.get_name())
        for inner in table.get_children():
            self._enter(inner)


@dataclass(frozen=True)
class Transplant:
    """What a script is given: import statements, definitions, and the names by which it calls them."""

    imports: tuple[str, ...]
    future: bool
    definitions: str
    names: Mapping[str, str]


def transplant(module: Module, script: Script, entries: Sequence[str], suffix: str) -> Transplant:
    """The definitions that `entries` need, renamed where a script has a name already, with the imports it lacks."""
    statements = module.needed(entries)
    defined = [name for s in statements for name in _defined(s)]
    used = {name for s in statements for name in _used(s)}
    free = _Free(script.bound | script.local | used | set(defined) | set(dir(builtins)), suffix)
    renamed = {n: free.name(n) for n in defined if n in script.bound or (n in entries and n in script.local)}
    lines: list[str] = []
    remarks = module.text.splitlines()
    for statement in module.imports():
        for alias in statement.names:
            line, name, origin = _import(statement, alias)
            if name not in used or script.imported.get(name) == origin:
                continue
            if name in script.bound and (alias.asname or "." not in alias.name):
                renamed[name] = free.name(name)
                line, *_ = _import(statement, ast.alias(alias.name, renamed[name]))
            _, mark, remark = remarks[(statement.end_lineno or statement.lineno) - 1].partition("  #")
            lines.append(f"{line}{mark}{remark}")
    own = {name for s in statements for name in _locals(s)} | {name for i in module.imports() for name in _defined(i)}
    shadowed = {n for n in used & script.bound if hasattr(builtins, n) and n not in own and n not in renamed}
    if shadowed:
        lines.insert(0, "import builtins")
        renamed |= {n: f"builtins.{n}" for n in shadowed}
    text = cst.parse_module(_text(module, statements)).visit(_Rename(renamed)).code
    future = not script.has_future and _looks_ahead(statements)
    return Transplant(tuple(lines), future, text, {n: renamed.get(n, n) for n in entries})


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [a.asname or a.name.partition(".")[0] for a in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)]


def _used(statement: ast.stmt) -> set[str]:
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _locals(statement: ast.stmt) -> set[str]:
    """What it binds, at any depth."""
    stored = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return stored | {n.arg for n in ast.walk(statement) if isinstance(n, ast.arg)} | set(_defined(statement))


def _import(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> tuple[str, str, str]:
    """One imported name as a statement, the name it binds, and what that stands for."""
    said = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
    if isinstance(statement, ast.Import):
        bound = alias.asname or alias.name.partition(".")[0]
        return f"import {said}", bound, alias.name if alias.asname else bound
    return f"from {statement.module} import {said}", alias.asname or alias.name, f"{statement.module}.{alias.name}"


def _looks_ahead(statements: Sequence[ast.stmt]) -> bool:
    """Whether an annotation that is evaluated names something that is defined only later."""
    for i, statement in enumerate(statements):
        later = {name for s in statements[i:] for name in _defined(s)}
        for node in ast.walk(statement):
            annotation = node.returns if isinstance(node, ast.FunctionDef) else getattr(node, "annotation", None)
            if annotation and any(isinstance(n, ast.Name) and n.id in later for n in ast.walk(annotation)):
                return True
    return False


def _text(module: Module, statements: Sequence[ast.stmt]) -> str:
    """The source of statements with the comments over them."""
    lines = module.text.splitlines()
    found: list[tuple[str, bool, str]] = []
    for statement in statements:
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))]) - 1
        end = statement.end_lineno or statement.lineno
        while first and lines[first - 1].startswith("#"):
            first -= 1
        small = not isinstance(statement, (ast.FunctionDef, ast.ClassDef))
        found.append(("\n" if small and found and found[-1][1] else "\n\n\n", small, "\n".join(lines[first:end])))
    return "".join(f"{gap if i else ''}{text}" for i, (gap, _, text) in enumerate(found)) + "\n"


class _Free:
    """Names that are not taken: with a suffix, and a number where that is taken too."""

    def __init__(self, taken: Iterable[str], suffix: str) -> None:
        self._taken, self._suffix = set(taken), suffix

    def name(self, wanted: str) -> str:
        if wanted.isupper():
            base = f"{wanted}_{self._suffix.upper()}"
        elif wanted[0].isupper() and "_" not in wanted:
            base = wanted + "".join(part.capitalize() for part in self._suffix.split("_"))
        else:
            base = f"{wanted}_{self._suffix}"
        found = next(n for i in range(1, 10_000) if (n := base if i == 1 else f"{base}_{i}") not in self._taken)
        self._taken.add(found)
        return found


class _Rename(cst.CSTTransformer):
    """Every use of a name; arguments, attributes and methods of that name are others. In comments and docstrings the
    names that are no words."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        super().__init__()
        self._new, self._classes = renamed, 0
        self._words = re.compile("|".join(rf"\b{re.escape(n)}\b" for n in renamed if "_" in n) or r"(?!)")

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        new = self._new.get(updated_node.value)
        return cst.parse_expression(new) if new else updated_node

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        return updated_node.with_changes(name=original_node.name)

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._classes += 1

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        self._classes -= 1
        return updated_node

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        return updated_node.with_changes(name=original_node.name) if self._classes else updated_node

    def leave_Comment(self, original_node: cst.Comment, updated_node: cst.Comment) -> cst.Comment:
        return cst.Comment(self._said(updated_node.value))

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.SimpleString:
        docstring = updated_node.value.startswith('"""')
        return updated_node.with_changes(value=self._said(updated_node.value)) if docstring else updated_node

    def _said(self, text: str) -> str:
        return self._words.sub(lambda m: self._new[m[0]], text)
