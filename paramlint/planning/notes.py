"""What somebody who follows a plan should know: which weights are left to Adam, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paramlint.parameter import Inventory, Parameter
from paramlint.placement import destination, is_complex
from paramlint.planned import Kind
from paramlint.planning.sorting import Fused, Sorted
from paramlint.profile import Policy, Profile

_PLURAL = {
    "hidden-matrix": "hidden matrices",
    "fused-matrix": "fused matrices",
    "expert-stack": "expert stacks",
    "conv-filter": "convolution filters",
    "grouped-conv": "grouped convolution filters",
}


def notes(
    inventory: Inventory, found: Sorted, kinds: Sequence[Kind], profile: Profile, policy: Policy, fused: Fused
) -> Iterator[str]:
    """Each is one line."""
    if profile.family != "muon":
        return
    half = {k.label: k.half for k in kinds}
    trained = [p for p in inventory.parameters if p.trainable]
    everything = sum(p.numel for p in trained) or 1
    left: dict[tuple[str, str], list[Parameter]] = {}
    for p in trained:
        if p.destination != "muon" or half[found.labels[p.name]] == "muon":
            continue
        if is_complex(p):
            why = "Newton-Schulz is for real matrices, and complex ones are refused or lose their imaginary part"
        elif destination(p, profile) != "muon":
            why = f"what {profile.name} does with {p.ndim}-D tensors is not for them"
        elif fused == "adam":
            why = "as you said"
        else:
            why = f"{profile.name} would orthogonalise their parts as one matrix; --fused whole lets it"
        left.setdefault((p.role, why), []).append(p)
    for (role, why), members in left.items():
        share = 100 * sum(p.numel for p in members) / everything
        what = _PLURAL.get(role, f"of role {role}") if len(members) > 1 else role
        yield f"{len(members)} {what} ({share:.1f} % of the elements) go to AdamW: {why}"
    if "muon" not in half.values():
        yield f"nothing in this model goes to Muon with {profile.name} under policy {policy.name}"
    guesses = [p for p in trained if p.confidence == "guess" and p.effective_ndim > 1]
    if guesses:
        first = ", ".join(p.name for p in guesses[:3]) + (", ..." if len(guesses) > 3 else "")
        yield f"the role of {len(guesses)} is a guess ({first}): `roles` in the configuration settles it"
