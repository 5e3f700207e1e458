"""The library: the same answers as the command line, for live models. torch is imported when a function is called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from paramlint.parameter import LAYERS, Inventory

if TYPE_CHECKING:
    from torch import nn

    from paramlint.run import Run


def inspect(
    model: nn.Module,
    evidence: Collection[str] | None = None,
    inputs: Any = None,
    *,
    policy: str = "default",
    overrides: Mapping[str, str] | None = None,
    trace: bool = True,
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

    Raises:
        ParamlintError: an evidence layer, a policy or a role that does not exist.
    """
    from paramlint import knowledge
    from paramlint.errors import ParamlintError
    from paramlint.model.facts import inventory
    from paramlint.roles.judge import judge

    known = knowledge.load()
    layers = LAYERS if evidence is None else tuple(evidence)
    for layer in layers:
        if layer not in LAYERS:
            raise ParamlintError(f"no evidence layer {layer!r}", hint=f"layers are {', '.join(LAYERS)}")
    for role in (overrides or {}).values():
        known.role(role)
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
