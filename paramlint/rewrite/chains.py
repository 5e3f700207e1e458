"""An if-chain gets the branch for all that its tests let through."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite.edits import Change, SkipFix
from paramlint.rewrite.lines import behind_branch
from paramlint.rewrite.script import Script
from paramlint.rewrite.sites import node, text_of


def add_else(script: Script, fix: Fix) -> Change:
    statement = text_of(fix, "statement")
    branch = node(script, fix, "if statement", cst.If)
    while isinstance(branch.orelse, cst.If):
        branch = branch.orelse
    if branch.orelse is not None:
        raise SkipFix("it has an else already")
    rows = statement.splitlines()
    if isinstance(branch.body, cst.SimpleStatementSuite) and len(rows) == 1:
        lines = [f"else: {rows[0]}"]
    else:
        lines = ["else:", *(f"\t{row}" for row in rows)]
    return Change((behind_branch(script, branch, lines),))
