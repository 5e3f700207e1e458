"""Frozen dataclasses to JSON values and back, by their annotations."""

from __future__ import annotations

import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: object) -> Any:
    """A JSON value of dataclasses, tuples, mappings and plain values. Fields at their default are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            name: encode(got) for name, default in _defaults(type(value)) if (got := getattr(value, name)) != default
        }
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    return value


@cache
def _defaults(cls: type) -> tuple[tuple[str, object], ...]:
    def default(f: Any) -> object:
        return f.default_factory() if f.default_factory is not MISSING else f.default

    return tuple((f.name, default(f)) for f in fields(cls))


def decode(cls: type[T], data: Any) -> T:
    """The dataclass that `encode` turned into `data`. Unknown keys are ignored.

    Raises:
        TypeError: a field without a default is missing.
    """
    return cast(T, _decoder(cast(Hashable, cls))(data))


def _same(value: Any) -> Any:
    return value


def _plain(value: Any) -> Any:
    """JSON arrays come back as tuples, at any depth."""
    if isinstance(value, list):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


@cache
def _decoder(hint: Any) -> Callable[[Any], Any]:
    if is_dataclass(hint):
        return _dataclass_decoder(cast(type, hint))
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal or hint in (str, int, bool, float, type(None)):
        return _same
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        if args[0] in (str, int):
            return tuple
        item = _decoder(args[0])
        return lambda value: tuple(item(v) for v in value)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        item = _decoder(args[1])
        return lambda value: {k: item(v) for k, v in value.items()}
    if origin in (Union, types.UnionType):
        inner = [a for a in args if a is not type(None)]
        if len(inner) == 1 and is_dataclass(inner[0]):
            some = _decoder(cast(Hashable, inner[0]))
            return lambda value: None if value is None else some(value)
    return _plain


def _dataclass_decoder(cls: type) -> Callable[[Any], Any]:
    hints = get_type_hints(cls)
    readers = {f.name: _decoder(hints[f.name]) for f in fields(cls)}

    def read(value: Any) -> Any:
        return cls(**{k: readers[k](v) for k, v in value.items() if k in readers})

    return read
