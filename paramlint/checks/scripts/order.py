"""PML106 and PML503 in source: parameters in the order of a set, and iterators that are walked twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.sites import Syntax, arguments, syntax
from paramlint.finding import Finding, Fix
from paramlint.parameter import Plain
from paramlint.source.script import Walks
from paramlint.source.terms import Span

#: What takes a dict as it takes a set.
_TAKES_BOTH = (
    "list",
    "tuple",
    "len",
    "sorted",
    "enumerate",
    "iter",
    "zip",
    "map",
    "filter",
    "any",
    "all",
    "bool",
    "sum",
)


def unordered(ctx: ScriptContext) -> Iterator[Finding]:
    """PML106."""
    for read in ctx.reads:
        for c in read.build.constructions:
            for g in c.groups:
                if g.unordered is None or not g.items or not ctx.here(g.unordered):
                    continue
                yield ctx.finding(
                    "PML106",
                    g.unordered,
                    "the parameters of a group come from a set: their order changes from run to run, and an optimizer "
                    "that is resumed gives its state to the wrong ones",
                    "keep them in a list, or make the set with dict.fromkeys(...)",
                    details=("torch matches saved state by position: https://github.com/pytorch/pytorch/issues/1489",),
                    fix=_ordered(syntax(ctx.file), g.unordered),
                )


def walked_twice(ctx: ScriptContext) -> Iterator[Finding]:
    """PML503."""
    for read in ctx.reads:
        for walks in read.walks:
            if not ctx.here(walks.second):
                continue
            name = f"`{found}`" if (found := walks.name or _name(ctx, walks.second)) else "this iterator"
            line = f"line {walks.first.line}" if walks.first is not None else "another loop"
            yield ctx.finding(
                "PML503",
                walks.second,
                f"{name} has nothing left here: {line} has walked it to its end",
                "keep the parameters in a list: list(model.named_parameters())",
                fix=_listed(ctx, walks),
            )


def _name(ctx: ScriptContext, span: Span | None) -> str:
    return next((n.id for n in syntax(ctx.file).at(span) if isinstance(n, ast.Name)), "")


def _ordered(source: Syntax, span: Span) -> Fix | None:
    """A set that is made at once, and goes nowhere that needs one."""
    for node in source.at(span):
        match node:
            case ast.Call(func=ast.Name(id="set" | "frozenset"), args=[one], keywords=[]) if not isinstance(
                one, ast.Starred
            ):
                pass
            case ast.Set() | ast.SetComp():
                pass
            case _:
                continue
        return (
            _fix("ordered-set", span, "Use dict.fromkeys(...), which is ordered") if _only_read(source, node) else None
        )
    return None


def _only_read(source: Syntax, node: ast.expr) -> bool:
    """Whether a set is only counted, searched and walked, under the name that it has."""
    if _takes_both(source, node):
        return True
    match source.parents.get(node):
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.NamedExpr(target=ast.Name(id=name), value=value)
        ) if value is node:
            pass
        case _:
            return False
    scope = source.function(node) or source.file.tree
    uses = [n for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == name]
    elsewhere = any(isinstance(n, (ast.Global, ast.Nonlocal)) and name in n.names for n in ast.walk(scope))
    return not elsewhere and all(_takes_both(source, u) for u in uses)


def _takes_both(source: Syntax, use: ast.expr) -> bool:
    """Whether what is done with a set right here, or by its name, is done with a dict as well."""
    above = source.parents.get(use)
    match above:
        case ast.Assign() | ast.NamedExpr() if isinstance(getattr(use, "ctx", None), ast.Store):
            return True
        case ast.Call(func=ast.Name(id=name), args=args) if name in _TAKES_BOTH:
            return any(a is use for a in args)
        case ast.Compare(ops=ops, comparators=given):
            return any(isinstance(op, (ast.In, ast.NotIn)) and one is use for op, one in zip(ops, given, strict=True))
        case ast.For(iter=walked) | ast.comprehension(iter=walked):
            return walked is use
        case ast.Starred():
            return isinstance(source.parents.get(above), (ast.List, ast.Tuple, ast.Set, ast.Call))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            return test is use
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return any(v is use and isinstance(k, ast.Constant) and k.value == "params" for k, v in pairs)
    return False


def _listed(ctx: ScriptContext, walks: Walks) -> Fix | None:
    """A list where the iterator is made, or right before the first walk in the function of this file that another file
    gives it to."""
    title = "Keep the parameters in a list"
    source = syntax(ctx.file)
    name = walks.name or _name(ctx, walks.second)
    second = next(iter(source.at(walks.second)), None)
    function = source.function(second) if second is not None else None
    if any(_steps(n, name) for n in ast.walk(function or ctx.file.tree)):
        return None  # a list is no iterator
    if walks.made is not None and ctx.here(walks.made):
        return _fix("wrap-list", walks.made, title)
    first = next(iter(source.at(walks.first or walks.second)), None)
    if function is None or second is None or first is None or source.function(first) is not function:
        return None
    if name not in arguments(function):
        return None
    statement = source.statement(first)
    if statement is None or not _always(source, first, statement):
        return None
    block = source.block(statement)
    if not any(n is one for n in (second, *source.around(second)) for one in block[block.index(statement) :]):
        return None  # it may be walked where the first walk is not
    return _fix("wrap-list", ctx.file.span(statement), title, {"parameter": name})


def _steps(node: ast.AST, name: str) -> bool:
    """Whether something is taken one by one of what has a name."""
    match node:
        case ast.Call(func=ast.Name(id="next"), args=[ast.Name(id=own), *_]):
            return own == name
    return False


def _always(source: Syntax, node: ast.AST, statement: ast.stmt) -> bool:
    """Whether an expression is evaluated whenever its statement is reached."""
    inner = node
    for above in source.around(node):
        if inner is statement:
            break
        if isinstance(above, (ast.IfExp, ast.BoolOp, ast.Lambda)):
            return False
        if isinstance(above, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            first = above.generators[0]
            if inner is not first or not any(n is node for n in ast.walk(first.iter)):
                return False
        if isinstance(above, (ast.If, ast.While, ast.For)) and above is statement:
            return inner is getattr(above, "test", getattr(above, "iter", None))
        inner = above
    return True


def _fix(kind: str, span: Span, title: str, data: dict[str, Plain] | None = None) -> Fix:
    return Fix(kind, (span.line, span.column), (span.end_line, span.end_column), True, title, data or {})
