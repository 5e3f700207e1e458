"""PML201 to PML207 and PML211: roles that a policy keeps out of Muon. One table, one walk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from paramlint.checks.context import Context, Placement
from paramlint.checks.making import judged, of_role, sources
from paramlint.finding import Finding, Severity
from paramlint.parameter import Parameter


class Row(NamedTuple):
    """What is wrong with a role in Muon: its rule, how a message says it, and why."""

    code: str
    what: str
    why: str


_VECTOR = "a gain, bias or scale has no rows and columns to orthogonalise"
_ADDED = "it is added to activations, not multiplied into them"
_FILTERS = "each channel has a filter of its own: orthogonalising across channels scales them degenerately"
ROWS = {
    "embedding": Row("PML201", "embedding", "its rows are picked one by one: a batch touches few of them"),
    "output-head": Row(
        "PML202", "output head", "Muon is for maps between hidden activations; heads train worse with it"
    ),
    "tied-embedding": Row("PML203", "embedding tied to the head", "one tensor, and both of its uses belong to Adam"),
    "norm-gain": Row("PML204", "norm gain", _VECTOR),
    "bias": Row("PML204", "bias", _VECTOR),
    "scale": Row("PML204", "scale", _VECTOR),
    "row-matrix": Row("PML204", "matrix of one row or column", "it is a vector in effect"),
    "position-table": Row("PML205", "position table", _ADDED),
    "relative-bias": Row("PML205", "relative position bias", _ADDED),
    "token": Row("PML205", "learned token", _ADDED),
    "elementwise": Row("PML206", "elementwise parameter", "no matmul ever sees it: its rows and columns mean nothing"),
    "depthwise-conv": Row("PML207", "depthwise convolution", _FILTERS),
    "grouped-conv": Row("PML207", "grouped convolution", _FILTERS),
    "input-projection": Row("PML211", "input layer", "its input is data, not a hidden activation"),
}
_EFFECTIVE_VECTOR = Row("PML204", "vector", _VECTOR)


def verdict(ctx: Context, place: Placement, p: Parameter) -> Finding | None:
    """What is wrong with this parameter being in Muon, by its role or because it is 1-D in effect."""
    ruling = ctx.ruling(p.role)
    row = ROWS.get(p.role)
    if row is None or ruling is None or ruling.to != "adam":
        return _vector(ctx, place, p) if p.effective_ndim <= 1 else None
    return of_role(
        row.code,
        p,
        f"{row.what} in {place.label}, which orthogonalises it",
        "move it to the AdamW half" + (", without weight decay" if row.why == _VECTOR else ""),
        place=place,
        severity=_severity(ctx, row.code, p),
        details=(row.why, *sources(ctx, p.role)),
    )


def _vector(ctx: Context, place: Placement, p: Parameter) -> Finding:
    """A shape is a fact, whatever the role: this stays an error where the role is a guess."""
    row = _EFFECTIVE_VECTOR
    message = f"{row.what} of shape {p.shape} in {place.label}, which orthogonalises it"
    help = "move it to the AdamW half, without weight decay"
    return Finding(row.code, "error", message, help, (p.name,), place.label, None, (row.why,))


def _severity(ctx: Context, code: str, p: Parameter) -> Severity | None:
    """A position table that is an `nn.Embedding` is as certain as any embedding; a bare one is a warning."""
    if code != "PML205":
        return None
    looked_up = any(c.endswith(("Embedding", "EmbeddingBag")) for c in ctx.owners(p))
    return "error" if looked_up else "warning"


def check(ctx: Context) -> Iterator[Finding]:
    """Where the optimizer refuses the shape anyway, that is the graver fault, and a milder one here is not said."""
    for place, p in judged(ctx, "muon"):
        found = verdict(ctx, place, p)
        if found and (found.severity == "error" or place.action != "error"):
            yield found
