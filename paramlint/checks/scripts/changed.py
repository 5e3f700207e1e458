"""What becomes of a script's groups when conditions in it are changed: the proof is done before the source is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from paramlint.checks.scripts.context import ScriptContext, Way
from paramlint.checks.scripts.sites import Site, Step, Syntax, joined, names_in, syntax
from paramlint.parameter import Destination
from paramlint.record import dataclass
from paramlint.source.prove import Verdict, partition, possible
from paramlint.source.terms import (
    Binder,
    Const,
    Item,
    Op,
    Root,
    Span,
    Term,
    Var,
    both,
    conjuncts,
    either,
    mapped,
    negated,
    walk,
)
from paramlint.source.universe import membership, universe


@dataclass(frozen=True, eq=False)
class Put:
    """One place where the parameters of a whole model are put into a group: the number of that, and of the item in it.
    `site` is None where it is in no loop of a plain form."""

    group: int
    number: int
    item: Item
    site: Site | None
    half: Destination | None

    @property
    def binder(self) -> Binder:
        return self.item.binders[0]


@dataclass(frozen=True)
class New:
    """A condition and what is to stand in its place, both over the variables of `binder`."""

    old: Term
    new: Term
    binder: Binder


@dataclass(frozen=True)
class Case:
    """Optimizers that are made together, and the parameters that these take of one model."""

    ctx: ScriptContext
    way: Way
    root: Root

    @cached_property
    def source(self) -> Syntax:
        return syntax(self.ctx.file)

    @cached_property
    def puts(self) -> tuple[Put, ...]:
        """The places where parameters of this model are put, in the order of the groups."""
        found = []
        given = [(c, g) for c in self.way.constructions for g in c.groups]
        for group, (c, g) in enumerate(given):
            for number, item in enumerate(g.items):
                if g.key is None and len(item.binders) == 1 and item.binders[0].of == self.root:
                    item = replace(item, when=mapped(item.when, _picked))
                    site = self.source.site(item.span)
                    if site is not None and site.choice is not None:
                        site = self._chosen(site, site.choice, item)
                    found.append(Put(group, number, item, site, self.ctx.half(c, g)))
        return tuple(found)

    def _chosen(self, site: Site, choice: ast.IfExp, item: Item) -> Site | None:
        """A place whose list an expression picks, with the condition by which it is this one; None where that is not
        shown."""
        b = item.binders[0]
        test = read(choice.test, site.names, b)
        if test is None:
            return None
        holds, fails = (not self.possible((item.when, b), (t, b)) for t in (negated(test), test))
        return replace(site, steps=(*site.steps, Step(choice.test, holds, choice))) if holds != fails else None

    @cached_property
    def plain(self) -> bool:
        """Whether all that the groups take of the model is put there by loops over the whole of it."""
        items = sum(len(g.items) for g in self.way.groups)
        return items == len(self.puts) and all(p.item.value == Var(p.binder, "value") for p in self.puts)

    @property
    def verdict(self) -> Verdict | None:
        return next((v for v in self.way.verdicts if v.root == self.root), None)

    def asked(self, put: Put, step: Step) -> Term | None:
        """What a condition on the way to a place asks for; None where nothing shows what that is."""
        if step.holds:
            return self._asked(put, step)
        for other in self.puts:
            for own in other.site.steps if other.site is not None else ():
                if own.test is step.test and own.holds:
                    found = self._asked(other, own)
                    return over(found, other.binder, put.binder) if found is not None else None
        return None

    def said(self, put: Put, part: ast.expr) -> Term | None:
        """What a part of a condition asks for that has to hold on the way to a place; None where nothing shows it."""
        inside = [t for t in put.item.tests if self.source.inside(t.span, part)]
        return both(*(t.holds for t in inside)) if inside else None

    def _asked(self, put: Put, step: Step) -> Term | None:
        """As `asked`, where it has to hold. Of alternatives no test tells: they are what no other test explains."""
        inside = [t for t in put.item.tests if self.source.inside(t.span, step.test)]
        told = both(*(t.holds for t in inside))
        parts = [p for p in joined(step.test) if not any(self.source.inside(t.span, p) for t in inside)]
        if not parts:
            return told
        known = {c for t in put.item.tests for c in conjuncts(t.holds)}
        for other in put.site.conditions if put.site is not None else ():
            if not other.holds:
                failed = self.asked(put, other)
                known |= set(conjuncts(negated(failed))) if failed is not None else set()
        rest = [c for c in conjuncts(put.item.when) if c not in known]
        return both(told, *rest) if len(rest) == len(parts) else None

    def step(self, put: Put, span: Span | None) -> Step | None:
        """The condition on the way to a place that a test is part of; without one, the last that asks for a number of
        dimensions."""
        steps = put.site.conditions if put.site is not None else ()
        for step in reversed(steps):
            if span is not None and self.source.inside(span, step.test):
                return step
        for step in reversed(steps):
            asked = self.asked(put, step)
            if asked is not None and any(isinstance(t, Op) and t.op == "attr:ndim" for t in walk(asked)):
                return step
        return None

    def after(self, changes: Mapping[ast.expr, New], more: Iterable[tuple[int, Item]] = ()) -> Verdict | None:
        """The verdict on the groups once these conditions are changed, and `more` is put into some; None where that
        cannot be told."""
        groups = list(self.way.groups)
        known = {(p.group, p.number): p for p in self.puts}
        for group, g in enumerate(groups):
            items = []
            for number in range(len(g.items)):
                put = known.get((group, number))
                new = None if put is None else _changed(put, changes)
                if new is None:
                    return None
                items.append(new)
            groups[group] = replace(g, items=(*items, *(i for n, i in more if n == group)))
        return next((v for v in partition(groups, self.way.when) if v.root == self.root), None)

    def possible(self, *parts: tuple[Term, Binder]) -> bool:
        """Whether some trainable parameter meets all of these conditions."""
        within = universe(self.root)
        terms = [membership((Item(Var(b, "value"), (b,), term),), within) for term, b in parts]
        return possible(both(*terms), within)


def partitioned(verdict: Verdict | None) -> bool:
    """Whether every trainable parameter is proved to be in one group."""
    return verdict is not None and verdict.covered.state == "proved" and verdict.disjoint.state == "proved"


def no_worse(before: Verdict | None, after: Verdict | None) -> bool:
    """Whether what was proved still is, and nothing is refuted that was not."""
    if before is None or after is None:
        return False
    pairs = (before.covered, after.covered), (before.disjoint, after.disjoint)
    return all(b.state == "proved" or (a.state == b.state and a.certain == b.certain) for a, b in pairs)


def over(term: Term, old: Binder, new: Binder) -> Term:
    """A term over the variables of another loop."""
    return mapped(term, lambda t: Var(new, t.what) if isinstance(t, Var) and t.binder == old else None)


def loosened(term: Term, more: Term) -> Term:
    """A condition that takes something besides. What has to be trainable still has to be."""
    kept = [t for t in conjuncts(term) if is_trained(t)]
    rest = [t for t in conjuncts(term) if not is_trained(t)]
    return both(*kept, either(both(*rest), more)) if rest else either(term, more)


def is_trained(term: Term) -> bool:
    return isinstance(term, Op) and term.op == "attr:requires_grad"


def read(test: ast.expr, names: tuple[str, str], b: Binder) -> Term | None:
    """What a test asks of a parameter that has these names: its dimensions, texts in its name, whether it is trainable.
    None where it asks for more."""
    p, n = names
    match test:
        case ast.BoolOp(op=op, values=values):
            parts = [t for v in values if (t := read(v, names, b)) is not None]
            join = both if isinstance(op, ast.And) else either
            return join(*parts) if len(parts) == len(values) else None
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            term = read(inner, names, b)
            return negated(term) if term is not None else None
        case ast.Attribute(value=ast.Name(id=own), attr="requires_grad") if own == p:
            return Op("attr:requires_grad", (Var(b, "value"),))
        case ast.Compare(left=ast.Constant(value=str(text)), ops=[op], comparators=[ast.Name(id=own)]) if own == n:
            held = Op("in", (Const(text), Var(b, "name")))
            return held if isinstance(op, ast.In) else negated(held) if isinstance(op, ast.NotIn) else None
        case ast.Compare(left=left, ops=[op], comparators=[ast.Constant(value=int(number))]) if _is_ndim(left, p):
            ndim, size = Op("attr:ndim", (Var(b, "value"),)), Const(number)
            return _compared(op, ndim, size)
    return None


def _compared(op: ast.cmpop, one: Term, other: Term) -> Term | None:
    match op:
        case ast.Lt() | ast.GtE():
            held: Term = Op("<", (one, other))
        case ast.LtE() | ast.Gt():
            held = Op("<=", (one, other))
        case ast.Eq() | ast.NotEq():
            held = Op("==", (one, other))
        case _:
            return None
    return held if isinstance(op, (ast.Lt, ast.LtE, ast.Eq)) else negated(held)


def _is_ndim(node: ast.expr, p: str) -> bool:
    text = "".join(ast.unparse(node).split())
    return text in (f"{p}.ndim", f"{p}.dim()", f"{p}.ndimension()", f"len({p}.shape)", f"len({p}.size())")


def _picked(term: Term) -> Term | None:
    """A comparison of what a condition picks, as that condition."""
    match term:
        case Op(op="==", args=(Op(op="if", args=(when, Const() as a, Const() as b)), Const() as sought)):
            return either(*(t for value, t in ((a, when), (b, negated(when))) if value == sought))
    return None


def swapped(term: Term, old: Term, new: Term) -> Term | None:
    """A conjunction with another condition in the place of one; None where that one is not in it."""
    parts, gone = conjuncts(term), conjuncts(old)
    if not all(part in parts for part in gone):
        return None
    return both(*(part for part in parts if part not in gone), new)


def _changed(put: Put, changes: Mapping[ast.expr, New]) -> Item | None:
    steps: Sequence[Step] = put.site.conditions if put.site is not None else ()
    when: Term | None = put.item.when
    for step in steps:
        change = changes.get(step.test)
        if change is not None and when is not None:
            old, new = (over(t, change.binder, put.binder) for t in (change.old, change.new))
            when = swapped(when, old, new) if step.holds else swapped(when, negated(old), negated(new))
    if when is None:
        return None
    name = put.site.names[1] if put.site is not None else ""
    if not any(step.test in changes for step in steps) and any(_of_a_set(step.test, name) for step in steps):
        for change in changes.values():
            old, new = (over(t, change.binder, put.binder) for t in (change.old, change.new))
            when = _inside(when, old, new)
    return replace(put.item, when=when)


def _of_a_set(test: ast.expr, name: str) -> bool:
    """Whether a condition asks for what the script has put elsewhere; for a piece of a name it does not."""
    for n in ast.walk(test):
        if not isinstance(n, ast.Compare) or isinstance(n.left, ast.Constant):
            continue
        for op, sought in zip(n.ops, n.comparators, strict=True):
            literal = isinstance(sought, (ast.Constant, ast.Tuple, ast.List))
            if isinstance(op, (ast.In, ast.NotIn)) and not literal and not (name and name in names_in(sought)):
                return True
    return False


def _inside(term: Term, old: Term, new: Term) -> Term:
    """A term in which a condition is replaced wherever it stands."""

    def change(part: Term) -> Term | None:
        return new if part == old else swapped(part, old, new) if isinstance(part, Op) and part.op == "and" else None

    return mapped(term, change)
