"""Pieces of Python source, written as `ruff format` would leave them.

Lines that are broken end in a trailing comma, so that the formatter keeps them broken at any line length; all other
lines stay under `WIDTH` columns wherever their content allows it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from paramlint.parameter import Plain

WIDTH = 88
INDENT = "    "
_QUOTES = '"""'


@dataclass(frozen=True)
class Section:
    """Top-level statements, and the import statements that they need, one to a line.

    `body` has two empty lines between definitions and none at its ends.
    """

    body: str
    imports: tuple[str, ...] = ()


def literal(value: Plain) -> str:
    """A plain value as the formatter writes it: double quotes, `1e-8`, `(1,)`."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        inside = ", ".join(map(literal, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)


def regex(pattern: str) -> str:
    """A regular expression as a raw string where it has backslashes, if it can be one."""
    raw = "\\" in pattern and pattern.isprintable() and '"' not in pattern
    return f'r"{pattern}"' if raw else literal(pattern)


def enclosed(opening: str, items: Iterable[str], closing: str, *, indent: int = 0, broken: bool | None = None) -> str:
    """`f(a, b)` in one line where it fits, else one item to a line; always broken, or never, where `broken` says so.

    `opening` and `closing` are what stands around the items ("groups = [", "]"), `indent` the columns that stand
    before the first line. Items may have several lines, each indented from column 0.
    """
    items = list(items)
    line = f"{opening}{', '.join(items)}{closing}"
    fits = indent + len(line) <= WIDTH and "\n" not in line and not any(i.lstrip().startswith("#") for i in items)
    if not items or (fits if broken is None else not broken):
        return line
    inner = textwrap.indent("".join(_item(i) for i in items), INDENT)
    return f"{opening}\n{inner}{closing}"


def comment(text: str, *, indent: int = 0) -> str:
    """A comment of as many lines as it takes."""
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, WIDTH - indent - 2, break_on_hyphens=False))


def docstring(summary: str, *paragraphs: str, indent: int = 0) -> str:
    """A docstring in its quotes; paragraphs are wrapped unless they have line breaks of their own."""
    width = WIDTH - indent - 2 * len(_QUOTES)
    parts = [
        "\n".join(textwrap.wrap(p, width, break_on_hyphens=False, break_long_words=False)) if "\n" not in p else p
        for p in (summary, *paragraphs)
    ]
    text = "\n\n".join(parts).replace("\\", "\\\\").replace(_QUOTES, "'''")
    # The formatter leaves one line in its quotes, however long, and the quotes after several where they are.
    closing = f"\n{_QUOTES}" if "\n" in text else _QUOTES
    return f"{_QUOTES}{text}{closing}"


def _item(item: str) -> str:
    """A comment has no comma after it: it belongs to the item that follows."""
    return f"{item}\n" if item.lstrip().startswith("#") and "\n" not in item else f"{item},\n"


def _quoted(value: str) -> str:
    # Where a string has quotes of both kinds, repr escapes the single ones.
    text = repr(f"{value}'\"")[1:-4]
    if value.count('"') > value.count("'"):
        return f"'{text}'"
    return '"' + text.replace("\\'", "'").replace('"', '\\"') + '"'


def _number(value: float) -> str:
    """As short as it can be told: `0.02`, `3e-4` rather than `0.0003`, `1e-8`."""
    text = repr(value)
    if 0 < abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:e}".partition("e")
        short = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return short if float(short) == value else text
    return text
