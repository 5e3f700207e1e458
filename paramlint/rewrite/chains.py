"""An if-chain gets the branch for all that its tests let through."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite.edits import Change, SkipFix, replaced
from paramlint.rewrite.lines import behind_branch
from paramlint.rewrite.script import Script, code, same
from paramlint.rewrite.sites import node, text_of


def add_else(script: Script, fix: Fix) -> Change:
    statement = text_of(fix, "statement")
    branch = node(script, fix, "if statement", cst.If)
    while isinstance(branch.orelse, cst.If):
        branch = branch.orelse
    if branch.orelse is not None:
        raise SkipFix("it has an else already")
    rows = statement.splitlines()
    above = script.parent(branch)
    if isinstance(above, cst.If) and _does(branch, rows):
        start, end = script.span(branch)[0], script.outer(branch.test)[1]
        if not script.has_comment(start, end):
            return Change((replaced((start, end), "else"),))
    if isinstance(branch.body, cst.SimpleStatementSuite) and len(rows) == 1:
        lines = [f"else: {rows[0]}"]
    else:
        lines = ["else:", *(f"\t{row}" for row in rows)]
    return Change((behind_branch(script, branch, lines),))


def _does(branch: cst.If, rows: list[str]) -> bool:
    """Whether a branch does these statements and nothing else."""
    body = branch.body.body
    small = [one for s in body for one in (s.body if isinstance(s, cst.SimpleStatementLine) else [s])]
    return len(small) == len(rows) and all(same(code(s).strip("; "), row) for s, row in zip(small, rows, strict=True))
