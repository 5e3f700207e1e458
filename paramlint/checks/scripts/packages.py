"""PML308: the project asks for a package that is not the optimizer which the script takes it for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from paramlint.checks.scripts.context import ScriptContext
from paramlint.errors import ParamlintError
from paramlint.finding import Finding
from paramlint.record import dataclass
from paramlint.source.interpreter.project import Project
from paramlint.source.statements import statements
from paramlint.toml_table import Table, read

#: What KellerJordan's Muon is called on PyPI, and the name that is taken for it.
_WANTED, _TAKEN = "muon-optimizer", "muon"
_ROOTS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
_HIGHEST = 6
_LARGEST = 200_000
_NAME = re.compile(r"^\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?P<rest>.*)$")
_BLOCK = re.compile(r"^# /// script$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///$", re.MULTILINE)
_QUOTED = re.compile(r"""\s*(["'])(?P<text>[^"']*)\1\s*,?""")
_PAGE = "muon on PyPI, multimodal omics analysis: https://pypi.org/project/muon/"


@dataclass(frozen=True)
class _Asked:
    """A line by which a project asks for the wrong package."""

    where: str
    text: str


def check(ctx: ScriptContext) -> Iterator[Finding]:
    node = _imported(ctx)
    if node is None or Project().module(_TAKEN, ctx.file.place) is not None:
        return
    asked = _wrong(_of_script(ctx.file.text), "the script") or (_asked(ctx.file.place) if ctx.file.place else None)
    if asked is not None:
        yield ctx.finding(
            "PML308",
            ctx.file.span(node),
            f"{asked.where} asks for `{asked.text}`: on PyPI that is an omics library without an optimizer",
            f"ask for {_WANTED}, or for git+https://github.com/KellerJordan/Muon; with both installed, the package "
            "`muon` hides the optimizer's module",
            details=(_PAGE, "the optimizer: https://github.com/KellerJordan/Muon"),
        )


def _imported(ctx: ScriptContext) -> ast.stmt | None:
    """The statement that imports KellerJordan's optimizer from a module `muon`."""
    names = {n for p in ctx.known.profiles.values() if p.distribution == _WANTED for n in p.classes}
    wanted = {n.rpartition(".")[2] for n in names if n.startswith(f"{_TAKEN}.")}
    if not any(h == _TAKEN or h.startswith(f"{_TAKEN}.") for hs in ctx.file.imports.names.values() for h in hs):
        return None
    made = any(
        c.made is not None and not c.made.assumed and c.made.name in names
        for read in ctx.reads
        for c in read.build.constructions
    )
    for node in statements(ctx.file.tree):
        match node:
            case ast.ImportFrom(module="muon", level=0, names=taken) if any(a.name in wanted for a in taken):
                return node
            case ast.Import(names=taken) if made and any(a.name == _TAKEN for a in taken):
                return node
    return None


def _asked(place: Path) -> _Asked | None:
    """Where the project of a file asks for the package, in the files beside it and above, up to the project's root."""
    for i, folder in enumerate(place.parents):
        for path in (*sorted(folder.glob("*requirements*.txt")), folder / "pyproject.toml", folder / "setup.py"):
            asked = _wrong(_lines(path), path.name)
            if asked is not None:
                return asked
        if i >= _HIGHEST or any((folder / mark).exists() for mark in _ROOTS):
            return None
    return None


def _wrong(lines: Iterable[str], where: str) -> _Asked | None:
    """The first of these requirements that is for the package which is no optimizer."""
    for line in lines:
        found = _NAME.match(line)
        if found and found["name"].lower() == _TAKEN and _version(found["rest"]):
            return _Asked(where, line.strip())
    return None


def _version(rest: str) -> bool:
    """Whether what follows a name is nothing, or a version; and no place where something else of that name is had."""
    return not rest or rest[0] in "=<>!~;"


def _lines(path: Path) -> Iterator[str]:
    """What a file asks for: its requirements, without comments."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return
        if path.suffix == ".toml":
            yield from _of_project(Table(read(path), str(path)))
            return
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            yield from (line.partition("#")[0].strip() for line in text.splitlines())
        else:
            yield from _of_setup(ast.parse(text))
    except (OSError, ValueError, SyntaxError, RecursionError, ParamlintError):
        return  # whoever installs from it will be told


def _of_script(text: str) -> Iterator[str]:
    """The dependencies that a script says itself, as PEP 723 has it."""
    block = _BLOCK.search(text)
    lines = (line[2:] for line in block["content"].splitlines()) if block else ()
    _, given, rest = "\n".join(lines).partition("dependencies = [")
    while given and (one := _QUOTED.match(rest)):
        yield one["text"]
        rest = rest[one.end() :]


def _of_project(data: Table) -> Iterator[str]:
    """The dependencies in a pyproject.toml, unless they are had from elsewhere than PyPI."""
    if _TAKEN in data.table("tool").table("uv").table("sources").values:
        return
    project, poetry = data.table("project"), data.table("tool").table("poetry")
    yield from _texts(project.values.get("dependencies"))
    for groups in (project.table("optional-dependencies"), data.table("dependency-groups")):
        for listed in groups.values.values():
            yield from _texts(listed)
    tables = [poetry, *(group for _, group in poetry.table("group").tables())]
    for table in tables:
        version = table.table("dependencies").values.get(_TAKEN)
        if isinstance(version, str):
            yield _TAKEN if version == "*" else f"{_TAKEN}>={version.lstrip('^~=>< ')}"


def _of_setup(tree: ast.Module) -> Iterator[str]:
    """The requirements that are written down in a setup.py."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "extras_require", "tests_require"):
            yield from _texts([n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)])


def _texts(values: object) -> list[str]:
    return [v for v in values if isinstance(v, str)] if isinstance(values, list) else []
