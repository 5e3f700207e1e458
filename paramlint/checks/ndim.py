"""PML208, PML209, PML210: tensors that are no real matrices, and what the optimizer does with them."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import Context, Placement
from paramlint.checks.in_muon import verdict
from paramlint.checks.making import judged, of_role, sources
from paramlint.finding import Finding
from paramlint.parameter import Parameter
from paramlint.placement import COMPLEX_REFUSED, is_complex

_DENSE = ("conv-filter", "grouped-conv")
_WHEN = {"constructor": "its constructor refuses", "step": "its first step fails on", "never": "it does not take"}
_FLATTENED = "flattening makes one matrix of all experts: their updates are coupled, and the step is far too small"
_REAL = "where it is cast to bfloat16 for the iteration, its imaginary part is lost"
_BATCHED = "measured first update of a Conv1d (64, 16, 3): RMS 0.55 batched, 0.12 to 0.15 flattened, at the same lr"


def check(ctx: Context) -> Iterator[Finding]:
    for place, p in judged(ctx, "muon"):
        if place.action == "error" or is_complex(p):
            graver = verdict(ctx, place, p)
            if graver is None or graver.severity != "error":
                yield _refused(ctx, place, p) if place.action == "error" else _complex(place, p)
        elif place.action == "flatten" and p.role == "expert-stack":
            yield of_role(
                "PML209",
                p,
                f"expert stack in {place.label}, which flattens it into one matrix",
                "move it to the AdamW half, or use an optimizer that takes the first dimension as a batch",
                place=place,
                details=(_FLATTENED, *_profile(place), *sources(ctx, p.role)),
            )
        elif place.action == "batch" and p.role in _DENSE and verdict(ctx, place, p) is None:
            yield of_role(
                "PML210",
                p,
                f"convolution in {place.label}, which orthogonalises slices of it, not the filter bank",
                "move it to the AdamW half, or use an optimizer (or an option) that flattens it",
                place=place,
                details=(_BATCHED, *_profile(place)),
            )


def _refused(ctx: Context, place: Placement, p: Parameter) -> Finding:
    """The number of dimensions is a fact: this is an error even where the role is a guess."""
    assert place.profile is not None  # an action comes from a profile
    when = _WHEN[place.profile.ndim_checked]
    said = (place.profile.ndim_error,) if place.profile.ndim_error else ()
    return Finding(
        "PML208",
        "error",
        f"{p.ndim}-D tensor in {place.label} ({place.profile.name}): {when} it",
        "move it to the AdamW half, or use an optimizer that takes this shape",
        (p.name,),
        place.label,
        None,
        (*said, f"{p.role}: {p.why}"),
    )


def _complex(place: Placement, p: Parameter) -> Finding:
    """The dtype is a fact, like a shape. An error where the implementation is known to refuse it."""
    name = place.profile.name if place.profile else ""
    said = COMPLEX_REFUSED.get(name)
    return Finding(
        "PML208",
        "error" if said else "warning",
        f"complex tensor in {place.label}{f' ({name})' if name else ''}: "
        + ("its first step refuses it" if said else "Newton-Schulz is for real matrices"),
        "move it to the AdamW half, or keep real and imaginary parts as two parameters",
        (p.name,),
        place.label,
        None,
        (*((said,) if said else (_REAL,)), f"{p.role}: {p.why}"),
    )


def _profile(place: Placement) -> tuple[str, ...]:
    return (f"optimizer profile: {place.profile.name}",) if place.profile else ()
