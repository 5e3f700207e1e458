"""PML102 and PML103: a tensor that is there more than once, or that is not the model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from paramlint.checks.context import Context, Placement
from paramlint.finding import Finding

_SHAPES_SHOWN = 3


def duplicates(ctx: Context) -> Iterator[Finding]:
    """PML102. Identity is the tensor's: two tied names are one parameter."""
    for name, places in ctx.places.items():
        if len(places) < 2 or name in ctx.unread:
            continue
        labels = list(dict.fromkeys(p.label for p in places))
        optimizers = {p.use.label for p in places}
        if len(labels) == 1:
            message = f"twice in {labels[0]}: torch only warns, and then steps it twice"
        elif len(optimizers) == 1:
            message = f"in {_and(labels)}: torch refuses a tensor in two groups"
        else:
            message = f"in {_and(labels)}: stepped by each of them, and nothing says so"
        yield Finding(
            "PML102",
            "error",
            message,
            "leave it in one group; tell parameters apart by id(), so that tied names count once",
            (name,),
            labels[-1],
            details=tuple(_names(places)),
        )


def _names(places: tuple[Placement, ...]) -> Iterator[str]:
    p = places[0].parameter
    if p and p.aliases:
        yield f"one tensor under several names: {_and([p.name, *p.aliases])}"
    given = list(dict.fromkeys(place.member.given for place in places if place.member.given))
    if len(given) > 1:
        yield f"given as {_and(given)}"


def foreign(ctx: Context) -> Iterator[Finding]:
    """PML103. Told apart in one group: tensors of another model or an older copy, and results of operations."""
    strangers: dict[tuple[str, bool], list[Placement]] = {}
    for place in ctx.placements:
        if place.parameter is None:
            strangers.setdefault((place.label, place.member.leaf), []).append(place)
    for (label, leaf), places in strangers.items():
        shapes = Counter(p.member.shape for p in places)
        shown = ", ".join(f"{s} ×{n}" if n > 1 else f"{s}" for s, n in list(shapes.items())[:_SHAPES_SHOWN])
        more = ", ..." if len(shapes) > _SHAPES_SHOWN else ""
        count = "a tensor that is" if len(places) == 1 else f"{len(places)} tensors that are"
        what = "not the model's" if leaf else "not a parameter but the result of an operation"
        yield Finding(
            "PML103",
            "error",
            f"{label} holds {count} {what}: shape {shown}{more}",
            "build the groups from the model that is trained, after the last step that replaces its parameters"
            if leaf
            else "give the optimizer the parameter itself, not a view, cast or copy of it",
            (),
            label,
            details=tuple(_stale(ctx, places)),
        )


def _stale(ctx: Context, places: list[Placement]) -> Iterator[str]:
    given = [p.member.given for p in places if p.member.given]
    if given:
        yield f"given as {_and(given)}"
    shapes = {p.member.shape for p in places}
    same = [p.name for p in ctx.uncovered if p.shape in shapes]
    if same:
        yield f"may be a stale copy: same shape as {_and(same)}, which no group holds"


def _and(words: list[str]) -> str:
    shown = words if len(words) <= 4 else [*words[:3], f"{len(words) - 3} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
