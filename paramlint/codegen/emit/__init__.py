"""The part of a generated module that makes groups of kinds and builds the optimizer: one emitter per call shape."""

from __future__ import annotations

from dataclasses import replace

from paramlint.codegen.emit import deepspeed, megatron, one_optimizer, two_lists, two_optimizers
from paramlint.codegen.text import Section
from paramlint.errors import ParamlintError
from paramlint.planned import Plan, Ref
from paramlint.profile import Profile


def section(plan: Plan, profile: Profile) -> Section:
    """The functions `param_groups(model, ...)` and `build_optimizer(model, ...)`, for the profile's call shape.

    Both take settings of the plan as keyword arguments: `param_groups` those that its groups have, `build_optimizer`
    those and what the optimizer's constructor takes. They call `kinds_of(model)` and, with layers, `layers_of(model)`
    and `lr_scales(layers)`, or read `LR_SCALES`.

    Raises:
        ParamlintError: nothing is trained, the optimizer is not one for PyTorch, or the plan has layers and the
            optimizer one lr for all of them.
    """
    if not plan.kinds:
        raise ParamlintError("no parameter is trained, so there are no groups to write")
    plan = _with_lr(plan)
    match profile.call_shape:
        case "two-optimizers":
            return two_optimizers.section(plan, profile)
        case "two-lists":
            return two_lists.section(plan, profile)
        case "attribute" if profile.shape_rule == "megatron":
            return megatron.section(plan, profile)
        case "attribute":
            return deepspeed.section(plan, profile)
        case "shape-routed" if not profile.imports:
            raise ParamlintError(f"no code can be written for {profile.name}: it does not train PyTorch models")
        case "shape-routed" if profile.flag_key is None:
            # nothing overrules its shape rule, so it may only have what that rule gives to Muon
            return two_optimizers.section(plan, profile)
    return one_optimizer.section(plan, profile)


def _with_lr(plan: Plan) -> Plan:
    """The plan with an lr in every group, where that is what differs between groups of one kind."""
    if plan.layers is None and not any(k.turned for k in plan.kinds):
        return plan
    if not any(s.name == "lr" for s in plan.settings):
        return plan
    kinds = tuple(replace(k, options={"lr": Ref("lr"), **k.options}) for k in plan.kinds)
    return replace(plan, kinds=kinds)
