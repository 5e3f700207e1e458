"""Where the memory of a gradient goes in a step, and what is done to it in place."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.reaching import callee, is_grad
from paramlint.source.statements import every

#: Methods that give a view of their tensor, or the tensor itself where nothing has to be done.
_VIEWS = frozenset(
    "view view_as reshape reshape_as flatten unflatten squeeze unsqueeze contiguous detach transpose t permute "
    "narrow select chunk split unbind expand to_local".split()
)
_VIEW_ATTRIBUTES = frozenset({"data", "T", "mT", "real", "imag", "_local_tensor"})
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

    def block(self, body: Sequence[ast.stmt], shared: frozenset[str]) -> frozenset[str]:
        for statement in body:
            shared = self.statement(statement, shared)
        return shared

    def statement(self, node: ast.stmt, shared: frozenset[str]) -> frozenset[str]:
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                self.looked(test, shared)
                ways = [(self.block(b, shared), _leaves(b)) for b in (body, orelse)]
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

    def bound(self, target: ast.expr, value: ast.expr, shared: frozenset[str]) -> frozenset[str]:
        if isinstance(target, ast.Name):
            return shared | {target.id} if self.shares(value, shared) else shared - {target.id}
        if isinstance(target, (ast.Tuple, ast.List)):
            pairs = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
            if len(pairs) == len(target.elts):
                old = shared
                for one, given in zip(target.elts, pairs, strict=True):
                    rest = shared - {one.id} if isinstance(one, ast.Name) else shared
                    shared = rest | {one.id} if isinstance(one, ast.Name) and self.shares(given, old) else rest
                return shared
            return _unbound(target, shared)
        return shared

    def shares(self, node: ast.expr, shared: frozenset[str]) -> bool:
        """Whether an expression may be a gradient or a view of one."""
        match node:
            case ast.Name(id=name):
                return name in shared
            case ast.Attribute(value=value, attr=attr):
                return is_grad(node) or (attr in _VIEW_ATTRIBUTES and self.shares(value, shared))
            case ast.Call(func=ast.Attribute(value=value, attr=attr)):
                in_place = attr.endswith("_") and not attr.endswith("__")
                return (in_place or attr in _VIEWS) and self.shares(value, shared)
            case ast.Call(func=ast.Name(id="view_as_real" | "cast" | "to_local"), args=args):
                return any(self.shares(a, shared) for a in args)
            case ast.IfExp(body=body, orelse=orelse):
                return self.shares(body, shared) or self.shares(orelse, shared)
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                return name in shared and not isinstance(index, ast.Name)
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
                self.walk.function(called, frozenset(self._given(n, called, shared)))

    def _given(self, call: ast.Call, called: ast.FunctionDef, shared: frozenset[str]) -> Iterator[str]:
        names = [a.arg for a in (*called.args.posonlyargs, *called.args.args)]
        if isinstance(call.func, ast.Attribute) and not _static(called):
            names = names[1:]
        named: Mapping[str, ast.expr] = {k.arg: k.value for k in call.keywords if k.arg}
        for name, value in (*zip(names, call.args, strict=False), *named.items()):
            if self.shares(value, shared):
                yield name

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
    return shared - {n.id for n in every(target) if isinstance(n, ast.Name)}


def _static(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
