"""Where an import statement goes among those that a script has."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence

import libcst as cst

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


def opening(body: Sequence[Statement]) -> int:
    """The index after docstring and `__future__`."""
    i = 0
    if body and isinstance(body[0], cst.SimpleStatementLine):
        one = body[0].body[0]
        i = int(isinstance(one, cst.Expr) and isinstance(one.value, (cst.SimpleString, cst.ConcatenatedString)))
    while i < len(body) and "__future__" in packages(body[i]):
        i += 1
    return i


def place(body: Sequence[Statement], line: str) -> int:
    """Where an import goes: after the last of its package; with the standard library's, or over all; behind the last.

    Never before an import of `*`, which might bind its name again.
    """
    top = line.split()[1].partition(".")[0]
    start = opening(body)
    tops = {i: packages(s) for i, s in enumerate(body) if i >= start and packages(s)}
    same = [i for i, names in tops.items() if top in names]
    standard = [i for i, names in tops.items() if top in sys.stdlib_module_names and names <= sys.stdlib_module_names]
    star = max((i for i in tops if _takes_all(body[i])), default=-1) + 1
    if top in sys.stdlib_module_names and not same and not standard and start in tops:
        return max(start, star)
    return max(star, max(same or standard or tops, default=start - 1) + 1)


def packages(statement: Statement) -> set[str]:
    """The packages that a line imports from."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return set()
    code = cst.Module([statement.with_changes(leading_lines=[])]).code.strip()
    found = [s for s in ast.parse(code).body if isinstance(s, (ast.Import, ast.ImportFrom))]
    modules = [[a.name for a in s.names] if isinstance(s, ast.Import) else [s.module or "."] for s in found]
    return {name.partition(".")[0] for names in modules for name in names}


def _takes_all(statement: Statement) -> bool:
    small = statement.body if isinstance(statement, cst.SimpleStatementLine) else []
    return any(isinstance(s, cst.ImportFrom) and isinstance(s.names, cst.ImportStar) for s in small)
