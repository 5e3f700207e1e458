"""What atoms say of each other: which follow from one, and whether a choice of them can be true together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import ceil, floor

from paramlint.source.atoms import Atoms, Lit, ValueTest
from paramlint.source.likely_names import may_be_tied
from paramlint.source.strings import StringTest, TooMany, follows, likely, shortest
from paramlint.source.terms import Binder, Const, Op, Root, Term, Var, walk
from paramlint.source.universe import path

#: Numbers of things, or sizes: whole, and not negative.
_COUNTS = ("attr:ndim", "call:len", "method:numel", "method:nelement", "method:size", "method:count", "call:numel")
#: Of what a size is computed.
_SIZES = (
    *("attr:shape", "attr:dtype", "method:size", "method:numel", "method:nelement", "call:len", "call:max", "call:min"),
    *("call:math.prod", "getitem", "==", "<", "in", "tuple", "+", "-", "*", "/", "//", "%", "attr:itemsize"),
)
#: Where no value serves.
NONE = object()


class Other:
    """A value unlike all that the script compares with."""

    def __repr__(self) -> str:
        return "another value"


def rank(subject: Term, atoms: Atoms) -> int:
    """How much is known of a subject: 0, what a parameter's name, dimensions and training say; 1, a setting of the
    script; 2, a size of the parameter; 3, what depends on the model or was not read."""
    if not any(isinstance(t, Var) for t in walk(subject)):
        return 1
    if atoms.is_computed(subject):
        return 0
    return 2 if is_size(subject, atoms.within) else 3


def is_size(subject: Term, within: Binder) -> bool:
    parts = [t for t in walk(subject) if not isinstance(t, (Const, Root))]
    return all(t == Var(within, "value") or (isinstance(t, Op) and t.op in _SIZES) for t in parts)


def place(subject: Term, within: Binder) -> tuple[bool, str] | None:
    """The path of the model that a subject asks whether the parameter is below (True) or at, if it asks that."""
    match subject:
        case Op("under", (Var(), Const(where))):
            return True, str(where)
        case Op("is", (Var(), of)):
            where = path(of, within.of)
            return None if where is None else (False, where)
    return None


class Theory:
    """Over the atoms that there are when it is made."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        self.of: dict[Term, list[int]] = {}
        for number, atom in enumerate(atoms.all):
            self.of.setdefault(atom.subject, []).append(number)
        self.ranks = {subject: rank(subject, atoms) for subject in self.of}
        self.name = Var(atoms.within, "name")
        self._texts = {self.name, *(s for s in self.of if atoms.is_text(s))}
        self._paths = {n: p for n, a in enumerate(atoms.all) if (p := place(a.subject, atoms.within)) is not None}
        self._implied: dict[Lit, list[Lit]] = {}
        for one, asked, held in self._relations():
            self._implied.setdefault(Lit(one, True), []).append(Lit(asked, held))
            self._implied.setdefault(Lit(asked, not held), []).append(Lit(one, False))

    def extend(self, known: Mapping[int, bool], more: Iterable[Lit]) -> dict[int, bool] | None:
        """What is known with some atoms more, and what follows from them; None where they cannot be true together."""
        new, queue, touched = dict(known), list(more), set()
        while queue:
            lit = queue.pop()
            if lit.atom in new:
                if new[lit.atom] != lit.holds:
                    return None
                continue
            new[lit.atom] = lit.holds
            touched.add(self.atoms.all[lit.atom].subject)
            queue += self._implied.get(lit, ())
        if any(s not in self._texts and self._impossible(s, new) for s in touched):
            return None
        return new

    def sample(self, subject: Term, known: Mapping[int, bool]) -> object:
        """A value of the subject with which its atoms are as known, NONE where there is none.

        Raises:
            TooMany: it is a string, and its tests are too many.
        """
        return next(self.samples(subject, known), NONE)

    def samples(self, subject: Term, known: Mapping[int, bool], also: Iterable[StringTest] = ()) -> Iterator[object]:
        """Such values, plain ones first; one at least where there is any. A name passes `also` as well.

        Raises:
            TooMany: as for `sample`.
        """
        tests = [(self.atoms.all[n].test, known[n]) for n in self.of.get(subject, ()) if n in known]
        strings = [(t, holds) for t, holds in tests if isinstance(t, StringTest)]
        values = [(t, holds) for t, holds in tests if isinstance(t, ValueTest) and not _of_order(t)]
        if subject == self.name:
            strings += self._not_in(known)
            strings += [(t, True) for t in also]

        def fits(value: object) -> bool:
            return all(t.passed(value) == holds for t, holds in values) and all(
                (isinstance(value, str) and t.passed(value)) == holds for t, holds in strings
            )

        if subject not in self._texts:
            plain = _candidates(subject, [t for t, _ in values])
            yield from filter(fits, [Other(), *plain] if strings else plain)
            if not strings:
                return
        dotted = subject == self.name or (isinstance(subject, Op) and subject.op == "relative")
        yield from filter(fits, likely(strings))
        found = shortest(strings, name=dotted)
        if found == "" and not fits(found):
            found = shortest([*strings, (StringTest("==", ""), False)], name=dotted)
        if found is not None and fits(found):
            yield found

    def _impossible(self, subject: Term, known: Mapping[int, bool]) -> bool:
        try:
            return self.sample(subject, known) is NONE
        except TooMany:
            return False

    def _not_in(self, known: Mapping[int, bool]) -> list[tuple[StringTest, bool]]:
        """A parameter that is not at some path does not have that name."""
        return [
            (StringTest("startswith", f"{where}.") if under else StringTest("==", where), False)
            for n, (under, where) in self._paths.items()
            if known.get(n) is False
        ]

    def places(self, known: Mapping[int, bool]) -> list[StringTest]:
        """What the parameter's name is like where it is under, or at, the paths that it is known to be."""
        return [
            StringTest("startswith", f"{where}.") if under else StringTest("==", where)
            for n, (under, where) in self._paths.items()
            if known.get(n)
        ]

    def _relations(self) -> Iterator[tuple[int, int, bool]]:
        """Atoms, and others that hold, or do not, wherever they do."""
        for numbers in self.of.values():
            for one in numbers:
                for other in numbers:
                    a, b = self.atoms.all[one].test, self.atoms.all[other].test
                    if one != other and isinstance(a, StringTest) and isinstance(b, StringTest):
                        held = follows(a, b)
                        if held is not None:
                            yield one, other, held
        for number, (under, where) in self._paths.items():
            for other, (above, outer) in self._paths.items():
                if number != other and above and where.startswith(f"{outer}."):
                    yield number, other, True
                elif not (outer == where or outer.startswith(f"{where}.") or may_be_tied(where, outer)):
                    yield number, other, False
            for other in self.of.get(self.name, ()):
                test = self.atoms.all[other].test
                if isinstance(test, StringTest) and not test.lowered:
                    inside = under and test.kind in ("==", "startswith") and test.needle.startswith(f"{where}.")
                    if inside or (not under and test == StringTest("==", where)):
                        yield other, number, True


