"""Roles, policy and profile make a plan: which groups, with which options. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from paramlint import layout
from paramlint.errors import ParamlintError
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory, Parameter
from paramlint.placement import COMPLEX_NOWHERE, is_complex
from paramlint.planned import Kind, Layers, Plan, PlannedGroup
from paramlint.planning import notes, options
from paramlint.planning.sorting import Fused, Sorted, one_decay, sort
from paramlint.profile import Profile

__all__ = ["Fused", "plan"]

_NOT_TORCH: Mapping[str, Literal["JAX", "Keras"]] = {"optax": "JAX", "keras": "Keras"}


def plan(
    inventory: Inventory,
    known: Knowledge,
    profile: str,
    *,
    policy: str = "default",
    target: str = "",
    layers: Layers | None = None,
    scales: Sequence[float] = (),
    fused: Fused = "split",
) -> Plan:
    """The groups that an optimizer should have for the parameters of a model.

    Every parameter belongs to one kind: by its role, what the policy rules on it, and what the optimizer does with its
    shape. Kinds become groups; with layers, one for each layer that has parameters of the kind.

    Args:
        inventory: with roles, judged by this policy.
        profile: a name or an alias.
        layers: the layer of every parameter, with `scales`, the factor on lr of each layer.
        fused: fused matrices are split where the optimizer can, and else left to Adam ("split"); orthogonalised as one
            ("whole"); or left to Adam everywhere ("adam").

    Raises:
        ParamlintError: no such profile or policy, parameters that have no shape yet or none any more, or an optimizer
            that cannot give each layer an lr.
    """
    chosen = known.profile(profile)
    ruling = known.policy(policy)
    _check(inventory, chosen, layers)
    found = sort(inventory, known, chosen, ruling, fused)
    trained = tuple(p.name for p in inventory.parameters if p.trainable)
    kinds = options.kinds(found, chosen, ruling, trained)
    return Plan(
        target=target,
        model=inventory.model,
        profile=chosen.name,
        policy=ruling.name,
        fingerprint=inventory.fingerprint,
        settings=options.settings(kinds, found, chosen, ruling),
        kinds=kinds,
        labels=dict(found.labels),
        trainable=trained,
        groups=tuple(_groups(inventory, found, kinds, chosen, layers, scales)),
        layers=layers,
        scales=tuple(scales),
        notes=tuple(notes.notes(inventory, found, kinds, chosen, ruling, fused)),
    )


def _check(inventory: Inventory, profile: Profile, layers: Layers | None) -> None:
    if profile.name in _NOT_TORCH:
        raise ParamlintError(
            f"{profile.name} trains {_NOT_TORCH[profile.name]} models, and this is a PyTorch one",
            hint="`paramlint optimizers` lists the others",
        )
    gone = [p for p in inventory.parameters if p.trainable and p.state in ("uninitialized", "flat", "emptied")]
    if gone:
        why = {
            "uninitialized": ("has no shape before the first forward", "run one, or give the lazy modules their sizes"),
            "flat": ("is flattened by FSDP1", "plan before sharding, or use FSDP2"),
            "emptied": ("is emptied by ZeRO-3", "plan before sharding"),
        }[gone[0].state]
        raise ParamlintError(f"{gone[0].name} {why[0]}: it cannot be placed", hint=why[1])
    refused = [p for p in inventory.parameters if p.trainable and is_complex(p)]
    if refused and profile.name in COMPLEX_NOWHERE:
        raise ParamlintError(
            f"{refused[0].name} is complex, and {profile.name} takes no complex parameter, in either half",
            hint="torch-muon leaves it to torch's AdamW, which takes it",
        )
    if layers is not None and one_decay(profile):
        raise ParamlintError(
            f"{profile.name} has one lr for all of its parameters, and no layer can have its own",
            hint="choose an optimizer with param groups, such as torch-muon or adamw",
        )


def _groups(
    inventory: Inventory,
    found: Sorted,
    kinds: Sequence[Kind],
    profile: Profile,
    layers: Layers | None,
    scales: Sequence[float],
) -> Iterator[PlannedGroup]:
    """By layer, by kind, and by the turn of weights that are stored (in, out)."""
    scale = profile.lr_scale.get("default", "none")
    order = {kind.label: i for i, kind in enumerate(kinds)}
    inside: dict[tuple[int, int, float], list[Parameter]] = {}
    for p in inventory.parameters:
        if not p.trainable:
            continue
        kind = kinds[order[found.labels[p.name]]]
        turn = layout.turn(scale, p.shape) if kind.turned else 1.0
        layer = layers.of[p.name] if layers else 0
        inside.setdefault((layer, order[kind.label], turn), []).append(p)
    seen: Counter[str] = Counter()
    for (layer, number, turn), members in sorted(inside.items(), key=lambda item: item[0][:2]):
        kind = kinds[number]
        label = f"layer_{layer}_{kind.label}" if layers else kind.label
        seen[label] += 1
        yield PlannedGroup(
            label=label if seen[label] == 1 else f"{label}_{seen[label]}",
            kind=kind,
            parameters=tuple(p.name for p in members),
            layer=layer if layers else None,
            lr_scale=scales[layer] if layers else 1.0,
            turn=turn,
        )
