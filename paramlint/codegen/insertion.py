"""Puts definitions and imports where they belong in a script, in its own indentation and line ends."""

from __future__ import annotations

import ast
import sys
import tokenize
from collections.abc import Sequence
from io import StringIO

import libcst as cst

from paramlint.codegen.transplant import Transplant

_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
_FUTURE = "from __future__ import annotations"
_Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


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


def _with_imports(body: Sequence[_Statement], given: Transplant) -> list[_Statement]:
    placed: dict[int, list[str]] = {}
    for line in given.imports:
        at = placed.setdefault(_place(body, line), [])
        origin, _, name = line.partition(" import ")
        if "#" not in line and at and at[-1].startswith(f"{origin} import ") and "#" not in at[-1]:
            at[-1] = f"{at[-1]}, {name}"
        else:
            at.append(line)
    start = _opening(body)
    if given.future:
        placed.setdefault(start, []).insert(0, _FUTURE)
    out: list[_Statement] = []
    for i in range(len(body) + 1):
        for line in placed.get(i, []):
            node = cst.ensure_type(cst.parse_module(line).body[0], cst.SimpleStatementLine)
            apart = out and not (_imports(out[-1]) - {"__future__"} if line != _FUTURE else _imports(out[-1]))
            out.append(node.with_changes(leading_lines=_empty(1 if apart else 0)))
        following = body[i : i + 1]
        if i == start and i in placed and following and not (_imports(following[0]) & sys.stdlib_module_names):
            missing = _imports(following[0]) and not following[0].leading_lines
            following = [following[0].with_changes(leading_lines=_empty(1))] if missing else following
        out += following
    return out


def _opening(body: Sequence[_Statement]) -> int:
    """The index after docstring and `__future__`."""
    i = 0
    if body and isinstance(body[0], cst.SimpleStatementLine):
        one = body[0].body[0]
        i = int(isinstance(one, cst.Expr) and isinstance(one.value, (cst.SimpleString, cst.ConcatenatedString)))
    while i < len(body) and "__future__" in _imports(body[i]):
        i += 1
    return i


def _place(body: Sequence[_Statement], line: str) -> int:
    """Where an import goes: after the last of its package; with the standard library's, or over all; behind the last.

    Never before an import of `*`, which might bind its name again.
    """
    top = line.split()[1].partition(".")[0]
    start = _opening(body)
    tops = {i: _imports(s) for i, s in enumerate(body) if i >= start and _imports(s)}
    same = [i for i, names in tops.items() if top in names]
    standard = [i for i, names in tops.items() if top in sys.stdlib_module_names and names <= sys.stdlib_module_names]
    star = max((i for i in tops if _takes_all(body[i])), default=-1) + 1
    if top in sys.stdlib_module_names and not same and not standard and start in tops:
        return max(start, star)
    return max(star, max(same or standard or tops, default=start - 1) + 1)


def _imports(statement: _Statement) -> set[str]:
    """The packages that a line imports from."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return set()
    code = cst.Module([statement.with_changes(leading_lines=[])]).code.strip()
    found = [s for s in ast.parse(code).body if isinstance(s, (ast.Import, ast.ImportFrom))]
    modules = [[a.name for a in s.names] if isinstance(s, ast.Import) else [s.module or "."] for s in found]
    return {name.partition(".")[0] for names in modules for name in names}


def _takes_all(statement: _Statement) -> bool:
    small = statement.body if isinstance(statement, cst.SimpleStatementLine) else []
    return any(isinstance(s, cst.ImportFrom) and isinstance(s.names, cst.ImportStar) for s in small)


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
