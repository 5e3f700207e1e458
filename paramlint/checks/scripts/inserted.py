"""The check of its groups that a script is given: where it can stand, of which models, and over what."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import combinations

from paramlint.checks.scripts.changed import Case
from paramlint.checks.scripts.sites import Function, Syntax, chain, fix_at
from paramlint.checks.scripts.whose import constructions, models
from paramlint.finding import Fix
from paramlint.parameter import Plain
from paramlint.source.prove import possible
from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import Item, Span, both, either, negated
from paramlint.source.universe import membership, universe

_LISTS = ("list", "sorted")
#: More optimizers than this are not compared with one another.
_MOST = 6


def check_of_sets(case: Case) -> Fix | None:
    """A check in the script itself, behind its optimizers, or before it returns lists for them."""
    statements = [_statement_of(case, c.span) for c in case.way.constructions]
    if not statements or None in statements:
        return None
    made = [s for s in statements if s is not None]
    last = made[-1]
    if isinstance(last, (ast.Return, ast.FunctionDef, ast.AsyncFunctionDef)):
        return _before_return(case, last) if all(s is last for s in made) else None
    names = [_bound_to(case, c, s) for c, s in zip(case.way.constructions, made, strict=True)]
    if None in names:
        return None
    targets = tuple(n for n in names if n is not None)
    if _instead(case):
        return None
    place = _behind(case, made, targets)
    return _check(case, place, groups=tuple(f"{t}.param_groups" for t in targets)) if place is not None else None


def _check(case: Case, after: ast.stmt, **data: Plain) -> Fix | None:
    found = models(case, after)
    if not found:
        return None
    title = "Check that each parameter is in one group"
    return fix_at(case.ctx.file, "insert-check", after, title, {"model": found, **data})


# Where optimizers have been made.


def _statement_of(case: Case, span: Span) -> ast.stmt | None:
    node = next(iter(case.source.at(span)), None)
    return case.source.statement(node) if node is not None else None


def _instead(case: Case) -> bool:
    """Whether one optimizer has all that another has: it may step in its place, and the two are not to be told from
    each other."""
    within = universe(case.root)
    each = [either(*(both(g.when, membership(g, within)) for g in c.groups)) for c in case.way.constructions]
    return len(each) <= _MOST and any(
        possible(both(a, b), within) and not all(possible(both(x, negated(y)), within) for x, y in ((a, b), (b, a)))
        for a, b in combinations(each, 2)
    )


def _bound_to(case: Case, c: Construction, statement: ast.stmt) -> str | None:
    """What an optimizer is bound to, as text."""
    match statement:
        case (
            ast.Assign(targets=[ast.Name() | ast.Attribute() as target], value=ast.expr() as value)
            | ast.AnnAssign(target=ast.Name() | ast.Attribute() as target, value=ast.expr() as value)
        ) if case.ctx.file.span(value) == c.span:
            return ast.unparse(target)
    return None


def _behind(case: Case, made: Sequence[ast.stmt], targets: Sequence[str]) -> ast.stmt | None:
    """The statement behind which every optimizer has all of its groups; None where that is not one place."""
    source = case.source
    block = source.block(made[0])
    if any(source.block(s) is not block for s in made):
        return None
    place = max(made, key=lambda s: s.lineno)
    while (head := _chain_of(source, place)) is not None and _alike(case, head, targets):
        place = head
    block = source.block(place)
    function = source.function(place)
    for call, optimizer in _added(case):
        if ast.unparse(optimizer) not in targets or source.function(call) is not function:
            return None  # groups that it has only later, or that are another's
        inside = next((s for s in (call, *source.around(call)) if any(s is one for one in block)), None)
        if not isinstance(inside, ast.stmt):
            return None
        place = max(place, inside, key=lambda s: s.lineno)
    return place


def _added(case: Case) -> Iterator[tuple[ast.Call, ast.expr]]:
    """The calls that give an optimizer more groups, those that a class of optimizers makes for itself left out."""
    for n in ast.walk(case.ctx.file.tree):
        match n:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self") | ast.Call(), attr="add_param_group")):
                continue
            case ast.Call(func=ast.Attribute(value=of, attr="add_param_group")):
                yield n, of
            case ast.Call(func=ast.Attribute(value=ast.Attribute(value=of, attr="param_groups"), attr=attr)):
                if attr in ("append", "extend", "insert"):
                    yield n, of


def _chain_of(source: Syntax, statement: ast.stmt) -> ast.If | None:
    """The chain of ifs in one of whose branches a statement stands."""
    above = source.parents.get(statement)
    found: ast.If | None = None
    while isinstance(above, ast.If):
        found, inner = above, above
        above = source.parents.get(above)
        if not (isinstance(above, ast.If) and above.orelse == [inner]):
            break
    return found


def _alike(case: Case, head: ast.If, targets: Sequence[str]) -> bool:
    """Whether each branch of a chain makes the same optimizers of the same groups, or ends there.

    There need be no `else` where what follows takes it that they have been made.
    """
    branches, otherwise = chain(head)
    bodies = [b.body for b in branches]
    if otherwise or not _asked_for_next(case, head, targets):
        bodies.append(otherwise)
    making = 0
    for body in bodies:
        if body and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break)):
            continue
        theirs = [c for c in constructions(case) if any(_statement_of(case, c.span) is s for s in body)]
        names = {t: c for c in theirs for s in body if (t := _bound_to(case, c, s)) is not None}
        if set(names) != set(targets):
            return False
        if any(_given(names[t]) != _given(own) for t, own in zip(targets, case.way.constructions, strict=True)):
            return False
        making += 1
    return making > 1


def _asked_for_next(case: Case, head: ast.If, targets: Sequence[str]) -> bool:
    """Whether what follows a chain asks for each optimizer in any case, and nothing before it has bound one."""
    block = case.source.block(head)
    scope = case.source.function(head) or case.ctx.file.tree
    for n in ast.walk(scope):
        match n:
            case ast.Name(ctx=ast.Store(), lineno=line) | ast.Attribute(ctx=ast.Store(), lineno=line):
                if line < head.lineno and ast.unparse(n) in targets:
                    return False
    plain = (ast.Return, ast.Expr, ast.Assign, ast.AnnAssign, ast.For)
    following = [s for s in block[block.index(head) + 1 :] if isinstance(s, plain)]
    asked = {ast.unparse(n) for s in following for n in ast.walk(s) if isinstance(n, (ast.Name, ast.Attribute))}
    return set(targets) <= asked


def _given(c: Construction) -> list[tuple[Item, ...]]:
    return [g.items for g in c.groups]


# Where lists are returned.


def _before_return(case: Case, there: ast.stmt) -> Fix | None:
    """Before groups, lists of parameters, or optimizers are returned: nothing of these may be used up by the check."""
    function = there if not isinstance(there, ast.Return) else case.source.function(there)
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or len(function.body) < 2:
        return None
    *_, before, last = function.body
    if not isinstance(last, ast.Return) or last.value is None or (isinstance(there, ast.Return) and there is not last):
        return None
    if sum(isinstance(n, ast.Return) for n in ast.walk(function)) != 1 or any(_added(case)):
        return None
    names = _lists(last.value)
    groups = case.way.groups
    if any(_runs_out(case, function, g) for g in groups) or not all(is_list(function, n) for n in names):
        return None
    if len(names) == len(groups) and not any(_is_dict(case, g) for g in groups if isinstance(last.value, ast.Name)):
        return _check(case, before, lists=names)
    if len(names) == 1 and all(_is_dict(case, g) for g in groups):
        return _check(case, before, groups=names)
    return None


def _lists(node: ast.expr) -> tuple[str, ...]:
    """The names of the lists in what is returned, or in the calls and dicts there; () where it has others."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            found = [_lists(part) for part in parts]
        case ast.Dict(keys=keys, values=values):
            given = [v for k, v in zip(keys, values, strict=True) if getattr(k, "value", None) == "params"]
            found = [_lists(v) for v in given or values]
        case ast.Call(args=args, keywords=keywords):
            params = [k.value for k in keywords if k.arg == "params"]
            found = [_lists(v) for v in (params or args)[:1]]
        case _:
            return ()
    return tuple(name for names in found for name in names) if all(found) else ()


