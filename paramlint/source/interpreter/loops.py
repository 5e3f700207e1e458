"""Loops and comprehensions: what one turn takes, and what collections come of it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paramlint.record import dataclass
from paramlint.source.interpreter import conditions, folding, ordering, statements, walks
from paramlint.source.interpreter.values import (
    Bag,
    Entry,
    Phi,
    Place,
    Row,
    Scope,
    Table,
    Value,
    beyond,
    changed,
    moved,
    relative,
)
from paramlint.source.script import Branch
from paramlint.source.terms import (
    FALSE,
    TRUE,
    Attribute,
    Binder,
    Const,
    Op,
    Opaque,
    Root,
    Term,
    Test,
    Var,
    binders,
    both,
    either,
    negated,
)

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader

#: How many turns of a loop over known values are read one by one.
TURNS = 128


@dataclass(frozen=True)
class Turn:
    """One turn of a loop: what it takes, and the loops and conditions under which there is one."""

    value: Value
    binders: tuple[Binder, ...] = ()
    when: Term = TRUE
    tests: tuple[Test, ...] = ()


def turns(r: Reader, over: Value, node: ast.expr) -> list[Turn]:
    """The turns of a loop over a value."""
    if isinstance(over, Phi):
        with r.under(over.when):
            then = [replace(t, when=both(over.when, t.when)) for t in turns(r, over.then, node)]
        with r.under(negated(over.when)):
            return then + [replace(t, when=both(negated(over.when), t.when)) for t in turns(r, over.otherwise, node)]
    if isinstance(over, Table):
        return [_turn(r, e, over.made, e.key) for e in over.entries if e.key is not None] + _rest(r, over, node)
    if isinstance(over, Bag):
        walks.walked(r, over, node)
        return [_turn(r, e, over.made, e.value) for e in over.entries] + _rest(r, over, node)
    if isinstance(over, Row):
        return [Turn(v) for v in over.values]
    if isinstance(over, Const) and isinstance(over.value, (tuple, str)) and len(over.value) <= TURNS:
        return [Turn(Const(v)) for v in over.value]
    if isinstance(over, Term) and module_like(over):
        b = r.binder("element", over)
        return [Turn(Var(b, "value"), (b,))]
    b = r.binder("element", over if isinstance(over, Term) else Opaque(r.text(node)))
    return [Turn(Var(b, "value"), (b,))]


def module_like(term: Term) -> bool:
    return isinstance(term, (Attribute, Root, Var))


def _turn(r: Reader, entry: Entry, made: Place, value: Value) -> Turn:
    binders, when, tests = relative(entry.place, made)
    clash = [b for b in binders if b in r.place.binders]
    if not clash:
        return Turn(value, binders, when, tests)
    # A second loop over the same values, inside the first: another variable.
    new = {b: replace(b, number=r.fresh()) for b in clash}

    def change(t: Term) -> Term | None:
        return Var(new[t.binder], t.what) if isinstance(t, Var) and t.binder in new else None

    place = moved(Place(binders, when, tests), change)
    return Turn(changed(value, change), tuple(new.get(b, b) for b in place.binders), place.when, place.tests)


def _rest(r: Reader, over: Bag | Table, node: ast.expr) -> list[Turn]:
    """A turn for what may be in a collection besides."""
    if not over.unread:
        return []
    b = r.binder("element", Opaque(r.text(node), why=over.unread[0]))
    return [Turn(Var(b, "value"), (b,))]


def each(
    r: Reader, over: Value, target: ast.expr, node: ast.expr, body: Callable[[], None], *, wanted: Scope | None = None
) -> None:
    """Runs `body` once for each turn, with the target bound."""
    with r.through(ordering.unordered(over)):
        loop = r.fresh() if ordering.distinct(over) else 0
        for number, turn in enumerate(turns(r, over, node)[:TURNS]):
            with r.under(turn.when, turn.tests, turn.binders), r.turn(turn.value, loop, number):
                if r.place.when == FALSE:
                    continue
                bind(r, target, turn.value, node)
                body()


def _tells_apart(element: ast.expr) -> bool:
    """Whether what is made of different things is different: themselves, or what is found by them."""
    return not any(
        isinstance(n, ast.Call) or (isinstance(n, ast.Attribute) and n.attr in ("shape", "ndim", "dtype", "device"))
        for n in ast.walk(element)
    )


def bind(r: Reader, target: ast.expr, value: Value, node: ast.expr) -> None:
    """Gives names in a loop's target what the turn takes. Of things that nothing is known of, a pair that a name and
    `p` are taken from is a parameter with its name."""
    if (
        isinstance(target, (ast.Tuple, ast.List))
        and len(target.elts) == 2
        and isinstance(value, Var)
        and value.binder.kind == "element"
        and isinstance(value.binder.of, (Opaque, Attribute, Root))
        and "param" in r.text(node).lower()
    ):
        b = replace(value.binder, kind="parameter")
        r.place = replace(r.place, binders=tuple(b if x == value.binder else x for x in r.place.binders))
        value = Row((Var(b, "name"), Var(b, "value")))
    statements.assign(r, target, value, node, turn=True)


def comprehended(
    r: Reader,
    kind: str,
    element: ast.expr,
    key: ast.expr | None,
    generators: Sequence[ast.comprehension],
    node: ast.expr,
) -> Value:
    """The collection that a comprehension makes."""
    bag = r.bag(kind, node=node)
    table = r.table(node) if key is not None else None
    before = r.scope
    r.scope = Scope(before.file, {}, before)
    try:
        _generate(r, list(generators), element, key, table or bag)
    finally:
        r.scope = before
    if table is not None:
        r.bags.remove(bag)
        return table
    return bag


def _generate(
    r: Reader, generators: list[ast.comprehension], element: ast.expr, key: ast.expr | None, into: Bag | Table
) -> None:
    if not generators:
        value = r.value(element)
        into.entries.append(Entry(value, r.at(element), r.value(key) if key is not None else None))
        if isinstance(into, Bag):
            into.unordered = into.unordered or r.unordered
        return
    first, *rest = generators

    over = r.value(first.iter)
    if not isinstance(into, Table) and not isinstance(element, ast.Call):
        hand_on(r, over)
        into.distinct = not rest and ordering.distinct(over) and _tells_apart(element)

    def body() -> None:
        when: list[Term] = []
        tests: tuple[Test, ...] = ()
        for test in first.ifs:
            with r.under(both(*when), tests):
                asked = conditions.condition(r, test)
                if binders(asked):
                    r.branches.append(Branch(asked, r.place.when, r.span(test)))
                when.append(asked)
                tests += conditions.tests(r, test, True)
        condition = both(*when)
        if condition != FALSE:
            with r.under(condition, tests):
                _generate(r, rest, element, key, into)

    each(r, over, first.target, first.iter, body)


def listed(r: Reader, kind: str, parts: Sequence[ast.expr], node: ast.expr) -> Value:
    """`[a, b, *c]`."""
    bag = r.bag(kind, node=node)
    for part in parts:
        if isinstance(part, ast.Starred):
            extend(r, bag, r.value(part.value), part.value)
        else:
            bag.entries.append(Entry(r.value(part), r.at(part)))
    return bag


def extend(r: Reader, bag: Bag, more: Value, node: ast.expr) -> None:
    """Puts all that a value gives into a list."""
    bag.unordered = bag.unordered or ordering.unordered(more)
    bag.distinct = bag.distinct or (not bag.entries and ordering.distinct(more))
    hand_on(r, more)
    for turn in turns(r, more, node):
        with r.under(turn.when, turn.tests, turn.binders):
            if isinstance(turn.value, Var) and turn.value.binder.kind == "element" and not _iterable(more):
                bag.unread.append(r.text(node))
                continue
            if r.place.when != FALSE:
                bag.entries.append(Entry(turn.value, r.at(node)))


def hand_on(r: Reader, value: Value) -> None:
    """What goes into another collection is in use."""
    if isinstance(value, Bag):
        value.given.append(r.place.when)
    elif isinstance(value, Phi):
        hand_on(r, value.then)
        hand_on(r, value.otherwise)


def _iterable(value: Value) -> bool:
    return isinstance(value, (Bag, Table, Row, Phi)) or (isinstance(value, Term) and module_like(value))


def collected(r: Reader, kind: str, over: Value, node: ast.expr) -> Value:
    """`list(x)`, `set(x)`, `sorted(x)`, `iter(x)` ...: a new collection of the same things."""
    bag = r.bag(kind, node=node)
    if isinstance(over, (Bag, Table, Row, Phi, Term)):
        extend(r, bag, over, node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sorted":
            bag.unordered = None
    else:
        bag.unread.append(r.text(node))
    return bag


def combined(r: Reader, operator: ast.operator, left: Value, right: Value, node: ast.expr) -> Value | None:
    """Lists joined, and the algebra of sets."""
    if isinstance(operator, (ast.Add, ast.BitOr)):
        if not all(isinstance(v, (Bag, Row, Phi, Attribute, Opaque)) for v in (left, right)):
            return None
        kind = "set" if isinstance(operator, ast.BitOr) else "list"
        bag = r.bag(kind, node=node)
        for side in (left, right):
            extend(r, bag, side, node)
        return bag
    if isinstance(operator, (ast.BitAnd, ast.Sub, ast.BitXor)):
        return intersected(r, left, right, node, keep=isinstance(operator, ast.BitAnd))
    if isinstance(operator, ast.Mult):
        return left if isinstance(left, Bag) else None
    return None


def intersected(r: Reader, left: Value, right: Value, node: ast.expr, *, keep: bool) -> Value:
    """What of a set is in another (`keep`), or is not."""
    bag = r.bag("set", node=node)
    for turn in turns(r, left, node):
        if not isinstance(turn.value, Term):
            bag.unread.append(r.text(node))
            continue
        with r.under(turn.when, turn.tests, turn.binders):
            inside = conditions.contains(r, turn.value, right, node)
            with r.under(inside if keep else negated(inside)):
                if r.place.when != FALSE:
                    bag.entries.append(Entry(turn.value, r.at(node)))
    return bag


def quantified(r: Reader, over: Value, every: bool, node: ast.expr) -> Term:
    """`any(...)` and `all(...)`."""
    if not isinstance(over, Bag):
        constant = folding.constant(over)
        if constant is not None and isinstance(constant.value, tuple):
            return Const((all if every else any)(constant.value))
        return r.opaque(node, [over])
    parts: list[Term] = []
    for entry in over.entries:
        binders, when, _ = relative(entry.place, over.made)
        value = conditions.truth(r, entry.value, node)
        wanted = negated(value) if every else value
        if not binders:
            parts.append(both(when, wanted))
            continue
        found = _some(wanted, binders, when, r, over)
        if found is None:
            return r.opaque(node, _free(r, over))
        parts.append(found)
    if over.unread:
        return r.opaque(node, _free(r, over))
    some = either(*parts)
    return negated(some) if every else some


def _some(wanted: Term, binders: tuple[Binder, ...], when: Term, r: Reader, over: Bag) -> Term | None:
    """Whether a thing is one of those that a loop takes."""
    if isinstance(wanted, Op) and wanted.op in ("is", "==") and len(wanted.args) == 2:
        for one, other in (wanted.args, wanted.args[::-1]):
            from paramlint.source.terms import Item
            from paramlint.source.terms import binders as free

            if not free(one) & set(binders) and free(other) & set(binders):
                return conditions.member(one, [Item(other, binders, when)])
    return None


def _free(r: Reader, over: Bag) -> list[Value]:
    """The variables of the loops around that the entries of a collection depend on."""
    from paramlint.source.terms import walk

    found: dict[Term, None] = {}
    for entry in over.entries:
        for term in (entry.value, beyond(entry.place.when, over.made.when)):
            if isinstance(term, Term):
                for part in walk(term):
                    if isinstance(part, Var) and part.binder in over.made.binders:
                        found[part] = None
    return list(found)


def parameters(r: Reader, of: Value, node: ast.Call, *, named: bool, recurse: bool = True) -> Value:
    """`of.named_parameters()`, `of.parameters()`: an iterator over the parameters of a module."""
    if isinstance(of, Phi):
        then = parameters(r, of.then, node, named=named, recurse=recurse)
        return r.merge(of.when, then, parameters(r, of.otherwise, node, named=named, recurse=recurse))
    if isinstance(of, Op) and of.op == "if":
        when, one, other = of.args
        then = parameters(r, one, node, named=named, recurse=recurse)
        return r.merge(when, then, parameters(r, other, node, named=named, recurse=recurse))
    module = (
        of
        if isinstance(of, Term)
        else Opaque(r.text(node.func.value if isinstance(node.func, ast.Attribute) else node))
    )
    b = r.binder("parameter", module, recurse)
    value: Value = Row((Var(b, "name"), Var(b, "value"))) if named else Var(b, "value")
    return iterator(r, b, value, node)


def iterator(r: Reader, b: Binder, value: Value, node: ast.AST) -> Bag:
    bag = r.bag("iterator", node=node)
    place = r.at(node)
    bag.entries.append(Entry(value, replace(place, binders=(*place.binders, b))))
    return bag


def modules(r: Reader, of: Value, kind: str, node: ast.Call, *, named: bool) -> Value:
    """`of.modules()`, `of.named_children()` and their like."""
    module = of if isinstance(of, Term) else Opaque(r.text(node))
    b = r.binder(kind, module)
    value: Value = Row((Var(b, "name"), Var(b, "value"))) if named else Var(b, "value")
    return iterator(r, b, value, node)
