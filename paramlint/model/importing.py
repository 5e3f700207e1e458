"""Finds and imports the module of a Python target: once, whatever names it. No torch here."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from paramlint.errors import ParamlintError
from paramlint.model.failure import did_you_mean
from paramlint.model.process import relative
from paramlint.target import Target

_ours: dict[Path, str] = {}  # files loaded here, and the names they are in sys.modules under


@dataclass(frozen=True)
class Found:
    """A module that is not imported yet.

    `path` is its source file, None where it has none that can be read. `files` are all that importing it runs first,
    itself included. `package` is the one that a file lies in, '' for a file that stands alone.
    """

    name: str
    path: Path | None
    files: tuple[Path, ...]
    package: str = ""

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree, empty where there is no source.

        Raises:
            SyntaxError: as the import would.
        """
        return _parsed(self.path) if self.path else ast.Module([], [])


def locate(target: Target) -> Found:
    """Where the module of a target is. Runs nothing; a file's folder (and its package's) goes onto `sys.path`.

    Raises:
        ParamlintError: there is no such file or module.
        SyntaxError: the file does not parse.
    """
    found = _file(target) if target.is_file else _module(target)
    if found.path:
        _parsed(found.path)
    return found


def only_standard_library(found: Found) -> bool:
    """Whether importing it cannot load torch: neither it nor the packages above import anything but Python's own."""
    if found.path is None:
        return False
    for path in found.files:
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = ["." if node.level else node.module or "."]
            else:
                continue
            tops = {n.partition(".")[0] for n in names}
            if not tops <= sys.stdlib_module_names or tops & {"importlib", "runpy", "pkgutil"}:
                return False
    return True


def assigned_at(found: Found, attribute: str) -> int | None:
    """The line where the module itself assigns the first name of an attribute; None for a def, class or import."""
    wanted, line = attribute.partition(".")[0], None
    for node in _top_level(found.tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            line = None if node.name == wanted else line
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            line = None if any((a.asname or a.name) == wanted for a in node.names) else line
        else:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
            names = {
                n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and wanted in names:
                line = node.lineno
    return line


def load(found: Found) -> ModuleType:
    """Imports it, or returns it where it is imported already."""
    if found.path in _ours and _ours[found.path] in sys.modules:
        return sys.modules[_ours[found.path]]
    if not found.package:
        return _load_as(found.name, found)
    try:
        importlib.import_module(found.package)
    except Exception:
        # a script in a folder that happens to be a package works by itself; code with relative imports does not
        if any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(found.tree)):
            raise
        return _load_as(found.name.rpartition(".")[2], found)
    return _load_as(found.name, found)


def forget(found: Found) -> None:
    """The next `load` runs the module anew. Modules that it imported stay."""
    name = _ours.get(found.path) if found.path else None
    sys.modules.pop(name or found.name, None)


def take(module: ModuleType, target: Target) -> Any:
    """The attribute of a target.

    Raises:
        ParamlintError: there is none, with the nearest one.
    """
    value: Any = module
    said = relative(target.source) if target.is_file else target.source
    for part in target.attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            names = [n for n in vars(value) if not n.startswith("_")] if hasattr(value, "__dict__") else []
            own = [n for n in names if getattr(vars(value)[n], "__module__", None) == module.__name__]
            hint = did_you_mean(part, names, f"it defines {', '.join(own[:8])}" if own else "")
            raise ParamlintError(f"{said} has no attribute {part!r}", where=target.text, hint=hint) from None
        said += f".{part}" if ":" in said else f":{part}"
    return value


def _load_as(name: str, found: Found) -> ModuleType:
    if found.path is None:
        return importlib.import_module(name)
    taken = sys.modules.get(name)
    if taken is not None and not _same_file(getattr(taken, "__file__", None), found.path):
        taken = None
        name = _private(found.path)
    elif "." not in name and (name in sys.stdlib_module_names or not name.isidentifier()):
        name = _private(found.path)
    _ours[found.path] = name
    if taken is not None:
        return taken
    if "." in name or _finds(name, found.path):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, found.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return sys.modules[name]


def _private(path: Path) -> str:
    return f"_target_{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}_{zlib.crc32(str(path).encode()):08x}"


def _finds(name: str, path: Path) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and _same_file(spec.origin, path)


def _same_file(one: str | None, other: Path) -> bool:
    return one is not None and Path(one).resolve() == other


def _file(target: Target) -> Found:
    path = Path(target.source).expanduser()
    if not path.is_file():
        raise _no_file(target, path)
    if path.suffix != ".py":
        raise ParamlintError(f"{path.name} is not a .py file", where=target.text)
    path = path.resolve()
    folder, names, files = path.parent, [path.stem], [path]
    _search(folder)
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        files.insert(0, folder / "__init__.py")
        folder = folder.parent
    if len(names) == 1:
        return Found(path.stem, path, (path,))
    _search(folder, first=False)
    if names[-1] == "__init__":
        names.pop()
    return Found(".".join(names), path, tuple(dict.fromkeys(files)), ".".join(names[:-1]))


def _search(folder: Path, first: bool = True) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0 if first else 1, str(folder))


