"""Where a script puts a parameter into a list: the loop around it, and the conditions on the way there."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

from paramlint.finding import Fix
from paramlint.parameter import Plain
from paramlint.record import dataclass
from paramlint.source.interpreter.project import File
from paramlint.source.terms import Span

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp)
_PASSED_ON = ("list", "tuple", "dict", "iter", "reversed")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.Call


@dataclass(frozen=True, eq=False)
class Step:
    """A condition: what is tested, by which `if`, comprehension, conditional expression or call of `filter`, and
    whether it has to hold."""

    test: ast.expr
    holds: bool
    owner: ast.If | ast.comprehension | ast.IfExp | ast.Call


@dataclass(frozen=True, eq=False)
class Site:
    """`put` is what puts the parameter there, `steps` are the conditions around that inside of the loop, outermost
    first, `guards` those before it at which a turn of the loop may end. `names` are those that the loop gives the
    parameter and, where it has one, its name: ("p", "n"). `model` is the expression whose parameters the loop takes, ""
    where the function does not say. `choice` is what picks the list, where an expression does."""

    put: ast.AST
    steps: tuple[Step, ...]
    guards: tuple[Step, ...]
    loop: Loop
    over: ast.expr
    names: tuple[str, str]
    model: str
    choice: ast.IfExp | None = None

    @property
    def parameter(self) -> str:
        return self.names[0]

    @property
    def conditions(self) -> tuple[Step, ...]:
        return (*self.guards, *self.steps)


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

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements among which one stands, itself among them."""
        above = self.parents.get(statement)
        for field in ("body", "orelse", "finalbody"):
            for one in getattr(above, field, None) or ():
                if one is statement:
                    found: list[ast.stmt] = getattr(above, field)
                    return found
        return [statement]

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
        filtered = _filter(put)
        if filtered is not None:
            call, test, name = filtered
            return self._made(put, [Step(test, True, call)], [], call, call.args[1], ast.Name(name))
        steps: list[Step] = []
        guards: list[Step] = []
        inner = put
        for node in self.around(put):
            if isinstance(node, _COMPREHENSIONS):
                if inner is not node.elt or len(node.generators) != 1:
                    return None
                loop = node.generators[0]
                steps += (Step(test, True, loop) for test in reversed(loop.ifs))
                return self._made(put, steps, [], node, loop.iter, loop.target)
            if isinstance(inner, ast.stmt):
                guards += reversed(list(self._guards(inner)))
            if isinstance(node, ast.If):
                if inner is not node.test:
                    steps.append(Step(node.test, inner in node.body, node))
            elif isinstance(node, ast.For):
                return self._made(put, steps, guards, node, node.iter, node.target) if inner in node.body else None
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While)):
                return None
            inner = node
        return None

    def _guards(self, statement: ast.stmt) -> Iterator[Step]:
        """What stands before a statement in its block, and goes on with the next turn of the loop where it holds."""
        for one in self.block(statement):
            if one is statement:
                return
            if isinstance(one, ast.If):
                for branch in chain(one)[0]:
                    if not isinstance(branch.body[-1], ast.Continue):
                        break
                    yield Step(branch.test, False, branch)

    def _made(
        self, put: ast.AST, steps: list[Step], guards: list[Step], loop: Loop, over: ast.expr, target: ast.expr
    ) -> Site | None:
        match target:
            case ast.Name(id=p):
                names = p, ""
            case ast.Tuple(elts=[ast.Name(id=n), ast.Name(id=p)]):
                names = p, n
            case _:
                return None
        scope = self.function(loop) or self.file.tree
        model = walked_of(over, scope)
        choice = _choice(put, loop)
        return Site(put, tuple(reversed(steps)), tuple(reversed(guards)), loop, over, names, model or "", choice)


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


def arguments(function: Function) -> set[str]:
    """The names of a function's parameters, those that take any number left out."""
    a = function.args
    return {one.arg for one in (*a.posonlyargs, *a.args, *a.kwonlyargs)}


def names_in(node: ast.AST) -> set[str]:
    """The names that an expression reads, those that it binds itself not."""
    read = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return read - {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def fix_at(file: File, kind: str, node: ast.AST, title: str, data: Mapping[str, Plain] | None = None) -> Fix:
    """A fix, not a safe one, of the expression or statement that a node is."""
    span = file.span(node)
    return Fix(kind, (span.line, span.column), (span.end_line, span.end_column), False, title, data or {})


def _filter(put: ast.AST) -> tuple[ast.Call, ast.expr, str] | None:
    """The call of `filter` that a list is made by, its condition, and what a parameter is called there."""
    match put:
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[ast.Call() as inner], keywords=[]):
            return _filter(inner)
        case ast.Call(
            func=ast.Name(id="filter"), args=[ast.Lambda(args=ast.arguments(args=[ast.arg(arg=name)]), body=test), _]
        ):
            return put, test, name
    return None


def _choice(put: ast.AST, loop: Loop) -> ast.IfExp | None:
    """The conditional expression that says into which list a parameter goes: `(a if x else b).append(p)`, by a key,
    or by a name that the turn of the loop gave it."""
    match put.value if isinstance(put, ast.Expr) else put:
        case ast.Call(func=ast.Attribute(value=ast.Subscript(slice=said))):
            pass
        case ast.Call(func=ast.Attribute(value=said)):
            pass
        case _:
            return None
    if isinstance(said, ast.Name) and isinstance(loop, ast.For):
        given = [
            n.value
            for n in ast.walk(loop)
            if isinstance(n, ast.Assign) and any(isinstance(t, ast.Name) and t.id == said.id for t in n.targets)
        ]
        said = given[0] if len(given) == 1 else said
    return said if isinstance(said, ast.IfExp) else None


def walked_of(over: ast.expr, scope: ast.AST, seen: Collection[str] = frozenset()) -> str | None:
    """The one expression whose parameters all come from that a loop is over; "" where there is nothing but what was
    seen, None where that is not known."""
    match over:
        case ast.Call(func=ast.Attribute(value=of, attr="parameters" | "named_parameters")):
            return ast.unparse(of)
        case ast.Call(func=ast.Name(id="filter"), args=[_, inner]):
            return walked_of(inner, scope, seen)
        case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in _PASSED_ON:
            return walked_of(inner, scope, seen)
        case ast.Call(func=ast.Attribute(value=inner, attr="items" | "values"), args=[]):
            return walked_of(inner, scope, seen)
        case (
            ast.ListComp(generators=[ast.comprehension(iter=inner)])
            | ast.GeneratorExp(generators=[ast.comprehension(iter=inner)])
            | ast.DictComp(generators=[ast.comprehension(iter=inner)])
        ):
            return walked_of(inner, scope, seen)
        case ast.Name(id=name):
            if name in seen:
                return ""
            found: set[str | None] = set()
            for n in ast.walk(scope):
                match n:
                    case ast.Assign(targets=targets, value=value) if any(
                        isinstance(t, ast.Name) and t.id == name for t in targets
                    ):
                        found.add(walked_of(value, scope, {*seen, name}))
                    case ast.arg(arg=own) if own == name:
                        found.add(None)
            found.discard("")
            return found.pop() if len(found) == 1 else None
    return None
