"""`paramlint schema`."""

from __future__ import annotations

import click

from paramlint.cli.options import traceback_option


@click.command("schema")
@click.argument("of", type=click.Choice(["report", "plan"]), default="report")
@traceback_option(hidden=True)
def command(of: str) -> None:
    """The JSON Schema (2020-12) of what params and check write with --output-format json; with `plan`, of what plan
    writes."""
    from paramlint.cli.screen import screen
    from paramlint.report import json, plan_json

    path = plan_json.SCHEMA if of == "plan" else json.SCHEMA
    screen("never").write(path.read_text(encoding="utf-8"))
