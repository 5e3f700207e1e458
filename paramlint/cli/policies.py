"""`paramlint policies`."""

from __future__ import annotations

import click

from paramlint.cli.options import color_option, format_option, traceback_option
from paramlint.cli.screen import Color


@click.command("policies")
@click.argument("name", required=False)
@format_option("text", "json")
@color_option
@traceback_option(hidden=True)
def command(name: str | None, output_format: str, color: Color) -> None:
    """The policies that are known; with NAME what one says of each role, and its sources."""
    from paramlint.cli.jobs import known
    from paramlint.cli.screen import screen

    policies = sorted(known().policies.values(), key=lambda p: p.name)
    out = screen(color)
    if output_format == "json":
        from dataclasses import asdict

        from paramlint.report.json import head, written

        some = [known().policy(name)] if name else policies
        out.write(written({**head(), "policies": [asdict(p) for p in some]}))
        return
    from paramlint.report import knowledge

    if name:
        out.write(out.lines(knowledge.policy(known().policy(name))))
    else:
        out.write(out.columns(knowledge.policies(policies)))
