"""PML401 to PML403: learning rates that should rise from the first layer to the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, takewhile
from math import isclose

from paramlint.checks.context import Context, Placement
from paramlint.checks.making import judged
from paramlint.finding import Finding, Severity
from paramlint.parameter import Parameter
from paramlint.planning.layers import layers

#: Fewer layers, or fewer different rates, are no layer-wise decay.
_FEWEST = 3
#: So much of what is repeated has to follow one rule for the others to be exceptions from it.
_MOST = 0.8
#: What is before the first block, whatever it is called. A tied tensor is at both ends.
_BEGINNING = ("embedding", "input-projection", "position-table", "token")
_PAPER = (
    "BEiT (https://arxiv.org/abs/2106.08254), timm: lr of layer i is lr * decay ** (layers - 1 - i), of the head lr"
)


def check(ctx: Context) -> Iterator[Finding]:
    """Each optimizer's halves alone: their learning rates are of different sizes.

    Only where rates clearly follow the layers: most of what is repeated in blocks has one rate in each block, up to a
    constant factor, and there are three different ones, or the source raises a decay to a power that depends on the
    parameter. Rates by shape, or one of an optimizer's own for the embedding, are neither.
    """
    for use in {p.use.label: p.use for p in ctx.placements}.values():
        for half in ("muon", "adam"):
            placed = [(place, p) for place, p in judged(ctx, half) if place.use is use and p.name not in ctx.unread]
            meant = any(place.group.layered for place, _ in placed)
            told = [(place, p, place.group.rate if meant else _rate(place)) for place, p in placed]
            rates = {p.name: (place, p, rate) for place, p, rate in told if rate is not None}
            if len({rate for *_, rate in rates.values()}) >= (1 if meant else _FEWEST):
                yield from _Half(ctx, rates, meant).findings()


def _rate(place: Placement) -> float | None:
    """The learning rate of a group; None where it is not known."""
    if place.unread("lr") or place.unread("lr_scale"):
        return None
    lr, scale = place.option("lr"), place.group.options.get("lr_scale", 1.0)
    product = 1.0
    for factor in (1.0 if lr is None else lr, scale):
        if not isinstance(factor, (int, float)) or isinstance(factor, bool) or factor < 0:
            return None
        product *= factor
    return product


@dataclass(frozen=True)
class _Family:
    """The same parameter of repeated blocks: names and rates by layer."""

    names: Mapping[int, str]
    rates: Mapping[int, float]
    numel: int

    def follows(self, rule: Mapping[int, float]) -> list[int]:
        """The layers where the rate is not that of the rule, times the factor that most layers have."""
        ratios = {i: self.rates[i] / rule[i] if rule[i] else float(self.rates[i] != 0) for i in self.rates if i in rule}
        usual = Counter(f"{r:.6g}" for r in ratios.values()).most_common(1)
        return [i for i, r in ratios.items() if f"{r:.6g}" != usual[0][0]] if usual else []


@dataclass(frozen=True)
class _Half:
    """What one half of an optimizer updates, with its rates by name. `meant` says that the source speaks of a decay."""

    ctx: Context
    rates: Mapping[str, tuple[Placement, Parameter, float]]
    meant: bool

    @cached_property
    def layer(self) -> Mapping[str, int]:
        return layers(self.ctx.inventory).of

    @cached_property
    def families(self) -> list[_Family]:
        """Of all that is in three layers or more: the first `blocks.*.*.bias` of each block, the second, ..."""
        alike: dict[tuple[str, int], dict[int, str]] = {}
        seen: Counter[tuple[str, int]] = Counter()
        for name in self.rates:
            pattern = ".".join("*" if part.isdigit() else part for part in name.split("."))
            layer = self.layer[name]
            if pattern != name:
                alike.setdefault((pattern, seen[pattern, layer]), {})[layer] = name
                seen[pattern, layer] += 1
        found = []
        for members in alike.values():
            if len(members) >= _FEWEST:
                names = dict(sorted(members.items()))
                numel = sum(self.rates[name][1].numel for name in names.values())
                found.append(_Family(names, {i: self.rates[name][2] for i, name in names.items()}, numel))
        return found

    @cached_property
    def rule(self) -> Mapping[int, float]:
        """The rate of each layer that has blocks: that of most of its elements."""
        votes: dict[int, Counter[float]] = {}
        for family in self.families:
            for layer, rate in family.rates.items():
                votes.setdefault(layer, Counter())[rate] += family.numel
        return {layer: votes[layer].most_common(1)[0][0] for layer in sorted(votes)}

    @property
    def by_layer(self) -> bool:
        """Whether the rates follow the layers."""
        if len(set(self.rule.values())) < (1 if self.meant else _FEWEST):
            return False
        steps = sum(len(f.rates) for f in self.families)
        return sum(len(f.follows(self.rule)) for f in self.families) <= (1 - _MOST) * steps

    @cached_property
    def towers(self) -> list[list[tuple[str, float]]]:
        """Of each list of blocks its rates in the order of its layers, each with a parameter there."""
        names: dict[str, dict[int, str]] = {}
        for family in self.families:
            for layer, name in family.names.items():
                before = "".join(takewhile(lambda part: not part.isdigit(), name.split(".")))
                names.setdefault(before, {}).setdefault(layer, name)
        return [[(own[i], self.rule[i]) for i in sorted(own)] for own in names.values()]

    def findings(self) -> Iterator[Finding]:
        if not self.families or not self.by_layer:
            return
        if len(set(self.rule.values())) == 1:
            yield self._finding(
                "PML401",
                "error",
                f"every layer has lr {self._shown(self.rule[min(self.rule)])}: what is in the exponent is no layer",
                "read the layer's number from the parameter's name, and print the lr of the first and the last block",
                (self.towers[0][0][0],),
            )
            return
        falling = [names for tower in self.towers if (names := self._falling(tower))]
        if falling:
            yield from falling
        else:
            yield from self._elsewhere()
            yield from self._ends()

    def _falling(self, tower: Sequence[tuple[str, float]]) -> Finding | None:
        """What falls below a layer before it."""
        below, most = [], tower[0]
        falls, shown = "", self._shown
        for name, rate in tower:
            if rate < most[1]:
                below.append(name)
                falls = falls or f"{shown(most[1])} at {_block(most[0])}, {shown(rate)} at {_block(name)}"
            else:
                most = name, rate
        if not below:
            return None
        return self._finding(
            "PML401",
            "error" if self._surely else "warning",
            f"lr falls with depth: {falls}",
            "the exponent is the number of layers after this one; a prefix such as `layers.1` is also in `layers.10`",
            tuple(below),
        )

    def _elsewhere(self) -> Iterator[Finding]:
        """What has another layer's rate."""
        for family in self.families:
            for layer in family.follows(self.rule):
                name, rate = family.names[layer], family.rates[layer]
                yield self._finding(
                    "PML402",
                    "warning",
                    f"lr {self._shown(rate)}, where its layer has {self._shown(self.rule[layer])}",
                    "look at what the function that finds the layer says of this name",
                    (name,),
                )

    def _ends(self) -> Iterator[Finding]:
        first, most = self.rule[min(self.rule)], max(self.rule.values())
        for name, (_, p, rate) in self.rates.items():
            if p.role in _BEGINNING and self.layer[name] == 0 and rate > first:
                yield self._finding(
                    "PML401",
                    "warning",
                    f"lr {self._shown(rate)}, above {self._shown(first)} of the first block, though it is layer 0",
                    "give it the lr of layer 0, or leave layers out of its learning rate on purpose and ignore this",
                    (name,),
                )
            elif p.role == "output-head" and rate < most:
                yield self._finding(
                    "PML403",
                    "warning",
                    f"lr {self._shown(rate)}, below {self._shown(most)} of the last block: the head is to have most",
                    "put it in the last layer, whose scale is 1",
                    (name,),
                )

    @property
    def _surely(self) -> bool:
        """Whether it is meant as in the papers: by key, by source, or by a constant ratio of a layer to the next."""
        if self.meant or any("lr_scale" in place.group.options for place, *_ in self.rates.values()):
            return True
        ratios = [b / a for a, b in pairwise(self.rule.values()) if a and b != a]
        return any(sum(isclose(r, s, rel_tol=1e-4) for s in ratios) * 2 > len(ratios) > 1 for r in ratios)

    def _shown(self, rate: float) -> str:
        """A rate, relative where it is known up to a factor only."""
        if any(place.group.rate is not None for place, *_ in self.rates.values()):
            return f"{rate / max(r for *_, r in self.rates.values()):.3g} of the largest"
        return f"{rate:.3g}"

    def _finding(self, code: str, severity: Severity, message: str, help: str, names: tuple[str, ...]) -> Finding:
        place = self.rates[names[0]][0]
        return Finding(code, severity, message, help, names, place.use.label, place.group.where, details=(_PAPER,))


def _block(name: str) -> str:
    """What a parameter is called up to its last number."""
    parts = name.split(".")
    last = max(i for i, part in enumerate(parts) if part.isdigit())
    return ".".join(parts[: last + 1])
