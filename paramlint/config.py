"""`[tool.paramlint]` in pyproject.toml, or paramlint.toml: found, read and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from paramlint.errors import ParamlintError
from paramlint.finding import SEVERITIES, Severity
from paramlint.parameter import Plain
from paramlint.record import dataclass
from paramlint.selection import Selection
from paramlint.source.discovery import LeftOut, Patterns
from paramlint.source.reading import LARGEST
from paramlint.target import parse
from paramlint.toml_table import Table, read, shown

if TYPE_CHECKING:
    from paramlint.knowledge import Knowledge

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_SHARED = (
    *("optimizer", "policy", "select", "extend-select", "ignore", "roles", "inputs", "trace", "timeout"),
    "memory-limit",
)
_SOURCES = ("exclude", "extend-exclude", "per-file-ignores", "max-file-size")
_PROJECT = (*_SHARED, *_SOURCES, "ignore-parameters", "fail-on", "knowledge", "targets")
_TARGET = (*_SHARED, "target", "kwargs", "groups", "scripts")


@dataclass(frozen=True)
class Settings:
    """What a project and each of its targets may set. None and empty: not set.

    `profile` names an optimizer profile, `objects` are texts of objects that give groups or optimizers. `roles` maps
    name patterns (as in `fnmatch`) to roles. `inputs` is the text of an object that gives what the forward takes,
    `trace` whether a stand-in of the model is run. `timeout` is in seconds, `memory_limit` in bytes.
    """

    profile: str | None = None
    objects: tuple[str, ...] = ()
    policy: str | None = None
    selection: Selection = field(default_factory=Selection)
    roles: Mapping[str, str] = field(default_factory=dict)
    inputs: str | None = None
    trace: bool | None = None
    timeout: float | None = None
    memory_limit: int | None = None


@dataclass(frozen=True)
class TargetConfig:
    """One `[tool.paramlint.targets.NAME]`. `scripts` are the source files that make optimizers for its model."""

    name: str
    target: str
    kwargs: Mapping[str, Plain] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    scripts: Patterns = field(default_factory=Patterns)


@dataclass(frozen=True)
class Sources:
    """How source files are chosen and read: what is left out of folders, the rules that are silent in some files (by
    patterns, with selectors), and how large a file may be, in bytes."""

    left_out: LeftOut = field(default_factory=LeftOut)
    ignores: tuple[tuple[Patterns, tuple[str, ...]], ...] = ()
    largest: int = LARGEST

    def ignored(self, path: str) -> tuple[str, ...]:
        """The selectors of the rules that are silent in a file."""
        return tuple(s for patterns, selectors in self.ignores if patterns.match(path) for s in selectors)


@dataclass(frozen=True)
class Config:
    """A project's settings. `path` is None where there is no configuration file. `ignored` maps patterns of parameter
    names to the selectors of rules that are silent for them."""

    path: Path | None = None
    settings: Settings = field(default_factory=Settings)
    fail_on: Severity = "error"
    knowledge: tuple[Path, ...] = ()
    targets: Mapping[str, TargetConfig] = field(default_factory=dict)
    sources: Sources = field(default_factory=Sources)
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def target(self, text: str) -> TargetConfig | None:
        """The target of that name; else the only one that builds this text."""
        if text in self.targets:
            return self.targets[text]
        same = [t for t in self.targets.values() if os.path.normpath(t.target) == os.path.normpath(text)]
        return same[0] if len(same) == 1 else None

    def of_script(self, path: str) -> TargetConfig | None:
        """The first target that a source file is one of the scripts of."""
        return next((t for t in self.targets.values() if t.scripts.match(path)), None)


def load(path: Path | None = None, start: Path | None = None) -> Config:
    """The configuration in `path`, or in the nearest folder from `start` (default: the working folder) upwards.

    A folder counts where it has a paramlint.toml, or a pyproject.toml with `[tool.paramlint]`; the first wins.

    Raises:
        ParamlintError: the file cannot be read, or a key, type or name in it is wrong.
    """
    if path is not None:
        return _config(path, _settings_table(path) or Table({}, shown(path)))
    folder = (start or Path.cwd()).resolve()
    for place in (folder, *folder.parents):
        for candidate in (place / "paramlint.toml", place / "pyproject.toml"):
            if candidate.is_file() and (table := _settings_table(candidate)) is not None:
                return _config(candidate, table)
    return Config()


def size(text: str) -> int:
    """Bytes of `8GB`, `512 MiB`, `1.5g`: powers of 1000, or of 1024 with an `i`.

    Raises:
        ValueError: it is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        count = int(float(match[1]) * (1024 if match[3] else 1000) ** " kmgt".index(match[2].lower() or " "))
        if count > 0:
            return count
    raise ValueError(f"{text!r} is not a size such as 8GB")


def _settings_table(path: Path) -> Table | None:
    """Our table in a file: all of paramlint.toml; None where a pyproject.toml has none."""
    if path.name == "pyproject.toml" and not _mentions_us(path):
        return None
    top = Table(read(path), shown(path))
    if path.name != "pyproject.toml":
        if set(top.values) == {"tool"} and "paramlint" in top.table("tool").values:
            raise top.wrong("[tool.paramlint] is for pyproject.toml", "leave the prefix 'tool.paramlint' out here")
        return top
    tool = top.table("tool")
    return tool.table("paramlint") if "paramlint" in tool.values else None


