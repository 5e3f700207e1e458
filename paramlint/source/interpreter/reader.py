"""The state of a reading: where it is, what names hold, and what was seen on the way."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from itertools import count

from paramlint.knowledge import Knowledge
from paramlint.record import dataclass
from paramlint.source.interpreter import expressions, functions, statements
from paramlint.source.interpreter.project import File, Project
from paramlint.source.interpreter.values import (
    Bag,
    Class,
    Entry,
    Function,
    Made,
    Phi,
    Place,
    Row,
    Scope,
    Table,
    Value,
    beyond,
)
from paramlint.source.script import Branch, Needle, RuntimeCheck, Walks
from paramlint.source.terms import (
    FALSE,
    Binder,
    Const,
    Opaque,
    Span,
    Term,
    Test,
    binders,
    both,
    chosen,
    conjuncts,
    either,
    size,
    small,
    variables,
)

#: How many expressions and statements are read from one entry, and from all of a file; how many conditions are gone
#: into from one; and how deep calls are followed.
STEPS = 60_000
ALL_STEPS = 100_000
CONDITIONS = 10_000
#: How long a condition may be that tells apart how a place was reached; past that it is taken to be reached.
_LONG = 150
DEPTH = 12
#: How many entries of a collection are looked at for what it depends on.
_MANY = 64


class TooMuch(Exception):
    """A reading has gone on for too long."""


@dataclass
class Loop:
    """A loop that is being read: under which conditions its turns were cut short or ended it."""

    again: Term = FALSE
    left: Term = FALSE


@dataclass
class Frame:
    """A function that is being read."""

    function: Function | None
    returns: list[tuple[Term, Value, Span]] = field(default_factory=list)
    yields: Bag | None = None
    loops: list[Loop] = field(default_factory=list)


class Reader:
    """Reads one entry of a script: `run` statements, `value` of expressions, `apply` functions."""

    def __init__(self, project: Project, file: File, known: Knowledge) -> None:
        self.project = project
        self.file = self.first = file
        self.known = known
        self.scope = Scope(file)
        self.place = Place()
        self.attributes: dict[tuple[Term, str], Value] = {}
        #: What those hold that are computed from defaults, with these left open.
        self.opened: dict[tuple[Term, str], Value] = {}
        self.instances: dict[Term, Class] = {}
        self.tags: list[tuple[Binder, str, Value, Place]] = []
        self.made: list[Made] = []
        self.bags: list[Bag] = []
        self.checks: list[RuntimeCheck] = []
        self.needles: list[Needle] = []
        self.branches: list[Branch] = []
        self.walks: list[Walks] = []
        self.names: dict[Term, str] = {}
        self.tested: dict[ast.expr, Term] = {}
        self.inlined: set[ast.AST] = set()
        self.frames = [Frame(None)]
        self.calls: list[Span] = []
        self.turns: list[int] = []
        self.open_settings = False
        self.steps = self.conditions = 0
        self.unordered: Span | None = None
        #: What tells apart the turns of a loop over different values, and the number of the loop.
        self.each: tuple[Term, int] | None = None
        #: The families of the dicts that are made in such turns, by the loop and by where they are made.
        self._families: dict[tuple[object, ...], int] = {}
        self._numbers = count(1)

    # What is read, by those who know how.

    def value(self, node: ast.expr) -> Value:
        self.step()
        return expressions.value(self, node)

    def run(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            if self.place.when == FALSE:
                return
            self.step()
            statements.run(self, statement)

    def apply(self, function: Function, given: Sequence[Value], named: dict[str, Value], node: ast.AST) -> Value:
        return functions.apply(self, function, given, named, node)

    def step(self) -> None:
        self.steps += 1
        self.project.steps += 1
        if self.steps > STEPS or self.project.steps > ALL_STEPS:
            raise TooMuch

    # Where it is.

    def at(self, node: ast.AST) -> Place:
        return replace(self.place, span=self.span(node))

    def span(self, node: ast.AST) -> Span:
        return self.file.span(node)

    def seen_from_here(self, span: Span) -> Span:
        """A place in another file as the call in the file that is read which leads there."""
        if span.path == self.first.path:
            return span
        return next((c for c in reversed(self.calls) if c.path == self.first.path), span)

    def text(self, node: ast.AST) -> str:
        return self.file.text_of(node)

    @contextmanager
    def under(self, when: Term, tests: tuple[Test, ...] = (), bound: tuple[Binder, ...] = ()) -> Iterator[None]:
        """Reads what follows under a further condition, and comes back to where it was."""
        self.conditions += 1
        if self.conditions > CONDITIONS:
            raise TooMuch
        before = self.place
        self.place = replace(
            before, when=both(before.when, when), tests=(*before.tests, *tests), binders=(*before.binders, *bound)
        )
        try:
            yield
        finally:
            self.place = before

    @contextmanager
    def through(self, unordered: Span | None) -> Iterator[None]:
        """Reads a loop; what it fills has no order of its own where it goes through a set."""
        before = self.unordered
        self.unordered = unordered or before
        try:
            yield
        finally:
            self.unordered = before

    @contextmanager
    def turn(self, value: Value, loop: int, number: int = 0) -> Iterator[None]:
        """Reads a turn of a loop, which takes each value once, however many things have it, where `loop` is not 0."""
        before = self.each
        self.turns.append(number)
        if loop and isinstance(value, Term) and binders(value):
            self.each = (value, loop)
        try:
            yield
        finally:
            self.each = before
            self.turns.pop()

    @contextmanager
    def inside(self, file: File, scope: Scope, frame: Frame) -> Iterator[None]:
        before = self.file, self.scope
        self.file, self.scope = file, scope
        self.frames.append(frame)
        try:
            yield
        finally:
            self.file, self.scope = before
            self.frames.pop()

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    def binder(self, kind: str, of: Term, recurse: bool = True) -> Binder:
        return Binder(next(self._numbers), kind, of, recurse)  # type: ignore[arg-type]

    def fresh(self) -> int:
        return next(self._numbers)

    # What is made.

    def bag(self, kind: str, values: Sequence[Value] = (), node: ast.AST | None = None) -> Bag:
        place = self.place if node is None else self.at(node)
        bag = Bag(kind, place, [Entry(v, place) for v in values])
        self.bags.append(bag)
        return bag

    def table(self, node: ast.AST | None = None) -> Table:
        table = Table(self.place if node is None else self.at(node), family=self.fresh())
        if self.each is not None:
            table.key, loop = self.each
            place = (loop, table.made.span, tuple(self.calls))
            table.family, table.distinct = self._families.setdefault(place, table.family), True
        return table

    def opaque(self, node: ast.AST, values: Sequence[Value] = (), why: str = "") -> Opaque:
        """What cannot be read: by its text, over the variables that it depends on."""
        here = self.place.binders
        found = dict.fromkeys(
            var for v in values for term in flat(v) for var in variables(term) if var.binder in here or var == term
        )
        return Opaque(self.text(node), tuple(found), why)

    def merge(self, when: Term, then: Value, otherwise: Value, name: str = "") -> Value:
        """What a name holds after a branch: one value or the other."""
        if then is otherwise or then == otherwise:
            return then
        if isinstance(when, Const):
            return then if when.value else otherwise
        if isinstance(then, Term) and isinstance(otherwise, Term):
            plain = isinstance(then, Opaque) and isinstance(otherwise, Opaque)
            if plain and not binders(then) and not binders(otherwise) and name:
                return Opaque(name, why=f"{name} is one of several things")
            return small(chosen(when, then, otherwise))
        if isinstance(then, Row) and isinstance(otherwise, Row) and len(then.values) == len(otherwise.values):
            pairs = zip(then.values, otherwise.values, strict=True)
            return Row(tuple(self.merge(when, a, b) for a, b in pairs))
        return Phi(when, then, otherwise)

    def joined(self, returns: Sequence[tuple[Term, Value, Span]]) -> Value:
        """What a function gives, of all its returns."""
        if not returns:
            return Const(None)
        *others, (_, result, _) = returns
        for when, value, _ in reversed(others):
            result = self.merge(beyond(when, self.place.when), value, result)
        return result


def flat(value: Value) -> Iterator[Term]:
    """The terms in a value, those in collections among them."""
    if isinstance(value, Term):
        yield value
    elif isinstance(value, Row):
        for v in value.values:
            yield from flat(v)
    elif isinstance(value, Phi):
        yield value.when
        yield from flat(value.then)
        yield from flat(value.otherwise)
    elif isinstance(value, (Bag, Table)):
        for entry in value.entries[:_MANY]:
            yield entry.place.when
            yield from flat(entry.value)


def fallen(before: Term, one: Term, other: Term, entered: tuple[Term, Term]) -> Term:
    """Under which condition what follows a branch is reached."""
    if one == entered[0] and other == entered[1]:
        return before
    if other == FALSE or one == FALSE:
        return either(one, other)
    common = [c for c in conjuncts(one) if c in conjuncts(other)]
    apart = either(beyond(one, both(*common)), beyond(other, both(*common)))
    return both(*common) if size(apart) > _LONG else both(*common, apart)
