"""Which strings pass some tests and fail others: what one test says of another, and a string that does.

Each test is a regular language, so that a set of them is decided exactly: by a walk over the product of their automata,
the shortest string first. Strings are taken to be ASCII, as identifiers are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import Literal

from paramlint.record import dataclass

#: Names that a parameter may have anywhere: what stands for "some parameter" where its name does not matter.
PLAIN = (
    *("blocks.0.weight", "layers.0.weight", "stages.0.w1", "stem.weight", "net.0.w", "blocks.0.bias", "m.0.gain"),
    *("units.0.table", "x.y"),
)
_FRONT = ("", "blocks.0.", "layers.0.", "net.", "m.0.")
_BACK = (".weight", "", ".bias", ".w", ".gain", ".0.weight", ".0.w")
_MOST_STATES = 20_000


class TooMany(Exception):
    """The tests could not be decided within bounds."""


@dataclass(frozen=True)
class StringTest:
    """One test of a string, of its lower-case form where `lowered`."""

    kind: Literal["contains", "startswith", "endswith", "=="]
    needle: str
    lowered: bool = False

    def passed(self, text: str) -> bool:
        text = text.lower() if self.lowered else text
        if self.kind == "contains":
            return self.needle in text
        if self.kind == "startswith":
            return text.startswith(self.needle)
        return text.endswith(self.needle) if self.kind == "endswith" else text == self.needle


Literals = Sequence[tuple[StringTest, bool]]


def follows(known: StringTest, asked: StringTest) -> bool | None:
    """What a string that passes `known` does in `asked`: passes, fails, or None for either. Cheap, not complete."""
    if known.lowered == asked.lowered:
        return _follows(known, asked)
    if asked.lowered:
        return _follows(StringTest(known.kind, known.needle.lower(), True), asked)
    if _follows(known, StringTest(asked.kind, asked.needle.lower(), True)) is False:
        return False
    return None


def _follows(known: StringTest, asked: StringTest) -> bool | None:
    k, a = known.needle, asked.needle
    if a != a.lower() and asked.lowered:
        return False
    if known.kind == "==":
        return StringTest(asked.kind, a).passed(k)
    if asked.kind == "==":
        return None if StringTest(known.kind, k).passed(a) else False
    if asked.kind == "contains":
        return True if a in k else None
    if asked.kind == known.kind == "startswith":
        return True if k.startswith(a) else None if a.startswith(k) else False
    if asked.kind == known.kind == "endswith":
        return True if k.endswith(a) else None if a.endswith(k) else False
    return None


def is_name(text: str) -> bool:
    """Whether it can be a parameter's full name: parts joined by dots, none of them empty."""
    return all(text.split("."))


def likely(literals: Literals) -> Iterator[str]:
    """Names that pass and fail as asked and look like a parameter's, the plainest first. There may be none."""
    seen: set[str] = set()
    for name in _made([t for t, holds in literals if holds]):
        if name not in seen:
            seen.add(name)
            if is_name(name) and all(t.passed(name) == holds for t, holds in literals):
                yield name


def _made(tests: Sequence[StringTest]) -> Iterator[str]:
    if not tests:
        yield from PLAIN
        return
    for test in tests:
        if test.kind == "==":
            yield test.needle
            return
    start = max((t.needle for t in tests if t.kind == "startswith"), key=len, default="")
    end = max((t.needle for t in tests if t.kind == "endswith"), key=len, default="")
    wanted = sorted({t.needle for t in tests if t.kind == "contains"}, key=lambda s: (-len(s), s))
    middle: list[str] = []
    for needle in wanted:
        if not any(needle in other for other in (start, end, *middle)):
            middle.append(needle)
    orders = list(permutations(middle)) if len(middle) <= 3 else [tuple(middle)]
    for order, joint in product(orders, (".", "", "_", ".0.")):
        core = _join([p for p in (start, *order, end) if p], joint)
        backs: tuple[str, ...] = ("",) if end else _BACK
        if not end and core.endswith(("weight", "bias")):
            backs = ("", *_BACK)
        fronts = ("",) if start else _FRONT
        for back, front in product(backs, fronts):
            yield _join([p for p in (front, core, back) if p], "")


