"""Errors as one line on stderr."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from paramlint.errors import ParamlintError

_WANTED = "paramlint.traceback"


def want_traceback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Callback of `--traceback`."""
    ctx.meta[_WANTED] = ctx.meta.get(_WANTED, False) or value


def report(error: ParamlintError) -> None:
    """`error: where: what; hint`, after the target's traceback where it was asked for."""
    if _wanted():
        if error.traceback:
            _say(error.traceback.rstrip("\n"))
        elif error.__traceback__ is not None:
            _say(_formatted(error))
    _say(f"{_red('error:')} {' '.join(str(error).split())}")


def internal(error: BaseException) -> None:
    """A fault of our own."""
    if _wanted():
        _say(_formatted(error))
    text = " ".join(f"{type(error).__name__}: {error}".split())
    _say(f"{_red('internal error:')} {text}; run with --traceback and report it")


def note(text: str) -> None:
    """One line of what is worth knowing besides the results."""
    _say(f"{click.style('note:', fg='cyan') if _colored() else 'note:'} {text}")


def _wanted() -> bool:
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(_WANTED))


def _formatted(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error)).rstrip("\n")


def _colored() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _red(text: str) -> str:
    return click.style(text, fg="red", bold=True) if _colored() else text


def _say(text: str) -> None:
    with suppress(OSError):  # nobody listens
        click.echo(text, err=True)
