"""The models that groups take their parameters of, as expressions that are modules at a place of the script."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from paramlint.checks.scripts.changed import Case, partitioned
from paramlint.checks.scripts.sites import arguments, walked_of
from paramlint.source.interpreter import instances
from paramlint.source.prove import possible
from paramlint.source.script import Construction
from paramlint.source.terms import Attribute, Item, Root, Term, Var, both, conjuncts, either, negated, variables, walk

#: What only a module is asked for.
_ASKED = ("parameters", "named_parameters", "modules", "named_modules")
#: What takes a module and wraps it.
_WRAPPERS = ("DataParallel", "DistributedDataParallel", "DDP", "FullyShardedDataParallel", "FSDP", "compile")
#: What may leave away what stands in it.
_OPTIONAL = (ast.If, ast.IfExp, ast.BoolOp, ast.While, ast.Try)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
#: What models are called that others hold.
_HELD = ("model", "net", "network")


def constructions(case: Case) -> Iterator[Construction]:
    """All optimizers that the file makes."""
    for read in case.ctx.reads:
        yield from read.build.constructions


def models(case: Case, at: ast.stmt) -> tuple[str, ...]:
    """The models whose partition is not shown, as expressions that are modules where a statement stands, the one that
    the case is about among them; () where that has none."""
    found = {v.root: _model(case, v.root, at) for v in case.way.verdicts if v.root is not None and not partitioned(v)}
    if not found.get(case.root):
        return ()
    return tuple(dict.fromkeys(text for text in found.values() if text))


def _model(case: Case, root: Root, at: ast.stmt) -> str:
    """A model itself, or what all that is taken of it has in common, "" where neither is shown to be a module.

    Of what holds its model under such a name it is that one: its losses, say, are not to be in a group.
    """
    taken = [part for g in case.way.groups for item in g.items for part in _sources(item) if root in walk(part)]
    common = _common(taken)
    given = _always(case, root)
    for name in dict.fromkeys(_named(case, root, at)):
        inside = _path(common, root)
        shared = ".".join([name, *inside]) if inside is not None else ""
        held = name == "self" and (shared.endswith(_HELD) or _is_lightning(case, at))
        for text in [shared] if held else [name, shared]:
            there = text and _bound(case, text, at) and _is_module(case, text, at)
            if there and (given or _walked_anyway(case, text, at)):
                return text
    return ""


def _always(case: Case, root: Root) -> bool:
    """Whether something of a model is given whatever the settings are: else it may not be there, or not be trained."""
    asked = []
    for g in case.way.groups:
        for item in g.items:
            if any(root in walk(part) for part in (item.value, *_sources(item))):
                asked.append(both(g.when, *(c for c in conjuncts(item.when) if not variables(c))))
    return not possible(both(case.way.when, negated(either(*asked))))


def _walked_anyway(case: Case, text: str, at: ast.stmt) -> bool:
    """Whether a model is asked for its parameters, or handed on, whenever a statement is reached."""
    around = {id(n) for n in case.source.around(at)}
    for n in ast.walk(case.source.function(at) or case.ctx.file.tree):
        match n:
            case ast.Call(func=ast.Attribute(value=of, attr=attr)) if attr in _ASKED:
                given = [of]
            case ast.Call(args=args):
                given = args
            case _:
                continue
        if n.lineno < at.lineno and any(ast.unparse(one) == text for one in given):
            above = (a for a in case.source.around(n) if id(a) not in around)
            if not any(isinstance(a, (*_OPTIONAL, *_FUNCTIONS)) for a in above):
                return True
    return False


def _named(case: Case, root: Root, at: ast.stmt) -> Iterator[str]:
    """What a model is called where a statement stands: its name, or that in the places which take parameters of it."""
    if all(part.isidentifier() for part in root.name.split(".")):
        yield root.name
    function = case.source.function(at)
    for item in (i for g in case.way.groups for i in g.items):
        path = next((_path(part, root) for part in _sources(item)), None)
        for node in case.source.at(item.span) if path is not None else ():
            if not isinstance(node, ast.expr) or case.source.function(node) is not function:
                continue
            site = case.source.site(item.span)
            text = site.model if site is not None else walked_of(node, function or case.ctx.file.tree)
            end = "".join(f".{name}" for name in path or ())
            if text and text.endswith(end):
                name = text.removesuffix(end)
                if all(part.isidentifier() for part in name.split(".")):
                    yield name


def _path(term: Term | None, root: Root) -> list[str] | None:
    """The attributes that lead from a model to a module of it; None where there are others on the way."""
    if term == root:
        return []
    if isinstance(term, Attribute) and term.name.isidentifier() and (above := _path(term.of, root)) is not None:
        return [*above, term.name]
    return None


def _is_lightning(case: Case, at: ast.stmt) -> bool:
    owner = next((n for n in case.source.around(at) if isinstance(n, ast.ClassDef)), None)
    return owner is not None and any("Lightning" in ast.unparse(b) for b in owner.bases)


def _sources(item: Item) -> Iterator[Term]:
    """What an item takes parameters of: the outermost loop's module, or the one that owns the parameter."""
    if item.binders:
        yield item.binders[0].of
    elif isinstance(item.value, Attribute):
        yield item.value.of


