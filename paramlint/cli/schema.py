"""`paramlint schema`."""

from __future__ import annotations

import click

from paramlint.cli.options import traceback_option


@click.command("schema")
@traceback_option(hidden=True)
def command() -> None:
    """The JSON Schema (2020-12) of what params and check write with --output-format json."""
    from paramlint.cli.screen import screen
    from paramlint.report.json import SCHEMA

    screen("never").write(SCHEMA.read_text(encoding="utf-8"))
