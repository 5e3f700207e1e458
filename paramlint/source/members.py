"""What the items of a group hold, over the parameters of a known model."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from paramlint.group import Member
from paramlint.parameter import Parameter, Plain
from paramlint.source.evaluate import Bindings, Evaluator
from paramlint.source.passed_through import passed_through
from paramlint.source.terms import Binder, Item, Term
from paramlint.source.values import UNKNOWN, Node, Unknown, Value, key

#: More turns of the loops around one item are not followed.
_TURNS = 200_000


@dataclass(frozen=True)
class Held:
    """A parameter in a group for certain, with what the loops stood at, and the value of the group's key."""

    member: Member
    bound: Bindings
    key: Hashable = None


@dataclass
class Found:
    """What an item holds: for certain, and the names of what it may hold."""

    held: list[Held] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)


@dataclass
class Members:
    """Reads items over one model. `sources` are the texts of files by path, `label` what places are called."""

    evaluator: Evaluator
    sources: Mapping[str, str]
    label: str = ""
    _found: dict[tuple[Item, Term | None], Found] = field(default_factory=dict)

    def of(self, item: Item, by: Term | None = None) -> Found:
        """What an item holds; `by` is the key of the group, where there is one for each of its values."""
        where = (item, by)
        if where not in self._found:
            self._found[where] = self._read(item, by)
        return self._found[where]

    def _read(self, item: Item, by: Term | None) -> Found:
        found = Found()
        for count, turn in enumerate(self.evaluator.turns(item.binders)):
            if count == _TURNS:
                found.doubtful |= self.evaluator.tree.names()
                break
            if isinstance(turn, Binder):
                found.doubtful |= self.evaluator.within(turn.of)
                continue
            holds = self.evaluator.truth(item.when, turn)
            if holds is not False:
                self._put(item, by, turn, holds, found)
        return found

    def _put(self, item: Item, by: Term | None, turn: Bindings, holds: bool | Unknown, found: Found) -> None:
        value = self.evaluator.value(item.value, turn)
        given: str | None = None
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            given, value = value  # a pair of `named_parameters()`
        if not isinstance(value, Parameter):
            found.doubtful |= self._may_be(item.value, value, turn)
            return
        group = key(self.evaluator.value(by, turn)) if by is not None else None
        if holds is UNKNOWN or group is UNKNOWN:
            found.doubtful.add(value.name)
            return
        where, let = passed_through(item, value, turn, self.evaluator, self.sources, self.label)
        member = Member(value.name, value.shape, value.trainable, given, use_muon=value.use_muon, where=where, let=let)
        found.held.append(Held(member, turn, group))

    def _may_be(self, term: Term, value: Value, turn: Bindings) -> frozenset[str]:
        """The parameters that something which is none itself may stand for. None stands for nothing."""
        if value is UNKNOWN or isinstance(value, (Node, tuple)):
            return self.evaluator.within(term, turn)
        return frozenset()


def plain(value: Value) -> tuple[Plain] | None:
    """The value of an option in a tuple of its own, or None where it is not known, or no plain value."""
    if isinstance(value, tuple):
        parts = [plain(v) for v in value]
        return None if None in parts else (tuple(p[0] for p in parts if p is not None),)
    if value is None or isinstance(value, (bool, int, float, str)):
        return (value,)
    return None
