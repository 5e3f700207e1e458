"""The ways in which a script's settings may stand, as far as they decide which optimizers it makes of what.

A setting is read from the command line or a file, so its value is not known. What the script compares it with is:
`args.optimizer == "muon"` and `args.optimizer == "adamw"` exclude each other. One scenario is one consistent choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from paramlint.source import terms
from paramlint.source.evaluate import Evaluator, setting
from paramlint.source.lifting import lifted
from paramlint.source.script import Build, Construction, SymbolicGroup
from paramlint.source.settings import atoms as atoms_of
from paramlint.source.settings import leaves as leaves_of
from paramlint.source.terms import FALSE, Attribute, Const, Item, Member, Op, Opaque, Root, Term
from paramlint.source.values import Value

#: How many combinations of settings are looked through. What does not fit stays unknown.
COMBINATIONS = 256
#: A value that a setting is compared with nowhere.
_OTHER = "\0"

Facts = Mapping[Term, bool]


@dataclass
class _Subject:
    """A setting, or a condition of its own, the values that it may have, and what is true of each."""

    text: str
    domain: dict[Value, dict[Term, bool]] = field(default_factory=dict)

    def told(self, value: Value) -> str:
        if value is True:
            return self.text
        if value is False:
            return f"not {self.text}"
        if value is None:
            return f"{self.text} is None"
        if value != _OTHER:
            return f"{self.text} == {value!r}"
        known = [v for v in self.domain if v != _OTHER]
        if known == [None]:
            return f"{self.text} is not None"
        if len(known) == 1:
            return f"{self.text} != {known[0]!r}"
        return f"{self.text} is none of {', '.join(map(repr, known))}"


Choice = tuple[Value, ...]


@dataclass(frozen=True)
class Scenario:
    """What a build comes to where its settings stand in one of these ways."""

    build: Build
    choices: tuple[Choice, ...]


class Scenarios:
    """The different things that a build comes to, each once, in the order in which the settings suggest them."""

    def __init__(self, build: Build, evaluator: Evaluator) -> None:
        build = lifted(build, evaluator)
        self._subjects = _subjects(build, evaluator)
        found: dict[object, tuple[Build, list[Choice]]] = {}
        for values in product(*(s.domain for s in self._subjects)):
            facts: dict[Term, bool] = {}
            for subject, value in zip(self._subjects, values, strict=True):
                facts.update(subject.domain[value])
            settled = _settled(build, facts) if facts else build
            found.setdefault(_shape(settled), (settled, []))[1].append(values)
        self.all = [Scenario(settled, tuple(choices)) for settled, choices in found.values()]

    def note(self, choices: Sequence[Choice]) -> str:
        """Which settings these choices stand for: all of them where they are a range for each setting on its own, else
        the first. "" where they are all that there are."""
        ranges = [list(dict.fromkeys(values)) for values in zip(*choices, strict=True)]
        full = prod(map(len, ranges)) == len(choices)
        if not full:
            ranges = [[value] for value in choices[0]]
        told = [
            " or ".join(subject.told(v) for v in values)
            for subject, values in zip(self._subjects, ranges, strict=True)
            if len(values) < len(subject.domain)
        ]
        if not told:
            return ""
        several = len(told) > 1
        told = [f"({t})" if several and " or " in t else t for t in told]
        return ("where " if full else "for example where ") + " and ".join(told)


def _shape(build: Build) -> object:
    """What tells two settled builds apart."""
    return tuple(
        (c.span, c.when, c.unread, tuple((g.span, g.when, g.items, tuple(g.options.items())) for g in c.groups))
        for c in build.constructions
    )


# What may be


def _subjects(build: Build, evaluator: Evaluator) -> list[_Subject]:
    """The settings that matter, with those that decide over whole optimizers first, as many as may be combined."""
    atoms = dict.fromkeys(a for when, plain in _conditions(build) for a in atoms_of(when, evaluator, plain))
    by_leaf: dict[Term, list[Term]] = {}
    for atom in atoms:
        leaves = list(dict.fromkeys(leaves_of(atom, evaluator)))
        by_leaf.setdefault(leaves[0] if len(leaves) == 1 else atom, []).append(atom)
    found: list[_Subject] = []
    count = 1
    for leaf, about in by_leaf.items():
        subject = _subject(leaf, about, evaluator)
        if len(subject.domain) > 1 and count * len(subject.domain) <= COMBINATIONS:
            count *= len(subject.domain)
            found.append(subject)
    return found


def _conditions(build: Build) -> Iterator[tuple[Term, bool]]:
    """All conditions. In those of items, which may be others for each parameter, only plain settings are taken for
    what does not change meanwhile."""
    for c in build.constructions:
        yield c.when, False
    for c in build.constructions:
        for g in c.groups:
            yield g.when, False
    for c in build.constructions:
        for g in c.groups:
            for item in g.items:
                yield item.when, True


def _subject(leaf: Term, atoms: Sequence[Term], evaluator: Evaluator) -> _Subject:
    text = setting(leaf)
    if text is not None:
        domain = _domain(leaf, atoms)
        held = {v: {a: _holds(a, leaf, v, evaluator) for a in atoms} for v in domain}
        known = {v: facts for v, got in held.items() if (facts := _all_known(got)) is not None}
        distinct = _distinct(known)
        if len(distinct) > 1:
            return _Subject(text, distinct)
    if len(atoms) == 1:
        return _Subject(_told(atoms[0]), {True: {atoms[0]: True}, False: {atoms[0]: False}})
    return _Subject("")


def _told(term: Term) -> str:
    """A condition as a script would write it."""
    text = setting(term)
    if text is not None:
        return text
    match term:
        case Const(value=value):
            return repr(value)
        case Opaque(text=text) | Root(name=text):
            return text
        case Op(op="not", args=(inner,)):
            return f"not {_told(inner)}"
        case Op(op=op, args=(of, *rest)) if op.startswith("method:"):
            return f"{_told(of)}.{op.removeprefix('method:')}({', '.join(map(_told, rest))})"
        case Op(op=op, args=(of,)) if op.startswith("attr:"):
            return f"{_told(of)}.{op.removeprefix('attr:')}"
        case Op(op=op, args=(one, other)) if not op[0].isalpha() or op in ("in", "is"):
            return f"{_told(one)} {op} {_told(other)}"
        case Op(op=op, args=args):
            return f"{op.removeprefix('call:')}({', '.join(map(_told, args))})"
        case Attribute(of=of, name=name):
            return f"{_told(of)}.{name}"
    return "a condition"


def _all_known(facts: Mapping[Term, object]) -> dict[Term, bool] | None:
    known = {a: holds for a, holds in facts.items() if isinstance(holds, bool)}
    return known if len(known) == len(facts) else None


def _distinct(known: Mapping[Value, dict[Term, bool]]) -> dict[Value, dict[Term, bool]]:
    """One value of those of which the same is true."""
    found: dict[tuple[bool, ...], Value] = {}
    for value, facts in known.items():
        found.setdefault(tuple(facts.values()), value)
    return {value: known[value] for value in found.values()}


def _domain(leaf: Term, atoms: Sequence[Term]) -> list[Value]:
    """The values of a setting that make a difference: those it is compared with, and one that is none of them."""
    found: list[Value] = []
    for atom in atoms:
        for part in terms.walk(atom):
            if isinstance(part, Const):
                found += part.value if isinstance(part.value, tuple) else (part.value,)
        if isinstance(atom, Op) and atom.op in ("<", "<="):
            numbers = [v for v in found if isinstance(v, (int, float)) and not isinstance(v, bool)]
            found += [n + step for n in numbers for step in (-1, 1)]
    plain = [v for v in found if v is None or isinstance(v, (str, int, float))]
    if all(isinstance(v, bool) for v in plain):
        return [True, False]
    # 1 and True are one key here, and nothing tells them apart
    return list(dict.fromkeys((*plain, _OTHER, *((False,) if leaf in atoms else ()))))


def _holds(atom: Term, leaf: Term, value: Value, evaluator: Evaluator) -> object:
    return evaluator.truth(terms.mapped(atom, lambda t: Const(value) if t == leaf else None))


# What it comes to


def _settled(build: Build, facts: Facts) -> Build:
    made = (_construction(c, facts) for c in build.constructions)
    return replace(build, constructions=tuple(c for c in made if c.when != FALSE))


def _construction(c: Construction, facts: Facts) -> Construction:
    when = _condition(c.when, facts)
    if when == FALSE:
        return replace(c, when=when)
    groups = (_group(g, facts) for g in c.groups)
    return replace(
        c,
        when=when,
        groups=tuple(g for g in groups if g.when != FALSE),
        options={k: _term(t, facts) for k, t in c.options.items()},
    )


def _group(g: SymbolicGroup, facts: Facts) -> SymbolicGroup:
    items = tuple(item for item in (_item(i, facts) for i in g.items) if item.when != FALSE)
    options = {k: _term(t, facts) for k, t in g.options.items()}
    return replace(g, when=_condition(g.when, facts), items=items, options=options)


def _item(item: Item, facts: Facts) -> Item:
    when, value = _condition(item.when, facts), _term(item.value, facts)
    return item if when is item.when and value is item.value else replace(item, when=when, value=value)


def _condition(term: Term, facts: Facts) -> Term:
    """A condition, where facts are known."""
    if isinstance(term, Op) and term.op in ("and", "or", "not", "if"):
        return _same(term, tuple(_condition(a, facts) for a in term.args))
    known = facts.get(term)
    return _term(term, facts) if known is None else Const(known)


def _term(term: Term, facts: Facts) -> Term:
    """A value: settings in it stay what they are, but what they choose between is chosen."""
    if isinstance(term, Op) and term.op in ("and", "or", "not"):
        return _condition(term, facts)
    if isinstance(term, Op) and term.op == "if":
        condition, then, otherwise = term.args
        return _same(term, (_condition(condition, facts), _term(then, facts), _term(otherwise, facts)))
    if isinstance(term, Op):
        return _same(term, tuple(_term(a, facts) for a in term.args))
    if isinstance(term, Member):
        items = tuple(_item(i, facts) for i in term.items)
        kept = tuple(i for i in items if i.when != FALSE)
        same = len(kept) == len(term.items) and all(a is b for a, b in zip(kept, term.items, strict=True))
        return term if same else replace(term, items=kept)
    return term


def _same(term: Op, args: Iterable[Term]) -> Term:
    """The operation on new arguments; itself where they are the old ones."""
    new = tuple(args)
    return term if all(a is b for a, b in zip(new, term.args, strict=True)) else terms.operation(term.op, new)