def dimensions(atoms: Atoms) -> list[int]:
    """Numbers of dimensions that stand for all, the usual ones first."""
    known = {0, 1, 2, 3, 4, 5}
    for atom in atoms.all:
        if atom.subject == Op("attr:ndim", (Var(atoms.within, "value"),)) and isinstance(atom.test, ValueTest):
            known |= set(_near(atom.test.than))
    usual = [2, 1, 3, 4, 5, 0]
    return usual + sorted(known - set(usual))


def _of_order(test: ValueTest) -> bool:
    """An order of strings or the like, which is left open."""
    return test.kind in ("<", "<=") and not isinstance(test.than, (int, float))


def _near(value: object) -> list[int]:
    """Whole numbers from just below a number to just above it, those that are not negative."""
    if not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):
        return []
    return [n for n in range(floor(value) - 1, ceil(value) + 2) if n >= 0]


def _candidates(subject: Term, tests: list[ValueTest]) -> list[object]:
    """Values of which one passes any choice of the tests that can be passed together."""
    compared = [t.than for t in tests if t.kind != "true"]
    if isinstance(subject, Op) and subject.op in _COUNTS:
        return [*dict.fromkeys([2, 1, 3, 0, *(n for c in compared for n in _near(c))])]
    if not compared:
        return [True, False]
    numbers = sorted({float(c) for c in compared if isinstance(c, (int, float))})
    between = [(a + b) / 2 for a, b in pairwise(numbers)]
    around = [numbers[0] - 1, *between, numbers[-1] + 1] if numbers else []
    return [*compared, True, False, None, Other(), *around]
