"""Conditions on the way to everything that an optimizer gets are conditions for the optimizer itself.

torch refuses an optimizer without parameters. So what all the items of one have in common either holds, or the
optimizer is not made; and what all optimizers of a script have in common (a check of its own on the way, say) holds
wherever there is anything to look at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from paramlint.source.evaluate import Evaluator
from paramlint.source.script import Build, Construction
from paramlint.source.settings import atoms, is_open
from paramlint.source.terms import TRUE, Op, Term, both


def lifted(build: Build, evaluator: Evaluator) -> Build:
    """The build with such conditions at its optimizers. Those that all have, and that are no settings, hold."""
    made = [_lifted(c, evaluator) for c in build.constructions]
    everywhere = _shared((c.when for c in made), evaluator)
    assumed = {t for t in everywhere if not any(atoms(t, evaluator))}
    if assumed:
        made = [replace(c, when=_without(c.when, assumed)) for c in made]
    return replace(build, constructions=tuple(made))


def _lifted(c: Construction, evaluator: Evaluator) -> Construction:
    ways = [both(g.when, item.when) for g in c.groups for item in g.items]
    shared = _shared(ways, evaluator)
    if not shared or any(not g.items for g in c.groups):
        return c
    groups = tuple(
        replace(
            g,
            when=_without(g.when, shared),
            items=tuple(replace(i, when=_without(i.when, shared)) for i in g.items),
        )
        for g in c.groups
    )
    return replace(c, when=both(c.when, *shared), groups=groups)


def _shared(conditions: Iterable[Term], evaluator: Evaluator) -> dict[Term, None]:
    """What is asked for in each of these conditions, the same for the whole script, and not known."""
    first, *others = [_parts(t) for t in conditions] or [()]
    found = [t for t in first if all(t in other for other in others) and is_open(t, evaluator)]
    return dict.fromkeys(found)


def _parts(term: Term) -> tuple[Term, ...]:
    return term.args if isinstance(term, Op) and term.op == "and" else (term,)


def _without(term: Term, parts: Iterable[Term]) -> Term:
    gone = set(parts)
    kept = [t for t in _parts(term) if t not in gone]
    return both(*kept) if kept else TRUE
