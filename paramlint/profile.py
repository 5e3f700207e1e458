"""What is known of roles, policies and optimizers: the shapes of the data in `rules/`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from paramlint.parameter import Destination, Plain
from paramlint.record import dataclass

CallShape = Literal[
    "two-optimizers",  # takes Muon parameters only; the user builds a second optimizer for the rest
    "flagged-groups",  # one optimizer, a key in each group says which half
    "two-lists",  # muon_params=[...], adamw_params=[...]
    "shape-routed",  # one optimizer that decides by shape, flags may overrule
    "attribute",  # reads param.use_muon, set by a rule unless the user did
    "norm-per-group",  # Scion: a norm in each group, no Adam half
    "elementwise",  # no Muon half at all: AdamW, SGD
]
NdimAction = Literal["accept", "flatten", "batch", "error", "adam"]
LrScale = Literal["kj", "rms", "spectral", "sqrt-max", "none"]
LrClass = Literal["muon", "adam", "fifth-of-adam", "own"]
ShapeRule = Literal["timm", "ndim>=2", "ndim==2", "deepspeed", "megatron"]


@dataclass(frozen=True)
class Role:
    """What a parameter can be for. `decay` is the usual weight decay: "yes", "no", or "policy" where sources differ."""

    name: str
    meaning: str
    decay: Literal["yes", "no", "policy"]
    example: str
    source: tuple[str, ...]


@dataclass(frozen=True)
class Ruling:
    """What one policy says of one role.

    `to` is what the policy allows; `plan` what is written when it allows either. `strength` is that of the evidence:
    A several sources agree and none contradicts, B majority, C genuinely split.
    """

    to: Literal["muon", "adam", "either"]
    plan: Destination
    strength: Literal["A", "B", "C"]
    muon: tuple[str, ...] = ()
    adam: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class OwnLr:
    """A learning rate of its own for a role that Adam updates: a number, or so many times that of the Muon half.

    With `width`, it is for a model of that width, and multiplied by (columns / width) ** -0.5. Without `decay` the role
    has no weight decay.
    """

    lr: float | None = None
    times: float | None = None
    width: int | None = None
    decay: bool = True
    source: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """Which roles go to Muon where sources disagree. Every role of `roles.toml` has a ruling, some have an `lr`."""

    name: str
    summary: str
    source: tuple[str, ...]
    rulings: Mapping[str, Ruling]
    lr: Mapping[str, OwnLr] = field(default_factory=dict)


@dataclass(frozen=True)
class Keys:
    """Which keys a group may have. exact: these and no others; superset: at least these; any: others are ignored;
    none: there are no groups. `ignored` are keys that people pass and this optimizer does nothing with."""

    strictness: Literal["exact", "superset", "any", "none"]
    muon: tuple[str, ...] = ()
    adam: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """What one optimizer implementation accepts and does.

    `classes` are the qualified names under which the class may be found (`torch.optim.Muon`,
    `torch.optim._muon.Muon`); `imports` those of them that a user writes, for the recorder. `ndim` maps "1".."5" to
    what the Muon half does with a tensor of that many dimensions; `ndim_checked` when a refusal comes. `lr_scale`
    is the factor on lr of the Muon half for a weight of `A` rows and `B` columns: kj = sqrt(max(1, A/B)),
    rms = 0.2 sqrt(max(A, B)), spectral = sqrt(A/B), sqrt-max = sqrt(max(A, B)), none = 1. `lr_class` says whether lr
    is of Muon's size (0.02), of Adam's (3e-4), a fifth of that, or of a size of its own. Both have a row "default" and
    one for each value of the option `lr_scale_key` that changes them (the value in lower case).
    `second_flag` is a key that is read where `flag_key` does not decide; true means Muon.
    `plan` has the numbers that generated code starts from ("lr" of the Muon half, "adam_lr", "weight_decay", ...).
    `norms` has the options of each kind of group, for an optimizer that has a norm for each.
    `state` has what each half ("muon", "adam") holds for a parameter after a step: "full" is as many elements of its
    dtype, "float32" and "bfloat16" as many of these, "rows" one of its dtype for each but the last dimension's,
    "square" as many as its shorter side squared, "scalar" four bytes. Numbers of Python, and what a whole group shares,
    are left out.
    """

    name: str
    title: str
    call_shape: CallShape
    classes: tuple[str, ...]
    imports: tuple[str, ...]
    evidence: Literal["ran", "read"]
    source: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    distribution: str | None = None
    install: str | None = None
    versions: str | None = None
    checked_version: str | None = None
    requires_python: str | None = None
    family: Literal["muon", "elementwise"] = "muon"
    flag_key: str | None = None
    flag_muon: tuple[Plain, ...] = ()
    flag_adam: tuple[Plain, ...] = ()
    unflagged: Literal["error", "muon", "adam", "shape"] = "muon"
    second_flag: str | None = None
    shape_rule: ShapeRule | None = None
    muon_argument: str | None = None
    adam_argument: str | None = None
    keys: Keys = field(default_factory=lambda: Keys("any"))
    defaults: Mapping[str, Plain] = field(default_factory=dict)
    muon_defaults: Mapping[str, Plain] = field(default_factory=dict)
    adam_defaults: Mapping[str, Plain] = field(default_factory=dict)
    ndim: Mapping[str, NdimAction] = field(default_factory=dict)
    ndim_checked: Literal["constructor", "step", "never"] = "never"
    ndim_error: str | None = None
    lr_scale: Mapping[str, LrScale] = field(default_factory=dict)
    lr_class: Mapping[str, LrClass] = field(default_factory=dict)
    lr_scale_key: str | None = None
    lr_key: str = "lr"
    decay_key: str = "weight_decay"
    aux_lr: Literal["own", "same", "none"] = "own"
    frozen: Literal["skip", "decay", "crash"] = "skip"
    grad_none: str | None = None
    named: Literal["ok", "error", "required"] = "ok"
    sparse: Literal["ok", "error"] = "error"
    closure: Literal["ok", "error"] = "ok"
    process_group: bool = False
    fsdp: Literal["none", "fsdp1", "fsdp2", "unknown"] = "unknown"
    fused_split: tuple[str, ...] = ()
    plan: Mapping[str, Plain] = field(default_factory=dict)
    norms: Mapping[str, Mapping[str, Plain]] = field(default_factory=dict)
    state: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    known_bugs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
