"""Conditions on the way to everything that an optimizer gets are conditions for the optimizer itself.

torch refuses an optimizer without parameters. So what all the items of one have in common either holds, or the
optimizer is not made; and what all optimizers of a script have in common (a check of its own on the way, say) holds
wherever there is anything to look at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from paramlint.source import terms
from paramlint.source.evaluate import Evaluator
from paramlint.source.script import Build, Construction
from paramlint.source.terms import TRUE, Const, Op, Opaque, Term, both
from paramlint.source.values import UNKNOWN


def lifted(build: Build, evaluator: Evaluator) -> Build:
    """The build with such conditions at its optimizers. Those that all have, and that are no settings, hold."""
    made = [_lifted(c, evaluator) for c in build.constructions]
    everywhere = _shared((c.when for c in made), evaluator)
    assumed = {t for t in everywhere if not _settable(t)}
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


def is_open(term: Term, evaluator: Evaluator) -> bool:
    """Whether a condition is one for the whole script, and not known."""
    return not isinstance(term, Const) and not terms.binders(term) and evaluator.truth(term) is UNKNOWN


def _settable(term: Term) -> bool:
    """Whether a setting may decide a condition, as far as can be seen."""
    return any(isinstance(t, Opaque) and not t.args for t in terms.walk(term))


def _parts(term: Term) -> tuple[Term, ...]:
    return term.args if isinstance(term, Op) and term.op == "and" else (term,)


def _without(term: Term, parts: Iterable[Term]) -> Term:
    gone = set(parts)
    kept = [t for t in _parts(term) if t not in gone]
    return both(*kept) if kept else TRUE
