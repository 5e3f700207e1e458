"""`paramlint schema`."""

from __future__ import annotations

import click

from paramlint.cli.options import traceback_option


@click.command("schema")
@click.argument("of", type=click.Choice(["report", "plan", "smoke"]), default="report")
@traceback_option(hidden=True)
def command(of: str) -> None:
    """The JSON Schema (2020-12) of what params and check write with --output-format json; with `plan` or `smoke`, of
    what these write."""
    from paramlint.cli.screen import screen
    from paramlint.report import json, plan_json, smoke

    path = {"report": json.SCHEMA, "plan": plan_json.SCHEMA, "smoke": smoke.SCHEMA}[of]
    screen("never").write(path.read_text(encoding="utf-8"))
