"""Whether groups are disjoint and cover every parameter of any model: a proof, a counterexample, or why neither."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field, replace
from functools import cached_property, partial
from itertools import combinations
from typing import Literal

from paramlint.record import dataclass
from paramlint.source import certain, in_common
from paramlint.source.point import Point, truth
from paramlint.source.script import SymbolicGroup
from paramlint.source.search import TOO_MANY, Search, is_large
from paramlint.source.terms import (
    TRUE,
    Binder,
    Item,
    Member,
    Opaque,
    Root,
    Term,
    Var,
    binders,
    both,
    conjuncts,
    either,
    mapped,
    negated,
    variables,
    walk,
)
from paramlint.source.universe import membership, met_more_than_once, rewritten, roots, universe
from paramlint.source.witness import Witness, needed, reason

#: What vectors are called: biases, and the gains of norms.
_VECTORS = re.compile(
    r"(^|[._])bias$|norm\w*\.(weight|gain|scale)$|(^|[._])(ln|bn)\w*\.(weight|gain|scale)$", re.IGNORECASE
)
_TIED = "a weight with two names is met twice"


@dataclass(frozen=True)
class Answer:
    """To one question on groups.

    `certain` says, where it is "refuted", that this is no matter of what a model happens to have: see
    `paramlint.source.certain`. `reasons` say what an unknown hangs on.
    """

    state: Literal["proved", "refuted", "unknown"]
    certain: bool = False
    reasons: tuple[str, ...] = ()
    _show: Callable[[], Witness] | None = field(default=None, compare=False)

    @cached_property
    def witness(self) -> Witness | None:
        """A parameter for which the answer is no, where it is "refuted"."""
        return self._show() if self._show is not None else None


@dataclass(frozen=True)
class Verdict:
    """On the parameters of one model; `root` is None where the source does not tell which. An answer is worked out when
    it is first asked for."""

    root: Root | None
    _asked: _Case | Answer = field(compare=False)

    @cached_property
    def covered(self) -> Answer:
        """Whether every trainable one is in a group."""
        return self._asked if isinstance(self._asked, Answer) else self._asked.hole((True,))

    @cached_property
    def frozen_covered(self) -> Answer:
        """Whether every frozen one is."""
        return self._asked if isinstance(self._asked, Answer) else self._asked.hole((False,))

    @cached_property
    def disjoint(self) -> Answer:
        """Whether none is in two groups."""
        return self._asked if isinstance(self._asked, Answer) else self._asked.overlap()

    @cached_property
    def once(self) -> Answer:
        """Whether none is put into one list twice."""
        return self._asked if isinstance(self._asked, Answer) else self._asked.twice()


def partition(
    groups: Sequence[SymbolicGroup], assuming: Term = TRUE, every: Sequence[SymbolicGroup] = ()
) -> tuple[Verdict, ...]:
    """What can be said of groups that are given together, for each model that they take parameters of.

    Args:
        groups: all groups of all optimizers that are made together. The `when` of each counts; where no group is given
            at all, nothing is asked.
        assuming: what is known of the script's settings, such as the condition of the branch in which the optimizers
            are made. A counterexample is certain only where it is one for all other settings.
        every: the groups that the script makes for any settings, where it makes others for some. A witness is told with
            the settings on which it hangs whether it is one, among all these.
    """
    found = roots(groups)
    if not found and groups:
        unread = [why for g in groups for why in g.unread]
        unread += [t.text for g in groups for i in g.items for t in walk(i.value) if isinstance(t, Opaque)]
        unknown = _unknown(f"not read: {why}" for why in unread) if unread else _unknown(["no parameters were read"])
        return (Verdict(None, unknown),)
    return tuple(_verdict(groups, assuming, root, every or groups) for root in found)


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


def _verdict(groups: Sequence[SymbolicGroup], assuming: Term, root: Root, every: Sequence[SymbolicGroup]) -> Verdict:
    within = universe(root)
    if any(is_large(i.when) for g in groups for i in g.items):
        return Verdict(root, _unknown([TOO_MANY]))
    whens = tuple(dict.fromkeys(g.when for g in groups))
    fixed = rewritten(both(assuming, *whens) if len(whens) == 1 else assuming, within)
    base = both(fixed, rewritten(either(*whens), within))
    members = [membership(g, within) for g in groups]
    return Verdict(root, _Case(groups, members, fixed, base, within, every))


@dataclass
class _Case:
    groups: Sequence[SymbolicGroup]
    members: list[Term]
    fixed: Term
    base: Term
    within: Binder
    every: Sequence[SymbolicGroup]

    def hole(self, trained: tuple[bool, ...]) -> Answer:
        union = either(*self.members)
        search = Search(both(self.base, negated(union)), self.within).run(trained)
        if search.found is None:
            return _unknown(search.open) if search.open else Answer("proved")
        sure = certain.hole(union, self.fixed, search.found) if trained == (True,) else None
        return self._refuted(sure or search.found, sure is not None, search.condition, self._in_none)

    def overlap(self) -> Answer:
        places = combinations(range(len(self.groups)), 2)
        answer = self._shared([(self.members[a], self.members[b]) for a, b in places if not self._same(a, b)])
        if answer.state == "proved" and (unkeyed := [i for g in self.groups for i in _unkeyed(g)]):
            return _unknown(reason(Member(i.value, (i,))) for i in unkeyed)
        if answer.state == "proved" and any(map(met_more_than_once, self.members)):
            return _unknown([_TIED])
        return answer

    def _same(self, one: int, other: int) -> bool:
        """Whether a parameter that is in two groups is in one: they are of one family, and its key is the same."""
        a, b = self.groups[one], self.groups[other]
        if a.family is None or a.family != b.family:
            return False
        keys = {k for g in (a, b) for k in _keys(g, self.within)}
        return len(keys) == 1 and None not in keys

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
                shown = partial(both, one, other)
                if sure is not None:
                    return self._refuted(sure, True, search.condition, shown)
                refuted = refuted or self._refuted(search.found, False, search.condition, shown)
            if TOO_MANY in search.open:
                break
        return refuted or (_unknown(open) if open else Answer("proved"))

    def _in_none(self) -> Term:
        """That a parameter is in none of the groups that the script makes for any settings."""
        return negated(either(*(membership(g, self.within) for g in self.every)))

    def _refuted(self, point: Point, sure: bool, condition: Term, shown: Callable[[], Term]) -> Answer:
        return Answer("refuted", sure, _show=lambda: self._witness(point, condition, shown()))

    def _witness(self, point: Point, condition: Term, shown: Term) -> Witness:
        """The parameter for which a condition holds, with one dimension where its name is that of a vector. It is told
        with the settings that what it shows hangs on."""
        vector = replace(point, ndim=1)
        if _VECTORS.search(point.name) and truth(condition, vector) is True:
            point = vector
        held = [
            (g, i)
            for g, group in enumerate(self.groups)
            for i, item in enumerate(group.items)
            if truth(both(group.when, membership((item,), self.within)), point)
        ]
        settings = tuple(point.values.items())
        groups = tuple(dict.fromkeys(g for g, _ in held))
        whens = [conjuncts(rewritten(g.when, self.within)) for g in self.every]
        always = {c for c in whens[0] if all(c in others for others in whens)}
        told = needed(point, mapped(shown, lambda c: TRUE if c in always else None))
        return Witness(point.name, point.ndim, point.requires_grad, settings, groups, tuple(held), told)


def _unkeyed(group: SymbolicGroup) -> Iterator[Item]:
    """What may be in several groups, of those that there are one for each value of a key."""
    if group.key is not None:
        yield from (i for i in group.items if in_common.shared(i, group.key) is None)


def _keys(group: SymbolicGroup, within: Binder) -> Iterator[tuple[Term, Term] | None]:
    """The key of a group, said of a parameter in it, and of what that has its name; None where it cannot be."""
    for item in group.items:
        key = None if group.key is None else in_common.shared(item, group.key)
        match item.value:
            case Var(own, "value") if key is not None and binders(key) == {own}:
                named = Var(own, "name") in variables(key)
                yield in_common.renamed(key, {own: within}), own.of if named else within.of
            case _:
                yield None


def _unknown(reasons: Iterable[str]) -> Answer:
    return Answer("unknown", reasons=tuple(dict.fromkeys(reasons)))
