"""The fewest name patterns that tell labels apart; a mark, `*` where no name has one, stands for a number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

_NUMBER = re.compile(r"(?<![^._])\d+(?![^.])")
# No name has it.
_ANY = "\0"
# Beyond this many numbers in a name, not every choice of those that matter is tried.
_MOST = 6


@dataclass(frozen=True)
class Case:
    """A name, the label that it must have, and the one that it has where no pattern matches (None: no label)."""

    name: str
    label: str
    otherwise: str | None = None
    why: str = ""

    def falling(self, label: str) -> Case:
        return replace(self, otherwise=label)

    @property
    def wrong(self) -> bool:
        return self.otherwise != self.label


@dataclass(frozen=True)
class Named:
    """Names of a pattern have a label. `why` says what they are."""

    pattern: str
    label: str
    why: str


@dataclass(frozen=True)
class _Entry:
    case: Case
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class _Spelling:
    """A name with a mark for each of its numbers, and the lists of the model."""

    text: str
    lists: Collection[str]
    mark: str

    def pattern(self, fixed: Collection[int], group: Sequence[_Entry]) -> str:
        """What all names of a group have in common; they share the numbers of the places `fixed`."""
        before, *parts = self.text.split(_ANY)
        first = group[0].numbers
        path = pattern = before
        for i, part in enumerate(parts):
            one = all(e.numbers[i] == first[i] for e in group)
            literal = i in fixed or (one and path.removesuffix(".") not in self.lists)
            pattern += (first[i] if literal else self.mark) + part
            path += first[i] + part
        return pattern


def mark(names: Iterable[str]) -> str:
    """What can stand for a number in patterns of these names: `*`, or more of them than any name has together."""
    stars = [len(run) for name in names for run in re.findall(r"\*+", name)]
    return "*" * (1 + max(stars, default=0))


def cover(cases: Sequence[Case], lists: Collection[str] = (), mark: str = "*") -> list[Named]:
    """Patterns, the first that matches deciding, that give each case its label where it would not have it anyway.

    A number that makes no difference is left open, unless there is only one in its place; there too, where the module
    it counts in is one of `lists`, which are made to be longer or shorter. In the order of the model, but for
    exceptions from a pattern, which stand before it.
    """
    families: dict[str, list[_Entry]] = {}
    counting = _counting(c.name for c in cases)
    for case in cases:
        text, numbers = _split(case.name, counting)
        families.setdefault(text, []).append(_Entry(case, numbers))
    found: list[Named] = []
    for text, family in families.items():
        if any(e.case.wrong for e in family):
            found += _told(_Spelling(text, lists, mark), family)
    return found


def spelling(name: str) -> str:
    """Equal for names that one pattern may take in."""
    return _NUMBER.sub(_ANY, name)


def _counting(names: Iterable[str]) -> set[str]:
    """The beginnings `expert_` of segments that count: two (`conv_1`, `conv_2`) are two different things."""
    ends: dict[str, set[str]] = {}
    for segment in {s for name in names for s in name.split(".") if s[-1:].isdigit()}:
        start, _, number = segment.rpartition("_")
        if start and number.isdigit():
            ends.setdefault(start, set()).add(number)
    return {start for start, numbers in ends.items() if len(numbers) > 2}


def _split(name: str, counting: set[str]) -> tuple[str, tuple[str, ...]]:
    """The name with a mark for each number, and the numbers."""
    segments: list[str] = []
    numbers: list[str] = []
    for segment in name.split("."):
        start, _, number = segment.rpartition("_")
        if number.isdigit() and (not start or start in counting) and _NUMBER.search(segment):
            numbers.append(number)
            segments.append(segment.removesuffix(number) + _ANY)
        else:
            segments.append(segment)
    return ".".join(segments), tuple(numbers)


def _told(spelling: _Spelling, family: Sequence[_Entry]) -> list[Named]:
    """The shortest list, over the choices of numbers that are written out; of equal ones, that with the fewest."""
    width = len(family[0].numbers)
    sizes = range(width + 1) if width <= _MOST else (0, width)
    best: list[Named] | None = None
    for size in sizes:
        for fixed in sorted(combinations(range(width), size), reverse=True):
            found = _grouped(spelling, family, fixed)
            if best is None or len(found) < len(best):
                best = found
    assert best is not None
    return best


def _grouped(spelling: _Spelling, family: Sequence[_Entry], fixed: tuple[int, ...]) -> list[Named]:
    groups: dict[tuple[str, ...], list[_Entry]] = {}
    for e in family:
        groups.setdefault(tuple(e.numbers[i] for i in fixed), []).append(e)
    return [named for group in groups.values() for named in _of_group(spelling, fixed, group)]


def _of_group(spelling: _Spelling, fixed: Collection[int], group: Sequence[_Entry]) -> list[Named]:
    """The exceptions one by one, from what would be anyway or from one pattern over all."""
    alone = [_exactly(e) for e in group if e.case.wrong]
    if not alone:
        return []
    label, _ = Counter(e.case.label for e in group).most_common(1)[0]
    others = [_exactly(e) for e in group if e.case.label != label]
    if len(others) + 1 > len(alone):
        return alone
    why = next(e.case.why for e in group if e.case.label == label)
    return [*others, Named(spelling.pattern(fixed, group), label, why)]


def _exactly(entry: _Entry) -> Named:
    return Named(entry.case.name, entry.case.label, entry.case.why)
