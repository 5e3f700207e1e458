"""The library: the same answers as the command line, for live models. torch is imported when a function is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from paramlint.parameter import LAYERS, Inventory

if TYPE_CHECKING:
    from torch import nn

    from paramlint.planned import Layers, Plan
    from paramlint.run import Run


def inspect(
    model: nn.Module,
    evidence: Collection[str] | None = None,
    inputs: Any = None,
    *,
    policy: str = "default",
    overrides: Mapping[str, str] | None = None,
    trace: bool = True,
    knowledge: Collection[str | Path] = (),
) -> Inventory:
    """What each parameter of a live model is for and where it goes by policy.

    Nothing about the model changes: not its mode, gradients, RNG state or hooks. The model may be on any device,
    the meta device included.

    Args:
        model: any module.
        evidence: the layers that may speak, of `paramlint.parameter.LAYERS`; all by default.
        inputs: what the forward takes, instead of inputs found without asking: a tensor, a tuple of positional
            arguments, a dict of keyword arguments, or a function of the model that returns one of these.
        policy: a policy name, as `paramlint policies` lists them.
        overrides: roles by name pattern (`fnmatch`).
        trace: whether a stand-in of the model on the meta device is run. Without, uses say nothing.
        knowledge: folders laid over what is known, as in the configuration.

    Raises:
        ParamlintError: an evidence layer, a policy or a role that does not exist.
    """
    from paramlint.errors import ParamlintError
    from paramlint.knowledge import load
    from paramlint.model.facts import inventory
    from paramlint.model.meta import paused
    from paramlint.roles.judge import judge

    known = load(Path(folder) for folder in knowledge)
    layers = LAYERS if evidence is None else tuple(evidence)
    for layer in layers:
        if layer not in LAYERS:
            raise ParamlintError(f"no evidence layer {layer!r}", hint=f"layers are {', '.join(LAYERS)}")
    for role in (overrides or {}).values():
        known.role(role)
    with paused():
        facts = inventory(model)
        if trace and "use" in layers:
            from paramlint.model.trace.found import traced

            facts = traced(model, facts, inputs)
    return judge(facts, known.policy(policy), layers=layers, overrides=overrides)


def check(
    model: nn.Module,
    optimizer: Any,
    *,
    profile: str | None = None,
    policy: str = "default",
    overrides: Mapping[str, str] | None = None,
    inputs: Any = None,
    trace: bool = True,
) -> Run:
    """Checks an optimizer, or the groups meant for one, against a live model.

    Args:
        model: any module.
        optimizer: an optimizer; several in a list, tuple or dict; a list of group dicts; two lists of tensors; or a
            function of the model that returns one of these.
        profile: which optimizer groups without one are for, as `paramlint optimizers` lists them.
        policy, overrides, inputs, trace: as in `inspect`.

    Returns:
        The run; its `findings` are sorted, gravest first.

    Raises:
        ParamlintError: groups that are none of these, or a profile, policy or role that does not exist.
    """
    from paramlint import knowledge
    from paramlint.model.groups import read
    from paramlint.pipeline import examine
    from paramlint.run import Run

    known = knowledge.load()
    if profile is not None:
        profile = known.profile(profile).name
    inventory = inspect(model, inputs=inputs, policy=policy, overrides=overrides, trace=trace)
    proposal = read(optimizer, model, inventory, known.profiles)
    run = Run(inventory.model, inventory, proposal, policy=policy, profile=profile, notes=proposal.notes)
    return examine(run, known)


def plan(
    model: nn.Module,
    optimizer: str = "torch-muon",
    *,
    policy: str = "default",
    overrides: Mapping[str, str] | None = None,
    inputs: Any = None,
    trace: bool = True,
    fused: Literal["split", "whole", "adam"] = "split",
    layer_decay: float | Sequence[float] | None = None,
    layers: str | Callable[..., int] = "structure",
    knowledge: Collection[str | Path] = (),
) -> Plan:
    """The groups that an optimizer should have for a live model.

    Args:
        model: any module.
        optimizer: a profile name or alias, as `paramlint optimizers` lists them.
        policy, overrides, inputs, trace, knowledge: as in `inspect`.
        fused: what becomes of fused matrices: split where the optimizer can, else left to Adam ("split");
            orthogonalised as one ("whole"); left to Adam ("adam").
        layer_decay: the factor on lr from each layer to the one before it, in (0, 1], or the factor of every layer.
        layers: where the layers come from: "structure", "beit", "convnext", or a function of a parameter's name (and,
            if it takes one more argument, the number of layers) that gives its layer.

    Raises:
        ParamlintError: a profile, policy or role that does not exist, a model or optimizer that no such plan is for.
    """
    from paramlint.knowledge import load
    from paramlint.planning import plan as make

    known = load(Path(folder) for folder in knowledge)
    inventory = inspect(model, inputs=inputs, policy=policy, overrides=overrides, trace=trace, knowledge=knowledge)
    found: Layers | None = None
    scales: tuple[float, ...] = ()
    if layer_decay is not None:
        from paramlint.planning.layers import decayed

        found, scales = decayed(inventory, layers, layer_decay)
    return make(inventory, known, optimizer, policy=policy, target="", layers=found, scales=scales, fused=fused)
