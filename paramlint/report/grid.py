"""Aligned columns: plain text of any width, or a rich table that fits a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paramlint.report.visible import visible

if TYPE_CHECKING:
    from rich.table import Table

_GAP = 2
_READABLE = 12


@dataclass(frozen=True)
class Column:
    """A column: its cells, and how it gives way on a narrow terminal.

    Its cells may be shortened to `least` characters; 0 for not at all. The column goes when the others cannot give
    way enough, those with the lowest `goes` first; 0 for never. With `wrap` its cells go on in the next line. A `tight`
    column goes where there is no room even beside folded ones.
    """

    title: str
    cells: tuple[str, ...]
    right: bool = False
    least: int = 0
    goes: int = 0
    wrap: bool = False
    tight: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(map(visible, self.cells)))

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.cells)))


def plain(columns: Sequence[Column]) -> str:
    """The columns side by side, each line without trailing spaces, ending in a newline."""
    lines = []
    for cells in zip(*((c.title, *c.cells) for c in columns), strict=True):
        padded = [
            cell.rjust(c.width) if c.right else cell.ljust(c.width) for c, cell in zip(columns, cells, strict=True)
        ]
        lines.append((" " * _GAP).join(padded).rstrip() + "\n")
    return "".join(lines)


def fit(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that a terminal of this width has room for, shortened where they have to be."""
    leaving = sorted((c for c in columns if c.goes), key=lambda c: c.goes)
    kept = list(columns)
    while leaving and _over([_shortened(c, c.least) for c in kept], width) > 0:
        kept.remove(leaving.pop(0))
    for i, column in enumerate(kept):
        if column.least and (over := _over(kept, width)) > 0:
            kept[i] = _shortened(column, max(column.least, column.width - over))
    return kept


def _over(columns: Sequence[Column], width: int) -> int:
    return sum(c.width + _GAP for c in columns) - _GAP - width


def _folds(columns: Sequence[Column]) -> list[bool]:
    """Which columns go on in the next line: those that say so, else the first."""
    return [c.wrap or (i == 0 and not any(o.wrap for o in columns)) for i, c in enumerate(columns)]


def _needed(columns: Sequence[Column]) -> int:
    """The width of the columns with those that fold as narrow as they can be read."""
    widths = [min(c.width, _READABLE) if f else c.width for c, f in zip(columns, _folds(columns), strict=True)]
    return sum(widths) + _GAP * (len(widths) - 1)


def _shortened(column: Column, width: int) -> Column:
    if not width:
        return column
    cells = tuple(c if len(c) <= width else c[: width - 1].rstrip() + "…" for c in column.cells)
    return replace(column, cells=cells)


def table(columns: Sequence[Column], width: int, styles: Sequence[str] = ()) -> Table:
    """A rich table; `styles` are rich styles of the rows. A first column too wide is folded.

    It is no wider than `width`, unless whole cells have no room: the terminal breaks those lines, and nothing is lost.
    """
    from rich.table import Table
    from rich.text import Text

    fitted = fit(columns, width)
    tight = [c for c in fitted if c.tight]
    while tight and _needed(fitted) > width:
        fitted.remove(tight.pop())
    folds, needed = _folds(fitted), _needed(fitted)
    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    made.width = needed if needed > width else None
    for i, c in enumerate(fitted):
        made.add_column(
            Text(c.title),
            justify="right" if c.right else "left",
            no_wrap=not folds[i],
            overflow="fold" if folds[i] else "crop",
        )
    for i, cells in enumerate(zip(*(c.cells for c in fitted), strict=True)):
        made.add_row(*(Text(cell, style=styles[i] if styles else "") for cell in cells))
    return made
