"""Puts definitions and imports where they belong in a script, in its own indentation and line ends."""

from __future__ import annotations

import sys
import tokenize
from collections.abc import Sequence
from io import StringIO

import libcst as cst

from paramlint.codegen.transplant import Transplant
from paramlint.rewrite.import_place import Statement, opening, packages, place

_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
_FUTURE = "from __future__ import annotations"


def insert(module: cst.Module, index: int, given: Transplant, title: str) -> cst.Module:
    """Puts the definitions before the statement of that index, two empty lines around, and the imports further up."""
    text = _styled(given.definitions, module.default_indent, module.default_newline)
    inserted = cst.parse_module(text)
    body = list(module.body)
    above, own = _split(body[index].leading_lines if index else module.header)
    first, *others = inserted.body
    space = 2 if index or given.imports or given.future else 0
    lines = [*([] if not index else _stripped(above)), *_empty(space), _comment(title), *_empty(2)]
    block = [first.with_changes(leading_lines=[*lines, *inserted.header]), *others]
    body[index] = body[index].with_changes(leading_lines=[*_empty(max(2, len(above) - len(_stripped(above)))), *own])
    result = [*_with_imports(body[:index], given), *block, *body[index:]]
    return module.with_changes(body=result, header=module.header if index else above)


def _with_imports(body: Sequence[Statement], given: Transplant) -> list[Statement]:
    placed: dict[int, list[str]] = {}
    for line in given.imports:
        at = placed.setdefault(place(body, line), [])
        origin, _, name = line.partition(" import ")
        if "#" not in line and at and at[-1].startswith(f"{origin} import ") and "#" not in at[-1]:
            at[-1] = f"{at[-1]}, {name}"
        else:
            at.append(line)
    start = opening(body)
    if given.future:
        placed.setdefault(start, []).insert(0, _FUTURE)
    out: list[Statement] = []
    for i in range(len(body) + 1):
        for line in placed.get(i, []):
            node = cst.ensure_type(cst.parse_module(line).body[0], cst.SimpleStatementLine)
            apart = out and not (packages(out[-1]) - {"__future__"} if line != _FUTURE else packages(out[-1]))
            out.append(node.with_changes(leading_lines=_empty(1 if apart else 0)))
        following = body[i : i + 1]
        if i == start and i in placed and following and not (packages(following[0]) & sys.stdlib_module_names):
            missing = packages(following[0]) and not following[0].leading_lines
            following = [following[0].with_changes(leading_lines=_empty(1))] if missing else following
        out += following
    return out


def _empty(count: int) -> list[cst.EmptyLine]:
    return [cst.EmptyLine(indent=False) for _ in range(count)]


def _comment(text: str) -> cst.EmptyLine:
    return cst.EmptyLine(indent=False, comment=cst.Comment(f"# {text}"))


def _split(lines: Sequence[cst.EmptyLine]) -> tuple[list[cst.EmptyLine], list[cst.EmptyLine]]:
    """The lines before a statement, and of those the comments that stand right over it."""
    cut = max((i + 1 for i, line in enumerate(lines) if line.comment is None), default=0)
    return list(lines[:cut]), list(lines[cut:])


def _stripped(lines: list[cst.EmptyLine]) -> list[cst.EmptyLine]:
    while lines and lines[-1].comment is None:
        lines = lines[:-1]
    return lines


def _styled(text: str, unit: str, newline: str) -> str:
    """With a script's own indentation and line ends; strings that are no docstrings keep their content."""
    inside: set[int] = set()
    previous = tokenize.NEWLINE
    for token in tokenize.generate_tokens(StringIO(text).readline):
        opening = previous in (tokenize.NEWLINE, tokenize.INDENT, tokenize.NL)
        if token.type not in _LAYOUT and not opening:
            inside |= set(range(token.start[0] + 1, token.end[0] + 1))
        previous = token.type
    out = []
    for i, line in enumerate(text.splitlines(), 1):
        bare = line.lstrip(" ")
        levels, rest = divmod(len(line) - len(bare), 4)
        out.append(line if i in inside else unit * levels + " " * rest + bare)
    return newline.join(out) + newline
