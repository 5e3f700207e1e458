"""The options of each kind, and the hyperparameters that they take their values from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from paramlint import parts
from paramlint.parameter import Destination, Parameter, Plain
from paramlint.planned import Kind, Option, Ref, Setting
from paramlint.planning.sorting import Sorted, one_decay
from paramlint.profile import OwnLr, Policy, Profile

_LAST = ("decay", "no_decay", "adamw")


def kinds(found: Sorted, profile: Profile, policy: Policy, trained: Iterable[str]) -> tuple[Kind, ...]:
    """The kinds that have a trained parameter: Muon's first, then roles with an lr of their own, then the others."""
    names = set(trained)
    alive = [label for label, members in found.members.items() if any(p.name in names for p in members)]
    alive.sort(key=lambda label: (not _is_muon(label), _LAST.index(label) if label in _LAST else -1, label))
    return tuple(_kind(label, found.members[label], profile, policy) for label in alive)


def _is_muon(label: str) -> bool:
    return label == "muon" or label.startswith("muon_")


def _kind(label: str, members: tuple[Parameter, ...], profile: Profile, policy: Policy) -> Kind:
    half: Destination = "muon" if _is_muon(label) else "adam"
    given: dict[str, Option] = {}
    if profile.norms:
        given = dict(profile.norms[label if label in profile.norms else "muon"])
    elif not one_decay(profile):
        given = dict(_muon(label, profile) if half == "muon" else _adam(label, profile, policy))
    return Kind(label, half, given, _why(label, members, profile, policy), turned=label == "muon_turned")


def _muon(label: str, profile: Profile) -> Iterator[tuple[str, Option]]:
    if profile.call_shape == "shape-routed" and profile.second_flag:
        yield profile.second_flag, True
    elif profile.call_shape != "shape-routed" and profile.flag_key and profile.flag_muon:
        yield profile.flag_key, profile.flag_muon[0]
    yield profile.lr_key, Ref("lr")
    if "momentum" in profile.plan and _takes(profile, "momentum"):
        yield "momentum", Ref("momentum")
    yield profile.decay_key, Ref("weight_decay")
    if label.startswith("muon_split_"):
        yield "split_sizes", tuple(int(n) for n in label.removeprefix("muon_split_").split("_"))


def _adam(label: str, profile: Profile, policy: Policy) -> Iterator[tuple[str, Option]]:
    if profile.family == "muon" and profile.call_shape != "two-optimizers" and profile.flag_key and profile.flag_adam:
        yield profile.flag_key, profile.flag_adam[0]
    elif profile.call_shape == "shape-routed" and profile.flag_key:
        yield profile.flag_key, True
    role = label.replace("_", "-")
    own = policy.lr.get(role) if profile.family == "muon" else None
    if own is None:
        yield "lr", Ref("adamw_lr" if "adam_lr" in profile.plan else "lr")
    else:
        yield "lr", Ref("lr") if own.times == 1 else Ref(f"{label}_lr")
    # what Muon ignores is read by an AdamW beside it
    read = "betas" not in profile.keys.ignored or profile.call_shape == "two-optimizers"
    if profile.family == "muon" and "betas" in profile.plan and read:
        yield "betas", Ref("betas")
    decays = own.decay if own else label != "no_decay"
    yield "weight_decay", Ref("weight_decay") if decays else 0.0


def _takes(profile: Profile, key: str) -> bool:
    return key in profile.keys.muon or key in profile.muon_defaults or key in profile.defaults


def _why(label: str, members: tuple[Parameter, ...], profile: Profile, policy: Policy) -> str:
    roles: dict[str, int] = {}
    for p in members:
        roles[p.role] = roles.get(p.role, 0) + max(p.numel, 1)
    said = ", ".join(sorted(roles, key=lambda r: (-roles[r], r)))
    if label == "muon_turned":
        return f"{said}, stored (in, out): lr makes up for a scale that takes rows for outputs"
    if label.startswith("muon_split_"):
        return f"{said} of {parts.told(members[0]).replace(' + ', ', ')} rows: each part is a matrix of its own"
    if _is_muon(label):
        return f"{said}: orthogonalised"
    if label in ("adamw", "signed", "rest") or (label == "embedding" and profile.norms):
        return f"{said}: element-wise"
    how = "with" if label != "no_decay" else "without"
    if label in _LAST:
        return f"{said}: {how} weight decay"
    return f"{said}: an lr of its own (policy {policy.name})"


def settings(kinds: Iterable[Kind], found: Sorted, profile: Profile, policy: Policy) -> tuple[Setting, ...]:
    """The hyperparameters that generated functions take, with the values to start from."""
    kinds = tuple(kinds)
    used = {option.setting for k in kinds for option in k.options.values() if isinstance(option, Ref)}
    start = profile.plan
    halves = {k.half for k in kinds}
    both = profile.family == "muon"
    said: list[tuple[str, Plain, str]] = []
    if "lr" in used or not used:
        said.append(("lr", start.get("lr", 1e-3), _about_lr(profile, halves)))
    if "adamw_lr" in used:
        said.append(("adamw_lr", start.get("adam_lr", 3e-4), "Of the AdamW half."))
    for kind in kinds:
        own = policy.lr.get(kind.label.replace("_", "-")) if both else None
        if own and f"{kind.label}_lr" in used:
            value = _own_lr(own, found.members[kind.label], start.get("lr", 1e-3))
            said.append((f"{kind.label}_lr", value, f"Of {kind.label.replace('_', ' ')}s (policy {policy.name})."))
    if "weight_decay" in start:
        said.append(("weight_decay", start["weight_decay"], "Not on gains, biases, tokens and tables."))
    if one_decay(profile):
        said[-1] = ("weight_decay", start.get("weight_decay", 0.0), "Of all parameters: there is one for both halves.")
    if "momentum" in start and ("momentum" in used or not used or not both):
        said.append(
            ("momentum", start["momentum"], "Of the Muon half." if both and not profile.norms else "Of all parameters.")
        )
    if "betas" in start and ("adam" in halves or not both):
        said.append(("betas", start["betas"], "Of the AdamW half." if both else "Of all parameters."))
    taken = ("lr", "adam_lr", "weight_decay", "momentum", "betas")
    if "muon" in halves:
        said += [(k, v, "Of the Muon half.") for k, v in start.items() if k not in taken]
    return tuple(Setting(name, value, about) for name, value, about in said)


def _about_lr(profile: Profile, halves: set[Destination]) -> str:
    if profile.family == "elementwise" or "adam_lr" not in profile.plan:
        return "Of all parameters."
    how = {"muon": ", of Muon's size", "adam": ", of AdamW's size"}.get(profile.lr_class.get("default", ""), "")
    return f"Of the Muon half{how}."


def _own_lr(own: OwnLr, members: tuple[Parameter, ...], base: Plain) -> float:
    """The number of a policy, for the width of this model."""
    if own.lr is None:
        return float(base) * (own.times or 1.0) if isinstance(base, (int, float)) else 0.0
    if own.width is None:
        return own.lr
    widest = max(members, key=lambda p: p.numel)
    columns = prod(widest.shape[1:]) or own.width
    return float(f"{own.lr * (columns / own.width) ** -0.5:.3g}")
