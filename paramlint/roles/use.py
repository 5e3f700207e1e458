"""Evidence from the traced forward: what is done with a parameter, and where in the flow from input to output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paramlint import parts
from paramlint.parameter import Confidence, Evidence, Parameter, Use
from paramlint.roles.module import Fused


def speak(p: Parameter) -> Iterator[Evidence]:
    """What the uses of a parameter say of it, in all passes together; the first statement is the strongest."""
    if not p.uses:
        if p.reach == "unused":
            yield Evidence("use", "unused", "the traced forward ran its module, and nothing read it", "guess")
        return
    maps = [u for u in p.uses if u.is_map]
    lookups = [u for u in p.uses if u.op == "lookup"]
    if maps and p.effective_ndim > 1:
        if p.ndim == 2 and any(u.index == "data" for u in lookups):
            yield Evidence(
                "use", "tied-embedding", "its rows are picked by the data, and it is multiplied into activations"
            )
        else:
            yield _map(p, maps)
    elif lookups:
        yield _lookup(p, lookups)
    else:
        yield from _elsewhere(p)


def _map(p: Parameter, maps: Sequence[Use]) -> Evidence:
    convolution = all(u.op == "convolution" for u in maps)
    what = "convolution" if convolution else "map"
    groups = min(u.groups for u in maps)
    follows = any(u.feeds for u in maps)
    if any(u.adapts for u in maps):
        return Evidence("use", "low-rank-adapter", "half of a low-rank pair beside a larger map")
    if any(u.to_output for u in maps) and not follows:
        return Evidence("use", "output-head", f"the last {what} before an output")
    if groups > 1 and groups in (p.shape[0], p.shape[0] * p.shape[1]):
        return Evidence("use", "depthwise-conv", f"filter of a convolution in {groups} groups, one for each channel")
    if groups > 1:
        return Evidence("use", "grouped-conv", f"filter of a convolution in {groups} groups")
    fused = max((u for u in maps if len(u.parts) > 1), key=lambda u: len(u.parts), default=None)
    if all(u.narrow for u in maps) and not convolution and not any(u.chooses or u.from_input for u in maps):
        return Evidence("use", "small-gate", "a map with a side of two or three only")
    if all(u.batch_dims for u in maps) and not convolution:
        text = "a stack of matrices, each multiplied with inputs of its own"
        return (
            _divided("expert-stack", fused, "certain", f"{text}; its")
            if fused
            else Evidence("use", "expert-stack", text)
        )
    if any(u.chooses for u in maps):
        return Evidence("use", "router", "the largest of its outputs are picked")
    if any(u.from_input for u in maps):
        return Evidence("use", "input-projection", f"the first {what} on the data")
    if all(u.on_constants for u in maps):
        return Evidence("use", "relative-bias", f"a {what} of constants, such as coordinates", "likely")
    sure: Confidence = "certain" if follows else "likely"
    if convolution:
        return Evidence("use", "conv-filter", "a convolution of activations", sure)
    if fused is not None:
        return _divided("fused-matrix", fused, sure, "its")
    return Evidence("use", "hidden-matrix", "maps activations to activations", sure)


def _divided(role: str, use: Use, sure: Confidence, whose: str) -> Fused:
    text = f"{whose} outputs are divided: {parts.of(use)}"
    return Fused("use", role, text, sure, splits=tuple(part.rows for part in use.parts))


def _lookup(p: Parameter, lookups: Sequence[Use]) -> Evidence:
    if any(u.index == "data" for u in lookups):
        return Evidence("use", "embedding", "its rows are picked by integers of the data")
    return Evidence("use", "position-table", "its rows are picked by integers that do not depend on the data")


def _elsewhere(p: Parameter) -> Iterator[Evidence]:
    """A vector, or a tensor of more dimensions that is in no map and no table."""
    done, vector = {u.op for u in p.uses}, p.effective_ndim <= 1
    if "normalise" in done:
        yield Evidence("use", "norm-gain", "gain of a normalisation")
    elif "bias" in done:
        yield Evidence("use", "bias", "added to the result of a map or a normalisation")
    elif any(u.is_map for u in p.uses):
        yield Evidence("use", "row-matrix", "a map with one row or column")
    elif "add" in done and not vector:
        yield Evidence("use", "position-table", "added to activations")
    elif done & {"concatenate", "replace", "attend", "mapped"}:
        yield Evidence("use", "token", "learned, and takes a place among activations")
    elif "multiply" in done:
        role = "scale" if vector else "elementwise"
        yield Evidence("use", role, "multiplied into activations element by element")
    elif "add" in done:
        yield Evidence("use", "bias", "added to activations", "likely")
    elif done and not vector:
        yield Evidence("use", "elementwise", "in no map, and no table", "likely")