def is_list(function: Function, name: str) -> bool:
    """Whether all that a function binds a name to is a list, which can be walked more than once."""
    bound = False
    for n in ast.walk(function):
        match n:
            case ast.arg(arg=arg) if arg == name:
                return False
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    for one, given in _pairs(target, value):
                        if isinstance(one, ast.Name) and one.id == name:
                            bound = True
                            if not _makes_list(given):
                                return False
            case ast.AnnAssign(target=ast.Name(id=own), value=value) if own == name and value is not None:
                bound = True
                if not _makes_list(value):
                    return False
            case ast.For(target=target) | ast.comprehension(target=target) | ast.NamedExpr(target=target):
                if any(isinstance(t, ast.Name) and t.id == name for t in ast.walk(target)):
                    return False
            case ast.withitem(optional_vars=ast.expr() as target):
                if any(isinstance(t, ast.Name) and t.id == name for t in ast.walk(target)):
                    return False
    return bound


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """What each name of a target gets, None where that does not stand there."""
    if not isinstance(target, (ast.Tuple, ast.List)):
        yield target, value
    elif isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
        for one, given in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, given)
    else:
        for one in target.elts:
            yield one, None


def _makes_list(value: ast.expr | None) -> bool:
    match value:
        case ast.List() | ast.ListComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _LISTS
        case ast.BinOp(op=ast.Add()):
            return True  # no iterator can be added to
    return False


def _runs_out(case: Case, function: Function, g: SymbolicGroup) -> bool:
    """Whether what a group is made of may be an iterator, which a check would use up."""
    if g.container in ("iterator", "generator"):
        return True
    for node in case.source.at(g.span):
        match node:
            case ast.Dict(keys=keys, values=values):
                given = [v for k, v in zip(keys, values, strict=True) if getattr(k, "value", None) == "params"]
            case ast.Call(keywords=keywords):
                given = [k.value for k in keywords if k.arg == "params"]
            case _:
                continue
        for value in given:
            if isinstance(value, ast.Name) and not is_list(function, value.id):
                return True
            if isinstance(value, (ast.Call, ast.GeneratorExp)) and not _makes_list(value):
                return True
    return False


def _is_dict(case: Case, g: SymbolicGroup) -> bool:
    return any(
        isinstance(n, ast.Dict) or (isinstance(n, ast.Call) and ast.unparse(n.func) == "dict")
        for n in case.source.at(g.span)
    )
