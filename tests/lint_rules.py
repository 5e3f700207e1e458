"""A set of rules for tests of the linter around the rules: a source says itself what is found in it.

`flag("PML607")` is a finding of that code at the call, `flag("PML204", "h.0.w")` one about that parameter.
`fixable("PML607")` becomes `done("PML607")` by its fix, which is not safe where it says `unsafe=True`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.finding import Finding, Fix
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory, Location
from paramlint.registry import by_code


def flags(tree: ast.Module, text: str, path: str, known: Knowledge, inventory: Inventory | None) -> Iterator[Finding]:
    """One finding for each call of `flag`, and of `fixable`, which is mended by taking its first letter away."""
    lines = text.splitlines()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("flag", "fixable")):
            continue
        code, *names = (a.value for a in node.args if isinstance(a, ast.Constant))
        column = len(lines[node.lineno - 1].encode()[: node.col_offset].decode()) + 1
        fix = None
        if node.func.id == "fixable":
            safe = not any(k.arg == "unsafe" for k in node.keywords)
            start, end = (node.lineno, column), (node.lineno, column + len("fixable"))
            data = {"old": "fixable", "text": "done"}
            fix = Fix("replace-text", start, end, safe, "Call done", data)
        yield Finding(
            code,
            by_code()[code].severity,
            f"flagged as {by_code()[code].name}" if inventory is None else f"flagged for {inventory.model}",
            "do not flag it",
            tuple(names),
            location=Location(path, node.lineno, column),
            fix=fix,
        )
