"""Matrices that are several in one, and what each part of their rows is for.

The rows of a matrix are followed from its products to their uses. Rows whose uses differ are different parts, where
some of them are multiplied with activations (in attention, in a gate, in a recurrence). Features that are only handed
on, to one map or to several, are one part however they are cut: branches of a convolutional network cut them so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from paramlint.model.trace.parts_flow import Flow, Token
from paramlint.model.trace.parts_purpose import Purposes
from paramlint.model.trace.reading import Reading
from paramlint.parameter import Part

_PLAIN = frozenset(("map", "add"))  # uses that any feature may have
_ATTENTION = frozenset(("query", "key", "value"))
_COORDINATES = 4  # rows that are the place or size of something, and no features
_MOST = 12  # parts of a matrix; more are no division into purposes


@dataclass(frozen=True)
class Division:
    """The parts of a fused matrix in the order of its rows, and how often their pattern recurs along them.

    `rows` of a part are all of its rows, over all repeats.
    """

    parts: tuple[Part, ...]
    repeats: int = 1


def divided(reading: Reading) -> dict[int, Division]:
    """The matrices that are fused, by the number of the parameter."""
    flow = Flow(reading)
    purposes = Purposes(reading)
    found: dict[int, Division] = {}
    for p, used in flow.tokens.items():
        rows = flow.sources.rows.get(p, 0)
        if rows > _COORDINATES and any(bits != (1 << rows) - 1 for bits in used):
            division = _division(rows, used, purposes)
            if division is not None:
                found[p] = division
    return found


def _division(rows: int, used: Mapping[int, Mapping[Token, None]], purposes: Purposes) -> Division | None:
    classes = _classes(rows, used)
    if sum(bool(tokens) for _, tokens in classes) < 2:
        return None
    if all(t.kind in _PLAIN for _, tokens in classes for t in tokens):
        return None
    named = [(bits, purposes.of(tokens)) for bits, tokens in classes]
    merged: dict[object, tuple[int, str]] = {}
    for i, (bits, purpose) in enumerate(named):
        key: object = purpose if purpose in _ATTENTION else i
        merged[key] = merged.get(key, (0, ""))[0] | bits, purpose
    if len(merged) < 2:
        return None
    pattern = _pattern(rows, tuple(bits for bits, _ in merged.values()))
    if pattern is None:
        return None
    runs, repeats = pattern
    names = [purpose for _, purpose in merged.values()]
    return Division(tuple(Part(length * repeats, names[c]) for c, length in runs), repeats)


def _classes(rows: int, used: Mapping[int, Mapping[Token, None]]) -> list[tuple[int, tuple[Token, ...]]]:
    """Rows with the same uses, as bits, and these uses."""
    classes: list[tuple[int, list[Token]]] = [((1 << rows) - 1, [])]
    for bits, tokens in used.items():
        after: list[tuple[int, list[Token]]] = []
        for mine, so_far in classes:
            inside, outside = mine & bits, mine & ~bits
            if inside:
                after.append((inside, [*so_far, *tokens]))
            if outside:
                after.append((outside, so_far))
        classes = after
    together: dict[frozenset[tuple[int, int]], tuple[int, tuple[Token, ...]]] = {}
    for mine, so_far in classes:
        key = frozenset((t.node, t.operand) for t in so_far)
        bits, tokens_before = together.get(key, (0, ()))
        together[key] = bits | mine, (*tokens_before, *so_far)
    return list(together.values())


@lru_cache(maxsize=256)
def _pattern(rows: int, classes: tuple[int, ...]) -> tuple[tuple[tuple[int, int], ...], int] | None:
    """The runs of rows (class, length) that recur, and how often they do; None where there is no such order."""
    runs: list[tuple[int, int, int]] = []  # start, class, length
    for c, bits in enumerate(classes):
        text = bin(bits)[:1:-1]
        start = text.find("1")
        while start >= 0:
            end = text.find("0", start)
            end = len(text) if end < 0 else end
            runs.append((start, c, end - start))
            start = text.find("1", end)
    runs.sort()
    sequence = [(c, length) for _, c, length in runs]
    if sum(length for _, length in sequence) != rows:
        return None
    for period in range(len(classes), min(_MOST, len(sequence)) + 1):
        if len(sequence) % period == 0 and sequence == sequence[:period] * (len(sequence) // period):
            return tuple(sequence[:period]), len(sequence) // period
    return None
