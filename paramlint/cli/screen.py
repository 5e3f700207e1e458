"""Where output goes: a terminal with colour and a width, a pipe, or a file."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from paramlint.cli import output_file
from paramlint.errors import ParamlintError
from paramlint.record import dataclass

if TYPE_CHECKING:
    from rich.console import RenderableType

    from paramlint.report.grid import Column
    from paramlint.report.lines import Line

Color = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Screen:
    """`width` is None where lines may be as long as they are: pipes and files."""

    color: bool = False
    width: int | None = None
    file: Path | None = None

    def write(self, text: str) -> None:
        """Writes text as it is. A reader that went away is no error.

        Raises:
            ParamlintError: the output file or stdout cannot be written.
        """
        if self.file is not None:
            output_file.write(self.file, text)
            return
        try:
            click.echo(text, nl=False, color=self.color)
            sys.stdout.flush()
        except OSError as e:
            # the interpreter flushes once more at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if e.errno not in (errno.EPIPE, errno.EINVAL):
                raise ParamlintError(e.strerror or str(e), where="stdout") from None

    def lines(self, lines: Iterable[Line]) -> str:
        from paramlint.report.lines import render

        return render(lines, color=self.color, width=self.width)

    def columns(self, columns: Sequence[Column]) -> str:
        from paramlint.report.grid import plain, table

        return plain(columns) if self.width is None else self.rich(table(columns, self.width))

    def rich(self, renderable: RenderableType) -> str:
        """What rich makes of it, without spaces at the ends of lines."""
        from io import StringIO

        from rich.console import Console
        from rich.theme import Theme

        buffer = StringIO()
        console = Console(
            file=buffer,
            force_terminal=True,
            color_system="standard" if self.color else None,
            width=self.width or 100,
            highlight=False,
            legacy_windows=False,
            theme=Theme({"markdown.code": "cyan"}),  # rich's own has a black background
        )
        console.print(renderable, crop=False)
        return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())


def screen(color: Color = "auto", file: Path | None = None) -> Screen:
    """The screen for these options: colour and width only on a terminal, unless colour is asked for.

    Raises:
        ParamlintError: the output file cannot be written.
    """
    if file is not None:
        output_file.check(file)
    terminal = file is None and sys.stdout.isatty()
    if color == "auto":
        painted = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    else:
        painted = color == "always"
    if not terminal:
        return Screen(painted, None, file)
    import shutil

    return Screen(painted, shutil.get_terminal_size().columns, file)
