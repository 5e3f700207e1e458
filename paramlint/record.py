"""`dataclass` as the standard library has it, for classes that a command defines whether it needs them or not.

The standard decorator compiles up to six methods of every class that is defined, which for a hundred classes takes
longer than to read a file. Here a method is written when it is first called. All else is the standard library's: the
fields, `replace`, `asdict`, what `match` sees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

_UNSET = object()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True):
        """Makes a class a dataclass; `frozen` and `eq` as in `dataclasses.dataclass`."""
        if cls is None:
            return lambda made: _completed(made, frozen, eq)
        return _completed(cls, frozen, eq)


def _completed(cls: type[Any], frozen: bool, eq: bool) -> type[Any]:
    own = set(vars(cls))
    # A frozen class that derives from another has to say so at once.
    derived = frozen and any(map(dataclasses.is_dataclass, cls.__mro__[1:]))
    cls = dataclasses.dataclass(init=False, repr=False, eq=False, frozen=derived)(cls)
    _late(cls, "__init__", lambda: _init(cls, frozen), own)
    _late(cls, "__repr__", lambda: _repr(cls), own)
    if eq:
        _late(cls, "__eq__", lambda: _eq(cls), own)
        if "__hash__" not in own and frozen:
            _late(cls, "__hash__", lambda: _hash(cls), set())
        elif "__hash__" not in own:
            cls.__hash__ = None  # type: ignore[assignment]
    if frozen and not derived:
        cls.__dataclass_params__.frozen = True
        _freeze(cls, frozenset(f.name for f in dataclasses.fields(cls)))
    return cls


def _late(cls: type[Any], name: str, write: Callable[[], Callable[..., Any]], own: set[str]) -> None:
    """Gives a class a method that is written when it is first called; one of its own stays."""
    if name in own:
        return
    written: Callable[..., Any] | None = None

    def method(self: Any, /, *given: Any, **named: Any) -> Any:
        nonlocal written
        if written is None:
            written = write()
            if vars(cls).get(name) is method:
                setattr(cls, name, written)
        return written(self, *given, **named)

    method.__name__, method.__qualname__ = name, f"{cls.__qualname__}.{name}"
    setattr(cls, name, method)


def _init(cls: type[Any], frozen: bool) -> Callable[..., Any]:
    known: dict[str, Any] = {"_unset": _UNSET, "_set": object.__setattr__}
    parameters, body = ["_this"], []
    for f in dataclasses.fields(cls):
        value = f.name
        if f.default_factory is not dataclasses.MISSING:
            known[f"_make_{f.name}"] = f.default_factory
            value = f"_make_{f.name}() if {f.name} is _unset else {f.name}" if f.init else f"_make_{f.name}()"
        elif not f.init:
            continue  # its default is the class's
        if f.init:
            default = "_unset" if f.default_factory is not dataclasses.MISSING else f"_default_{f.name}"
            known[f"_default_{f.name}"] = f.default
            has = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
            parameters.append(f"{f.name}={default}" if has else f.name)
        body.append(f"_set(_this, {f.name!r}, {value})" if frozen else f"_this.{f.name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("_this.__post_init__()")
    return _method(cls, "__init__", parameters, body or ["pass"], known)


def _repr(cls: type[Any]) -> Callable[..., Any]:
    shown = ", ".join(f"{f.name}={{self.{f.name}!r}}" for f in dataclasses.fields(cls) if f.repr)
    body = [f'return f"{{type(self).__qualname__}}({shown})"']
    return recursive_repr()(_method(cls, "__repr__", ["self"], body, {}))


def _eq(cls: type[Any]) -> Callable[..., Any]:
    compared = [f.name for f in dataclasses.fields(cls) if f.compare]
    body = [
        "if other.__class__ is not self.__class__:",
        "    return NotImplemented",
        f"return {_tuple('self', compared)} == {_tuple('other', compared)}",
    ]
    return _method(cls, "__eq__", ["self", "other"], body, {})


def _hash(cls: type[Any]) -> Callable[..., Any]:
    counted = [f.name for f in dataclasses.fields(cls) if (f.compare if f.hash is None else f.hash)]
    return _method(cls, "__hash__", ["self"], [f"return hash({_tuple('self', counted)})"], {})


def _tuple(of: str, names: Sequence[str]) -> str:
    return "(" + "".join(f"{of}.{name}," for name in names) + ")"


def _method(
    cls: type[Any], name: str, parameters: Sequence[str], body: Sequence[str], known: dict[str, Any]
) -> Callable[..., Any]:
    exec(f"def {name}({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in body), known)
    method: Callable[..., Any] = known[name]
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    return method


def _freeze(cls: type[Any], names: frozenset[str]) -> None:
    def __setattr__(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__, cls.__delattr__ = __setattr__, __delattr__  # type: ignore[assignment]
