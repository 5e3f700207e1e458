"""Fixes of what is wrong with groups, where it can be told from the source that they make the groups right."""

from __future__ import annotations

import ast

from paramlint.checks.scripts.changed import (
    Case,
    New,
    Put,
    is_trained,
    loosened,
    no_worse,
    over,
    partitioned,
    swapped,
)
from paramlint.checks.scripts.inserted import check_of_sets
from paramlint.checks.scripts.sites import Site, Step, chain, fix_at, joined, names_in
from paramlint.finding import Fix
from paramlint.parameter import Plain
from paramlint.source.prove import Verdict
from paramlint.source.terms import (
    FALSE,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Term,
    Var,
    both,
    conjuncts,
    mapped,
    negated,
    walk,
)

__all__ = ["by_identity", "check_of_sets", "for_hole", "for_overlap", "matrices_only"]


def for_hole(case: Case) -> Fix | None:
    """What is in no group goes where the rest goes: by an `else`, or by the complement of the other condition."""
    if not case.plain:
        return None
    return _else(case) or _complement_of_two(case, hole=True) or _complement_of_parts(case)


def for_overlap(case: Case) -> Fix | None:
    """Of two conditions one becomes the complement of the other."""
    return _complement_of_two(case, hole=False) if case.plain else None


# An else.


def _else(case: Case) -> Fix | None:
    heads: dict[ast.If, list[Put]] = {}
    for put in case.puts:
        head = _chain_of(put)
        if head is None:
            return None
        heads.setdefault(head, []).append(put)
    if len(heads) != 1:
        return None
    ((head, puts),) = heads.items()
    branches, otherwise = chain(head)
    last = [p for p in puts if _innermost(p) is not None and _innermost(p).owner is branches[-1]]  # type: ignore[union-attr]
    if otherwise or not last or not all(_innermost(p) for p in puts):
        return None
    step = _innermost(last[0])
    assert step is not None
    asked = case.asked(last[0], step)
    when = swapped(last[0].item.when, asked, negated(asked)) if asked is not None else None
    adam = [p for p in puts if p.half == "adam"]
    if not adam and any(p.half == "muon" for p in puts):
        return None
    taker = (adam or puts)[-1]
    statement = _statement(case, taker)
    if when is None or not statement:
        return None
    more = Item(Var(last[0].binder, "value"), last[0].item.binders, when)
    if not partitioned(case.after({}, [(taker.group, more)])):
        return None
    title = f"Add a final else: {'; '.join(statement.splitlines())}"
    return fix_at(case.ctx.file, "add-else", head, title, {"statement": statement})


def _chain_of(put: Put) -> ast.If | None:
    """The first `if` of the chain in whose branches a parameter is put, where the loop has no other condition."""
    if put.site is None or not put.site.steps or not isinstance(put.site.loop, ast.For):
        return None
    first = put.site.steps[0].owner
    if not isinstance(first, ast.If):
        return None
    branches, _ = chain(first)
    inside = [s.owner for s in put.site.steps]
    return first if all(owner in branches for owner in inside) else None


def _innermost(put: Put) -> Step | None:
    """The condition right around a place, where it has to hold."""
    if put.site is None or not put.site.steps:
        return None
    step = put.site.steps[-1]
    return step if step.holds else None


def _statement(case: Case, put: Put) -> str:
    """The statements of the branch that puts a parameter into its list, "" where they take more than a line each."""
    step = _innermost(put)
    if step is None or not isinstance(step.owner, ast.If):
        return ""
    body = step.owner.body
    statement = case.source.statement(put.site.put) if put.site is not None else None
    if statement not in body or any(not isinstance(s, ast.Expr) or s.lineno != s.end_lineno for s in body):
        return ""
    return "\n".join(case.ctx.file.text_of(s) for s in body)


# A complement.


def _complement_of_two(case: Case, *, hole: bool) -> Fix | None:
    """Where two conditions share out the parameters: what is doubtful goes to the optimizer that is not Muon."""
    if len(case.puts) != 2:
        return None
    first, second = case.puts
    if first.site is None or second.site is None or first.site.put.lineno > second.site.put.lineno:  # type: ignore[attr-defined]
        first, second = second, first
    pairs = [(first, second), (second, first)]
    muon = [p for p in case.puts if p.half == "muon"]
    if len(muon) == 1 and all(p.half for p in case.puts):
        adam = next(p for p in case.puts if p is not muon[0])
        pairs = [(muon[0], adam)] if hole else [(adam, muon[0]), (muon[0], adam)]
    return next((fix for source, target in pairs if (fix := _complement(case, source, target)) is not None), None)


