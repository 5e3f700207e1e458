"""From kinds to groups: the options of each kind, the function that makes groups of them, and the last check."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from paramlint.codegen.text import INDENT, Section, comment, docstring, enclosed, literal
from paramlint.planned import Kind, Option, Plan, Ref
from paramlint.planning.layers import factor
from paramlint.profile import Profile

#: What makes up for an lr factor that takes the first dimension of a weight for its outputs, where it is the second.
#: With A outputs and B inputs, kj is sqrt(max(1, A / B)) and spectral sqrt(A / B).
_TURNS = {
    "kj": (
        "inputs, outputs, n = p.shape[0], p.shape[1], p.numel()",
        "return math.sqrt(max(1, outputs**2 / n) / max(1, inputs**2 / n))",
    ),
    "spectral": ("return p.shape[1] / p.shape[0]",),
}

_CHECK = '''\
def check_complete(model: nn.Module, params: list[nn.Parameter]) -> None:
    """Raises RuntimeError unless params are all that is trained, each of them once."""
    times = Counter(map(id, params))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for where, wrong in (
        ("no group", [name for name, p in trained.items() if times[id(p)] == 0]),
        ("several groups", [name for name, p in trained.items() if times[id(p)] > 1]),
    ):
        if wrong:
            names = ", ".join(wrong[:3])
            raise RuntimeError(f"{len(wrong)} parameters are in {where}: {names}")'''


def check() -> Section:
    """`check_complete(model, params)`: every trainable parameter is there, once."""
    return Section(_CHECK, ("from collections import Counter", "from torch import nn"))


def table(name: str, kinds: Iterable[Kind]) -> str:
    """The assignment of a dict from the kinds' labels to their options, each under a comment that says why."""
    items: list[str] = []
    for kind in kinds:
        keys = [f'"{key}": {_value(option)}' for key, option in kind.options.items()]
        items += [*comment(kind.why, indent=8).splitlines(), enclosed(f'"{kind.label}": {{', keys, "}", indent=9)]
    text = enclosed("{", items, "}", broken=True)
    return f"{name}: dict[str, dict[str, Any]] = {text}"


def groups_of(plan: Plan, profile: Profile) -> Section:
    """`groups_of(model, kinds, options)`: one group for each kind that has parameters.

    With layers, or kinds that are turned, one for each layer and each turn: by layer, then by kind, then by the first
    parameter of a turn.
    """
    scale = profile.lr_scale.get("default", "none")
    turned = [k.label for k in plan.kinds if k.turned] if scale in _TURNS else []
    if plan.layers:
        doc = "The groups by layer, then by kind; lr is scaled by layer."
        finding = [
            "layers = layers_of(model)",
            "places = {name: (layers[name], label) for name, label in kinds.items()}",
        ]
        chosen = "places.get(name) == (layer, label)"
    else:
        doc = "One group for each kind that has parameters."
        finding = []
        chosen = "kinds.get(name) == label"
    loop = [
        "for label, own in options.items():",
        *_indent([f"params = [p for name, p in named if {chosen}]", *_append(plan, profile, turned)]),
    ]
    if plan.layers:
        scales = "LR_SCALES" if factor(plan.scales) is None else "lr_scales(layers)"
        loop = [f"for layer, scale in enumerate({scales}):", *_indent(loop)]
    body = [
        f'"""{doc}"""',
        *finding,
        "named = list(model.named_parameters())",
        "groups: list[dict[str, Any]] = []",
        *loop,
        "return groups",
    ]
    arguments = ["model: nn.Module", "kinds: dict[str, str]", "options: dict[str, dict[str, Any]]"]
    head = enclosed("def groups_of(", arguments, ") -> list[dict[str, Any]]:", broken=True)
    imports = ["from typing import Any", "from torch import nn"]
    text = "\n".join([head, *_indent(body)])
    if turned:
        text = f"{_turn(scale)}\n\n\n{text}"
        imports += ["import math"] if scale == "kj" else []
    return Section(text, tuple(imports))


def joined(*sections: Section) -> Section:
    """Sections after one another."""
    imports = dict.fromkeys(i for s in sections for i in s.imports)
    return Section("\n\n\n".join(s.body for s in sections), tuple(imports))


def _append(plan: Plan, profile: Profile, turned: list[str]) -> list[str]:
    """What is done with the `params` of one kind, in one layer if there are layers."""
    if not turned and not plan.layers:
        return ["if params:", '    groups.append({"params": params, **own})']
    inner: list[str] = []
    factors = ['own["lr"]', *(["scale"] if plan.layers else []), *(["factor"] if turned else [])]
    scaled = [f'"lr": {" * ".join(factors)}']
    if plan.layers and _scaled_by_schedulers(profile):
        inner += ["# No key lr_scale: timm's schedulers would apply it to lr once more."]
    elif plan.layers and profile.keys.strictness in ("any", "superset"):
        inner += ["# Nothing in torch reads lr_scale: lr has it already."]
        scaled += ['"lr_scale": scale']
    inner += [f"scaled = {{{', '.join(scaled)}}}"]
    if not turned:
        return ["if params:", *_indent([*inner, 'groups.append({"params": params, **own, **scaled})'])]
    which = f'label == "{turned[0]}"' if len(turned) == 1 else f"label in {literal(tuple(turned))}"
    return [
        f"factors = [turn(p) if {which} else 1.0 for p in params]",
        "for factor in dict.fromkeys(factors):",
        *_indent(
            [
                "part = [p for p, f in zip(params, factors) if f == factor]",
                *inner,
                'groups.append({"params": part, **own, **scaled})',
            ]
        ),
    ]


def _scaled_by_schedulers(profile: Profile) -> bool:
    """Whether the schedulers of the optimizer's own library multiply lr by the key `lr_scale`."""
    return profile.distribution == "timm"


def _turn(scale: str) -> str:
    doc = docstring(
        "What lr is multiplied by for a weight that is stored (in, out).",
        "Muon scales lr by the shape of a weight, and takes its rows for outputs.",
        indent=len(INDENT),
    )
    return "\n".join(["def turn(p: nn.Parameter) -> float:", *_indent([*doc.splitlines(), *_TURNS[scale]])])


def _indent(lines: Iterable[str]) -> list[str]:
    return textwrap.indent("\n".join(lines), INDENT).splitlines()


def _value(option: Option) -> str:
    return option.setting if isinstance(option, Ref) else literal(option)
