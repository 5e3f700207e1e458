"""Learning rates that hang on a script's settings, as far as they can be compared over a known model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paramlint.source.evaluate import Bindings, Evaluator, setting
from paramlint.source.script import SymbolicGroup
from paramlint.source.terms import Const, Op, Term, Var, parts
from paramlint.source.values import Value

_KEYS = ("lr", "lr_scale")
#: What a setting that nobody knows is taken to be: a decay is below 1, and what all groups share cancels out.
_ASSUMED = 0.5
_ONE = Const(1.0)


class Rates:
    """The rates of the groups of one optimizer, where a decay is raised to a power that depends on the parameter.

    Groups whose rates hang on settings that the decayed ones do not share cannot be compared with these, nor can any
    other where the number of layers is a setting too: they have none.
    """

    def __init__(self, evaluator: Evaluator, groups: Sequence[SymbolicGroup], shared: Mapping[str, Term]) -> None:
        self._terms = [tuple(g.options.get(k, shared.get(k, _ONE)) for k in _KEYS) for g in groups]
        self._groups = list(groups)
        decayed = [leaf for terms in self._terms for t in terms if _layered(t) for leaf in _leaves(t) if _layered(leaf)]
        self._settings = frozenset(name for t in decayed for name in _settings(evaluator, t))
        powers = [p for t in decayed for p in parts(t) if isinstance(p, Op) and p.op == "**"]
        self._comparable = not any(name for p in powers for name in _settings(evaluator, p.args[1]))
        self._base = evaluator
        self._evaluator = Evaluator(
            evaluator.tree, evaluator.roots, {**dict.fromkeys(self._settings, _ASSUMED), **evaluator.settings}
        )
        self.any = bool(decayed)

    def of(self, group: SymbolicGroup, bound: Bindings | None = None) -> tuple[float | None, bool]:
        """The rate of a group, None where it cannot be compared; and whether it is decayed by its parameter."""
        if not self.any:
            return None, False
        own = next(t for g, t in zip(self._groups, self._terms, strict=True) if g is group)
        terms = [self._leaf(term, bound) for term in own]
        layered = any(map(_layered, terms))
        named = any(True for term in terms for _ in _settings(self._base, term))
        if not layered and not (self._comparable and named == bool(self._settings)):
            return None, False
        rate = 1.0
        for term in terms:
            value: Value = self._evaluator.value(term, bound)
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                return None, layered
            rate *= value
        return rate, layered

    def _leaf(self, term: Term, bound: Bindings | None) -> Term:
        """What a term is, where its conditions are known."""
        while isinstance(term, Op) and term.op == "if":
            holds = self._evaluator.truth(term.args[0], bound)
            if not isinstance(holds, bool):
                return term
            term = term.args[1 if holds else 2]
        return term


def _leaves(term: Term) -> Iterator[Term]:
    """What a term may be, of what stands behind its conditions."""
    if isinstance(term, Op) and term.op == "if":
        yield from _leaves(term.args[1])
        yield from _leaves(term.args[2])
    else:
        yield term


def _layered(term: Term) -> bool:
    found = list(parts(term))
    return any(isinstance(p, Op) and p.op == "**" for p in found) and any(isinstance(p, Var) for p in found)


def _settings(evaluator: Evaluator, term: Term) -> Iterator[str]:
    """What of a term nothing is known of."""
    for part in parts(term):
        name = setting(part)
        if name is not None and not isinstance(evaluator.value(part), (int, float, str, tuple)):
            yield name
