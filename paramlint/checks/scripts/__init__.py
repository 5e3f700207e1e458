"""Rules on code that builds param groups. By `ast` alone, and over a model where one is known."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

from paramlint.checks.scripts import (
    ambiguous,
    branches,
    case,
    dead,
    evaluated,
    learning_rates,
    muon,
    options,
    order,
    packages,
    partition,
    stepping,
    tied,
    unrelated,
    wrapped,
)
from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory, Location
from paramlint.source.interpreter import entries
from paramlint.source.interpreter.project import File, Project

__all__ = ["CHECKS", "context", "examine"]

CHECKS: tuple[Callable[[ScriptContext], Iterator[Finding]], ...] = (
    partition.check,
    evaluated.check,
    muon.check,
    order.unordered,
    order.walked_twice,
    branches.unreachable,
    branches.order,
    dead.check,
    ambiguous.check,
    case.check,
    wrapped.check,
    tied.check,
    options.missing_flag,
    options.unknown_key,
    learning_rates.check,
    packages.check,
    unrelated.check,
    stepping.check,
)


def context(
    tree: ast.Module, text: str, path: str, known: Knowledge, *, inventory: Inventory | None = None
) -> ScriptContext:
    """What is read of a file. `path` is what findings call it; where there is such a file, others of its project are
    found from it."""
    place = Path(path).absolute()
    file = File(path, text, tree, place if place.is_file() else None)
    return ScriptContext(file, tuple(entries.read(file, Project(), known)), known, inventory)


def examine(
    tree: ast.Module, text: str, path: str, known: Knowledge, *, inventory: Inventory | None = None
) -> tuple[Finding, ...]:
    """All findings on the groups that a file builds, in the order of the source.

    Args:
        path: what the findings call the file.
        inventory: of the model that the file is tied to, for the rules that need one.
    """
    ctx = context(tree, text, path, known, inventory=inventory)
    found: dict[tuple[str, Location | None, str], Finding] = {}
    for check in CHECKS:
        for finding in check(ctx):
            if finding.location is None or finding.location.path == path:
                # said once, however many ways lead there
                found.setdefault((finding.code, finding.location, finding.message), finding)
    return tuple(sorted(found.values(), key=_place))


def _place(f: Finding) -> tuple[int, int, str, str]:
    at = f.location
    return (at.line, at.column, f.code, f.message) if at else (0, 0, f.code, f.message)
