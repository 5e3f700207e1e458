"""The groups as the user has them, over one or several optimizers: plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from paramlint.parameter import Destination, Location, Plain
from paramlint.record import dataclass


@dataclass(frozen=True)
class Member:
    """One tensor in a group.

    `name` is the model's name for it (the first one, as in the inventory), None when the tensor is not the model's.
    `given` is the name the user paired it with, if any. `leaf` is False for the result of an operation. In a script,
    `where` is the test that let it through (or what puts it there), and `let` says why in a few words.
    """

    name: str | None
    shape: tuple[int, ...]
    trainable: bool = True
    given: str | None = None
    leaf: bool = True
    use_muon: bool | None = None
    where: Location | None = None
    let: str = ""


@dataclass(frozen=True)
class Group:
    """One param group.

    `options` are its keys without `params`, as the user wrote them (defaults of the optimizer are in
    `OptimizerUse.options`). `half` is set where the call itself says who gets the group (Moonlight's two lists, a
    dict keyed "muon" and "adamw"). `container` is the type that held the tensors: "list", "set", "generator", ...
    `unread` are keys that it has with values that are not known: they are not among its options. `where` is what makes
    the group, in a script. `rate` is its learning rate up to a factor that all groups of the optimizer share, where a
    script's settings decide on that; `layered` says that there a decay is raised to a power that depends on the
    parameter.
    """

    index: int
    members: tuple[Member, ...]
    options: Mapping[str, Plain] = field(default_factory=dict)
    half: Destination | None = None
    container: str = "list"
    unread: tuple[str, ...] = ()
    where: Location | None = None
    rate: float | None = None
    layered: bool = False


@dataclass(frozen=True)
class OptimizerUse:
    """One optimizer, or one list of groups that has no optimizer yet (`class_name` None).

    `label` is what findings call it ("Muon", "AdamW #2", "groups"). `profile` is the name of the profile it was
    recognised as, `assumed` True where that is the likeliest reading of the groups' keys rather than a class.
    `recorded` is True where the package is not installed and a recorder stood in. `refusal` is the error of a
    constructor that did not accept its arguments. `unread` are options with values that are not known, and `unknown`
    is True where it is not known either who updates a group that does not say so itself.
    """

    label: str
    groups: tuple[Group, ...]
    class_name: str | None = None
    profile: str | None = None
    assumed: bool = False
    version: str | None = None
    options: Mapping[str, Plain] = field(default_factory=dict)
    container: str = "list"
    recorded: bool = False
    refusal: str | None = None
    unread: tuple[str, ...] = ()
    unknown: bool = False


@dataclass(frozen=True)
class Proposal:
    """All groups of all optimizers. `source` says how it was made, for the report's first line.

    `unread` are names of parameters that may be in a group besides: what was read does not tell.
    """

    optimizers: tuple[OptimizerUse, ...]
    source: Literal["live", "listed", "script", "checkpoint", "plan"] = "live"
    location: Location | None = None
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def label(self, use: OptimizerUse, group: Group) -> str:
        """How findings name a group: `Muon group 0`, or just `group 0` where the groups have no optimizer yet; the
        optimizer's label alone where it has one group."""
        if len(use.groups) == 1:
            return use.label
        return f"group {group.index}" if use.label == "groups" else f"{use.label} group {group.index}"
