"""Plans as JSON: one document for all targets, described by plan_schema.json beside this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paramlint.errors import ParamlintError
from paramlint.report.json import head, written
from paramlint.report.plan_figures import Figures, GroupFigures
from paramlint.serial import encode

SCHEMA = Path(__file__).with_name("plan_schema.json")


def document(found: Sequence[Figures], failures: Mapping[str, ParamlintError] | None = None) -> str:
    """All plans, and the targets that none could be made for."""
    return written(
        {
            **head(),
            "summary": {"targets": len(found), "failed": len(failures or {})},
            "targets": [_target(one) for one in found],
            "failures": [
                {"target": target, "where": e.where, "message": e.message, "hint": e.hint}
                for target, e in (failures or {}).items()
            ],
        }
    )


def _target(found: Figures) -> dict[str, Any]:
    plan, cost = found.plan, found.arithmetic
    return {
        "target": found.run.target,
        "model": plan.model,
        "optimizer": plan.profile,
        "policy": plan.policy,
        "fingerprint": plan.fingerprint,
        "settings": {s.name: encode(s.default) for s in plan.settings},
        "layers": plan.layers
        and {
            "count": plan.layers.count,
            "source": plan.layers.source,
            "lr_scales": list(plan.scales),
        },
        "groups": {g.label: _group(g) for g in found.groups},
        "frozen": [p.name for p in found.frozen],
        "summary": {
            "parameters": sum(len(g.members) for g in found.groups),
            "elements": sum(g.elements for g in found.groups),
            "state_bytes": found.memory.state,
            "adamw_state_bytes": found.memory.adamw,
        },
        "flops": {
            "tokens_per_step": cost.tokens,
            "newton_schulz": cost.newton_schulz,
            "forward_backward": cost.forward_backward,
            "share": cost.share,
            "assumptions": list(found.assumptions),
        },
        "notes": [*found.run.notes, *plan.notes],
    }


def _group(g: GroupFigures) -> dict[str, Any]:
    """The group's own options come first, as they stand in the group; no key of ours is the name of an option."""
    options = {key: encode(value) for key, value in g.options.items()}
    return {
        **options,
        "params": [p.name for p in g.members],
        "lr_scale": g.group.lr_scale,
        "lr_turn": g.group.turn,
        "half": g.group.kind.half,
        "kind": g.group.kind.label,
        "layer": g.group.layer,
        "why": g.group.kind.why,
        "elements": g.elements,
        "state_bytes": g.memory.state,
        "adamw_state_bytes": g.memory.adamw,
    }
