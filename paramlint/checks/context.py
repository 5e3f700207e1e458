"""What every check looks at: the model, its groups, and who updates each tensor of each group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from paramlint.group import Group, Member, OptimizerUse, Proposal
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory, Parameter, Plain
from paramlint.placement import destination, is_complex
from paramlint.profile import LrScale, NdimAction, Policy, Profile, Ruling
from paramlint.routing import Half, half

#: Roles whose home is a Muon group wherever the optimizer takes their shape.
HIDDEN = ("hidden-matrix", "fused-matrix", "conv-filter", "expert-stack")


@dataclass(frozen=True)
class Placement:
    """One tensor in one group. `parameter` is None for a tensor that is not the model's."""

    use: OptimizerUse
    group: Group
    member: Member
    parameter: Parameter | None
    half: Half
    profile: Profile | None
    label: str

    def option(self, key: str) -> Plain:
        """An option of the group, or else of its optimizer; None too where it has a value that is not known."""
        if self.unread(key):
            return None
        return self.group.options.get(key, self.use.options.get(key))

    def unread(self, key: str) -> bool:
        """Whether the group, or else its optimizer, has this option with a value that is not known."""
        return _unread(self.group, self.use, key)

    @property
    def lr_scale(self) -> LrScale | None:
        """The lr scale in force: that of the mode which the group or the optimizer chose, or else the default."""
        profile = self.profile
        if profile is None:
            return None
        key, default = profile.lr_scale_key, profile.lr_scale.get("default")
        if key and self.unread(key):
            return None
        if key and (key in self.group.options or key in self.use.options):
            return profile.lr_scale.get(str(self.option(key)).lower(), default)
        return default

    @property
    def action(self) -> NdimAction | None:
        """What the Muon half does with a tensor of this many dimensions; None where that is not known.

        Two implementations let the caller choose: dion's `flatten=True`, timm's `conv_mode="batched"`.
        """
        if self.profile is None:
            return None
        shape = self.parameter.shape if self.parameter else self.member.shape
        action = self.profile.ndim.get(str(min(max(len(shape), 1), 5)))
        chooser = {"batch": "flatten", "flatten": "conv_mode"}.get(action or "")
        if chooser and self.unread(chooser):
            return None
        if action == "batch" and self.option("flatten") is True:
            return "flatten"
        if action == "flatten" and self.option("conv_mode") == "batched":
            return "batch"
        return action


@dataclass(frozen=True)
class Context:
    """Everything a check may look at. `placements` is in the order of optimizers, groups and members."""

    inventory: Inventory
    proposal: Proposal | None
    policy: Policy
    placements: tuple[Placement, ...] = ()

    @cached_property
    def groups(self) -> tuple[tuple[OptimizerUse, Group | None, str], ...]:
        """Every group with its optimizer and what findings call it; an optimizer without groups stands with None."""
        if self.proposal is None:
            return ()
        label = self.proposal.label
        return tuple(
            (use, group, label(use, group) if group else use.label)
            for use in self.proposal.optimizers
            for group in use.groups or (None,)
        )

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each parameter's name in the model."""
        return {p.name: i for i, p in enumerate(self.inventory.parameters)}

    @cached_property
    def places(self) -> Mapping[str, tuple[Placement, ...]]:
        """Where each of the model's parameters is, by name; names without a place are absent."""
        found: dict[str, list[Placement]] = {}
        for place in self.placements:
            if place.parameter is not None:
                found.setdefault(place.parameter.name, []).append(place)
        return {name: tuple(places) for name, places in found.items()}

    @cached_property
    def uncovered(self) -> tuple[Parameter, ...]:
        """Trainable parameters that are surely in no group of any optimizer. Lazy ones are another matter (PML107)."""
        if self.proposal is None:
            return ()
        return tuple(
            p
            for p in self.inventory.parameters
            if p.trainable and p.state != "uninitialized" and p.name not in self.places and p.name not in self.unread
        )

    @cached_property
    def unread(self) -> frozenset[str]:
        """The names of parameters that may be in a group besides: nothing is said of where they are not."""
        return frozenset(self.proposal.unread if self.proposal else ())

    @cached_property
    def in_muon(self) -> tuple[Placement, ...]:
        """The model's parameters that Muon updates, where it does."""
        return tuple(p for p in self.placements if p.half == "muon" and p.parameter)

    def muon_takes(self, parameter: Parameter) -> bool:
        """Whether a Muon of this proposal takes a tensor of this role and shape as it should.

        Without a profile nothing is known of shapes but that matrices are taken.
        """
        wanted = replace(parameter, destination="muon")
        profiles = {p.profile.name: p.profile for p in self.in_muon if p.profile}.values()
        if not profiles:
            return bool(self.in_muon) and parameter.ndim == 2 and not is_complex(parameter)
        return any(destination(wanted, profile) == "muon" for profile in profiles)

    @cached_property
    def trainable_numel(self) -> int:
        return sum(p.numel for p in self.inventory.parameters if p.trainable)

    @cached_property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The last components of the class names of each module and its bases, by path."""
        return {m.path: tuple(c.rpartition(".")[2] for c in m.classes) for m in self.inventory.modules}

    def owners(self, parameter: Parameter) -> tuple[str, ...]:
        """Class names of the modules that hold this parameter, bases included."""
        return tuple(c for s in parameter.sites for c in self.classes.get(s.module, ()))

    def ruling(self, role: str) -> Ruling | None:
        return self.policy.rulings.get(role)

    def share(self, numel: int) -> str:
        """A number of elements as a share of all that is trained."""
        percent = 100 * numel / self.trainable_numel if self.trainable_numel else 0.0
        return f"{percent:.1f} %" if percent >= 0.05 else "under 0.1 %"


def context(
    inventory: Inventory, proposal: Proposal | None, knowledge: Knowledge, policy: str, profile: str | None = None
) -> Context:
    """Settles the profile of each optimizer, and who updates each tensor.

    `profile` is used for optimizers that were not recognised, or only by the looks of their groups.
    """
    chosen = knowledge.profile(profile) if profile else None
    names = {name: p for p in inventory.parameters for name in (p.name, *p.aliases)}
    placements = []
    for use in proposal.optimizers if proposal else ():
        known = knowledge.profile(use.profile) if use.profile else None
        settled = chosen if chosen and (known is None or use.assumed) else known
        for group in use.groups:
            label = proposal.label(use, group) if proposal else use.label
            for member in group.members:
                parameter = names.get(member.name) if member.name is not None else None
                who: Half = "none" if _untold(group, use, settled) else half(member, group, use, settled)
                placements.append(Placement(use, group, member, parameter, who, settled, label))
    return Context(inventory, proposal, knowledge.policy(policy), tuple(placements))


#: Keys by which a group says who updates it, whatever the optimizer.
_FLAGS = ("use_muon", "use_fallback", "algorithm")


def _untold(group: Group, use: OptimizerUse, profile: Profile | None) -> bool:
    """Whether who updates a group depends on what is not known: the value of its flag, or an optimizer's own rules."""
    if group.half is not None or (profile is not None and profile.family == "elementwise"):
        return False
    if profile is not None:
        keys = (profile.flag_key, profile.second_flag)
        return any(_unread(group, use, key) for key in keys if key)
    if any(key in group.unread for key in _FLAGS):
        return True
    return use.unknown and all(group.options.get(key) is None for key in _FLAGS)


def _unread(group: Group, use: OptimizerUse, key: str) -> bool:
    return key in group.unread or (key not in group.options and key in use.unread)
