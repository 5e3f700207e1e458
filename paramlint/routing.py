"""Which half of an optimizer updates a tensor. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Literal

from paramlint.group import Group, Member, OptimizerUse, Proposal
from paramlint.parameter import Destination, Plain
from paramlint.profile import Profile

Half = Destination | Literal["none"]

# Names that DeepSpeed's rule (deepspeed/__init__.py, set_optimizer_flags) and Megatron's tags
# (core/models/common/language_module) keep out of the Muon half.
_DEEPSPEED = ("embed", "lm_head")
_MEGATRON = ("word_embeddings.weight", "output_layer.weight")
# dion's `algorithm` for its elementwise halves
_ELEMENTWISE = ("adamw", "adam", "lion")


def half(
    member: Member, group: Group, use: OptimizerUse, profile: Profile | None, *, name: str | None = None
) -> Destination | Literal["none"]:
    """Who updates a tensor: the Muon half, the Adam half (any elementwise rule), or nobody.

    What the call itself says comes first (`Group.half`), then the group's flag, then what the optimizer does with an
    unflagged tensor. "none" is a group without the flag that its optimizer insists on, or with a value it does not
    know: it is refused. Groups that no profile describes are elementwise unless they carry a flag of a known one.

    Args:
        name: the name to route by where the optimizer looks at names; the member's own by default.
    """
    if profile is None:
        return group.half or _by_flags(group.options) or "adam"
    if profile.call_shape == "elementwise" or profile.family == "elementwise":
        return "adam"
    if group.half is not None:
        return group.half
    flagged = _flag(group, use, profile) if profile.flag_key else None
    return flagged or _unflagged(member, profile, name or member.name or member.given or "")


def is_class_of(use: OptimizerUse, profile: Profile) -> bool:
    """Whether an optimizer is of the class that a profile describes, in whatever release."""
    return use.class_name in (*profile.classes, *profile.imports)


def as_release(proposal: Proposal, profile: Profile) -> Proposal:
    """A class of the profile counts as the release that the profile describes, whichever is installed here."""
    uses = (replace(u, profile=profile.name) if is_class_of(u, profile) else u for u in proposal.optimizers)
    return replace(proposal, optimizers=tuple(uses))


def muon_by_shape(rule: str, shape: tuple[int, ...]) -> bool:
    """Whether a shape rule sends a tensor to Muon.

    "timm": as `_is_suitable_for_muon` of timm 1.0.31 decides on the first step; "ndim>=2": heavyball's MuonAdamW;
    "ndim==2": optax's default, Keras.

    Raises:
        ValueError: no such rule.
    """
    if rule == "ndim>=2":
        return len(shape) >= 2
    if rule == "ndim==2":
        return len(shape) == 2
    if rule != "timm":
        raise ValueError(f"no shape rule {rule!r}")
    if len(shape) < 2 or sum(d > 1 for d in shape) < 2 or 1 in shape[:2]:
        return False
    rows, columns = shape[0], prod(shape[1:])
    return min(rows, columns) >= 4 and max(rows, columns) <= 128 * min(rows, columns)


def _by_flags(options: Mapping[str, Plain]) -> Destination | None:
    """The half of a group by any flag that some optimizer knows."""
    if options.get("use_fallback"):
        return "adam"
    if options.get("use_muon") is not None:
        return "muon" if options["use_muon"] else "adam"
    if options.get("algorithm") is not None:
        return "adam" if options["algorithm"] in _ELEMENTWISE else "muon"
    return None


def _flag(group: Group, use: OptimizerUse, profile: Profile) -> Half | None:
    key = profile.flag_key or ""
    value = group.options.get(key, use.options.get(key))
    if value is not None and value in profile.flag_muon:
        return "muon"
    if value is not None and value in profile.flag_adam:
        return "adam"
    if profile.call_shape == "shape-routed":
        said = group.options.get(profile.second_flag) if profile.second_flag else None
        return None if said is None else "muon" if said else "adam"
    if value is None:
        return None
    if isinstance(value, (bool, int)):
        return "muon" if value else "adam"
    return None if profile.call_shape == "norm-per-group" else "none"


def _unflagged(member: Member, profile: Profile, name: str) -> Half:
    if profile.call_shape in ("two-optimizers", "two-lists"):
        return "muon"
    if profile.call_shape == "attribute":
        return _attribute(member, profile, name)
    if profile.unflagged == "error":
        return "none"
    if profile.unflagged == "adam":
        return "adam"
    if profile.unflagged == "shape" or profile.call_shape == "shape-routed":
        fits = muon_by_shape(profile.shape_rule or "ndim>=2", member.shape)
        return "muon" if fits and not _says_adam(profile, member) else "adam"
    return "adam" if _says_adam(profile, member) else "muon"


def _attribute(member: Member, profile: Profile, name: str) -> Destination:
    """Optimizers that read `param.use_muon`."""
    if profile.shape_rule == "megatron":
        # use_muon=False, a tag, or a shape that is not 2-D keeps a tensor out; use_muon=True does not bring one in
        tagged = name.endswith(_MEGATRON)
        return "adam" if member.use_muon is False or tagged or len(member.shape) != 2 else "muon"
    if member.use_muon is not None:
        return "muon" if member.use_muon else "adam"
    if _says_adam(profile, member):
        return "adam"
    return "muon" if len(member.shape) >= 2 and not any(n in name.lower() for n in _DEEPSPEED) else "adam"


def _says_adam(profile: Profile, member: Member) -> bool:
    return profile.ndim.get(str(len(member.shape))) == "adam"
