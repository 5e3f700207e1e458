"""Which group each parameter is in, and where that is not what it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from paramlint.folding import fold
from paramlint.smoke.optimizers import Made
from paramlint.smoke.step import parameters


def groups_of(made: Made, model: nn.Module) -> dict[str, str]:
    """The group of each parameter that is in one, in words."""
    names = {id(p): name for name, p in parameters(model).items()}
    found: dict[str, str] = {}
    for optimizer in made.inner:
        for number, group in enumerate(optimizer.param_groups):
            for tensor in group["params"]:
                name = names.get(id(tensor[1] if isinstance(tensor, tuple) else tensor))
                if name is not None:
                    found.setdefault(name, f"group {number} of {type(optimizer).__name__}")
    return found


def differing(names: Sequence[str], everywhere: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Of these parameters, those that are not in the same group on all ranks; `everywhere` has the groups of each."""
    return tuple(n for n in names if any(e.get(n) != everywhere[0].get(n) for e in everywhere))


def by_rank(name: str, everywhere: Sequence[Mapping[str, str]]) -> str:
    """How two ranks differ in a parameter."""
    other = next(r for r, e in enumerate(everywhere) if e.get(name) != everywhere[0].get(name))
    one, two = (everywhere[r].get(name, "no group") for r in (0, other))
    return f"{name} is in {one} on rank 0 and in {two} on rank {other}"


def regrouped(alone: Mapping[str, str], together: Mapping[str, str], title: str) -> Iterator[str]:
    """A line for each move from a group to another, or to none, between one process and several."""
    moves: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys((*alone, *together)):
        pair = alone.get(name, "no group"), together.get(name, "no group")
        if pair[0] != pair[1]:
            moves.setdefault(pair, []).append(name)
    for (before, now), names in moves.items():
        patterns = [p.pattern for p in fold(names)]
        shown = ", ".join(patterns[:3]) + (", ..." if len(patterns) > 3 else "")
        yield f"in {now} under {title}, in {before} without it: {shown} ({len(names)} in all)"
