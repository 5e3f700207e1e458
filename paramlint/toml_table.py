"""TOML files and their tables, read so that every mistake says in which table it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paramlint.errors import ParamlintError, near
from paramlint.parameter import Plain
from paramlint.record import dataclass

_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a table"}


def read(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ParamlintError: it cannot be read, or is not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ParamlintError(str(e), where=shown(path)) from None
    return data


def shown(path: Path | str) -> str:
    """The path relative to the working folder, where that is possible."""
    try:
        return os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)


@dataclass(frozen=True)
class Table:
    """A table of `file`; `name` is its dotted name in it, '' for the top level."""

    values: Mapping[str, Any]
    file: str
    name: str = ""

    @property
    def where(self) -> str:
        return f"{self.file} [{self.name}]" if self.name else self.file

    def wrong(self, message: str, hint: str = "") -> ParamlintError:
        return ParamlintError(message, where=self.where, hint=hint)

    def only(self, allowed: Sequence[str]) -> None:
        """Raises ParamlintError for a key that is not allowed, with the nearest one that is."""
        for key in self.values:
            if key not in allowed:
                known = f"known keys: {', '.join(sorted(allowed))}"
                raise self.wrong(f"unknown key {key!r}", near(key.replace("_", "-"), allowed) or known)

    def text(self, key: str) -> str | None:
        value: str | None = self._typed(key, str)
        return value

    def number(self, key: str) -> float | None:
        value = self.values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        number: float | None = self._typed(key, float)
        return number

    def flag(self, key: str) -> bool | None:
        value: bool | None = self._typed(key, bool)
        return value

    def one_of(self, key: str, allowed: Sequence[str]) -> str | None:
        value = self.text(key)
        if value is None or value in allowed:
            return value
        raise self.wrong(f"{key!r} must be one of {', '.join(allowed)}, not {value!r}", near(value, allowed))

    def strings(self, key: str, *, or_one: bool = False) -> tuple[str, ...] | None:
        """A list of strings; with `or_one` a single string too."""
        value = self.values.get(key)
        if value is None:
            return None
        if or_one and isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.wrong(f"{key!r} must be {'a string or ' * or_one}a list of strings, not {_kind(value)}")
        return tuple(value)

    def table(self, key: str) -> Table:
        """The table of that key, empty where there is none."""
        name = f"{self.name}.{key}" if self.name else key
        return Table(self._typed(key, dict) or {}, self.file, name)

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Each entry, which must be a table."""
        for key in self.values:
            yield key, self.table(key)

    def texts(self) -> dict[str, str]:
        """All entries, which must be strings."""
        return {key: self.text(key) or "" for key in self.values}

    def plain(self) -> dict[str, Plain]:
        """All entries, which must be JSON values (TOML also has dates)."""
        for key, value in self.values.items():
            if not _is_plain(value):
                raise self.wrong(f"{key!r} must be a string, number, boolean, list or table, not {_kind(value)}")
        return dict(self.values)

    def _typed(self, key: str, kind: type) -> Any:
        value = self.values.get(key)
        if value is not None and not isinstance(value, kind):
            raise self.wrong(f"{key!r} must be {_KINDS[kind]}, not {_kind(value)}")
        return value


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, list):
        return all(_is_plain(v) for v in value)
    return isinstance(value, (bool, int, float, str))


def _kind(value: object) -> str:
    if isinstance(value, list) and (odd := [v for v in value if not isinstance(v, str)]):
        return f"a list with {_kind(odd[0])} in it"
    return next((text for kind, text in _KINDS.items() if isinstance(value, kind)), f"a {type(value).__name__}")