def _join(pieces: Sequence[str], joint: str) -> str:
    text = ""
    for piece in pieces:
        if text.endswith(".") and piece.startswith("."):
            piece = piece[1:]
        elif text and not text.endswith(".") and not piece.startswith("."):
            text += joint
        text += piece
    return text


def shortest(literals: Literals, *, name: bool = True) -> str | None:
    """The shortest string that passes and fails as asked, a parameter's full name where `name`; None: there is none.

    Raises:
        TooMany: it was not found out within bounds.
    """
    if any(holds and t.lowered and t.needle != t.needle.lower() for t, holds in literals):
        return None
    machines = [_Machine(t, holds) for t, holds in literals]
    letters = _letters([t for t, _ in literals], name)
    start = tuple(m.start for m in machines)
    queue = deque([("", start)])
    seen = {(start, "")}
    while queue:
        text, states = queue.popleft()
        last = text[-1:]
        if (not name or last not in ("", ".")) and all(m.accepts(s) for m, s in zip(machines, states, strict=True)):
            return text
        for letter in letters:
            if name and letter == "." and last in ("", "."):
                continue
            after = []
            for m, s in zip(machines, states, strict=True):
                s = m.step(s, letter)
                if s == _DEAD:
                    break
                after.append(s)
            else:
                key = (tuple(after), ("." if letter == "." else "a") if name else "")
                if key not in seen:
                    if len(seen) >= _MOST_STATES:
                        raise TooMany
                    seen.add(key)
                    queue.append((text + letter, key[0]))
    return None


_DEAD, _FREE = -1, -2


class _Machine:
    """Reads a string letter by letter. A state is how much of the needle was read; _FREE: the test is decided as it
    should be whatever follows; _DEAD: it is decided otherwise."""

    def __init__(self, test: StringTest, holds: bool) -> None:
        self.kind, self.needle, self.lowered, self.holds = test.kind, test.needle, test.lowered, holds
        self.whole = len(self.needle)
        self.table: dict[tuple[int, str], int] = {}
        self.start = self._decided(0) if self.kind in ("contains", "startswith") else 0

    def _decided(self, read: int) -> int:
        return read if read < self.whole else (_FREE if self.holds else _DEAD)

    def accepts(self, state: int) -> bool:
        if state == _FREE:
            return True
        if self.kind in ("contains", "startswith"):
            return not self.holds
        return (state == self.whole) == self.holds

    def step(self, state: int, letter: str) -> int:
        if state == _FREE:
            return _FREE
        if self.lowered:
            letter = letter.lower()
        if (state, letter) not in self.table:
            self.table[state, letter] = self._next(state, letter)
        return self.table[state, letter]

    def _next(self, state: int, letter: str) -> int:
        if self.kind in ("startswith", "=="):
            if state < self.whole and self.needle[state] == letter:
                return state + 1 if self.kind == "==" else self._decided(state + 1)
            return _DEAD if self.holds else _FREE
        read = self.needle[:state] + letter
        longest = next(k for k in range(min(len(read), self.whole), -1, -1) if read.endswith(self.needle[:k]))
        return longest if self.kind == "endswith" else self._decided(longest)


def _letters(tests: Sequence[StringTest], name: bool) -> list[str]:
    used: dict[str, None] = {}
    for test in tests:
        for letter in test.needle:
            used[letter] = None
            if test.lowered:
                used[letter.upper()] = None
    other = next((c for c in "wxyzabcdefghijklmnopqrstuv_0123456789" if c not in used and c.upper() not in used), "~")
    return [other, *used, *((".",) if name and "." not in used else ())]
