"""Where the memory of a gradient goes in a step, and what is done to it in place."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from paramlint.checks.optimizer_classes.context import passed
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.reaching import callee, is_grad
from paramlint.source.statements import every

#: Methods that give a view of their tensor, or the tensor itself where nothing has to be done.
_VIEWS = frozenset(
    "view view_as reshape reshape_as flatten unflatten squeeze unsqueeze contiguous detach transpose t permute "
    "narrow select chunk split unbind expand to_local".split()
)
_VIEW_ATTRIBUTES = frozenset({"data", "T", "mT", "real", "imag", "_local_tensor"})
_ALIASES = {"half": "float16", "float": "float32", "double": "float64"}
#: In-place by their names, but no change of what the gradient says, or the wish to clear it.
_HARMLESS = frozenset({"zero_", "detach_", "requires_grad_", "record_stream_", "squeeze_", "unsqueeze_"})


def changes(c: OptimizerFacts) -> tuple[ast.expr | ast.stmt, ...]:
    """The first in-place operation on a gradient in each function that the step reaches, in the order of the source.

    Names are followed through assignments, branch by branch: after an `if`, a name may be the gradient where it is
    after one of the branches. Calls are followed into methods and functions of the file.
    """
    assert c.step is not None
    walk = _Walk(c)
    walk.function(c.step, frozenset())
    nodes = sorted(walk.found.values(), key=lambda n: (n.lineno, n.col_offset))
    return tuple(nodes)


class _Walk:
    def __init__(self, c: OptimizerFacts) -> None:
        self.c = c
        self.found: dict[int, ast.expr | ast.stmt] = {}
        self.done: set[tuple[int, frozenset[str]]] = set()

    def function(self, function: ast.FunctionDef, given: frozenset[str]) -> None:
        """Reads a function whose arguments `given` are gradients."""
        if (id(function), given) in self.done:
            return
        self.done.add((id(function), given))
        _Body(self, function).block(function.body, given)


class _Body:
    """One function. `shared` is the names that may share a gradient's memory."""

    def __init__(self, walk: _Walk, function: ast.FunctionDef) -> None:
        self.walk, self.owner = walk, function
        #: How parameters are written whose gradients are read here.
        self.parameters = {ast.unparse(n.value) for n in every(function) if isinstance(n, ast.Attribute) and is_grad(n)}

    def block(self, body: Sequence[ast.stmt], shared: frozenset[str]) -> frozenset[str]:
        for statement in body:
            shared = self.statement(statement, shared)
        return shared

    def statement(self, node: ast.stmt, shared: frozenset[str]) -> frozenset[str]:
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                self.looked(test, shared)
                then, other = self.by_dtype(test, shared)
                ways = [(self.block(b, s), _leaves(b)) for b, s in ((body, then), (orelse, other))]
                return frozenset[str]().union(*(after for after, left in ways if not left))
            case ast.For(target=target, iter=over, body=body, orelse=orelse):
                self.looked(over, shared)
                inside = _unbound(target, shared)
                return shared | self.block([*body, *orelse], inside)
            case ast.While(body=body, orelse=orelse):
                return shared | self.block([*body, *orelse], shared)
            case ast.With(body=body):
                return self.block(body, shared)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
                after = self.block([*body, *orelse], shared)
                others = [self.block(h.body, shared | after) for h in handlers]
                return self.block(final, after.union(*others))
            case ast.FunctionDef(body=body):
                self.block(body, shared)
                return shared
            case ast.Assign(targets=targets, value=value):
                self.looked(value, shared)
                for target in targets:
                    shared = self.bound(target, value, shared)
                return shared
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self.looked(value, shared)
                return self.bound(target, value, shared)
            case ast.AugAssign(target=target, value=value):
                self.looked(value, shared)
                stored = target.value if isinstance(target, ast.Subscript) else target
                if _grad_place(stored) or self.shares(stored, shared):
                    self.report(node)
                return shared
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.looked(child, shared)
        return shared

    def by_dtype(self, test: ast.expr, shared: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """What shares a gradient's memory where a test of its dtype holds, and where it fails.

        A gradient has the dtype of its parameter. "grad@float32" stands for a name that is one of that dtype.
        """
        asked = _dtypes(test)
        if asked is None:
            return shared, shared
        of, names, holds = asked
        if not (self.shares(of, shared) or ast.unparse(of) in self.parameters):
            return shared, shared
        those = frozenset(s for s in shared if "@" not in s or s.partition("@")[2] in names)
        others = frozenset(s for s in shared if s.partition("@")[2] not in names)
        if len(names) == 1:
            those = frozenset(s if "@" in s else f"{s}@{min(names)}" for s in those)
        return (those, others) if holds else (others, those)

    def bound(self, target: ast.expr, value: ast.expr, shared: frozenset[str]) -> frozenset[str]:
        if isinstance(target, ast.Name):
            rest = _unbound(target, shared)
            return rest | {target.id} if self.shares(value, shared) else rest
        if isinstance(target, (ast.Tuple, ast.List)):
            pairs = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
            if len(pairs) == len(target.elts):
                old = shared
                for one, given in zip(target.elts, pairs, strict=True):
                    rest = _unbound(one, shared)
                    shared = rest | {one.id} if isinstance(one, ast.Name) and self.shares(given, old) else rest
                return shared
            return _unbound(target, shared)
        return shared

    def shares(self, node: ast.expr, shared: frozenset[str]) -> bool:
        """Whether an expression may be a gradient or a view of one."""
        match node:
            case ast.Name(id=name):
                return any(s.partition("@")[0] == name for s in shared)
            case ast.Attribute(value=value, attr=attr):
                return is_grad(node) or (attr in _VIEW_ATTRIBUTES and self.shares(value, shared))
            case ast.Call(func=ast.Attribute(value=value, attr=attr)):
                in_place = attr.endswith("_") and not attr.endswith("__")
                return (in_place or attr in _VIEWS) and self.shares(value, shared)
            case ast.Call(func=ast.Name(id="view_as_real" | "cast" | "to_local"), args=args):
                return any(self.shares(a, shared) for a in args)
            case ast.IfExp(body=body, orelse=orelse):
                return self.shares(body, shared) or self.shares(orelse, shared)
            case ast.Subscript(value=ast.Name(), slice=index):
                return self.shares(node.value, shared) and not isinstance(index, ast.Name)
            case ast.NamedExpr(value=value):
                return self.shares(value, shared)
        return False

    def looked(self, node: ast.expr, shared: frozenset[str]) -> None:
        """Reports in-place methods in an expression, and follows its calls."""
        for n in every(node):
            if not isinstance(n, ast.Call):
                continue
            match n.func:
                case ast.Attribute(value=of, attr=attr) if attr.endswith("_") and not attr.endswith("__"):
                    if attr not in _HARMLESS and self.shares(of, shared):
                        self.report(n)
            called = callee(n.func, self.walk.c.methods, self.walk.c.functions)
            if called is not None:
                given = (name for name, value in passed(n, called) if self.shares(value, shared))
                self.walk.function(called, frozenset(given))

    def report(self, node: ast.expr | ast.stmt) -> None:
        self.walk.found.setdefault(id(self.owner), node)


def _grad_place(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="self")):
            return False
        case ast.Attribute(attr="grad"):
            return True
        case ast.Attribute(value=value, attr="data"):
            return _grad_place(value)
    return False


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], (ast.Continue, ast.Break, ast.Return, ast.Raise))


def _unbound(target: ast.expr, shared: frozenset[str]) -> frozenset[str]:
    bound = {n.id for n in every(target) if isinstance(n, ast.Name)}
    return frozenset(s for s in shared if s.partition("@")[0] not in bound)


def _dtypes(test: ast.expr) -> tuple[ast.expr, set[str], bool] | None:
    """What a test of a dtype asks: of which tensor, for which names of dtypes, and whether it holds for those."""
    match test:
        case ast.Compare(left=ast.Attribute(value=of, attr="dtype"), ops=[op], comparators=[right]):
            pass
        case _:
            return None
    given = right.elts if isinstance(right, (ast.Set, ast.Tuple, ast.List)) else [right]
    if not isinstance(op, (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)):
        return None
    names = {_ALIASES.get(n.attr, n.attr) for n in given if isinstance(n, ast.Attribute)}
    return (of, names, isinstance(op, (ast.Eq, ast.Is, ast.In))) if len(names) == len(given) else None
