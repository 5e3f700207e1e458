"""TOML files as frozen dataclasses, checked against the type hints of the fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from paramlint.errors import ParamlintError, near
from paramlint.record import dataclass
from paramlint.toml_table import read, shown

T = TypeVar("T")
Table = dict[str, Any]

_TYPES: dict[object, str] = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class TableFile:
    """One TOML file: its stem is the name of what it describes; `level` orders files of one name, the higher wins."""

    path: Path
    data: Table
    level: int = 0

    @property
    def name(self) -> str:
        return self.path.stem

    def error(self, key: str, text: str, hint: str = "") -> ParamlintError:
        """The error at a key path of this file, '' for the whole of it."""
        return ParamlintError(f"{key}: {text}" if key else text, where=shown(self.path), hint=hint)


def read_file(path: Path, level: int = 0) -> TableFile:
    """The file as TOML.

    Raises:
        ParamlintError: it cannot be read, is not UTF-8, or is not TOML; with line and column.
    """
    return TableFile(path, read(path), level)


def as_table(value: Any, file: TableFile, at: str) -> Table:
    """The value, which must be a table.

    Raises:
        ParamlintError: it is something else.
    """
    if not isinstance(value, dict):
        raise file.error(at, f"{written(value)} is not a table")
    return value


def as_dataclass(cls: type[T], data: Any, file: TableFile, at: str = "") -> T:
    """The dataclass of a TOML table. Arrays become tuples. Where a hint says `Plain`, anything but a date may stand.

    Raises:
        ParamlintError: an unknown or missing key, or a value that its type hint does not allow; the message begins
            with the path of the key.
    """
    return cast(T, _reader(cast(Any, cls))(data, file, at))


def written(value: Any) -> str:
    """A value as TOML writes it, for messages."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "an array"
    return repr(value)


_Reader = Callable[[Any, TableFile, str], Any]


@cache
def _reader(hint: Any) -> _Reader:
    """The function that checks and converts a value for a type hint."""
    if hint is Any:
        return _plain
    if is_dataclass(hint):
        return _dataclass_reader(cast("type[Any]", hint))
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _literal_reader(args)
    if origin in (Union, UnionType):
        (inner,) = [a for a in args if a is not type(None)]
        return _reader(inner)
    if origin is tuple:
        return _array_reader(_reader(args[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_reader(_reader(args[1]))

    def scalar(value: Any, file: TableFile, at: str) -> Any:
        if type(value) is not hint:
            raise file.error(at, f"{written(value)} is not {_TYPES[hint]}")
        return value

    return scalar


def _dataclass_reader(cls: type[Any]) -> _Reader:
    # Plain refers to itself: as Any it is read by a function that does the recursion.
    hints = get_type_hints(cls, localns={"Plain": Any})
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]

    def table(value: Any, file: TableFile, at: str) -> Any:
        data = as_table(value, file, at)
        for key in data:
            if key not in hints:
                raise file.error(_join(at, key), "no such key", near(key, hints))
        values = {key: _reader(hints[key])(got, file, _join(at, key)) for key, got in data.items()}
        for key in needed:
            if key not in data:
                raise file.error(_join(at, key), "missing")
        return cls(**values)

    return table


def _literal_reader(allowed: tuple[str, ...]) -> _Reader:
    def literal(value: Any, file: TableFile, at: str) -> Any:
        if value not in allowed:
            hint = near(value, allowed) if isinstance(value, str) else ""
            raise file.error(at, f"{written(value)} is not one of {', '.join(allowed)}", hint)
        return value

    return literal


def _array_reader(item: _Reader) -> _Reader:
    def array(value: Any, file: TableFile, at: str) -> Any:
        if not isinstance(value, list):
            raise file.error(at, f"{written(value)} is not an array")
        return tuple(item(v, file, f"{at}[{i}]") for i, v in enumerate(value))

    return array


def _mapping_reader(item: _Reader) -> _Reader:
    def mapping(value: Any, file: TableFile, at: str) -> Any:
        return {key: item(got, file, _join(at, key)) for key, got in as_table(value, file, at).items()}

    return mapping


def _plain(value: Any, file: TableFile, at: str) -> Any:
    if isinstance(value, list):
        return tuple(_plain(v, file, f"{at}[{i}]") for i, v in enumerate(value))
    if isinstance(value, dict):
        return {key: _plain(got, file, _join(at, key)) for key, got in value.items()}
    if not isinstance(value, (str, int, float)):
        raise file.error(at, f"{value} is a date or a time, and no option is one")
    return value


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
