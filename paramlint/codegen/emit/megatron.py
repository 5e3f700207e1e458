"""Megatron-LM: its own rule sends what has two dimensions and no tag to Muon, so the rest gets the attribute."""

from __future__ import annotations

from paramlint.codegen.emit import grouping, package, signature
from paramlint.codegen.text import Section, comment, enclosed, literal
from paramlint.errors import ParamlintError
from paramlint.planned import Plan, Setting
from paramlint.profile import Profile


def section(plan: Plan, profile: Profile) -> Section:
    """`param_groups(model)`, which sets `p.use_muon`, and `build_optimizer(model, ...)`, which calls
    `get_megatron_optimizer`
    (https://github.com/NVIDIA/Megatron-LM/blob/d98e8a6/megatron/core/optimizer/__init__.py).

    Raises:
        ParamlintError: the plan has layers.
    """
    if plan.layers is not None:
        raise ParamlintError(
            f"{profile.name} makes its groups itself, so lr cannot differ by layer",
            hint="torch-muon is one that takes an lr for each layer",
        )
    muon = [k for k in plan.kinds if k.half == "muon"]
    labels = [k.label for k in muon]
    which = f'== "{labels[0]}"' if len(labels) == 1 else f"in {literal(tuple(labels))}"
    groups = signature.define(
        "param_groups",
        (),
        "list[dict[str, Any]]",
        [
            signature.describe(
                "Sets p.use_muon of every parameter; all that is trained, as one group.",
                "Megatron divides it by that attribute: without it, every tensor of two dimensions goes to Muon "
                "but for the word embedding and the output layer.",
            ),
            "kinds = kinds_of(model)" if labels else "kinds_of(model)  # an error where no rule covers a parameter",
            "for name, p in model.named_parameters():",
            *(f"    {line}" for k in muon for line in comment(k.why, indent=8).splitlines()),
            f"    p.use_muon = {f'kinds.get(name) {which}' if labels else 'False'}  # type: ignore[attr-defined]",
            "params = [p for p in model.parameters() if p.requires_grad]",
            "check_complete(model, params)",
            'return [{"params": params}] if params else []',
        ],
    )
    return grouping.joined(
        Section(groups, ("from typing import Any", "from torch import nn")), _build(plan), grouping.check()
    )


def _build(plan: Plan) -> Section:
    named = {s.name: s for s in plan.settings}
    arguments = ['optimizer="muon"', *(a for s in named.values() for a in _config(s)), "**config"]
    body = [
        signature.describe(
            "Megatron's optimizer over one chunk of a model, which its DDP may wrap.",
            "Needs a megatron-core that reads p.use_muon: 0.20 does, 0.16 does not.",
            settings=named.values(),
            extra=["config: Further fields of OptimizerConfig, such as bf16 or min_lr."],
        ),
        package.imported("megatron.core.optimizer.OptimizerConfig, get_megatron_optimizer")[0],
        "",
        "param_groups(model)",
        enclosed("made = OptimizerConfig(", arguments, ")", indent=4),
        "return get_megatron_optimizer(made, [model])",
    ]
    text = signature.define("build_optimizer", named.values(), "Any", body, extra=["**config: Any"])
    return Section(text, ("from typing import Any", "from torch import nn"))


def _config(setting: Setting) -> list[str]:
    """The fields of OptimizerConfig for a setting."""
    if setting.name in ("lr", "weight_decay"):
        return [f"{setting.name}={setting.name}"]
    if setting.name == "betas":
        return ["adam_beta1=betas[0]", "adam_beta2=betas[1]"]
    return [f"muon_{setting.name}={setting.name}"]