def _common(taken: Sequence[Term]) -> Term | None:
    """The longest expression that all these begin with."""
    chains = [list(_chain(term)) for term in taken]
    shared = [c for c in chains[0] if all(c in other for other in chains)] if chains else []
    return shared[0] if shared else None


def _chain(term: Term) -> Iterator[Term]:
    """An expression and what it is an attribute or an element of, the longest first."""
    yield term
    if isinstance(term, Attribute):
        yield from _chain(term.of)
    elif isinstance(term, Var):
        yield from _chain(term.binder.of)
    elif (args := getattr(term, "args", ())) and getattr(term, "op", "") == "getitem":
        yield from _chain(args[0])


def _is_module(case: Case, text: str, at: ast.stmt) -> bool:
    """Whether something is a module: the file asks it for what only these have, wraps it, or shows its class."""
    classes = {n.name for n in ast.walk(case.ctx.file.tree) if isinstance(n, ast.ClassDef) and instances.is_module(n)}
    owner = next((n for n in case.source.around(at) if isinstance(n, ast.ClassDef)), None)
    if text == "self":
        return owner is not None and instances.is_module(owner)
    for n in ast.walk(case.ctx.file.tree):
        match n:
            case ast.Call(func=ast.Attribute(value=of, attr=attr)) if attr in _ASKED and ast.unparse(of) == text:
                return True
            case ast.Call(func=func, args=[first, *_]) if _last(func) in _WRAPPERS and ast.unparse(first) == text:
                return True
            case ast.Assign(targets=[target], value=ast.Call(func=func)) if ast.unparse(target) == text:
                if _last(func) in classes:
                    return True
            case ast.arg(arg=name, annotation=ast.expr() as said) if name == text:
                if _last(said) in {*classes, "Module"}:
                    return True
    return False


def _last(node: ast.expr) -> str:
    return ast.unparse(node).strip("'\"").rpartition(".")[2]


def _bound(case: Case, model: str, at: ast.stmt) -> bool:
    """Whether a name is there where a statement stands: a parameter of the function, or bound before the optimizers
    are made, and not again since. What a loop gives it counts in the loop alone."""
    first = model.partition(".")[0]
    scope = case.source.function(at) or case.ctx.file.tree
    made = min(c.span.line for c in case.way.constructions)
    stored = [n.lineno for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == first and _binds(n)]
    if any(made <= line <= at.lineno for line in stored):
        return False
    outside = {id(t) for loop in _loops(scope) if at not in ast.walk(loop) for t in ast.walk(loop.target)}
    if not isinstance(scope, ast.Module) and first in arguments(scope):
        return True
    for n in ast.walk(scope):
        if isinstance(n, ast.Name) and n.id == first and _binds(n) and id(n) not in outside and n.lineno < at.lineno:
            return True
    return False


def _binds(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _loops(scope: ast.AST) -> Iterator[ast.For | ast.AsyncFor | ast.comprehension]:
    return (n for n in ast.walk(scope) if isinstance(n, (ast.For, ast.AsyncFor, ast.comprehension)))
