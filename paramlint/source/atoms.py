"""Conditions taken apart: formulas over atoms, each a test of one subject, with negations at the atoms only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, Union

from paramlint.record import dataclass
from paramlint.source.point import UNKNOWN, Point, comparison, value
from paramlint.source.strings import StringTest
from paramlint.source.terms import Binder, Const, Op, Term, Var, mapped, operation


@dataclass(frozen=True)
class ValueTest:
    """A comparison of the subject with a value, or whether it counts as true."""

    kind: Literal["==", "<", "<=", "true"]
    than: object = None

    def passed(self, found: object) -> bool:
        """Whether a value does; what cannot be compared is neither less nor equal."""
        try:
            if self.kind == "true":
                return bool(found)
            if self.kind == "==":
                return bool(found == self.than)
            return bool(found < self.than if self.kind == "<" else found <= self.than)  # type: ignore[operator]
        except TypeError:
            return False


@dataclass(frozen=True)
class Atom:
    """One test of one term."""

    subject: Term
    test: StringTest | ValueTest


class Lit(NamedTuple):
    """An atom, by its number, or its negation."""

    atom: int
    holds: bool


class Joined(NamedTuple):
    """All of the parts ("and"), or any of them ("or")."""

    op: Literal["and", "or"]
    parts: tuple[Formula, ...]


Formula = Union[bool, Lit, "Joined"]


def given(formula: Formula, known: Mapping[int, bool]) -> Formula:
    """What is left of a formula where some atoms are known."""
    if isinstance(formula, bool):
        return formula
    if isinstance(formula, Lit):
        held = known.get(formula.atom)
        return formula if held is None else held == formula.holds
    return joined(formula.op, (given(p, known) for p in formula.parts))


def joined(op: Literal["and", "or"], parts: Iterable[Formula]) -> Formula:
    """The conjunction or disjunction, without constants, and without literals that are there twice."""
    absorbing = op == "or"
    single: dict[Lit, None] = {}
    larger: list[Formula] = []
    for part in parts:
        if isinstance(part, bool):
            if part is absorbing:
                return absorbing
        elif isinstance(part, Lit):
            single[part] = None
        elif part.op == op:
            single |= dict.fromkeys(p for p in part.parts if isinstance(p, Lit))
            larger += (p for p in part.parts if not isinstance(p, Lit))
        else:
            larger.append(part)
    if any(Lit(lit.atom, not lit.holds) in single for lit in single):
        return absorbing
    found = (*single, *larger)
    if len(found) > 1:
        return Joined(op, found)
    return found[0] if found else not absorbing


def literals(formula: Formula) -> Iterator[Lit]:
    """Every literal in it, as often as it is there."""
    if isinstance(formula, Lit):
        yield formula
    elif isinstance(formula, Joined):
        for part in formula.parts:
            yield from literals(part)


class Atoms:
    """The atoms of the conditions on one universe, numbered as they are met."""

    def __init__(self, within: Binder) -> None:
        self.within = within
        self.all: list[Atom] = []
        self._numbers: dict[Atom, int] = {}
        self._sample = Point(within, "blocks.0.weight", 2)

    def formula(self, condition: Term, holds: bool = True) -> Formula:
        """A condition, or its negation where not `holds`."""
        return self._formula(mapped(condition, _by_full_name), holds)

    def is_text(self, subject: Term) -> bool:
        """Whether a subject is a string for certain."""
        if subject == Var(self.within, "name") or (isinstance(subject, Op) and subject.op in ("relative", "concat")):
            return True
        if isinstance(subject, Op) and subject.op == "getitem" and isinstance(subject.args[0], Op):
            inner = subject.args[0]
            if inner.op in ("method:split", "method:rsplit", "method:partition", "method:rpartition"):
                return self.is_text(inner.args[0])
        if isinstance(subject, Op) and subject.op in ("method:lower", "method:casefold", "method:replace"):
            return True
        return isinstance(value(subject, self._sample), str)

    def is_computed(self, subject: Term) -> bool:
        """Whether the name, the number of dimensions and `requires_grad` say what a subject is."""
        return value(subject, self._sample) is not UNKNOWN

    def _formula(self, term: Term, holds: bool) -> Formula:
        if isinstance(term, Const):
            return bool(term.value) == holds
        if not isinstance(term, Op):
            return self._literal(term, ValueTest("true"), holds)
        op, args = term.op, term.args
        if op in ("and", "or"):
            return joined("and" if (op == "and") == holds else "or", (self._formula(a, holds) for a in args))
        if op == "not":
            return self._formula(args[0], not holds)
        if op == "call:bool" and len(args) == 1:
            return self._formula(args[0], holds)
        if op == "if":
            condition, then, otherwise = args
            chosen = joined("and", (self._formula(condition, True), self._formula(then, holds)))
            return joined(
                "or", (chosen, joined("and", (self._formula(condition, False), self._formula(otherwise, holds))))
            )
        for i, a in enumerate(args):
            if isinstance(a, Op) and a.op == "if":  # a test of either value, as the condition goes
                condition, then, otherwise = a.args
                first, second = (operation(op, (*args[:i], one, *args[i + 1 :])) for one in (then, otherwise))
                return self._formula(Op("if", (condition, first, second)), holds)
        if op in ("==", "is"):
            return self._equal(op, args[0], args[1], holds)
        if op in ("<", "<="):
            return self._ordered(op, args[0], args[1], holds)
        if op == "in":
            return self._within(term, args[0], args[1], holds)
        if op in ("method:startswith", "method:endswith") and len(args) == 2 and isinstance(args[1], Const):
            needles = args[1].value if isinstance(args[1].value, tuple) else (args[1].value,)
            if all(isinstance(s, str) for s in needles):
                kind: Literal["startswith", "endswith"] = "startswith" if op == "method:startswith" else "endswith"
                parts = [self._text(args[0], kind, str(s), holds) for s in needles]
                return joined("or" if holds else "and", parts)
        return self._literal(term, ValueTest("true"), holds)

    def _equal(self, op: str, left: Term, right: Term, holds: bool) -> Formula:
        if left == right:
            return holds
        if isinstance(left, Const):
            left, right = right, left
        if not isinstance(right, Const):
            canonical, _ = comparison(op, left, right)
            return self._literal(canonical, ValueTest("true"), holds)
        if isinstance(left, Const):
            return (left.value == right.value) == holds
        if isinstance(right.value, str):
            return self._text(left, "==", right.value, holds)
        if isinstance(right.value, bool) and isinstance(left, Op) and left.op == "attr:requires_grad":
            return self._literal(left, ValueTest("true"), holds == right.value)
        return self._literal(left, ValueTest("==", right.value), holds)

    def _ordered(self, op: str, left: Term, right: Term, holds: bool) -> Formula:
        test: Literal["<", "<="] = "<" if op == "<" else "<="
        if isinstance(left, Const) and isinstance(right, Const):
            return ValueTest(test, right.value).passed(left.value) == holds
        if isinstance(right, Const):
            return self._literal(left, ValueTest(test, right.value), holds)
        if isinstance(left, Const):  # c < x where not x <= c
            return self._literal(right, ValueTest("<=" if op == "<" else "<", left.value), not holds)
        canonical, same = comparison(op, left, right)
        return self._literal(canonical, ValueTest("true"), holds == same)

    def _within(self, term: Term, needle: Term, where: Term, holds: bool) -> Formula:
        entries: list[Term] | None = None
        if isinstance(where, Const) and isinstance(where.value, (tuple, list, set, frozenset)):
            entries = [Const(v) for v in where.value]
        elif isinstance(where, Op) and where.op == "tuple":
            entries = list(where.args)
        if entries is not None:
            return joined("or" if holds else "and", (self._equal("==", needle, e, holds) for e in entries))
        if isinstance(needle, Const) and isinstance(needle.value, str):
            if isinstance(where, Const) and isinstance(where.value, str):
                return (needle.value in where.value) == holds
            if self.is_text(where):
                return self._text(where, "contains", needle.value, holds)
        return self._literal(term, ValueTest("true"), holds)

    def _text(
        self, subject: Term, kind: Literal["contains", "startswith", "endswith", "=="], needle: str, holds: bool
    ) -> Formula:
        if not needle and kind != "==":
            return holds
        lowered = False
        while isinstance(subject, Op) and subject.op in ("method:lower", "method:casefold") and len(subject.args) == 1:
            subject, lowered = subject.args[0], True
        if lowered and needle != needle.lower():
            return not holds
        part = _end_of(subject)
        if part is not None and kind != "contains":
            of, first = part
            if kind == "==":
                if "." in needle:
                    return not holds
                whole = self._text_of(of, "==", needle, lowered, holds)
                edge = f"{needle}." if first else f".{needle}"
                other = self._text_of(of, "startswith" if first else "endswith", edge, lowered, holds)
                return joined("or" if holds else "and", (whole, other))
            if (kind == "startswith") == first:
                return not holds if "." in needle else self._text_of(of, kind, needle, lowered, holds)
        return self._literal(subject, StringTest(kind, needle, lowered), holds)

    def _text_of(
        self,
        of: Term,
        kind: Literal["contains", "startswith", "endswith", "=="],
        needle: str,
        lowered: bool,
        holds: bool,
    ) -> Formula:
        return self._text(Op("method:lower", (of,)) if lowered else of, kind, needle, holds)

    def _literal(self, subject: Term, test: StringTest | ValueTest, holds: bool) -> Lit:
        atom = Atom(subject, test)
        number = self._numbers.setdefault(atom, len(self.all))
        if number == len(self.all):
            self.all.append(atom)
        return Lit(number, holds)


def _by_full_name(part: Term) -> Term | None:
    """The name that a walk gives is the full one, for a parameter with one name."""
    return mapped(part.args[0], _by_full_name) if isinstance(part, Op) and part.op == "walked" else None


def _end_of(subject: Term) -> tuple[Term, bool] | None:
    """What a term is the first (True) or last part of, between dots."""
    match subject:
        case Op("getitem", (Op("method:split" | "method:rsplit", (of, Const(value="."))), Const(value=0 | -1 as at))):
            return of, at == 0
        case Op("getitem", (Op("method:partition", (of, Const(value="."))), Const(value=0))):
            return of, True
        case Op("getitem", (Op("method:rpartition", (of, Const(value="."))), Const(value=2))):
            return of, False
    return None
