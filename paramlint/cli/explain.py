"""`paramlint explain`."""

from __future__ import annotations

import click

from paramlint.cli.options import color_option, format_option, traceback_option
from paramlint.cli.screen import Color


@click.command("explain")
@click.argument("code")
@format_option("text", "json")
@color_option
@traceback_option(hidden=True)
def command(code: str, output_format: str, color: Color) -> None:
    """The page of a rule: what it does, why, an example, and its limits. CODE is PML201, or the rule's name."""
    from paramlint.cli.screen import screen
    from paramlint.errors import ParamlintError
    from paramlint.registry import page, rule

    known = rule(code)
    try:
        markdown = page(known.code)
    except OSError:
        raise ParamlintError(f"the page of {known.code} is missing from this installation") from None
    out = screen(color)
    if output_format == "json":
        from dataclasses import asdict

        from paramlint.report.json import head, written

        out.write(written({**head(), **asdict(known), "page": markdown}))
    elif out.width is None:
        out.write(markdown if markdown.endswith("\n") else markdown + "\n")
    else:
        from rich.markdown import Markdown

        out.write(out.rich(Markdown(markdown, code_theme="ansi_dark")))
