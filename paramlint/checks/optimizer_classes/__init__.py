"""Rules on classes that derive from `torch.optim.Optimizer`, and on the calls in them. By `ast` alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from paramlint.checks.optimizer_classes import (
    bypass,
    closures,
    construction,
    gradients,
    learning_rate,
    signatures,
    states,
    updates,
)
from paramlint.checks.optimizer_classes.context import Source
from paramlint.finding import Finding
from paramlint.knowledge import Knowledge
from paramlint.source import imports
from paramlint.source.class_facts import optimizers

__all__ = ["CHECKS", "examine"]

CHECKS: tuple[Callable[[Source], Iterator[Finding]], ...] = (
    learning_rate.check,
    closures.no_closure,
    closures.returns_nothing,
    closures.without_grad,
    updates.check,
    construction.empty_defaults,
    signatures.check,
    gradients.none_gradient,
    states.check,
    construction.no_super_init,
    construction.consumes_params,
    gradients.sparse,
    gradients.mutated,
    bypass.check,
)


def examine(tree: ast.Module, text: str, path: str, known: Knowledge) -> tuple[Finding, ...]:
    """What PML601-614 say of one file, in the order of its lines; those that are off by default among it.

    `text` is what `tree` was parsed from. One finding for each code and place: a helper that several classes of the
    file call is spoken of once.
    """
    names = imports.read(tree)
    source = Source(path, text, tree, names, optimizers(tree, names, known))
    found: dict[tuple[int, int, str], Finding] = {}
    for check in CHECKS:
        for f in check(source):
            assert f.location is not None
            found.setdefault((f.location.line, f.location.column, f.code), f)
    return tuple(found[key] for key in sorted(found))
