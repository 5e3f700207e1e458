"""What the rules on optimizer classes look at: one file, its text, and the optimizer classes in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property

from paramlint.finding import Finding, Fix, Severity
from paramlint.parameter import Location
from paramlint.record import dataclass
from paramlint.registry import by_code
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.imports import Imports

#: What Python ends a line at; `str.splitlines` knows more.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True)
class Source:
    """One file: what it says, and the optimizer classes that it defines, in the order of its lines."""

    path: str
    text: str
    tree: ast.Module
    imports: Imports
    classes: tuple[OptimizerFacts, ...] = field(repr=False)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        return tuple(_LINE.findall(self.text))

    def start(self, node: ast.expr | ast.stmt | ast.arg) -> tuple[int, int]:
        """Line and column of the first character of a node, both from 1, columns in characters."""
        return node.lineno, self._characters(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.arg) -> tuple[int, int]:
        """Line and column past the last character of a node."""
        line = node.end_lineno or node.lineno
        return line, self._characters(line, node.end_col_offset or 0)

    def segment(self, node: ast.expr) -> str:
        """The text of a node, as it is written."""
        return ast.get_source_segment(self.text, node) or ""

    def finding(
        self,
        code: str,
        node: ast.expr | ast.stmt | ast.arg,
        message: str,
        help: str,
        *,
        label: str = "",
        severity: Severity | None = None,
        details: Iterable[str] = (),
        fix: Fix | None = None,
    ) -> Finding:
        """A finding at a node; at a function or a class, its `def` or `class` line."""
        line, column = self.start(node)
        place = Location(self.path, line, column, label)
        said = severity or by_code()[code].severity
        return Finding(code, said, message, help, location=place, details=tuple(details), fix=fix)

    def _characters(self, line: int, offset: int) -> int:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if text.isascii():
            return offset + 1
        return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1


def first(nodes: Iterable[ast.AST]) -> ast.expr | None:
    """The expression that comes first in the file, None of none."""
    found = [n for n in nodes if isinstance(n, ast.expr)]
    return min(found, key=lambda n: (n.lineno, n.col_offset), default=None)


def mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))


def arguments(function: ast.FunctionDef) -> Sequence[ast.arg]:
    """The named arguments of a method, without the first."""
    return [*function.args.posonlyargs, *function.args.args][1:] + function.args.kwonlyargs


def passed(call: ast.Call, called: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """The arguments of a function or method of the file, by what it calls them, and what a call gives as each."""
    names = [a.arg for a in (*called.args.posonlyargs, *called.args.args)]
    if isinstance(call.func, ast.Attribute) and not _static(called):
        names = names[1:]
    named: Mapping[str, ast.expr] = {k.arg: k.value for k in call.keywords if k.arg}
    yield from (*zip(names, call.args, strict=False), *named.items())


def _static(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
