"""The groups that paramlint would build: plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from paramlint.parameter import Destination, Plain

#: Where the parameters that a rule matches stand: in layer 0; each match in a layer of its own; in the layer of the
#: block that follows or precedes them; in the last layer.
LayerPlace = Literal["first", "own", "next", "previous", "last"]


@dataclass(frozen=True)
class Setting:
    """A hyperparameter: a keyword argument of generated functions. `about` is its line in their docstring."""

    name: str
    default: Plain
    about: str


@dataclass(frozen=True)
class Ref:
    """An option of a group whose value is a setting."""

    setting: str


Option = Plain | Ref


@dataclass(frozen=True)
class Kind:
    """Parameters that are treated alike, but for the lr of their layer.

    `label` is an identifier ("muon", "no_decay"), `why` one line. `options` are the keys of the group, in order,
    without `params`. With `turned`, weights are stored (in, out) under an lr scale that reads rows as outputs, and lr
    is multiplied by what makes up for that (`turn`).
    """

    label: str
    half: Destination
    options: Mapping[str, Option]
    why: str
    turned: bool = False


@dataclass(frozen=True)
class LayerRule:
    """Parameters whose names begin with a module path or are a name, `*` standing for a whole number in a segment."""

    pattern: str
    place: LayerPlace


@dataclass(frozen=True)
class Layers:
    """The layer of every parameter, by name: 0 is the first, `count` - 1 the last.

    `rules`, the first that matches deciding, give the same layers for a model of another depth; () where no such rules
    are known. `source` says where the layers come from ("the model's structure", "preset convnext",
    "train.py:get_num_layer").
    """

    of: Mapping[str, int]
    count: int
    rules: tuple[LayerRule, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class PlannedGroup:
    """One group. `label` is that of its kind, with the layer before it where there are layers ("layer_3_decay"), and a
    number behind it where the kind has several turns; no two are alike.

    `lr_scale` is that of the layer, `turn` the further factor on lr of weights that are stored (in, out).
    """

    label: str
    kind: Kind
    parameters: tuple[str, ...]
    layer: int | None = None
    lr_scale: float = 1.0
    turn: float = 1.0


@dataclass(frozen=True)
class Plan:
    """All groups for one optimizer, and what they were made of.

    `profile` and `policy` are names, `target` is what the user named, `model` the qualified class name, `fingerprint`
    that of the inventory. `kinds` are those with a trainable parameter, in the order of their groups. `labels` has the
    kind's label for every parameter in model order, frozen ones too (as if they were trained), `trainable` the names
    that are. With `layers`, `scales` has the factor on lr of each. `groups` hold trainable parameters, in model order,
    and none is empty.
    """

    target: str
    model: str
    profile: str
    policy: str
    fingerprint: str
    settings: tuple[Setting, ...]
    kinds: tuple[Kind, ...]
    labels: Mapping[str, str]
    trainable: tuple[str, ...]
    groups: tuple[PlannedGroup, ...]
    layers: Layers | None = None
    scales: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def kind(self, label: str) -> Kind | None:
        """The kind of that label, if any of its parameters is trained."""
        return next((k for k in self.kinds if k.label == label), None)


def values(plan: Plan, group: PlannedGroup) -> dict[str, Plain]:
    """The options of a group with the settings' defaults in them; lr is that of its layer, and turned."""
    defaults = {s.name: s.default for s in plan.settings}
    found = {k: defaults[v.setting] if isinstance(v, Ref) else v for k, v in group.kind.options.items()}
    lr = found.get("lr", defaults.get("lr") if group.layer is not None or group.kind.turned else None)
    if isinstance(lr, (int, float)):
        found["lr"] = lr * group.lr_scale * group.turn
    return found
