"""A script as LibCST reads it, with the offsets of every node in its text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cache, cached_property
from typing import TypeVar, cast

import libcst as cst
from libcst.metadata import CodePosition, MetadataWrapper, PositionProvider

from paramlint.codegen import source_file

_Node = TypeVar("_Node", bound=cst.CSTNode)
_Range = tuple[int, int]
#: What `ruff format` and `black` allow; the longer one where the file has such lines already.
_WIDTHS = (88, 120)


class Script:
    """The text of a script, its tree, and where each node of that stands.

    Offsets count the characters of `text`. `span` is without the brackets around an expression, as in `ast`; `outer`
    is with them.

    Raises:
        libcst.ParserSyntaxError: it is not Python.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.module = cst.parse_module(text)
        self.newline, self.unit = self.module.default_newline, self.module.default_indent
        rows = source_file.lines(text)
        self.width = _WIDTHS[0] if all(len(row.rstrip("\r\n")) <= _WIDTHS[0] for row in rows) else _WIDTHS[1]
        self._starts = [0]
        for row in rows:
            self._starts.append(self._starts[-1] + len(row))
        self._rows = rows
        positions = MetadataWrapper(self.module, unsafe_skip_copy=True).resolve(PositionProvider)
        self._spans: dict[cst.CSTNode, _Range] = {}
        self._parents: dict[cst.CSTNode, cst.CSTNode] = {}
        self._found: dict[_Range, list[cst.CSTNode]] = {}
        self.comments: list[_Range] = []
        for node in _walk(self.module):
            for child in children(node):
                self._parents[child] = node
            if node not in positions:
                continue
            place = positions[node]
            self._spans[node] = self._at(place.start), self._at(place.end)
            if isinstance(node, cst.Comment):
                self.comments.append(self._spans[node])
        for node, span in self._spans.items():
            for one in dict.fromkeys([span, self.outer(node)]):
                self._found.setdefault(one, []).append(node)
        self.comments.sort()

    def _at(self, place: CodePosition) -> int:
        return int(self._starts[place.line - 1] + place.column)

    # places

    def offset(self, place: tuple[int, int]) -> int | None:
        """Of a line and a column, both from 1; None where the text has no such place."""
        line, column = place
        if not (0 < line <= len(self._rows) and 0 < column <= len(self._rows[line - 1]) + 1):
            return 0 if place == (1, 1) else None
        return self._starts[line - 1] + column - 1

    def line(self, offset: int) -> int:
        """The index of the line that an offset is on, from 0."""
        low, high = 0, len(self._rows)
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if self._starts[middle] <= offset else (low, middle)
        return low

    def row(self, line: int) -> str:
        """A line without its end, "" past the last one."""
        return self._rows[line].rstrip("\r\n") if line < len(self._rows) else ""

    def line_range(self, line: int) -> _Range:
        """The offsets of a line, with its end."""
        return self._starts[line], self._starts[min(line + 1, len(self._rows))]

    @property
    def line_count(self) -> int:
        return len(self._rows)

    def margin(self, offset: int) -> str:
        """What the line of an offset is indented by."""
        row = self.row(self.line(offset))
        return row[: len(row) - len(row.lstrip(" \t\f"))]

    # nodes

    def span(self, node: cst.CSTNode) -> _Range:
        return self._spans[node]

    def outer(self, node: cst.CSTNode) -> _Range:
        start, end = self._spans[node]
        left, right = _brackets(node)
        if left:
            return self._spans[left[0]][0], self._spans[right[-1]][1]
        if isinstance(node, cst.GeneratorExp) and isinstance(self._parents.get(node), cst.Arg):
            return self._bracketed(start, end)  # those of the call, as `ast` has it
        return start, end

    def _bracketed(self, start: int, end: int) -> _Range:
        before, after = start - 1, end
        while before > 0 and self.text[before].isspace():
            before -= 1
        while after < len(self.text) - 1 and self.text[after].isspace():
            after += 1
        found = self.text[before : before + 1] == "(" and self.text[after : after + 1] == ")"
        return (before, after + 1) if found else (start, end)

    def code(self, node: cst.CSTNode) -> str:
        """The text of a node with the brackets around it."""
        start, end = self.outer(node)
        return self.text[start:end]

    def find(self, start: int, end: int, *types: Callable[..., _Node]) -> _Node | None:
        """The outermost node of one of these types that stands exactly there, with its brackets or without."""
        found = [n for n in self._found.get((start, end), ()) if isinstance(n, cast("tuple[type, ...]", types))]
        return cast("_Node | None", min(found, key=lambda n: len(list(self.ancestors(n))), default=None))

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._parents.get(node)

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """The nodes around a node, innermost first."""
        above = self._parents.get(node)
        while above is not None:
            yield above
            above = self._parents.get(above)

    def around(self, node: cst.CSTNode, *types: type[_Node]) -> _Node | None:
        """The innermost node of one of these types around a node."""
        return next((n for n in self.ancestors(node) if isinstance(n, types)), None)

    def function(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        return self.around(node, cst.FunctionDef)

    def inside(self, node: cst.CSTNode, *types: type[_Node]) -> Iterator[_Node]:
        """The nodes of these types in a node, itself among them."""
        return (n for n in _walk(node) if isinstance(n, types))

    def expressions(self) -> Iterator[cst.BaseExpression]:
        """All expressions, those around others first."""
        return (n for n in _walk(self.module) if isinstance(n, cst.BaseExpression))

    def condition(self, start: int, end: int) -> _Range | None:
        """The innermost condition that a piece of the text is in, or right at."""
        found = [(a, b) for a, b in self._conditions if a <= start and end <= b]
        return min(found, key=lambda span: span[1] - span[0], default=None)

    @cached_property
    def _conditions(self) -> list[_Range]:
        """The spans of all that decides something: of ifs, comprehensions, conditional expressions and lambdas."""
        found: list[_Range] = []
        for node in _walk(self.module):
            if isinstance(node, (cst.If, cst.While, cst.CompIf, cst.IfExp, cst.Assert)):
                found.append(self.outer(node.test))
            elif isinstance(node, cst.Lambda):
                found.append(self.outer(node.body))
        return found

    def has_comment(self, start: int, end: int) -> bool:
        return any(start <= a and b <= end for a, b in self.comments)

    def comment_line(self, line: int) -> bool:
        """Whether a line holds a comment and nothing else."""
        if not 0 <= line < len(self._rows):
            return False
        start, end = self.line_range(line)
        return any(start <= a < end and not self.text[start:a].strip() for a, _ in self.comments)


def _brackets(node: cst.CSTNode) -> tuple[Sequence[cst.LeftParen], Sequence[cst.RightParen]]:
    """Those around an expression; those of a class or an import are part of it."""
    return (node.lpar, node.rpar) if isinstance(node, (cst.BaseExpression, cst.StarredElement)) else ((), ())


def code(node: cst.CSTNode) -> str:
    """The text of a node that belongs to no script."""
    return cst.Module([]).code_for_node(node)


def same(one: str, other: str) -> bool:
    """Whether two expressions differ in nothing but layout."""
    try:
        return cst.parse_expression(one).deep_equals(cst.parse_expression(other)) or _plain(one) == _plain(other)
    except cst.ParserSyntaxError:
        return False


def _plain(text: str) -> str:
    return "".join(text.split())


def _walk(node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(reversed(children(top)))


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """The nodes right below a node. LibCST's own `children` visits, which takes ten times as long."""
    found: list[cst.CSTNode] = []
    for name in _fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [one for one in value if isinstance(one, cst.CSTNode)]
    return found


@cache
def _fields(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