def _complement_of_parts(case: Case) -> Fix | None:
    """Where more than two conditions share out the parameters: one part of a condition becomes the complement of a part
    of another, such as `p.ndim < 2` of `p.ndim == 2`. What is doubtful goes to the optimizer that is not Muon."""
    if len(case.puts) < 3 or not all(p.site is not None for p in case.puts):
        return None
    muon = [p for p in case.puts if p.half == "muon"]
    for source, target in ((s, t) for s in muon or case.puts for t in case.puts if t is not s and t.half != "muon"):
        one, other = _only_step(source), _only_step(target)
        if one is None or other is None or (before := case.asked(target, other)) is None:
            continue
        for here in joined(other.test):
            for there in joined(one.test):
                fix = _part(case, (source, one, there), (target, other, here), before)
                if fix is not None:
                    return fix
    return None


def _part(
    case: Case, source: tuple[Put, Step, ast.expr], target: tuple[Put, Step, ast.expr], before: Term
) -> Fix | None:
    """One part of a condition as the complement of a part of another."""
    (giver, _, there), (taker, other, here) = source, target
    asked, own = (case.said(put, part) for put, part in ((giver, there), (taker, here)))
    assert giver.site is not None and taker.site is not None
    names = _renaming(case, giver.site, there, taker.site, here)
    if asked is None or own is None or names is None or is_trained(asked) or is_trained(own):
        return None
    new = swapped(before, own, over(negated(asked), giver.binder, taker.binder))
    if new is None or new == before or not _right_way(case, taker, before, new):
        return None
    if not partitioned(case.after({other.test: New(before, new, taker.binder)})):
        return None
    return _complement_at(case, here, there, names)


def _complement(case: Case, source: Put, target: Put) -> Fix | None:
    """The condition of `target` as the complement of that of `source`."""
    one, other = _only_step(source), _only_step(target)
    if one is None or other is None or source.site is None or target.site is None or one.test is other.test:
        return None
    names = _renaming(case, source.site, one.test, target.site, other.test)
    if names is None:
        return None
    asked, before = case.asked(source, one), case.asked(target, other)
    if asked is None or before is None:
        return None
    kept = [t for t in conjuncts(asked) if is_trained(t)]
    rest = [t for t in conjuncts(asked) if not is_trained(t)]
    new = over(both(*kept, negated(both(*rest))) if rest else negated(asked), source.binder, target.binder)
    if not _right_way(case, target, before, new):
        return None
    if not partitioned(case.after({other.test: New(before, new, target.binder)})):
        return None
    return _complement_at(case, other.test, one.test, names)


def _complement_at(case: Case, here: ast.expr, of: ast.expr, names: dict[str, str]) -> Fix:
    renamed = {k: v for k, v in names.items() if k != v}
    data: dict[str, Plain] = {"condition": case.ctx.file.text_of(of)}
    if renamed:
        data["names"] = renamed
    title = f"Make it the complement of the condition in line {of.lineno}"
    return fix_at(case.ctx.file, "complement", here, title, data)


def _only_step(put: Put) -> Step | None:
    """The one condition of a place, where there is one."""
    steps = put.site.steps if put.site is not None else ()
    return steps[0] if len(steps) == 1 and steps[0].holds else None


def _renaming(case: Case, source: Site, one: ast.expr, target: Site, other: ast.expr) -> dict[str, str] | None:
    """What the names of one loop are in the other; None where a condition cannot stand there."""
    if case.source.function(source.put) is not case.source.function(target.put):
        return None
    names = {a: b for a, b in zip(source.names, target.names, strict=True) if a}
    used = names_in(one)
    if any(not names[n] for n in used & set(names)):
        return None
    if other.lineno < one.lineno and used - set(names):
        return None  # what else it speaks of may not be there yet
    taken = set(target.names) - {""}
    if (used - set(names)) & taken:
        return None
    return {n: names[n] for n in sorted(used & set(names))}


