"""Classes whose methods are written late are as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from paramlint import record
from paramlint.parameter import Location


def _classes(dataclass: Callable[..., Any]) -> tuple[type[Any], type[Any], type[Any]]:
    @dataclass(frozen=True)
    class Base:
        """One field."""

        a: int

    @dataclass(frozen=True)
    class Derived(Base):
        """With defaults, a factory, fields that do not count, and one called self."""

        self: str = "s"
        made: list[int] = field(default_factory=list, compare=False)
        hidden: int = field(default=3, repr=False, hash=False)
        kind: type = field(init=False, default=object)

        def __post_init__(this) -> None:
            object.__setattr__(this, "kind", type(this.a))

    @dataclass
    class Loose:
        """May change, and says for itself how it is shown."""

        a: int = 0
        b: tuple[int, ...] = ()

        def __repr__(self) -> str:
            return "loose"

    return Base, Derived, Loose


def _told(base: type[Any], derived: type[Any], loose: type[Any]) -> list[Any]:
    """What can be seen of the classes from outside."""
    one, same, other = derived(1, made=[1]), derived(1, "s", [2]), derived(a=2, self="t", hidden=4)
    told: list[Any] = [repr(x) for x in (base(1), one, other, loose(1))]
    told += [one == same, one == other, one == base(1), one != 1, hash(one) == hash(same)]
    told += [one.kind, one.made, other.made, derived(1).made is derived(1).made]
    told += [dataclasses.asdict(one), dataclasses.replace(one, a=5).a, dataclasses.is_dataclass(derived)]
    told += [[f.name for f in dataclasses.fields(derived)], derived.__match_args__, loose.__hash__]
    told += [copy.deepcopy(one) == one, len({one, same, other})]
    for wrong in (lambda: base(), lambda: base(1, 2), lambda: base(b=1), lambda: hash(loose())):
        with pytest.raises(TypeError):
            wrong()
    for change in (lambda: setattr(one, "a", 2), lambda: delattr(base(1), "a"), lambda: setattr(base(1), "new", 2)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    changed = loose()
    changed.a = 4
    return [*told, changed.a, loose(4) == changed]


def test_they_do_as_those_of_the_standard_library() -> None:
    assert _told(*_classes(record.dataclass)) == _told(*_classes(dataclasses.dataclass))


def test_they_travel_between_processes_and_mix_with_the_others() -> None:
    assert pickle.loads(pickle.dumps(Location("a.py", 3))) == Location("a.py", 3)

    @dataclasses.dataclass(frozen=True)
    class Far(Location):
        miles: int = 0

    assert Far("a.py", 3, miles=2) == Far("a.py", 3, 1, "", 2) != Far("a.py", 3)
