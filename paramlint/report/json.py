"""Runs as JSON: one document for `params` and `check`, described by schema.json beside this module."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from paramlint import __version__
from paramlint.errors import ParamlintError
from paramlint.finding import SEVERITIES, Finding, Fix
from paramlint.folding import fold
from paramlint.group import Group, OptimizerUse, Proposal
from paramlint.parameter import Location, Parameter
from paramlint.registry import by_code
from paramlint.report.rows import Total, by_destination, by_role
from paramlint.report.wording import DESTINATIONS, path_of
from paramlint.run import FileRun, Files, Run
from paramlint.serial import encode

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("schema.json")
_KEYS: dict[str, str] = {label: key for key, label in DESTINATIONS.items()}


def head() -> dict[str, Any]:
    """What every JSON document of this tool begins with."""
    return {"schema_version": SCHEMA_VERSION, "tool": {"name": "paramlint", "version": __version__}}


def written(value: object) -> str:
    """JSON text, in ASCII: no locale can spoil it. Numbers that JSON lacks (infinity, NaN) become strings."""
    return json.dumps(_finite(value), indent=2, allow_nan=False) + "\n"


def document(
    runs: Sequence[Run],
    failures: Mapping[str, ParamlintError] | None = None,
    *,
    only: Collection[str] | None = None,
    files: Files | None = None,
) -> str:
    """All runs, the source files with something to say, and what could not be looked at. `only` limits the parameters
    to these names."""
    targets = [_target(run, only) for run in runs]
    read = files.runs if files is not None else ()
    looked: tuple[Run | FileRun, ...] = (*runs, *read)
    summary = {
        "targets": len(runs),
        "failed": len(failures or {}),
        **{f"{severity}s": sum(run.count(severity) for run in looked) for severity in SEVERITIES},
    }
    if files is not None:
        summary |= {"files": files.read, "fixed": sum(len(run.fixed) for run in read)}
    return written(
        {
            **head(),
            "summary": summary,
            "targets": targets,
            **({"files": [_file(run) for run in read]} if files is not None else {}),
            "failures": [
                {"target": target, "where": e.where, "message": e.message, "hint": e.hint}
                for target, e in (failures or {}).items()
            ],
        }
    )


def _target(run: Run, only: Collection[str] | None) -> dict[str, Any]:
    inventory = run.inventory
    parameters = inventory.parameters
    return {
        "target": run.target,
        "model": inventory.model,
        "fingerprint": inventory.fingerprint,
        "location": _location(inventory.location),
        "built_on": inventory.built_on,
        "policy": run.policy,
        "profile": run.profile,
        "summary": {
            "parameters": len(parameters),
            "elements": sum(p.numel for p in parameters),
            "by_role": {t.label: _total(t) for t in by_role(parameters)},
            "by_destination": {_KEYS.get(t.label, t.label): _total(t) for t in by_destination(parameters)},
        },
        "parameters": [_parameter(p, run) for p in parameters if only is None or p.name in only],
        "modules": encode(inventory.modules),
        "accessors": encode(inventory.accessors),
        "appeared": list(inventory.appeared),
        "groups": [_group(run.proposal, use, g) for use in run.proposal.optimizers for g in use.groups]
        if run.proposal
        else None,
        "passes": [
            {"inputs": p.inputs, "how": p.how, "stopped": p.stopped, "answered": list(p.answered)}
            for p in inventory.passes
        ],
        "diagnostics": [_diagnostic(f) for f in run.findings],
        "notes": list(run.notes),
    }


def _total(t: Total) -> dict[str, int]:
    return {"parameters": t.count, "elements": t.numel}


def _parameter(p: Parameter, run: Run) -> dict[str, Any]:
    return {
        "name": p.name,
        "aliases": list(p.aliases),
        "shape": list(p.shape),
        "ndim": p.ndim,
        "dtype": p.dtype,
        "numel": p.numel,
        "trainable": p.trainable,
        "state": p.state,
        "sparse": p.sparse,
        "use_muon": p.use_muon,
        "role": p.role,
        "confidence": p.confidence,
        "destination": p.destination,
        "updated_by": run.routed.get(p.name),
        "splits": list(p.splits),
        "reach": p.reach,
        "uses": encode(p.uses),
        "why": p.why,
        "evidence": [
            {"layer": e.layer, "role": e.role, "confidence": e.confidence, "text": e.text} for e in p.evidence
        ],
    }


def _group(proposal: Proposal, use: OptimizerUse, group: Group) -> dict[str, Any]:
    return {
        "label": proposal.label(use, group),
        "index": group.index,
        "optimizer": use.label,
        "class": use.class_name,
        "profile": use.profile,
        "assumed": use.assumed,
        "refusal": use.refusal,
        "half": group.half,
        "options": encode({**use.options, **group.options}),
        "parameters": [m.name for m in group.members if m.name is not None],
        "foreign": sum(m.name is None for m in group.members),
    }


def _diagnostic(f: Finding) -> dict[str, Any]:
    return {
        "code": f.code,
        "name": by_code()[f.code].name,
        "severity": f.severity,
        "message": f.message,
        "help": f.help,
        "parameters": list(f.parameters),
        "patterns": [folded.pattern for folded in fold(f.parameters)],
        "group": f.group,
        "location": _location(f.location),
        "details": list(f.details),
    }


def _file(run: FileRun) -> dict[str, Any]:
    pairs = zip(run.findings, run.spots, strict=True)
    return {
        "path": run.path,
        "diagnostics": [{**_diagnostic(f), "end": _position(spot.end), "fix": _fix(f.fix)} for f, spot in pairs],
        "fixed": [f.code for f in run.fixed],
    }


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {"title": fix.title, "safe": fix.safe, "start": _position(fix.start), "end": _position(fix.end)}


def _position(at: tuple[int, int]) -> dict[str, int]:
    return {"line": at[0], "column": at[1]}


def _location(location: Location | None) -> dict[str, Any] | None:
    if location is None:
        return None
    return {
        "path": path_of(location),
        "line": location.line,
        "column": location.column,
        "label": location.label,
    }


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
