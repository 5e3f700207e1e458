"""Text of others made safe to show: names and messages are theirs, and a terminal obeys what it is sent."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""The same text, with `\x1b`, `\n` or `\u202e` written out where a character moves, hides or colours things."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
