"""`paramlint optimizers`."""

from __future__ import annotations

import click

from paramlint.cli.options import color_option, format_option, traceback_option
from paramlint.cli.screen import Color


@click.command("optimizers")
@click.argument("name", required=False)
@format_option("text", "json")
@color_option
@traceback_option(hidden=True)
def command(name: str | None, output_format: str, color: Color) -> None:
    """The optimizers that are known; with NAME all facts of one, and their sources."""
    from paramlint.cli.jobs import known
    from paramlint.cli.screen import screen

    profiles = sorted(known().profiles.values(), key=lambda p: p.name)
    out = screen(color)
    if output_format == "json":
        from dataclasses import asdict

        from paramlint.report.json import head, written

        some = [known().profile(name)] if name else profiles
        out.write(written({**head(), "optimizers": [asdict(p) for p in some]}))
        return
    from paramlint.report import knowledge

    if name:
        out.write(out.lines(knowledge.profile(known().profile(name))))
    else:
        out.write(out.columns(knowledge.profiles(profiles)))
