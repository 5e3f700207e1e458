"""Evidence from the identity of the tensor: one tensor, registered in several places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paramlint.parameter import Evidence, Parameter

_MAPS = ("hidden-matrix", "output-head", "conv-filter")


def speak(p: Parameter, others: Sequence[Evidence]) -> Iterator[Evidence]:
    """Speaks where the other layers call one tensor both an embedding and a linear map: the two are tied."""
    if len(p.sites) < 2:
        return
    said = {e.role for e in others}
    if "embedding" in said and said & set(_MAPS):
        yield Evidence("identity", "tied-embedding", "one tensor, embedding and head: " + " = ".join(_names(p)))


def _names(p: Parameter) -> list[str]:
    return [p.name, *p.aliases]
