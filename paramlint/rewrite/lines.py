"""Statements that are put before or after others, in the indentation and the line ends of the script."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from paramlint.rewrite.edits import Edit, SkipFix, inserted
from paramlint.rewrite.script import Script

Statement = cst.BaseSmallStatement | cst.BaseCompoundStatement


def statement_of(script: Script, node: cst.CSTNode) -> Statement:
    """The innermost statement that a node is in, or is; a whole if-chain for a part of one."""
    found = next((n for n in (node, *script.ancestors(node)) if isinstance(n, Statement)), None)
    if found is None:
        raise SkipFix("it is in no statement")
    above = script.parent(found)
    while isinstance(found, cst.If) and isinstance(above, cst.If):
        found, above = above, script.parent(above)
    return found


def block_of(script: Script, statement: Statement) -> cst.CSTNode:
    """What holds the statement: the module or the body of another."""
    above = script.parent(statement)
    if isinstance(above, cst.SimpleStatementLine):
        above = script.parent(above)
    if above is None:
        raise SkipFix("it is in no statement")
    return above


def siblings(script: Script, statement: Statement) -> list[Statement]:
    """The statements of the block that this one is in, in order."""
    block = block_of(script, statement)
    found: list[Statement] = []
    for one in getattr(block, "body", ()):
        if isinstance(one, cst.SimpleStatementLine):
            found += one.body
        elif isinstance(one, Statement):
            found.append(one)
    return found


def ends_line(script: Script, statement: Statement) -> bool:
    """Whether nothing follows a statement on its last line, and it is not in the line of an if or a loop."""
    above = script.parent(statement)
    small = isinstance(statement, cst.BaseSmallStatement)
    return not small or (isinstance(above, cst.SimpleStatementLine) and above.body[-1] is statement)


def before(script: Script, statement: Statement, lines: Sequence[str]) -> Edit:
    """Puts lines before a statement, above the comments right over it."""
    above = script.parent(statement)
    start = script.span(statement)[0]
    if isinstance(statement, cst.BaseSmallStatement) and not (
        isinstance(above, cst.SimpleStatementLine) and above.body[0] is statement
    ):
        return inserted(start, "".join(f"{_joined(line)}; " for line in lines))
    if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) and statement.decorators:
        start = script.span(statement.decorators[0])[0]
    margin = script.margin(start)
    row = script.line(start)
    while script.comment_line(row - 1) and script.margin(script.line_range(row - 1)[0]) == margin:
        row -= 1
    offset = script.line_range(row)[0]
    return Edit(offset, offset, _set(script, lines, margin), line=True)


def after(script: Script, statement: Statement, lines: Sequence[str]) -> Edit:
    """Puts lines after a statement, behind the comments that belong to the end of its block."""
    above = script.parent(statement)
    end = script.span(statement)[1]
    if isinstance(statement, cst.BaseSmallStatement) and not (
        isinstance(above, cst.SimpleStatementLine) and above.body[-1] is statement
    ):
        return inserted(end, "".join(f"; {_joined(line)}" for line in lines))
    margin = script.margin(script.span(statement)[0])
    deep = isinstance(statement, cst.BaseCompoundStatement)
    return _behind(script, end, margin, lines, deep)


def behind_branch(script: Script, branch: cst.If, lines: Sequence[str]) -> Edit:
    """Puts lines after the body of an if or elif, at its own indentation."""
    return _behind(script, script.span(branch)[1], script.margin(script.span(branch)[0]), lines, True)


def first_in(script: Script, body: cst.BaseSuite, lines: Sequence[str]) -> Edit:
    """Puts lines at the beginning of a body, behind its docstring."""
    if isinstance(body, cst.IndentedBlock):
        statements = list(body.body)
        skip = int(_is_docstring(statements[0])) if isinstance(script.parent(body), cst.FunctionDef) else 0
        if skip == len(statements):
            raise SkipFix("the body is empty")
        first = statements[skip]
        inner = first.body[0] if isinstance(first, cst.SimpleStatementLine) else first
        return before(script, statement_of(script, inner), lines)
    small = body.body[0] if isinstance(body, cst.SimpleStatementSuite) else None
    if small is None:
        raise SkipFix("the body is empty")
    if not any("\n" in line for line in lines) and not any(line.endswith(":") for line in lines):
        return before(script, small, lines)
    start = script.span(small)[0]
    owner = script.parent(body)
    margin = script.margin(script.span(owner)[0] if owner is not None else start) + script.unit
    gap = len(script.text[:start].rstrip(" \t"))
    text = script.newline + _set(script, lines, margin) + margin
    return Edit(gap, start, text)


def docstring_only(body: cst.BaseSuite) -> bool:
    return isinstance(body, cst.IndentedBlock) and len(body.body) == 1 and _is_docstring(body.body[0])


def _is_docstring(statement: cst.CSTNode) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return False
    one = statement.body[0]
    return isinstance(one, cst.Expr) and isinstance(one.value, (cst.SimpleString, cst.ConcatenatedString))


def _behind(script: Script, end: int, margin: str, lines: Sequence[str], deep: bool) -> Edit:
    row = script.line(end)
    if deep:  # comments in the block, after its last statement
        following = row + 1
        while following < script.line_count and (script.comment_line(following) or not script.row(following).strip()):
            if script.comment_line(following):
                inner = script.margin(script.line_range(following)[0])
                if len(inner) <= len(margin) or not inner.startswith(margin):
                    break
                row = following
            following += 1
    offset = script.line_range(row)[1]
    text = _set(script, lines, margin)
    if not script.text[:offset].endswith(("\n", "\r")):
        text = script.newline + text.removesuffix(script.newline)
    return Edit(offset, offset, text, line=True)


def _set(script: Script, lines: Sequence[str], margin: str) -> str:
    rows = [row for line in lines for row in line.split("\n")]
    return "".join(f"{margin}{_indented(row, script.unit)}{script.newline}" for row in rows)


def _indented(row: str, unit: str) -> str:
    """Steps of indentation are written as tabs, and become the script's own."""
    bare = row.lstrip("\t")
    return unit * (len(row) - len(bare)) + bare


def _joined(line: str) -> str:
    """A statement of several lines in one."""
    if "\n" not in line:
        return line
    first, *others = [part.strip() for part in line.split("\n")]
    text = first
    for part in others:
        glue = "" if text.endswith(("(", "[", "{")) or part[:1] in ")]}" else " "
        text = text.removesuffix(",") + glue + part if part[:1] in ")]}" else text + glue + part
    return text