def _no_file(target: Target, path: Path) -> ParamlintError:
    if path.is_dir():
        return ParamlintError("is a folder, not a .py file", where=target.text, hint=f"{path}/<file>.py:<name>")
    if path.suffix != ".py" and path.with_name(path.name + ".py").is_file():
        return ParamlintError(
            f"no such file: {path}", where=target.text, hint=f"did you mean {path}.py:{target.attribute}?"
        )
    near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1) if path.parent.is_dir() else []
    hint = f"did you mean {path.with_name(near[0])}?" if near else ""
    return ParamlintError(f"no such file: {path}", where=target.text, hint=hint)


def _module(target: Target) -> Found:
    """Walks down the packages without running them."""
    if Path(target.source).is_file():
        raise ParamlintError(f"{target.source} is not a .py file", where=target.text)
    parts = target.source.split(".")
    spec: ModuleSpec | None = None
    places: Iterable[str] | None = None
    files: list[Path] = []
    for i, part in enumerate(parts):
        name = ".".join(parts[: i + 1])
        # by its last name: the dotted name of a namespace package asks for its parent to be imported
        spec = PathFinder.find_spec(part, None if places is None else list(places))
        if spec is None and i == 0:
            loaded = sys.modules.get(part)
            spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(part)
        if spec is None:
            return _by_import(target, name, places)
        if spec.origin and spec.origin.endswith(".py"):
            files.append(Path(spec.origin).resolve())
        places = spec.submodule_search_locations
        if places is None and i < len(parts) - 1:
            return _by_import(target, ".".join(parts[: i + 2]), None)
    assert spec is not None
    source = Path(spec.origin).resolve() if spec.origin and spec.origin.endswith(".py") else None
    return Found(target.source, source, tuple(files))


def _by_import(target: Target, missing: str, places: Iterable[str] | None) -> Found:
    """Some packages make submodules as they are imported: the last word is the import's."""
    parent, _, name = missing.rpartition(".")
    if parent:
        try:
            importlib.import_module(target.source)
            return Found(target.source, None, ())
        except ModuleNotFoundError as error:
            if not error.name or not (target.source + ".").startswith(error.name + "."):
                raise
    near = [m.name for m in pkgutil.iter_modules([str(Path.cwd())] if not parent else list(places or ()))]
    file = Path(*target.source.split(".")).with_suffix(".py")
    hint = did_you_mean(name, near, "run it from the folder that the package is in, or name the file")
    if file.is_file() and not near:
        hint = f"did you mean {file}:{target.attribute}?"
    return_name = f"{parent}.{name}" if parent else name
    raise ParamlintError(f"no module named {return_name!r}", where=target.text, hint=hint)


def _top_level(body: list[ast.stmt]) -> Iterable[ast.stmt]:
    """The statements that run when the module does, those under if, with and try included."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody"):
            inner = getattr(node, field, None)
            if inner and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _top_level([s for s in inner if isinstance(s, ast.stmt)])


_trees: dict[Path, ast.Module] = {}


def _parsed(path: Path) -> ast.Module:
    if path not in _trees:
        _trees[path] = ast.parse(path.read_bytes(), filename=str(path))
    return _trees[path]
