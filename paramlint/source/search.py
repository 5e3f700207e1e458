"""Looks for a parameter for which a condition holds, by cases: one atom after the other, as long as any are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import field, replace
from itertools import islice
from typing import Literal

from paramlint.record import dataclass
from paramlint.source.atoms import Atoms, Formula, Joined, Lit, given, literals
from paramlint.source.likely_names import below, has_vectors
from paramlint.source.point import Kept, Point, named, truth
from paramlint.source.strings import StringTest, TooMany
from paramlint.source.terms import Binder, Const, Op, Term, Var, binders, walk
from paramlint.source.theory import NONE, Theory, dimensions, place
from paramlint.source.witness import reason

#: Literals looked at, over all cases, before the answer is that nothing is known; terms in a condition that is looked
#: at; and cases tried that hang on the model.
_MOST_LOOKED_AT = 60_000
_LARGEST = 20_000
TOO_MANY = "too many cases"
_MOST_TRIED = 12
_NAMES_TRIED = 12
_MATRICES = (2, 3, 4)

Outcome = Literal["none", "open", "found"]


@dataclass
class Search:
    """After `run`: `found` is a parameter for which the condition holds for certain, confirmed by plain evaluation.
    `open` says why it may hold for others; where both are empty, it holds for none of any model."""

    condition: Term
    within: Binder
    found: Point | None = None
    open: dict[str, None] = field(default_factory=dict)

    def run(self, trained: tuple[bool, ...]) -> Search:
        """Looks among parameters with these values of `requires_grad`."""
        if is_large(self.condition):
            self.open[TOO_MANY] = None
            return self
        self._atoms = Atoms(self.within)
        formula = self._atoms.formula(self.condition)
        if formula is False:
            return self
        self._theory = Theory(self._atoms)
        self._left, self._tried = _MOST_LOOKED_AT, 0
        u = Var(self.within, "value")
        for requires_grad in trained:
            seen: list[dict[int, bool]] = []
            for ndim in dimensions(self._atoms):
                self._at = Point(self.within, "", ndim, requires_grad)
                fixed = {Op("attr:ndim", (u,)): ndim, Op("attr:requires_grad", (u,)): requires_grad}
                known = {
                    number: not isinstance(atom.test, StringTest) and atom.test.passed(fixed[atom.subject])
                    for number, atom in enumerate(self._atoms.all)
                    if atom.subject in fixed
                }
                if known in seen:  # no test tells this many dimensions from some others
                    continue
                seen.append(known)
                if self._cases(given(formula, known), known) == "found":
                    self.open.clear()
                    return self
        return self

    def _cases(self, formula: Formula, known: dict[int, bool]) -> Outcome:
        while True:
            if formula is False:
                return "none"
            if self._left <= 0:
                self.open[TOO_MANY] = None
                return "open"
            self._left -= 1 + sum(1 for _ in literals(formula))
            units = _units(formula)
            if not units:
                break
            after = self._theory.extend(known, units)
            if after is None:
                return "none"
            known, formula = after, given(formula, after)
        if formula is True:
            return self._confirmed(known)
        atom, model_only = self._next(formula)
        outcome: Outcome = "none"
        for holds in (False, True):
            extended = self._theory.extend(known, (Lit(atom, holds),))
            if extended is None:
                continue
            one = self._cases(given(formula, extended), extended)
            if one == "found":
                return "found"
            if one == "open":
                outcome = "open"
                if model_only and self._tried >= _MOST_TRIED:
                    return "open"
        return outcome

    def _next(self, formula: Formula) -> tuple[int, bool]:
        """The atom to decide: what is best known first, then what is there most often; and whether only atoms are left
        that hang on the model."""
        counted = Counter(lit.atom for lit in literals(formula))
        ranks = {n: self._theory.ranks[self._atoms.all[n].subject] for n in counted}
        atom = min(counted, key=lambda n: (ranks[n], -counted[n], n))
        return atom, ranks[atom] == 3

    def _confirmed(self, known: dict[int, bool]) -> Outcome:
        """Whether there is a parameter that is as known, and one that evaluation says the same of."""
        theory, by_rank = self._theory, self._by_rank(known)
        try:
            samples = {s: theory.sample(s, known) for subjects in by_rank.values() for s in subjects}
            name = theory.sample(theory.name, known)
        except TooMany:
            self.open[TOO_MANY] = None
            return "open"
        if name is NONE or any(v is NONE for v in samples.values()):
            return "none"
        kept = [*by_rank[1], *(by_rank[2] if len(by_rank[2]) == 1 and self._has(by_rank[2][0]) else ())]
        values = {s: samples[s] for s in kept}
        tried = _NAMES_TRIED if not by_rank[3] else 4 if self._tried < 2 * _MOST_TRIED else 0
        tried = min(tried, 1) if not binders(self.condition) else tried
        found: Kept = {}
        for one in islice(self._names(known, by_rank[3]), tried):
            point = Point(self.within, one, self._at.ndim, self._at.requires_grad, values)
            if self._holds(point, by_rank[3], found):
                self.found = named(point, lambda p: self._holds(p, by_rank[3], found))
                return "found"
        self._tried += 1
        hangs_on = by_rank[3] or by_rank[2] or by_rank[0]
        self.open |= dict.fromkeys(reason(s) for s in hangs_on[:3])
        if not hangs_on:
            self.open["no name was found for it"] = None
        return "open"

    def _holds(self, point: Point, on_model: list[Term], found: Kept) -> bool:
        """Whether the condition holds for a parameter, and where that hangs on what the model has somewhere, for one
        with any number of dimensions that may be there: a module has some of each, a weight more than one."""
        places = [place(s, self.within) for s in on_model if not (isinstance(s, Op) and s.op == "relative")]
        alike: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
        if all(p is not None and p[0] for p in places):
            alike = ()
        elif all(places) and point.ndim in _MATRICES and point.name.endswith(".weight"):
            alike = alike if has_vectors(point.name) else _MATRICES
        return bool(truth(self.condition, point, found)) and all(
            truth(self.condition, replace(point, ndim=d), found) for d in alike
        )

    def _by_rank(self, known: dict[int, bool]) -> dict[int, list[Term]]:
        found: dict[int, list[Term]] = {0: [], 1: [], 2: [], 3: []}
        for subject, numbers in self._theory.of.items():
            if any(n in known for n in numbers) and subject != self._theory.name:
                found[self._theory.ranks[subject]].append(subject)
        return {k: v if k else [s for s in v if not self._is_fixed(s)] for k, v in found.items()}

    def _is_fixed(self, subject: Term) -> bool:
        return isinstance(subject, Op) and subject.op in ("attr:ndim", "attr:requires_grad")

    def _has(self, size: Term) -> bool:
        """Whether a parameter of so many dimensions has that size."""
        match size:
            case Op("getitem" | "method:size", (_, Const(value=index))) if isinstance(index, int):
                return -self._at.ndim <= index < self._at.ndim
        return True

    def _names(self, known: dict[int, bool], on_model: list[Term]) -> Iterator[str]:
        theory = self._theory
        places = theory.places(known)
        try:
            for subject in on_model:
                match subject:
                    case Op("relative", (_, Const(value=above))):
                        for rest in islice(theory.samples(subject, known), 2):
                            yield f"{above}.{rest}"
            for path in [t.needle[:-1] for t in places if t.kind == "startswith"][-1:]:
                yield next(below(path))
            if places:
                yield from map(str, islice(theory.samples(theory.name, known, places), 2))
            yield from map(str, theory.samples(theory.name, known))
        except TooMany:
            return


def is_large(term: Term) -> bool:
    """Whether a condition is too large to look at."""
    return any(True for _ in islice(walk(term), _LARGEST, None))


def _units(formula: Formula) -> tuple[Lit, ...]:
    """Atoms that have to be as they are in it."""
    if isinstance(formula, Lit):
        return (formula,)
    if isinstance(formula, Joined) and formula.op == "and":
        return tuple(p for p in formula.parts if isinstance(p, Lit))
    return ()
