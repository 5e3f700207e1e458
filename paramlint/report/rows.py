"""The rows of a parameter table and its totals: data for the modules that lay them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from paramlint.folding import fold
from paramlint.parameter import Destination, Inventory, Parameter
from paramlint.record import dataclass
from paramlint.report.wording import DESTINATIONS, goes_to, shape_of


@dataclass(frozen=True)
class Row:
    """Parameters alike in everything but the index of their layer. `numel` is the sum over all of them.

    `ndim` is None where they have no shape yet.
    """

    pattern: str
    count: int
    shape: str
    ndim: int | None
    dtype: str
    numel: int
    role: str
    guess: bool
    goes_to: str
    why: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Total:
    """How much of a model is of one kind. A tied tensor counts once."""

    label: str
    count: int
    numel: int


def rows(inventory: Inventory, *, flat: bool = False) -> list[Row]:
    """One row for each set of parameters alike; with `flat` one for each parameter."""
    if flat:
        return [_row(p.name, (p,)) for p in inventory.parameters]
    folded = fold(inventory.parameters, name=lambda p: p.name, key=alike)
    return [_row(f.pattern, f.items) for f in folded]


def alike(p: Parameter) -> tuple[object, ...]:
    """What parameters of one row have in common."""
    guess = p.confidence == "guess"
    return p.shape, p.dtype, p.role, guess, p.destination, p.trainable, p.state, len(p.aliases)


def _row(pattern: str, members: tuple[Parameter, ...]) -> Row:
    first = members[0]
    return Row(
        pattern=pattern,
        count=len(members),
        shape=shape_of(first),
        ndim=None if first.state == "uninitialized" else first.ndim,
        dtype=first.dtype,
        numel=sum(p.numel for p in members),
        role=first.role,
        guess=first.confidence == "guess" and first.role != "unknown",
        goes_to=goes_to(first),
        why=first.why,
        aliases=tuple(f.pattern for f in fold([a for p in members for a in p.aliases])),
    )


def totals(parameters: Iterable[Parameter], label: Callable[[Parameter], str]) -> list[Total]:
    """Totals by label, the largest first."""
    found: dict[str, list[int]] = {}
    for p in parameters:
        entry = found.setdefault(label(p), [0, 0])
        entry[0] += 1
        entry[1] += p.numel
    ranked = sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    return [Total(name, count, numel) for name, (count, numel) in ranked]


def by_role(parameters: Iterable[Parameter]) -> list[Total]:
    return totals(parameters, lambda p: p.role)


def by_destination(parameters: Iterable[Parameter], routed: Mapping[str, Destination] | None = None) -> list[Total]:
    """Muon first, frozen ones last. `routed` says who updates a parameter, by name; by default policy does."""

    def label(p: Parameter) -> str:
        if routed is None or not p.trainable:
            return goes_to(p)
        return DESTINATIONS[routed[p.name]] if p.name in routed else "nobody"

    order = [*DESTINATIONS.values(), "nobody", "frozen"]
    return sorted(totals(parameters, label), key=lambda t: order.index(t.label))
