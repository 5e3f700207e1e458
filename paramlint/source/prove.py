"""Whether groups are disjoint and cover every parameter of any model: a proof, a counterexample, or why neither."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

from paramlint.record import dataclass
from paramlint.source import certain
from paramlint.source.point import Point, truth
from paramlint.source.script import SymbolicGroup
from paramlint.source.search import TOO_MANY, Search, is_large
from paramlint.source.terms import TRUE, Binder, Opaque, Root, Term, both, either, negated, walk
from paramlint.source.universe import membership, met_more_than_once, rewritten, roots, universe
from paramlint.source.witness import Witness

_TIED = "a weight with two names is met twice"


@dataclass(frozen=True)
class Answer:
    """To one question on groups.

    `witness` is a parameter for which the answer is no, where it is "refuted". `certain` says that this is no matter of
    what a model happens to have: see `paramlint.source.certain`. `reasons` say what an unknown hangs on.
    """

    state: Literal["proved", "refuted", "unknown"]
    witness: Witness | None = None
    certain: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """On the parameters of one model; `root` is None where the source does not tell which.

    `covered`: every trainable one is in a group; `frozen_covered`: every frozen one is. `disjoint`: none is in two
    groups; `once`: none is put into one list twice.
    """

    root: Root | None
    covered: Answer
    frozen_covered: Answer
    disjoint: Answer
    once: Answer


def partition(groups: Sequence[SymbolicGroup], assuming: Term = TRUE) -> tuple[Verdict, ...]:
    """What can be said of groups that are given together, for each model that they take parameters of.

    Args:
        groups: all groups of all optimizers that are made together. The `when` of each counts; where no group is given
            at all, nothing is asked.
        assuming: what is known of the script's settings, such as the condition of the branch in which the optimizers
            are made. A counterexample is certain only where it is one for all other settings.
    """
    found = roots(groups)
    if not found and groups:
        unread = [why for g in groups for why in g.unread]
        unread += [t.text for g in groups for i in g.items for t in walk(i.value) if isinstance(t, Opaque)]
        unknown = _unknown(f"not read: {why}" for why in unread) if unread else _unknown(["no parameters were read"])
        return (Verdict(None, unknown, unknown, unknown, unknown),)
    return tuple(_verdict(groups, assuming, root) for root in found)


@dataclass(frozen=True)
class Way:
    """One way in which conditions on settings hold or fail together: `when` is what to give to `partition` as
    `assuming`. It is `full` where in no other way all that hold here do, and more: elsewhere something that is optional
    is left away, or an option has a value that the script does not know, and holes are likely to be meant."""

    when: Term
    full: bool = True


def branches(conditions: Iterable[Term]) -> tuple[Way, ...]:
    """The ways in which the conditions of several optimizers can hold together, those in which none holds left out.

    At most 64 are looked at, and of conditions beyond that nothing is said.
    """
    within = universe(Root(""))
    ways: list[tuple[Term, frozenset[Term]]] = [(TRUE, frozenset())]
    for condition in dict.fromkeys(conditions):
        if len(ways) > 32:
            break
        split = [
            way
            for w, held in ways
            for way in ((both(w, condition), held | {condition}), (both(w, negated(condition)), held))
        ]
        ways = [(w, held) for w, held in split if possible(w, within)]
    return tuple(Way(w, not any(held < other for _, other in ways)) for w, held in ways if held)


def possible(condition: Term, within: Binder | None = None) -> bool:
    """Whether a condition on settings can hold."""
    search = Search(condition, within or universe(Root(""))).run((True,))
    return search.found is not None or bool(search.open)


def _verdict(groups: Sequence[SymbolicGroup], assuming: Term, root: Root) -> Verdict:
    within = universe(root)
    if any(is_large(i.when) for g in groups for i in g.items):
        unknown = _unknown([TOO_MANY])
        return Verdict(root, unknown, unknown, unknown, unknown)
    whens = {g.when for g in groups}
    fixed = rewritten(both(assuming, *whens) if len(whens) == 1 else assuming, within)
    base = both(fixed, rewritten(either(*whens), within))
    members = [membership(g, within) for g in groups]
    case = _Case(groups, members, fixed, base, within)
    return Verdict(root, case.hole((True,)), case.hole((False,)), case.overlap(), case.twice())


@dataclass
class _Case:
    groups: Sequence[SymbolicGroup]
    members: list[Term]
    fixed: Term
    base: Term
    within: Binder

    def hole(self, trained: tuple[bool, ...]) -> Answer:
        union = either(*self.members)
        search = Search(both(self.base, negated(union)), self.within).run(trained)
        if search.found is None:
            return _unknown(search.open) if search.open else Answer("proved")
        sure = certain.hole(union, self.fixed, search.found) if trained == (True,) else None
        return Answer("refuted", self._witness(sure or search.found), sure is not None)

    def overlap(self) -> Answer:
        pairs = combinations(self.members, 2)
        answer = self._shared([(a, b) for a, b in pairs])
        if answer.state == "proved" and any(map(met_more_than_once, self.members)):
            return _unknown([_TIED])
        return answer

    def twice(self) -> Answer:
        pairs = []
        for group in self.groups:
            if group.container == "list":
                terms = [both(group.when, membership((i,), self.within)) for i in group.items]
                pairs += list(combinations(terms, 2))
        return self._shared(pairs)

    def _shared(self, pairs: Sequence[tuple[Term, Term]]) -> Answer:
        refuted: Answer | None = None
        open: dict[str, None] = {}
        for one, other in pairs:
            search = Search(both(self.base, one, other), self.within).run((True, False))
            open |= search.open
            if search.found is not None:
                sure = certain.overlap(one, other, self.fixed, search.found)
                if sure is not None:
                    return Answer("refuted", self._witness(sure), True)
                refuted = refuted or Answer("refuted", self._witness(search.found))
            if TOO_MANY in search.open:
                break
        return refuted or (_unknown(open) if open else Answer("proved"))

    def _witness(self, point: Point) -> Witness:
        held = [
            (g, i)
            for g, group in enumerate(self.groups)
            for i, item in enumerate(group.items)
            if truth(both(group.when, membership((item,), self.within)), point)
        ]
        settings = tuple(point.values.items())
        groups = tuple(dict.fromkeys(g for g, _ in held))
        return Witness(point.name, point.ndim, point.requires_grad, settings, groups, tuple(held))


def _unknown(reasons: Iterable[str]) -> Answer:
    return Answer("unknown", reasons=tuple(dict.fromkeys(reasons)))
