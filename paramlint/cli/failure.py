"""Errors as one line on stderr."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from paramlint.errors import ParamlintError
from paramlint.report.visible import visible

_WANTED = "paramlint.traceback"


def want_traceback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Callback of `--traceback`."""
    ctx.meta[_WANTED] = ctx.meta.get(_WANTED, False) or value


def report(error: ParamlintError) -> None:
    """`error: where: what; hint`, after the target's traceback where it was asked for."""
    if _wanted():
        if error.traceback:
            _say(_lines(error.traceback))
        elif error.__traceback__ is not None:
            _say(_formatted(error))
    _say(f"{_red('error:')} {visible(' '.join(str(error).split()))}")


def show_traceback(text: str) -> None:
    """The traceback of something that went wrong and is reported otherwise, where tracebacks were asked for."""
    if text and _wanted():
        _say(_lines(text))


def internal(error: BaseException) -> None:
    """A fault of our own."""
    if _wanted():
        _say(_formatted(error))
    text = " ".join(f"{type(error).__name__}: {error}".split())
    _say(f"{_red('internal error:')} {visible(text)}; run with --traceback and report it")


def note(text: str) -> None:
    """One line of what is worth knowing besides the results."""
    _say(f"{click.style('note:', fg='cyan') if _colored() else 'note:'} {visible(text)}")


def _wanted() -> bool:
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(_WANTED))


def _formatted(error: BaseException) -> str:
    import traceback

    return _lines("".join(traceback.format_exception(error)))


def _lines(text: str) -> str:
    return "\n".join(visible(line.expandtabs()) for line in text.rstrip("\n").split("\n"))


def obeys() -> bool:
    """Whether stderr is a terminal that can do more than write one line after the other."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _colored() -> bool:
    return obeys() and not os.environ.get("NO_COLOR")


def _red(text: str) -> str:
    return click.style(text, fg="red", bold=True) if _colored() else text


def _say(text: str) -> None:
    with suppress(OSError):  # nobody listens
        click.echo(text, err=True)
