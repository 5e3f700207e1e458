"""`paramlint rules`."""

from __future__ import annotations

import click

from paramlint.cli.options import color_option, format_option, traceback_option
from paramlint.cli.screen import Color


@click.command("rules")
@format_option("text", "json")
@color_option
@traceback_option(hidden=True)
def command(output_format: str, color: Color) -> None:
    """All rules: code, usual severity, name, and what is wrong where one speaks."""
    from paramlint.cli.screen import screen
    from paramlint.registry import RULES

    out = screen(color)
    if output_format == "json":
        from dataclasses import asdict

        from paramlint.report.json import head, written

        out.write(written({**head(), "rules": [asdict(rule) for rule in RULES]}))
        return
    from paramlint.report.grid import Column

    columns = [
        Column("code", tuple(r.code for r in RULES)),
        Column("severity", tuple(r.severity for r in RULES)),
        Column("name", tuple(r.name for r in RULES)),
        Column("what is wrong", tuple(r.summary for r in RULES), wrap=True),
    ]
    out.write(out.columns(columns))
