"""PML608, PML612, PML613: what a step takes for granted of gradients, and what it does to them."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import Source, first
from paramlint.checks.optimizer_classes.flow import changes
from paramlint.checks.optimizer_classes.presence import asks
from paramlint.finding import Finding
from paramlint.source.reaching import is_grad
from paramlint.source.statements import every


def none_gradient(source: Source) -> Iterator[Finding]:
    """PML608: a step that reads `p.grad`, in a class that nowhere asks whether there is one.

    Silent where the class has bases that are not seen, and where a gradient is put in the place of a missing one.
    """
    for c in source.classes:
        if c.step is None or c.wrapper or not c.bare or c.foreign or asks(c):
            continue
        used = first(n for f in c.reached for n in every(f) if is_grad(n))
        if used is None:
            continue
        yield source.finding(
            "PML608",
            used,
            "p.grad is used as it is: None for a parameter that the loss did not use, or that is frozen",
            "skip it: `if p.grad is None: continue`",
            label=f"{c.name}.step",
        )


def sparse(source: Source) -> Iterator[Finding]:
    """PML612: nothing in the class speaks of sparse gradients."""
    for c in source.classes:
        if c.step is None or c.wrapper or not c.bare or c.foreign:
            continue
        functions = (*c.reached, *c.methods.values())
        names = {getattr(n, "attr", getattr(n, "id", "")) for f in functions for n in every(f)}
        if any("sparse" in name.lower() or name == "layout" for name in names if isinstance(name, str)):
            continue
        if not any(is_grad(n) for f in c.reached for n in every(f)):
            continue
        yield source.finding(
            "PML612",
            c.step,
            f"{c.name} neither handles nor refuses sparse gradients",
            "raise a RuntimeError where p.grad.is_sparse, as torch.optim's own classes do",
            label=f"{c.name}.step",
        )


def mutated(source: Source) -> Iterator[Finding]:
    """PML613: an in-place operation on `p.grad`, or on what shares its memory."""
    for c in source.classes:
        if c.step is None or c.wrapper:
            continue
        for node in changes(c):
            yield source.finding(
                "PML613",
                node,
                "the gradient is changed in place: what reads p.grad after the step gets something else",
                "work on a new tensor: the operation without its underscore, or a clone",
                label=f"{c.name}.step",
            )
