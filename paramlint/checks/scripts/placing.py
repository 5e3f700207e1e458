"""Where a script puts the parameters of a known model, as it stands and if a test of names went the other way."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import field
from functools import cached_property

from paramlint.checks.scripts.asked import Asked, forced, without_settings
from paramlint.checks.scripts.context import ScriptContext, Way
from paramlint.parameter import Destination, Inventory, Parameter
from paramlint.record import dataclass
from paramlint.source.evaluate import Bindings, Evaluator, Turn
from paramlint.source.interpreter.entries import Read
from paramlint.source.script import Needle, SymbolicGroup
from paramlint.source.terms import Binder, Const, Item, Op, Span, Term, Var, binders, variables
from paramlint.source.tree import Tree
from paramlint.source.values import UNKNOWN, Node, key
from paramlint.source.which_model import model_root, roots

#: More turns of the loops around one item, or one test, are not followed.
_TURNS = 50_000


@dataclass(frozen=True)
class Slot:
    """A group that holds a parameter: its place among the optimizers and their groups, its key where there is one for
    each value of it, and the options that go by the parameter."""

    optimizer: int
    group: int
    key: Hashable
    options: tuple[tuple[str, Hashable], ...]
    half: Destination | None = field(compare=False)
    span: Span | None = field(compare=False)
    decay: object = field(default=None, compare=False)


#: The groups that hold a parameter; None where that is not known.
Slots = frozenset[Slot] | None


@dataclass
class Placing:
    """One entry of a script over one model. Settings are taken to be such that the groups at hand are made."""

    ctx: ScriptContext
    read: Read
    inventory: Inventory
    _met: dict[tuple[Term, tuple[Binder, ...]], dict[str, list[Bindings]] | None] = field(default_factory=dict)
    _terms: dict[tuple[Term, Asked, bool], Term] = field(default_factory=dict)
    _conditions: dict[Item, Term] = field(default_factory=dict)

    @cached_property
    def _models(self) -> tuple[str | None, tuple[str, ...]]:
        return model_root(self.read.build, self._tree)

    @cached_property
    def _tree(self) -> Tree:
        return Tree(self.inventory)

    @cached_property
    def _evaluator(self) -> Evaluator:
        root = self._models[0]
        return Evaluator(self._tree, frozenset((root,) if root is not None else ()))

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """The sets of optimizers that may be made, those with parameters of this model."""
        return tuple(
            w for w in self.ctx.ways(self.read) if any(i for c in w.constructions for g in c.groups for i in g.items)
        )

    # What tests say

    def matched(self, needle: Needle) -> tuple[tuple[str, ...], int] | None:
        """The names of parameters and modules for which a test of names holds, and how many it is asked of. A name of a
        tied tensor counts as well. None where that is not known."""
        test = _test(needle)
        asked_of: list[str] = []
        found: list[str] = []
        for count, (turn, name) in enumerate(self._turns(needle)):
            if turn is None or count == _TURNS:
                return None
            holds = self._evaluator.truth(test, turn)
            if holds is UNKNOWN:
                return None
            asked_of.append(name)
            if holds:
                found.append(name)
        return (tuple(dict.fromkeys(found)), len(set(asked_of))) if asked_of else None

    def _turns(self, needle: Needle) -> Iterator[tuple[Bindings | None, str]]:
        """What the loops around a test stand at, with the full name of what the innermost one takes."""
        for turn in self._evaluator.turns(_loops(needle.within)):
            if isinstance(turn, Binder):
                yield None, ""
                return
            (last, held) = list(turn.items())[-1]
            if isinstance(held.value, Node):
                yield turn, held.value.path
            elif isinstance(held.value, Parameter):
                yield turn, held.value.name
                if isinstance(held.name, str) and held.value.name.endswith(held.name):
                    above = held.value.name[: -len(held.name)]
                    for alias in held.value.aliases:
                        if alias.startswith(above):
                            yield {**turn, last: Turn(alias[len(above) :], held.value)}, held.value.name

    # Where parameters are

    def slots(self, way: Way, p: Parameter, what: Asked | None = None, holds: bool = True) -> Slots:
        """The groups that hold a parameter, `what` being taken to hold, or not. None where that is not known."""
        found: set[Slot] = set()
        for number, c in enumerate(way.constructions):
            if c.unread:
                return None
            for index, g in enumerate(c.groups):
                if self._evaluator.truth(g.when) is False:
                    continue
                if g.unread:
                    return None
                for item in g.items:
                    if any(root in self._models[1] for root in roots(item)):
                        continue
                    turns = self._of(item)
                    if turns is None:
                        return None
                    for turn in turns.get(p.name, ()):
                        held = self._evaluator.truth(self._forced(self._condition(item), what, holds), turn)
                        if held is UNKNOWN:
                            return None
                        if held:
                            slot = self._slot(number, index, g, turn, what, holds)
                            found.add(Slot(*slot, self.ctx.half(c, g), item.span, self._decay(g, turn, what, holds)))
        return frozenset(found)

    def _slot(
        self, number: int, index: int, g: SymbolicGroup, turn: Bindings, what: Asked | None, holds: bool
    ) -> tuple[int, int, Hashable, tuple[tuple[str, Hashable], ...]]:
        value = None if g.key is None else key(self._evaluator.value(self._forced(g.key, what, holds), turn))
        options = tuple(
            (name, key(self._evaluator.value(self._forced(term, what, holds), turn)))
            for name, term in g.options.items()
            if binders(term)
        )
        if g.family is not None:
            number, index = -1, g.family
        return number, index, value, options

    def _decay(self, g: SymbolicGroup, turn: Bindings, what: Asked | None, holds: bool) -> object:
        term = g.options.get("weight_decay")
        return None if term is None else self._evaluator.value(self._forced(term, what, holds), turn)

    def _condition(self, item: Item) -> Term:
        if item not in self._conditions:
            self._conditions[item] = without_settings(item.when)
        return self._conditions[item]

    def _forced(self, term: Term, what: Asked | None, holds: bool) -> Term:
        if what is None:
            return term
        at = (term, what, holds)
        if at not in self._terms:
            self._terms[at] = forced(term, what, holds)
        return self._terms[at]

    def _of(self, item: Item) -> dict[str, list[Bindings]] | None:
        """The turns of the loops around an item, by the parameter that it then stands for."""
        at = (item.value, item.binders)
        if at not in self._met:
            self._met[at] = self._read_turns(item)
        return self._met[at]

    def _read_turns(self, item: Item) -> dict[str, list[Bindings]] | None:
        found: dict[str, list[Bindings]] = {}
        for count, turn in enumerate(self._evaluator.turns(item.binders)):
            if isinstance(turn, Binder) or count == _TURNS:
                return None
            value = self._evaluator.value(item.value, turn)
            if isinstance(value, tuple) and len(value) == 2:
                value = value[1]  # a pair of `named_parameters()`
            if isinstance(value, Parameter):
                found.setdefault(value.name, []).append(turn)
            elif value is not None:
                return None
        return found


def placings(ctx: ScriptContext) -> Iterator[Placing]:
    """One for each entry of a script, where its model is known."""
    if ctx.inventory is not None:
        for read in ctx.reads:
            yield Placing(ctx, read, ctx.inventory)


def in_muon(slots: Slots) -> bool:
    """Whether one of the groups is Muon's."""
    return any(s.half == "muon" for s in slots or ())


def _test(needle: Needle) -> Term:
    sought = Const(needle.text)
    return Op("in", (sought, needle.within)) if needle.op == "in" else Op(needle.op, (needle.within, sought))


def _loops(within: Term) -> tuple[Binder, ...]:
    """The loops that the variables of a term come from, outermost first."""
    found: dict[Binder, None] = {}

    def add(b: Binder) -> None:
        for v in variables(b.of):
            add(v.binder)
        found[b] = None

    for v in variables(within):
        if isinstance(v, Var):
            add(v.binder)
    return tuple(found)