def _mentions_us(path: Path) -> bool:
    """Most files of this name do not, and reading TOML takes as long as reading a script."""
    try:
        return b"paramlint" in path.read_bytes()
    except OSError:
        return True  # reading it says what is wrong


def _config(path: Path, table: Table) -> Config:
    folder = path.resolve().parent
    table.only(_PROJECT)
    folders = tuple((folder / f).resolve() for f in table.strings("knowledge") or ())
    for extra in folders:
        if not extra.is_dir():
            raise table.wrong(f"'knowledge': no folder {shown(extra)}")
    reader = _Reader(folder, folders)
    if folders:
        reader.known  # noqa: B018  # what is wrong in them is told now
    fail_on = table.one_of("fail-on", SEVERITIES)
    return Config(
        path=path.resolve(),
        settings=reader.settings(table),
        fail_on=next((s for s in SEVERITIES if s == fail_on), "error"),
        knowledge=folders,
        targets={name: reader.target(name, entry) for name, entry in table.table("targets").tables()},
        sources=reader.sources(table),
        ignored=_selectors(table.table("ignore-parameters")),
    )


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class _Reader:
    """Reads tables of a file in `folder`, against what is known with the project's own `folders`."""

    folder: Path
    folders: tuple[Path, ...]

    @cached_property
    def known(self) -> Knowledge:
        from paramlint.knowledge import load as load_knowledge

        return load_knowledge(self.folders)

    def target(self, name: str, table: Table) -> TargetConfig:
        table.only(_TARGET)
        target = table.text("target")
        if target is None:
            raise table.wrong("'target' is missing", 'say what builds the model, such as target = "train.py:build"')
        try:
            parse(target)
        except ParamlintError as e:
            raise table.wrong(f"'target': {target!r} {e.message}", e.hint) from None
        scripts = Patterns(self.folder, table.strings("scripts", or_one=True) or ())
        return TargetConfig(name, self._placed(target), table.table("kwargs").plain(), self.settings(table), scripts)

    def sources(self, table: Table) -> Sources:
        given = table.strings("exclude", or_one=True)
        further = table.strings("extend-exclude", or_one=True) or ()
        patterns = Patterns(self.folder, (*(given or ()), *further))
        left_out = LeftOut(patterns) if given is None else LeftOut(patterns, names=(), hidden=False)
        ignores = _selectors(table.table("per-file-ignores"))
        return Sources(
            left_out,
            tuple((Patterns(self.folder, (glob,)), selectors) for glob, selectors in ignores.items()),
            _size(table, "max-file-size") or LARGEST,
        )

    def settings(self, table: Table) -> Settings:
        given = table.strings("optimizer", or_one=True) or ()
        profiles = [_proper(self.known.profile, text, table) for text in given if ":" not in text]
        if len(profiles) > 1:
            raise table.wrong(f"'optimizer' names two profiles, {profiles[0]} and {profiles[1]}")
        objects = [*(table.strings("groups", or_one=True) or ()), *(text for text in given if ":" in text)]
        policy, inputs = table.text("policy"), table.text("inputs")
        selection = Selection(
            table.strings("select"), table.strings("extend-select") or (), table.strings("ignore") or ()
        )
        selection.check(table.where)
        return Settings(
            profile=profiles[0] if profiles else None,
            objects=tuple(self._placed(text) for text in objects),
            policy=None if policy is None else _proper(self.known.policy, policy, table),
            selection=selection,
            roles=self._roles(table.table("roles")),
            inputs=None if inputs is None else self._placed(inputs),
            trace=table.flag("trace"),
            timeout=_timeout(table),
            memory_limit=_size(table, "memory-limit"),
        )

    def _roles(self, table: Table) -> dict[str, str]:
        return {pattern: _proper(self.known.role, role, table) for pattern, role in table.texts().items()}

    def _placed(self, text: str) -> str:
        """Paths in the file are relative to its folder: `model.py:build` as seen from the working folder."""
        scheme, colon, rest = text.partition(":")
        if scheme == "hf" and colon:  # a model type, or the path of a folder or a config.json
            source, colon, attribute = rest.partition(":")
            local = not os.path.isabs(source) and (self.folder / source).exists()
            return f"hf:{shown(self.folder / source)}{colon}{attribute}" if local else text
        path, colon, attribute = text.rpartition(":")
        if not colon or (len(path) == 1 and path.isalpha()):  # no attribute; `C:\\model.py`
            path, colon, attribute = text, "", ""
        if not path.endswith(".py") or os.path.isabs(path):
            return text
        return shown(self.folder / path) + colon + attribute


def _proper(look_up: Callable[[str], _Named], name: str, table: Table) -> str:
    """The proper name of a role, policy or profile; an error says where in the file the wrong one is."""
    try:
        return look_up(name).name
    except ParamlintError as e:
        raise table.wrong(e.message, e.hint) from None


def _timeout(table: Table) -> float | None:
    seconds = table.number("timeout")
    if seconds is not None and not seconds > 0:  # nan is not
        raise table.wrong("'timeout' must be more than 0 seconds")
    return seconds


def _size(table: Table, key: str) -> int | None:
    text = table.text(key)
    try:
        return None if text is None else size(text)
    except ValueError as e:
        raise table.wrong(f"{key!r}: {e}") from None


def _selectors(table: Table) -> dict[str, tuple[str, ...]]:
    """Patterns, with the selectors of rules that each has."""
    found = {pattern: table.strings(pattern, or_one=True) or () for pattern in table.values}
    for selectors in found.values():
        Selection(ignore=selectors).check(table.where)
    return found
