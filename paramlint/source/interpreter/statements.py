"""What a statement does."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paramlint.source.interpreter import calls, conditions, defaults, guards, loops, memory, repeated
from paramlint.source.interpreter.values import (
    Bag,
    Class,
    Entry,
    Function,
    Known,
    Made,
    Phi,
    Row,
    Table,
    Value,
)
from paramlint.source.script import Branch
from paramlint.source.statements import every
from paramlint.source.terms import FALSE, TRUE, Const, Op, Opaque, Term, Var, binders, both, either, negated

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader


def run(r: Reader, node: ast.stmt) -> None:
    """Reads one statement."""
    match node:
        case ast.Assign(targets=targets, value=value):
            held = r.value(value)
            for target in targets:
                assign(r, target, held, value)
        case ast.AnnAssign(target=target, value=value):
            if value is not None:
                assign(r, target, r.value(value), value)
        case ast.AugAssign():
            _augmented(r, node)
        case ast.Expr(value=value):
            r.value(value)
        case ast.If():
            _if(r, node)
        case ast.For() | ast.AsyncFor():
            repeated.run(r, node)
        case ast.While(test=test, body=body, orelse=orelse):
            repeated.once(r, body)
            r.run(orelse)
        case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
            for item in items:
                held = r.value(item.context_expr)
                if item.optional_vars is not None:
                    assign(r, item.optional_vars, held, item.context_expr)
            r.run(body)
        case ast.Try():
            _try(r, node.body, node.handlers, node.orelse, node.finalbody)
        case ast.Return(value=value):
            given = Const(None) if value is None else r.value(value)
            calls.escaped(r, given)
            r.frame.returns.append((r.place.when, given, r.span(node)))
            _stop(r)
        case ast.Raise():
            _stop(r)
        case ast.Continue() | ast.Break():
            _leave(r, isinstance(node, ast.Break))
        case ast.Assert(test=test):
            _checked(r, test, node)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            r.scope.names[node.name] = Function(node, r.scope)
        case ast.ClassDef():
            r.scope.names[node.name] = Class(node, r.scope, r.file.qualified(node.name))
        case ast.Import() | ast.ImportFrom():
            imported(r, node)
        case ast.Delete(targets=targets):
            for target in targets:
                if isinstance(target, ast.Name):
                    r.scope.names.pop(target.id, None)
        case ast.Match(subject=subject, cases=cases):
            _match(r, subject, cases)
        case _ if type(node).__name__ == "TryStar":
            _try(r, node.body, node.handlers, node.orelse, node.finalbody)  # type: ignore[attr-defined]


def imported(r: Reader, node: ast.Import | ast.ImportFrom) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            r.scope.names[alias.asname or name] = Known(name, r.file.path)
        return
    module = "." * node.level + (node.module or "")
    for alias in node.names:
        if alias.name == "*":
            for name, value in r.project.exported(module, r.file, r):
                r.scope.names.setdefault(name, value)
        else:
            dot = "" if module.endswith(".") else "."
            r.scope.names[alias.asname or alias.name] = Known(f"{module}{dot}{alias.name}", r.file.path)


def _stop(r: Reader) -> None:
    r.place = replace(r.place, when=FALSE)


def _leave(r: Reader, out: bool) -> None:
    if r.frame.loops:
        loop = r.frame.loops[-1]
        if out:
            loop.left = either(loop.left, r.place.when)
        else:
            loop.again = either(loop.again, r.place.when)
    _stop(r)


def assign(r: Reader, target: ast.expr, value: Value, node: ast.expr, *, turn: bool = False) -> None:
    """Binds a target to a value. What a `turn` of a loop binds is not called so."""
    match target:
        case ast.Name(id=name):
            if isinstance(value, (Bag, Table, Made)) and not value.name and not turn:
                value.name = name
            if isinstance(value, Opaque):
                r.names.setdefault(value, name)
            again = None if turn else defaults.computed(r, node, value)
            r.scope.names[name] = value
            r.scope.forget(name)
            # What a module sets at its top by itself is often set anew by a command line or a configuration.
            if len(r.frames) <= 2 and r.frame.function is None and isinstance(node, ast.Constant):
                r.scope.settings.add(name)
            elif again is not None:
                r.scope.computed[name] = again
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            _unpack(r, parts, value, node)
        case ast.Starred(value=inner):
            assign(r, inner, value, node)
        case ast.Attribute(value=of, attr=name):
            _set_attribute(r, r.value(of), name, value, node)
        case ast.Subscript(value=of, slice=index):
            _set_item(r, r.value(of), index, value, target)


def _unpack(r: Reader, parts: Sequence[ast.expr], value: Value, node: ast.expr) -> None:
    if isinstance(value, Phi):
        values: list[Value] | None = None
        then, otherwise = (_parts(v, len(parts)) for v in (value.then, value.otherwise))
        if then and otherwise:
            values = [r.merge(value.when, a, b) for a, b in zip(then, otherwise, strict=True)]
        else:
            values = then or otherwise
    else:
        values = _parts(value, len(parts))
    starred = any(isinstance(p, ast.Starred) for p in parts)
    for i, part in enumerate(parts):
        if values is not None and not starred:
            assign(r, part, values[i], node)
        elif isinstance(value, Term):
            assign(r, part, _piece(value, i), node)
        else:
            assign(r, part, Opaque(f"{r.text(node)}[{i}]"), node)


def _piece(value: Term, index: int) -> Term:
    """A part of something that is not known: `model, optimizer = prepare(...)`."""
    if isinstance(value, Opaque) and not binders(value):
        return Opaque(f"{value.text}[{index}]", value.args, value.why)
    return Op("getitem", (value, Const(index)))


def _parts(value: Value, size: int) -> list[Value] | None:
    if isinstance(value, Row):
        found: list[Value] | None = list(value.values)
    elif isinstance(value, Bag):
        found = value.plain()
    elif isinstance(value, Const) and isinstance(value.value, tuple):
        found = [Const(v) for v in value.value]
    else:
        found = None
    return found if found is not None and len(found) == size else None


def _set_attribute(r: Reader, of: Value, name: str, value: Value, node: ast.expr) -> None:
    if isinstance(of, Var) and of.what == "value" and of.binder in r.place.binders:
        r.tags.append((of.binder, name, value, r.place))
    elif isinstance(of, Term):
        if isinstance(value, (Bag, Table, Made)) and not value.name:
            value.name = name
        calls.escaped(r, value)
        if name != "requires_grad":
            again = defaults.computed(r, node, value)
            r.attributes[of, name] = value
            r.opened.pop((of, name), None)
            if again is not None:
                r.opened[of, name] = again


def _set_item(r: Reader, of: Value, index: ast.expr, value: Value, node: ast.expr) -> None:
    if isinstance(of, Phi):
        with r.under(of.when):
            _set_item(r, of.then, index, value, node)
        with r.under(negated(of.when)):
            _set_item(r, of.otherwise, index, value, node)
        return
    if isinstance(of, Table):
        key = r.value(index)
        before = of.find(key)
        if before and not isinstance(before[-1].value, (Table, Bag)):
            with_key = r.merge(r.place.when if r.place.when != of.made.when else TRUE, value, before[-1].value)
            of.entries[:] = [e for e in of.entries if e.key != key]
            value = with_key if r.place.binders == before[-1].place.binders else value
        if isinstance(value, (Bag, Table)) and isinstance(key, (Term, Row)) and value.key is None:
            value.key, value.family = key, of.family
        of.entries.append(Entry(value, r.at(node), key))
    elif isinstance(of, Bag) and isinstance(index, ast.Slice):
        of.entries.clear()
        loops.extend(r, of, value, node)
    elif isinstance(of, Bag):
        of.unread.append(r.text(node))


def _augmented(r: Reader, node: ast.AugAssign) -> None:
    before = r.value(_loaded(node.target))
    more = r.value(node.value)
    if (
        isinstance(before, (Bag, Phi))
        and isinstance(node.op, (ast.Add, ast.BitOr))
        and _extended(r, before, more, node)
    ):
        return
    if isinstance(before, Bag) and isinstance(node.op, (ast.Sub, ast.BitAnd)):
        after = loops.intersected(r, before, more, node.value, keep=isinstance(node.op, ast.BitAnd))
        assign(r, node.target, after, node.value)
        return
    expression = ast.BinOp(_loaded(node.target), node.op, node.value)
    ast.copy_location(expression, node)
    ast.fix_missing_locations(expression)
    assign(r, node.target, r.value(expression), expression)


def _extended(r: Reader, before: Value, more: Value, node: ast.AugAssign) -> bool:
    if isinstance(before, Phi):
        with r.under(before.when):
            one = _extended(r, before.then, more, node)
        with r.under(negated(before.when)):
            return _extended(r, before.otherwise, more, node) and one
    if isinstance(before, Bag):
        loops.extend(r, before, more, node.value)
        return True
    return False


def _loaded(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return target


# Branches.


def _if(r: Reader, node: ast.If) -> None:
    test = node.test
    if _main(test):
        r.run(node.body)
        return
    when = conditions.condition(r, test)
    if any(binders(when)):
        refuses = all(isinstance(s, ast.Raise) for s in node.body)
        r.branches.append(Branch(when, r.place.when, r.span(test), not refuses))
    holds, fails = conditions.tests(r, test, True), conditions.tests(r, test, False)
    if when != FALSE and all(isinstance(s, ast.Raise) for s in node.body) and len(node.body) == 1:
        guards.keep(r, test, node)
    _branch(
        r,
        when,
        lambda: r.run(node.body),
        lambda: r.run(node.orelse),
        holds,
        fails,
    )


def _branch(
    r: Reader,
    when: Term,
    then: Callable[[], None],
    otherwise: Callable[[], None],
    holds: tuple[object, ...] = (),
    fails: tuple[object, ...] = (),
) -> None:
    """Reads both sides of a branch, and joins what names hold after it."""
    from paramlint.source.interpreter.reader import fallen

    before, start = r.place, memory.now(r)
    one = replace(before, when=both(before.when, when), tests=(*before.tests, *holds))  # type: ignore[arg-type]
    other = replace(before, when=both(before.when, negated(when)), tests=(*before.tests, *fails))  # type: ignore[arg-type]
    r.place = one
    if one.when != FALSE:
        then()
    after, first = r.place, memory.now(r)
    memory.back(r, start)
    r.place = other
    if other.when != FALSE:
        otherwise()
    if after.when == FALSE:
        if r.place.when == FALSE:
            r.place = replace(before, when=FALSE)
        return
    if r.place.when == FALSE:
        memory.back(r, first)
        r.place = after
        return
    memory.join(r, when, first)
    reached = fallen(before.when, after.when, r.place.when, (one.when, other.when))
    r.place = replace(before, when=reached)


def _main(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=ast.Name(id="__name__"), comparators=[ast.Constant(value="__main__")]):
            return True
    return False


def _match(r: Reader, subject: ast.expr, cases: Sequence[ast.match_case]) -> None:
    """A `match`, as the chain of tests that it is."""
    held = r.value(subject)
    if not cases:
        return
    first, *rest = cases
    when = _matches(r, held, first.pattern, subject)
    if first.guard is not None:
        when = both(when, conditions.condition(r, first.guard))
    _branch(r, when, lambda: r.run(first.body), lambda: _match(r, subject, rest))


def _matches(r: Reader, held: Value, pattern: ast.pattern, subject: ast.expr) -> Term:
    match pattern:
        case ast.MatchValue(value=value):
            node = ast.copy_location(ast.Compare(subject, [ast.Eq()], [value]), subject)
            return conditions.condition(r, node)
        case ast.MatchSingleton(value=constant):
            return Op("is", (held, Const(constant))) if isinstance(held, Term) else FALSE
        case ast.MatchAs(pattern=None):
            return TRUE
        case ast.MatchOr(patterns=patterns):
            return either(*(_matches(r, held, p, subject) for p in patterns))
    return Opaque(f"{r.text(subject)} matches at line {pattern.lineno}")


def _try(
    r: Reader,
    body: Sequence[ast.stmt],
    handlers: Sequence[ast.ExceptHandler],
    orelse: Sequence[ast.stmt],
    final: Sequence[ast.stmt],
) -> None:
    def fails() -> None:
        for handler in handlers:
            r.run(handler.body)

    failed = Opaque(f"line {body[0].lineno} fails") if body else FALSE
    _branch(r, negated(failed), lambda: (r.run(body), r.run(orelse))[0], fails)  # type: ignore[func-returns-value]
    r.run(final)


def _checked(r: Reader, test: ast.expr, node: ast.Assert) -> None:
    """An assertion: what it says holds from here on, where it speaks of settings."""
    when = conditions.condition(r, test)
    guards.keep(r, test, node)
    for name in (n.id for n in every(test) if isinstance(n, ast.Name)):
        held = r.scope.find(name)
        if held is not None:
            loops.hand_on(r, held)
    if not isinstance(when, Const) and not binders(when):
        r.place = replace(r.place, when=both(r.place.when, when))
