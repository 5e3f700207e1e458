"""Which kind each parameter is of: role, policy and what the optimizer does with its shape decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from paramlint import layout
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory, Parameter
from paramlint.placement import destination
from paramlint.profile import Policy, Profile

#: What becomes of fused matrices: split where the optimizer can, else Adam; Muon as one; Adam.
Fused = Literal["split", "whole", "adam"]


@dataclass(frozen=True)
class Sorted:
    """The label of every parameter, frozen ones too, in model order; and the parameters of each label."""

    labels: Mapping[str, str]
    members: Mapping[str, tuple[Parameter, ...]]


def sort(inventory: Inventory, known: Knowledge, profile: Profile, policy: Policy, fused: Fused) -> Sorted:
    """Labels are "muon", "muon_turned" (stored (in, out)), "muon_split_A_B" (fused, its parts' rows), "decay" and
    "no_decay", "adamw" where one weight decay serves all; roles with an lr of their own have their name. With a norm
    for each kind they are those of `Profile.norms`."""
    owners = {m.path: tuple(c.rpartition(".")[2] for c in m.classes) for m in inventory.modules}
    labels = {p.name: _label(p, owners, known, profile, policy, fused) for p in inventory.parameters}
    members: dict[str, list[Parameter]] = {}
    for p in inventory.parameters:
        members.setdefault(labels[p.name], []).append(p)
    return Sorted(labels, {label: tuple(ps) for label, ps in members.items()})


def one_decay(profile: Profile) -> bool:
    """Whether all parameters have to share one weight decay and lr: there is one optimizer, and it takes no groups."""
    return profile.keys.strictness == "none" and profile.call_shape != "two-optimizers"


def _label(
    p: Parameter,
    owners: Mapping[str, tuple[str, ...]],
    known: Knowledge,
    profile: Profile,
    policy: Policy,
    fused: Fused,
) -> str:
    if destination(p, profile) == "muon":
        if p.role == "fused-matrix" and fused != "whole":
            sizes = layout.split_sizes(p, profile) if fused == "split" else ()
            if sizes:
                return "_".join(("muon_split", *map(str, sizes)))
        else:
            if profile.norms and p.ndim > 2:
                return "muon_filter"
            turned = profile.lr_scale.get("default") in layout.ONE_SIDED and any(
                layout.storing(owners.get(site.module, ())) for site in p.sites
            )
            return "muon_turned" if turned else "muon"
    if one_decay(profile):
        return "adamw"
    if profile.norms:
        return _norm(p)
    if p.role in policy.lr and profile.family == "muon":
        return p.role.replace("-", "_")
    return "decay" if decays(p, known) else "no_decay"


#: Tables and tokens: no maps, whatever their shape.
_NO_MAPS = ("position-table", "relative-bias", "token", "elementwise", "norm-gain", "scale", "bias")


def _norm(p: Parameter) -> str:
    """The kind of a parameter that is not orthogonalised, where an optimizer has a norm for each kind."""
    if p.role == "embedding":
        return "embedding"
    return "signed" if p.ndim == 2 and p.effective_ndim == 2 and p.role not in _NO_MAPS else "rest"


def decays(p: Parameter, known: Knowledge) -> bool:
    """Whether a parameter has weight decay: as its role says; where sources differ, matrices have, vectors have not."""
    said = known.role(p.role).decay
    return p.effective_ndim > 1 if said == "policy" else said == "yes"
