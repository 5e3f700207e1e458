"""Edits of a text: what one fix changes, and whether two fixes get in each other's way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class SkipFix(Exception):
    """Why a fix is not applied. Never leaves this package."""


@dataclass(frozen=True)
class Edit:
    """The characters from `start` to `end` become `text`. `line` says that lines are put before another line."""

    start: int
    end: int
    text: str
    line: bool = False


@dataclass(frozen=True)
class Change:
    """All that one fix does.

    `imports` are statements that the script must have besides. `names` are those that it binds, each with the function
    that it does so in: no other fix may bind the same one there at the same time. `conditions` are the spans of those
    that it adds to: how tightly another addition would have to bind is not known before.
    """

    edits: tuple[Edit, ...]
    imports: tuple[str, ...] = ()
    names: frozenset[tuple[object, str]] = frozenset()
    conditions: frozenset[tuple[int, int]] = frozenset()


def replaced(span: tuple[int, int], text: str) -> Edit:
    return Edit(*span, text)


def inserted(offset: int, text: str) -> Edit:
    return Edit(offset, offset, text)


def collide(one: Change, other: Change) -> bool:
    """Whether two changes touch, so that what comes of both is not clear."""
    shared = one.names & other.names or one.conditions & other.conditions
    return bool(shared) or any(_touch(a, b) for a in one.edits for b in other.edits)


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Insertions at one place come in the order in which they are given, lines first, before what is replaced there."""
    out, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, not e.line, e.end)):
        out += [text[at : edit.start], edit.text]
        at = max(at, edit.end)
    return "".join([*out, text[at:]])


def _touch(a: Edit, b: Edit) -> bool:
    if a.line != b.line:  # lines go before whatever is there
        inserted, changed = (a, b) if a.line else (b, a)
        return changed.start < inserted.start < changed.end
    return a.start <= b.end and b.start <= a.end
