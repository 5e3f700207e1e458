"""What a variable of the script may hold while it is read."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import field, replace
from typing import Union

from paramlint.record import dataclass
from paramlint.source.script import OptimizerClass
from paramlint.source.terms import TRUE, Binder, Item, Opaque, Span, Term, Test, both, conjuncts, mapped


@dataclass(frozen=True)
class Place:
    """Where in the script something happens: in which loops, under which conditions. All of them, from the entry on."""

    binders: tuple[Binder, ...] = ()
    when: Term = TRUE
    tests: tuple[Test, ...] = ()
    span: Span | None = None


@dataclass(frozen=True)
class Entry:
    """One thing that is put into a collection, and where that is done."""

    value: Value
    place: Place
    key: Value | None = None


@dataclass(eq=False)
class Bag:
    """A list, set, iterator or the like.

    `unread` says what else may have been put into it. `walks` are the places where it was walked from end to end,
    `given` the conditions under which it was handed on. `unordered` is where a set gave it its order, and `distinct`
    that it has each thing once since it comes from one. `key` is that of the dict that it is kept in, if any, and
    `family` tells such dicts apart.
    """

    kind: str
    made: Place
    entries: list[Entry] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    walks: list[Place] = field(default_factory=list)
    name: str = ""
    given: list[Term] = field(default_factory=list)
    unordered: Span | None = None
    distinct: bool = False
    key: Value | None = None
    family: int = 0

    @property
    def once(self) -> bool:
        return self.kind in ("iterator", "generator")

    def plain(self) -> list[Value] | None:
        """Its values where they are known one by one; None where a loop or a condition has put some in."""
        fixed = all(e.place.binders == self.made.binders and _same(e.place, self.made) for e in self.entries)
        return [e.value for e in self.entries] if fixed and not self.unread else None


@dataclass(eq=False)
class Table:
    """A dict. Entries have keys; of equal keys the last that was set counts. `make` gives what is missing."""

    made: Place
    entries: list[Entry] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    make: Function | None = None
    name: str = ""
    kind: str = "dict"
    key: Value | None = None
    family: int = 0
    distinct: bool = False

    def find(self, key: Value) -> list[Entry]:
        return [e for e in self.entries if e.key == key]


@dataclass(frozen=True)
class Row:
    """A tuple of known length."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Phi:
    """One value or another, by a condition; for what is no term."""

    when: Term
    then: Value
    otherwise: Value


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the script: its definition, the scopes that it sees, and what `self` is."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope
    self: Value | None = None
    owner: ast.ClassDef | None = None


@dataclass(frozen=True, eq=False)
class Class:
    """A class of the project."""

    node: ast.ClassDef
    scope: Scope
    name: str


@dataclass(frozen=True)
class Known:
    """Something that is imported: by its qualified name, in the file `origin`."""

    name: str
    origin: str = field(default="", compare=False)


@dataclass(frozen=True)
class Bound:
    """A method, taken off its object."""

    of: Value
    name: str
    node: ast.expr


@dataclass(eq=False)
class Made:
    """An optimizer that the script makes."""

    optimizer: OptimizerClass | None
    groups: Value
    arguments: dict[str, Value]
    place: Place
    halves: dict[str, Value] = field(default_factory=dict)
    name: str = ""
    own: bool = False


@dataclass(eq=False)
class Scope:
    """Names and what they hold; `outer` is looked in next. `file` is the module that the code stands in. `settings` are
    names whose values are defaults: another value may be given. `computed` has what names that are computed from
    defaults hold where these are left open."""

    file: object
    names: dict[str, Value] = field(default_factory=dict)
    outer: Scope | None = None
    settings: set[str] = field(default_factory=set)
    computed: dict[str, Value] = field(default_factory=dict)

    def opened(self, name: str) -> Value | None:
        """What a name holds where defaults are left open; None for one that rests on none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.computed.get(name, Opaque(name) if name in scope.settings else None)
            scope = scope.outer
        return None

    def forget(self, name: str) -> None:
        """What a name holds rests on no default any more."""
        self.settings.discard(name)
        self.computed.pop(name, None)

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None


Value = Union[Term, Bag, Table, Row, Phi, Function, Class, Known, Bound, Made]  # noqa: UP007 - classes refer to it


def _same(inner: Place, outer: Place) -> bool:
    return inner.when == outer.when or beyond(inner.when, outer.when) == TRUE


def beyond(when: Term, given: Term) -> Term:
    """What a condition asks for besides another that holds already."""
    held = set(conjuncts(given))
    return both(*(c for c in conjuncts(when) if c not in held))


def relative(entry: Place, made: Place) -> tuple[tuple[Binder, ...], Term, tuple[Test, ...]]:
    """The loops and conditions of a place that those of another do not have."""
    binders = tuple(b for b in entry.binders if b not in made.binders)
    tests = tuple(t for t in entry.tests if t not in made.tests)
    return binders, beyond(entry.when, made.when), tests


def changed(value: Value, change: Callable[[Term], Term | None]) -> Value:
    """The value with parts of its terms replaced; collections are copied."""
    if isinstance(value, Term):
        return mapped(value, change)
    if isinstance(value, Row):
        return Row(tuple(changed(v, change) for v in value.values))
    if isinstance(value, Phi):
        return Phi(mapped(value.when, change), changed(value.then, change), changed(value.otherwise, change))
    if isinstance(value, (Bag, Table)):
        return replace(
            value,
            made=moved(value.made, change),
            entries=[
                Entry(
                    changed(e.value, change), moved(e.place, change), None if e.key is None else changed(e.key, change)
                )
                for e in value.entries
            ],
        )
    return value


def moved(place: Place, change: Callable[[Term], Term | None]) -> Place:
    return Place(
        tuple(replace(b, of=mapped(b.of, change)) for b in place.binders),
        mapped(place.when, change),
        tuple(Test(mapped(t.holds, change), t.span) for t in place.tests),
        place.span,
    )


def items(bag: Bag | Table) -> tuple[Item, ...]:
    """The entries of a collection that are terms, relative to where it was made."""
    found = []
    for e in bag.entries:
        what = e.key if isinstance(bag, Table) else e.value
        if isinstance(what, Term):
            binders, when, tests = relative(e.place, bag.made)
            found.append(Item(what, binders, when, tests, e.place.span))
    return tuple(found)
