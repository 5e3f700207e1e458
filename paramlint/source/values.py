"""What terms evaluate to: Python's own values, parameters, modules, and the explicit unknown."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Final

from paramlint.parameter import Parameter
from paramlint.record import dataclass

#: A value: None, a bool, number, string, tuple of values, `re` object, Parameter, Node, Identity, ClassOf, or UNKNOWN.
Value = object


class Unknown(Enum):
    """The one value that nothing is known of. It is neither true nor false."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        raise TypeError("an unknown value is neither true nor false")


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True)
class Node:
    """A module of the tree, by its path; "" is the model itself."""

    path: str


@dataclass(frozen=True)
class Identity:
    """What `id()` gives: equal for what is one object."""

    of: Hashable


@dataclass(frozen=True)
class ClassOf:
    """The class of a module: its qualified name and those of its bases, nearest first."""

    names: tuple[str, ...]


def key(value: Value) -> Hashable | Unknown:
    """What tells a value apart from others in a set; UNKNOWN where that is not known.

    A parameter is known by its name: two names of one tensor lead to one parameter.
    """
    if isinstance(value, Parameter):
        return "parameter", value.name
    if isinstance(value, tuple):
        keys = tuple(key(v) for v in value)
        return UNKNOWN if UNKNOWN in keys else ("tuple", keys)
    if value is None or isinstance(value, (bool, int, float, str, Node, Identity, ClassOf)):
        return value
    return UNKNOWN


def truth(value: Value) -> bool | Unknown:
    """Whether a value counts as true. Tensors and modules have their own ideas of that."""
    if value is UNKNOWN or isinstance(value, (Parameter, Node)):
        return UNKNOWN
    return bool(value)


def wholly_known(value: Value) -> bool:
    """Whether there is no unknown in it."""
    if isinstance(value, tuple):
        return all(wholly_known(v) for v in value)
    return value is not UNKNOWN
