"""Folds the names of repeated layers: `h.{0..47}.attn.c_attn.weight` for 48 names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from itertools import product
from typing import Generic, TypeVar, overload

from paramlint.record import dataclass

T = TypeVar("T")

_SET = re.compile(r"\{(\d+(?:\.\.\d+)?(?:,\d+(?:\.\.\d+)?)*)\}")
_NUMBERED = re.compile(r"((?:.*_)?)(0|[1-9][0-9]*)")
_Index = tuple[int, ...]
_Words = tuple["str | tuple[str]", ...]


@dataclass(frozen=True)
class Folded(Generic[T]):
    """Items whose names one pattern takes in, in the order in which they came."""

    pattern: str
    names: tuple[str, ...]
    items: tuple[T, ...]

    def __len__(self) -> int:
        return len(self.items)


@overload
def fold(items: Sequence[str], *, key: Callable[[str], Hashable] = ...) -> list[Folded[str]]: ...
@overload
def fold(items: Sequence[T], *, name: Callable[[T], str], key: Callable[[T], Hashable] = ...) -> list[Folded[T]]: ...
def fold(
    items: Sequence[T],
    *,
    name: Callable[[T], str] = str,
    key: Callable[[T], Hashable] = lambda item: None,
) -> list[Folded[T]]:
    """Items whose names differ only in segments that are integers, or count (`expert_7`), folded into patterns where
    their keys are equal.

    A pattern stands for the full product of its index sets, so that `expand` gives the names back; indices that are
    no product are split into several patterns. In the order of the first name of each.
    """
    names = [name(item) for item in items]
    counted = _counted(names)
    alike: dict[Hashable, list[tuple[int, _Index, T]]] = {}
    words: dict[Hashable, _Words] = {}
    for order, (text, item) in enumerate(zip(names, items, strict=True)):
        split, indices = _split(text, counted)
        alike.setdefault((split, key(item)), []).append((order, indices, item))
        words[split, key(item)] = split
    found: list[tuple[int, Folded[T]]] = []
    for which, entries in alike.items():
        boxes = list(_boxes({indices for _, indices, _ in entries}))
        for box in boxes:
            inside = entries if len(boxes) == 1 else [e for e in entries if _holds(box, e[1])]
            members = tuple(item for _, _, item in inside)
            found.append((inside[0][0], Folded(_pattern(words[which], box), tuple(name(m) for m in members), members)))
    return [folded for _, folded in sorted(found, key=lambda pair: pair[0])]


def expand(pattern: str) -> list[str]:
    """The names that a folded pattern stands for; the pattern itself where it has no index sets."""
    parts = _SET.split(pattern)
    choices = [[part] if i % 2 == 0 else [str(n) for n in _members(part)] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _counted(names: Iterable[str]) -> set[str]:
    """The beginnings `expert_` of segments that count: with three numbers or more behind them. Two (`ln_1`, `ln_2`)
    are two different things."""
    numbers: dict[str, set[str]] = {}
    for segment in {s for name in names for s in name.split(".") if s[-1:].isdigit()}:
        found = _NUMBERED.fullmatch(segment)
        if found:
            numbers.setdefault(found[1], set()).add(found[2])
    return {start for start, seen in numbers.items() if len(seen) > 2}


def _split(name: str, counted: Collection[str]) -> tuple[_Words, _Index]:
    """The segments, and the integers: a segment that is or ends in one is the 1-tuple of what stands before it.

    `007` is a word: it would not come back as it was.
    """
    words: list[str | tuple[str]] = []
    indices: list[int] = []
    for segment in name.split("."):
        found = _NUMBERED.fullmatch(segment) if segment[-1:].isdigit() else None
        if found and (not found[1] or found[1] in counted):
            words.append((found[1],))
            indices.append(int(found[2]))
        else:
            words.append(segment)
    return tuple(words), tuple(indices)


def _boxes(tuples: set[_Index]) -> Iterator[tuple[frozenset[int], ...]]:
    """Disjoint products of index sets that together are exactly these tuples."""
    if () in tuples:
        yield ()
        return
    rests: dict[int, set[_Index]] = {}
    for first, *rest in tuples:
        rests.setdefault(first, set()).add(tuple(rest))
    alike: dict[frozenset[_Index], set[int]] = {}
    for first, tails in rests.items():
        alike.setdefault(frozenset(tails), set()).add(first)
    for shared, firsts in alike.items():
        for box in _boxes(set(shared)):
            yield (frozenset(firsts), *box)


def _holds(box: tuple[frozenset[int], ...], indices: _Index) -> bool:
    return all(i in allowed for i, allowed in zip(indices, box, strict=True))


def _pattern(words: _Words, box: tuple[frozenset[int], ...]) -> str:
    sets = iter(box)
    return ".".join(word if isinstance(word, str) else word[0] + _written(next(sets)) for word in words)


def _written(indices: Iterable[int]) -> str:
    """`7`, `{0,1}`, `{0..47}`, `{0,2,5..7}`."""
    ordered = sorted(indices)
    if len(ordered) == 1:
        return str(ordered[0])
    runs: list[list[int]] = []
    for i in ordered:
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    texts = [str(a) if a == b else f"{a},{b}" if b == a + 1 else f"{a}..{b}" for a, b in runs]
    return "{" + ",".join(texts) + "}"


def _members(text: str) -> Iterator[int]:
    for run in text.split(","):
        first, _, last = run.partition("..")
        yield from range(int(first), int(last or first) + 1)
