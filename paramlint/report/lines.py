"""Styled lines of text: wrapped to a terminal's width and coloured there, plain elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Literal

from paramlint.record import dataclass
from paramlint.report.visible import visible

Style = Literal["", "error", "warning", "note", "name", "help", "faint", "muon", "adam"]

_PLAIN: Style = ""
_ANSI: dict[Style, str] = {
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "name": "1",
    "help": "32",
    "faint": "2",
    "muon": "35",
    "adam": "34",
}


@dataclass(frozen=True)
class Line:
    """Spans of text with a style each. A line too long for a terminal goes on at column `hang`; with 0 it is left as
    it is, for the terminal to break."""

    spans: tuple[tuple[str, Style], ...] = ()
    hang: int = 0

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


def line(*spans: str | tuple[str, Style], hang: int = 0) -> Line:
    """A line of plain texts and (text, style) pairs."""
    pairs = ((s, _PLAIN) if isinstance(s, str) else s for s in spans)
    return Line(tuple((visible(text), style) for text, style in pairs), hang)


def render(lines: Iterable[Line], *, color: bool = False, width: int | None = None) -> str:
    """The lines as one text that ends in a newline; '' for none. `width` None means that nothing is wrapped."""
    out = [_painted(cells) if color else "".join(c for c, _ in cells) for one in lines for cells in _wrap(one, width)]
    return "".join(text.rstrip(" ") + "\n" for text in out)


_Cells = list[tuple[str, Style]]


def _wrap(one: Line, width: int | None) -> Iterator[_Cells]:
    """Breaks at spaces only, so that names and paths can be copied."""
    cells: _Cells = [(c, style) for text, style in one.spans for c in text]
    text = one.text
    start, indent = 0, 0
    first = len(text) - len(text.lstrip(" "))
    while width is not None and one.hang and len(text) - start + indent > width:
        # a space to break at: the last that fits, else the first after; not in the line's own indentation
        low = start + 1 if start else first + 1
        stop = text.rfind(" ", low, start + width - indent + 1)
        if stop < 0:
            stop = text.find(" ", max(low, start + width - indent))
        if stop < 0:
            break
        yield _blank(indent) + cells[start:stop]
        start, indent = stop + 1, one.hang
    yield _blank(indent) + cells[start:]


def _blank(count: int) -> _Cells:
    return [(" ", "")] * count


def _painted(cells: _Cells) -> str:
    parts = []
    for style, run in groupby(cells, key=lambda cell: cell[1]):
        text = "".join(c for c, _ in run)
        parts.append(f"\x1b[{_ANSI[style]}m{text}\x1b[0m" if style and text.strip() else text)
    return "".join(parts)
