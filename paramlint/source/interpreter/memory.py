"""What names and attributes hold at a place, and after the two sides of a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paramlint.record import dataclass
from paramlint.source.interpreter.values import Value
from paramlint.source.terms import Opaque, Term

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader


@dataclass
class Memory:
    """What the names of a scope and the attributes hold, and what they do where defaults are left open."""

    names: dict[str, Value]
    settings: set[str]
    computed: dict[str, Value]
    attributes: dict[tuple[Term, str], Value]
    opened: dict[tuple[Term, str], Value]

    def open(self, name: str) -> Value | None:
        """What a name holds where defaults are left open; None where there is no such name."""
        return self.computed.get(name, Opaque(name) if name in self.settings else self.names.get(name))


def now(r: Reader) -> Memory:
    """What is held where the reader is; nothing that it reads from here on changes it."""
    scope = r.scope
    return Memory(dict(scope.names), set(scope.settings), dict(scope.computed), dict(r.attributes), dict(r.opened))


def back(r: Reader, held: Memory) -> None:
    """Goes back to what was held before."""
    scope = r.scope
    scope.names.clear()
    scope.names.update(held.names)
    scope.settings.clear()
    scope.settings.update(held.settings)
    scope.computed.clear()
    scope.computed.update(held.computed)
    r.attributes, r.opened = dict(held.attributes), dict(held.opened)


def join(r: Reader, when: Term, one: Memory) -> None:
    """Joins what was held after the side of a branch that is done `when` that holds with what is held now, after the
    other side."""
    scope, other = r.scope, now(r)
    for name, held in one.names.items():
        there = scope.names.get(name)
        scope.names[name] = held if there is None else r.merge(when, held, there, name)
    for name in one.settings | one.computed.keys() | other.settings | other.computed.keys():
        if name in one.settings and name in other.settings:
            continue
        first, second = one.open(name), other.open(name)
        scope.settings.discard(name)
        if first is None or second is None:
            scope.computed[name] = first or second  # type: ignore[assignment]
        else:
            scope.computed[name] = r.merge(when, first, second)
    for key, held in one.attributes.items():
        there = r.attributes.get(key)
        r.attributes[key] = held if there is None else r.merge(when, held, there, key[1])
    for key in one.opened.keys() | other.opened.keys():
        first, second = (h.opened.get(key, h.attributes.get(key)) for h in (one, other))
        if first is not None and second is not None:
            r.opened[key] = r.merge(when, first, second)
        elif first is not None:
            r.opened[key] = first
