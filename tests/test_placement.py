"""Who should update a parameter, by policy and by what an optimizer takes."""

from __future__ import annotations

import pytest

from paramlint.knowledge import load
from paramlint.parameter import Destination, Parameter
from paramlint.placement import destination

SHAPES = {"hidden-matrix": (64, 32), "conv-filter": (64, 32, 3, 3), "expert-stack": (8, 64, 32), "norm-gain": (64,)}


def parameter(role: str) -> Parameter:
    to: Destination = "adam" if role == "norm-gain" else "muon"
    return Parameter("p", SHAPES[role], "float32", True, (), role=role, destination=to)


@pytest.mark.parametrize(
    ("profile", "in_muon"),
    [
        (None, {"hidden-matrix", "conv-filter", "expert-stack"}),
        ("torch-muon", {"hidden-matrix"}),
        ("keller", {"hidden-matrix", "conv-filter", "expert-stack"}),
        ("sgd", set()),
    ],
)
def test_muon_gets_what_its_half_takes(profile: str | None, in_muon: set[str]) -> None:
    known = load().profile(profile) if profile else None
    assert {role for role in SHAPES if destination(parameter(role), known) == "muon"} == in_muon
