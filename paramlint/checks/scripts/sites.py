"""Where a script puts a parameter into a list: the loop around it, and the conditions on the way there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from paramlint.record import dataclass
from paramlint.source.interpreter.project import File
from paramlint.source.terms import Span

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class Step:
    """A condition: what is tested, by which `if` or comprehension, and whether it has to hold."""

    test: ast.expr
    holds: bool
    owner: ast.If | ast.comprehension


@dataclass(frozen=True, eq=False)
class Site:
    """`put` is what puts the parameter there, `steps` are the conditions inside of the loop, outermost first. `names`
    are those that the loop gives the parameter and, where it has one, its name: ("p", "n")."""

    put: ast.AST
    steps: tuple[Step, ...]
    loop: ast.For | ast.ListComp | ast.SetComp | ast.GeneratorExp
    over: ast.expr
    names: tuple[str, str]

    @property
    def parameter(self) -> str:
        return self.names[0]

    @property
    def model(self) -> str:
        """The expression whose parameters the loop takes, "" where it does not say."""
        match self.over:
            case ast.Call(func=ast.Attribute(value=of, attr="parameters" | "named_parameters")):
                return ast.unparse(of)
            case ast.Call(
                func=ast.Name(id="list" | "tuple"),
                args=[ast.Call(func=ast.Attribute(value=of, attr="parameters" | "named_parameters"))],
            ):
                return ast.unparse(of)
        return ""


@dataclass(frozen=True, eq=False)
class Syntax:
    """The nodes of a file: what is around each, and which stand at a place."""

    file: File
    parents: dict[ast.AST, ast.AST]
    lines: dict[tuple[int, int], list[ast.AST]]

    def at(self, span: Span | None) -> Iterator[ast.AST]:
        """The nodes that are exactly there, outermost first."""
        if span is None or span.path != self.file.path:
            return
        for node in self.lines.get((span.line, span.end_line), ()):
            if self.file.span(node) == span:
                yield node

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, innermost first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> Function | None:
        return next((n for n in self.around(node) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))), None)

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The innermost statement that a node is in, or is."""
        return next((n for n in (node, *self.around(node)) if isinstance(n, ast.stmt)), None)

    def site(self, span: Span | None) -> Site | None:
        """Where the node at a place puts a parameter; None where that is in no loop of a plain form."""
        found = [site for node in self.at(span) if (site := self._site(node)) is not None]
        return found[0] if found else None

    def inside(self, span: Span, node: ast.AST) -> bool:
        """Whether a place is in a node."""
        own = self.file.span(node)
        start, end = (own.line, own.column), (own.end_line, own.end_column)
        within = start <= (span.line, span.column) and (span.end_line, span.end_column) <= end
        return span.path == own.path and within

    def _site(self, put: ast.AST) -> Site | None:
        steps: list[Step] = []
        inner = put
        for node in self.around(put):
            if isinstance(node, _COMPREHENSIONS):
                if inner is not node.elt or len(node.generators) != 1:
                    return None
                loop = node.generators[0]
                steps += (Step(test, True, loop) for test in reversed(loop.ifs))
                return _site(put, steps, node, loop.iter, loop.target)
            if isinstance(node, ast.If):
                if inner is not node.test:
                    steps.append(Step(node.test, inner in node.body, node))
            elif isinstance(node, ast.For):
                return _site(put, steps, node, node.iter, node.target) if inner in node.body else None
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While)):
                return None
            inner = node
        return None


@lru_cache(maxsize=2)
def syntax(file: File) -> Syntax:
    parents: dict[ast.AST, ast.AST] = {}
    lines: dict[tuple[int, int], list[ast.AST]] = {}
    stack: list[ast.AST] = [file.tree]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.stmt, ast.expr)):
            lines.setdefault((node.lineno, node.end_lineno or node.lineno), []).append(node)
        for child in ast.iter_child_nodes(node):
            parents[child] = node
            stack.append(child)
    return Syntax(file, parents, lines)


def chain(head: ast.If) -> tuple[list[ast.If], list[ast.stmt]]:
    """The branches of an if and its elifs, and what stands in the final else."""
    branches = [head]
    while len(branches[-1].orelse) == 1 and isinstance(branches[-1].orelse[0], ast.If):
        branches.append(branches[-1].orelse[0])
    return branches, branches[-1].orelse


def joined(test: ast.expr) -> list[ast.expr]:
    """The conditions that a test joins by `and`."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [part for value in test.values for part in joined(value)]
    return [test]


def names_in(node: ast.AST) -> set[str]:
    """The names that an expression reads, those that it binds itself not."""
    read = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return read - {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _site(
    put: ast.AST,
    steps: list[Step],
    loop: ast.For | ast.ListComp | ast.SetComp | ast.GeneratorExp,
    over: ast.expr,
    target: ast.expr,
) -> Site | None:
    match target:
        case ast.Name(id=p):
            names = p, ""
        case ast.Tuple(elts=[ast.Name(id=n), ast.Name(id=p)]):
            names = p, n
        case _:
            return None
    return Site(put, tuple(reversed(steps)), loop, over, names)
