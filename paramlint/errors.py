"""The one exception that the command line turns into one line and exit code 2."""

from __future__ import annotations

from collections.abc import Iterable


class ParamlintError(Exception):
    """Bad input: `message` says what is wrong, `where` where, `hint` what to do. Never the user's traceback."""

    def __init__(self, message: str, *, where: str = "", hint: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.hint, self.traceback = message, where, hint, traceback

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; {self.hint}" if self.hint else text


def near(name: str, known: Iterable[str]) -> str:
    """A hint: 'did you mean ...?', or '' where nothing is near."""
    from difflib import get_close_matches

    found = get_close_matches(name.lower(), list(known), 1)
    return f"did you mean {found[0]!r}?" if found else ""
