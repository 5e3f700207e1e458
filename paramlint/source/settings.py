"""Settings in a condition: what a script reads once from a command line or a file, and never changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paramlint.source import terms
from paramlint.source.evaluate import Evaluator, setting
from paramlint.source.terms import Const, Member, Op, Opaque, Root, Term
from paramlint.source.values import UNKNOWN

_PLAIN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*|\[['\"]?\w+['\"]?\])*")


def atoms(term: Term, evaluator: Evaluator, plain: bool = False) -> Iterator[Term]:
    """The conditions on settings alone that a condition is made of, as far as they are not known. `plain` leaves out
    settings that are computed."""
    if isinstance(term, Op) and term.op in ("and", "or", "not", "if"):
        for arg in term.args:
            yield from atoms(arg, evaluator, plain)
    elif is_open(term, evaluator):
        found = list(leaves(term, evaluator))
        if found and all((_is_plain if plain else _is_setting)(leaf) for leaf in found):
            yield term


def _is_setting(leaf: Term) -> bool:
    return setting(leaf) is not None or (isinstance(leaf, Opaque) and not leaf.args)


def _is_plain(leaf: Term) -> bool:
    """A name, an attribute or an entry: neither computed, nor a variable that holds several things."""
    whole = not any(isinstance(t, Opaque) and (t.why or t.args) for t in terms.walk(leaf))
    return whole and _PLAIN.fullmatch(setting(leaf) or "") is not None


def leaves(term: Term, evaluator: Evaluator) -> Iterator[Term]:
    """The settings in a term, and what cannot be read besides."""
    if isinstance(term, Opaque) or setting(term) is not None:
        if evaluator.value(term) is UNKNOWN:
            yield term
    elif isinstance(term, (Member, Root)):
        yield term  # no setting
    else:
        for child in terms.children(term):
            yield from leaves(child, evaluator)


def is_open(term: Term, evaluator: Evaluator) -> bool:
    """Whether a condition is one for the whole script, and not known."""
    return not isinstance(term, Const) and not terms.binders(term) and evaluator.truth(term) is UNKNOWN