def _right_way(case: Case, target: Put, before: Term, new: Term) -> bool:
    """Whether nothing goes to Muon that was kept out by anything but its dimensions, and some matrices still do."""
    if target.half == "muon":
        matrix = Op("==", (Op("attr:ndim", (Var(target.binder, "value"),)), Const(2)))
        b = target.binder
        grown = case.possible((new, b), (negated(before), b))
        return not grown and case.possible((new, b), (matrix, b))
    if any(p.half == "muon" for p in case.puts):
        plain = mapped(before, lambda t: FALSE if _speaks_of_more(t) else None)
        b = target.binder
        return not case.possible((before, b), (negated(new), b), (negated(plain), b))
    return True


def _speaks_of_more(term: Term) -> bool:
    """Whether a test tells parameters apart by more than dimensions."""
    if isinstance(term, Op) and term.op in ("and", "or", "not"):
        return False
    return any(
        (isinstance(t, Var) and t.what == "name")
        or isinstance(t, (Opaque, Member))
        or (isinstance(t, Op) and t.op in ("isinstance", "is", "call:id"))
        for t in walk(term)
    )


# Another condition.


def by_identity(case: Case, put: Put, step: Step, **data: Plain) -> Fix | None:
    """Keeps parameters out of Muon by module type and identity, at a condition that lets them in.

    Args:
        data: what `types-and-identity` takes besides the model and the parameter: `attributes`, `classes`, ...
    """
    if put.site is None or not put.site.model:
        return None
    out = Opaque("id(p) in not_muon", (Var(put.binder, "value"),))
    also = _apart(case, put, step, out)
    if also is None:
        return None
    data = {"model": put.site.model, "parameter": put.site.parameter, **data}
    if not step.holds:
        data["sends"] = "adam"
    if also:
        data["also"] = also
    title = f"Keep {' and '.join(_kept(data))} out of Muon by id(p)"
    return fix_at(case.ctx.file, "types-and-identity", step.test, title, data)


def matrices_only(case: Case, put: Put, step: Step) -> Fix | None:
    """Keeps vectors out of Muon at a condition that lets them in."""
    if put.site is None or not step.holds:
        return None
    out = Op("<", (Op("attr:ndim", (Var(put.binder, "value"),)), Const(2)))
    also = _apart(case, put, step, out)
    if also is None:
        return None
    data: dict[str, Plain] = {"parameter": put.site.parameter}
    if also:
        data["also"] = also
    return fix_at(case.ctx.file, "only-matrices", step.test, "Keep vectors out of Muon", data)


def _kept(data: dict[str, Plain]) -> list[str]:
    classes, attributes, roles = (data.get(key, ()) for key in ("classes", "attributes", "roles"))
    named = [str(a) for a in attributes] if isinstance(attributes, tuple) else []
    if roles and not classes:
        return named
    return [*(f"nn.{c}" for c in (classes if isinstance(classes, tuple) and classes else ("Embedding",))), *named]


def _apart(case: Case, put: Put, step: Step, out: Term) -> tuple[Plain, ...] | None:
    """The places of other conditions that have to take what this one no longer lets into Muon, () where none has to;
    None where it is not shown that the groups are as good after that as before."""
    asked = case.asked(put, step)
    if asked is None:
        return None
    new = both(asked, negated(out)) if step.holds else loosened(asked, out)
    changes = {step.test: New(asked, new, put.binder)}
    before = case.verdict
    if _good(before, case.after(changes)):
        return ()
    for other in case.puts:
        inner = _innermost(other)
        if other is put or other.half == "muon" or inner is None or inner.test in changes or other.site is None:
            continue
        theirs = case.asked(other, inner)
        if theirs is None:
            continue
        change = New(theirs, loosened(theirs, over(out, put.binder, other.binder)), other.binder)
        if _good(before, case.after({**changes, inner.test: change})):
            span = case.ctx.file.span(inner.test)
            return (((span.line, span.column), (span.end_line, span.end_column), other.site.parameter),)
    return None


def _good(before: Verdict | None, after: Verdict | None) -> bool:
    return partitioned(after) or no_worse(before, after)
