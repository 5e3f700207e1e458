"""Who should update a parameter, where policy and what an optimizer takes are both known."""

from __future__ import annotations

from collections.abc import Mapping

from paramlint.parameter import Destination, Parameter
from paramlint.profile import NdimAction, Profile

#: What a Muon half must do with a tensor of more than two dimensions for its role to belong there. Flattening a
#: stack of matrices mixes them; batching a convolution orthogonalises each tap alone.
_TAKES: dict[str, tuple[NdimAction, ...]] = {
    "hidden-matrix": ("accept", "flatten"),  # stored by heads, as `(in, heads, features)`
    "fused-matrix": ("accept", "flatten"),
    "conv-filter": ("accept", "flatten"),
    "grouped-conv": ("accept", "flatten"),
    "expert-stack": ("accept", "batch"),
}
#: What optimizers say that refuse complex parameters at the first step.
COMPLEX_REFUSED: Mapping[str, str] = {
    "torch-muon": "RuntimeError: Muon does not support complex parameters",
    "pytorch-optimizer": "NoComplexParameterError",
}
#: Those of them that refuse them in their AdamW half too.
COMPLEX_NOWHERE = ("pytorch-optimizer",)


def is_complex(p: Parameter) -> bool:
    """Whether a parameter holds complex numbers: Newton-Schulz as all implementations have it is for real matrices."""
    return p.dtype.startswith("complex")


def destination(p: Parameter, profile: Profile | None) -> Destination:
    """Where policy sends a parameter, or Adam where this optimizer's Muon half cannot take it as it should."""
    if is_complex(p):
        return "adam"
    if p.destination == "adam" or profile is None:
        return p.destination
    if profile.family == "elementwise":
        return "adam"
    action = profile.ndim.get(str(min(max(p.ndim, 1), 5)), "accept" if p.ndim == 2 else "error")
    if p.ndim == 2:
        return "muon" if action in ("accept", "batch", "flatten") else "adam"
    return "muon" if action in _TAKES.get(p.role, ("accept", "batch")) else "adam"
