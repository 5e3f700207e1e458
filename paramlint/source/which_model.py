"""Which of the models in a script is the one whose parameters are known."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.parameter import Parameter
from paramlint.source import terms
from paramlint.source.script import Build
from paramlint.source.terms import Attribute, Item, Root, Term
from paramlint.source.tree import Tree
from paramlint.source.values import Node

#: Names of the model that is trained, the likeliest first.
_USUAL = ("model", "self.model", "self", "net", "self.net", "network", "raw_model", "module", "student", "policy")


def model_root(build: Build, tree: Tree) -> tuple[str | None, tuple[str, ...]]:
    """The name that a script has for the model of the tree, and the names of its other models.

    Of several the one whose attributes are there, then the one with the most usual name, then the first. None where
    no parameters are taken from any model.
    """
    uses: dict[str, list[Term]] = {}
    for item in _items(build):
        for root in roots(item):
            uses.setdefault(root, []).append(item.value)
    outermost = [r for r in uses if not any(r != o and r.startswith(o + ".") for o in uses)]
    if not outermost:
        return None, ()

    def fit(root: str) -> tuple[float, int, int]:
        usual = _USUAL.index(root) if root in _USUAL else len(_USUAL)
        return _missing(root, uses[root], tree), usual, outermost.index(root)

    best = min(outermost, key=fit)
    return best, tuple(r for r in outermost if r != best)


def roots(item: Item) -> tuple[str, ...]:
    """The names of the models that an item's value is taken from."""
    return tuple(dict.fromkeys(t.name for t in terms.walk(item.value) if isinstance(t, Root)))


def _items(build: Build) -> Iterator[Item]:
    for construction in build.constructions:
        for group in construction.groups:
            yield from group.items


def _missing(root: str, values: list[Term], tree: Tree) -> float:
    """The share of the attributes that a script takes of a model which the tree does not have."""
    wanted = {t for value in values for t in terms.walk(value) if isinstance(t, Attribute) and _of(t) == root}
    if not wanted:
        return 0.5  # nothing speaks for it or against it
    return sum(not isinstance(_found(t, tree), (Node, Parameter)) for t in wanted) / len(wanted)


def _of(term: Term) -> str | None:
    while isinstance(term, Attribute):
        term = term.of
    return term.name if isinstance(term, Root) else None


def _found(term: Term, tree: Tree) -> object:
    path = []
    while isinstance(term, Attribute):
        path.append(term.name)
        term = term.of
    return tree.at(".".join(reversed(path)))
