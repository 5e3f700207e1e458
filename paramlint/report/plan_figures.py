"""What the report of a plan shows, before it is laid out: a row for each group, totals, memory and arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paramlint.parameter import Parameter, Plain
from paramlint.planned import Plan, PlannedGroup, Ref
from paramlint.planning import flops
from paramlint.planning.state import Memory, group_memory, plan_memory
from paramlint.profile import Profile
from paramlint.run import Run


@dataclass(frozen=True)
class GroupFigures:
    """One group of a plan. `label` is that of the group; `options` have values instead
    of settings, and lr as it is before `lr_scale` and `turn` of the group."""

    label: str
    group: PlannedGroup
    members: tuple[Parameter, ...]
    options: Mapping[str, Plain]
    memory: Memory

    @property
    def elements(self) -> int:
        return sum(p.numel for p in self.members)

    @property
    def purpose(self) -> str:
        """What the group is for: the words of its kind, or in a layer the roles of its own parameters, the largest
        first."""
        if self.group.layer is None:
            return self.group.kind.why
        sizes: dict[str, int] = {}
        for p in self.members:
            sizes[p.role] = sizes.get(p.role, 0) + p.numel
        return ", ".join(sorted(sizes, key=lambda role: (-sizes[role], role)))


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations in a step over so many tokens, as `paramlint.planning.flops` counts them."""

    tokens: int
    newton_schulz: int
    forward_backward: int
    share: float


@dataclass(frozen=True)
class Figures:
    """A plan with all of its figures.

    `shared` are the settings that no group has among its options, with their values: those of the whole optimizer.
    `assumptions` say in a line each what the count of operations takes for granted about this model.
    """

    run: Run
    plan: Plan
    profile: Profile
    groups: tuple[GroupFigures, ...]
    shared: Mapping[str, Plain]
    frozen: tuple[Parameter, ...]
    memory: Memory
    arithmetic: Arithmetic
    assumptions: tuple[str, ...]


def figures(run: Run, plan: Plan, profile: Profile, tokens: int) -> Figures:
    """The figures of a plan for the run's model, with `tokens` in a step.

    Raises:
        ParamlintError: the profile's `state` has a word that does not exist.
        ValueError: no tokens.
    """
    inventory = run.inventory
    parameters = {p.name: p for p in inventory.parameters}
    values = {s.name: s.default for s in plan.settings}
    used = {o.setting for g in plan.groups for o in g.kind.options.values() if isinstance(o, Ref)}
    arithmetic = Arithmetic(
        tokens,
        flops.newton_schulz_flops(plan, inventory, profile),
        flops.forward_backward_flops(inventory, tokens),
        flops.share(plan, inventory, profile, tokens),
    )
    return Figures(
        run=run,
        plan=plan,
        profile=profile,
        groups=tuple(
            GroupFigures(
                group.label,
                group,
                tuple(parameters[name] for name in group.parameters),
                {k: values.get(o.setting) if isinstance(o, Ref) else o for k, o in group.kind.options.items()},
                group_memory(group, parameters, profile),
            )
            for group in plan.groups
        ),
        shared={name: value for name, value in values.items() if name not in used},
        frozen=tuple(p for p in inventory.parameters if not p.trainable),
        memory=plan_memory(plan, inventory, profile),
        arithmetic=arithmetic,
        assumptions=_assumptions(run) if arithmetic.newton_schulz else (),
    )


def _assumptions(run: Run) -> tuple[str, ...]:
    inventory = run.inventory
    said = []
    if flops.has_experts(inventory):
        shares = sorted({round(1 / share, 1) for share in flops.met(inventory).values()})
        said.append(
            f"each expert meets one token in {' or '.join(f'{s:g}' for s in shares)}"
            if shares
            else "each expert meets all tokens: how many experts a token is sent to is not known"
        )
    if any("conv" in p.role for p in inventory.parameters):
        said.append("each convolution has as many output positions as there are tokens")
    return tuple(said)
