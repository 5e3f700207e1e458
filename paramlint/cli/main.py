"""The command line. Commands are imported when they are run, so that `--help` and completion need click alone."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from paramlint import __version__
from paramlint.cli.failure import internal, report
from paramlint.errors import ParamlintError

#: Every command with its short help; each is `command` in the module of its name.
COMMANDS = {
    "params": "What each parameter of a model is for, and where it goes.",
    "check": "Whether an optimizer's param groups agree with that: in training scripts, and of models.",
    "plan": "The groups that a model should have for an optimizer, and what they cost.",
    "codegen": "Code that builds these groups.",
    "smoke": "One real step on a device: what no reading of code can prove.",
    "explain": "The page of one rule.",
    "rules": "All rules.",
    "optimizers": "The optimizers that are known, or the facts of one.",
    "policies": "The policies that are known, or the rulings of one.",
    "schema": "The JSON Schema of what --output-format json writes.",
}


class Lazy(click.Group):
    """A group whose commands are modules, and whose errors are one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"paramlint.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(n, help=text) for n, text in COMMANDS.items() if n.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ParamlintError as e:
            report(e)
            ctx.exit(2)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(130)
        except Exception as e:
            internal(e)
            ctx.exit(2)


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="params, check, plan and codegen import and run the code that builds the model, in a process of its own, "
    "and then the forward of a stand-in for it; smoke steps the model itself. The others run none of yours, nor does "
    "check on source files that are tied to no model, or with --no-build. Exit codes: 0 no findings, 1 findings, 2 the "
    "work could not be done.",
)
@click.version_option(__version__, "-V", "--version", prog_name="paramlint", message="%(prog)s %(version)s")
def cli() -> None:
    """Finds what each parameter of a PyTorch model is for, and whether the optimizer's groups agree."""


def main() -> None:
    """Entry point. What the encoding lacks is written as `?`, never an exception. A closed stream is a silent one."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # it lives as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    # what is imported and parsed stays: looking for garbage in it takes a tenth of a short run
    gc.set_threshold(10_000, 10, 3)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    cli(prog_name="paramlint")
