"""Where linear maps stand between the inputs of a model and its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paramlint.model.trace import kinds
from paramlint.model.trace.heads import feeding, output_maps
from paramlint.model.trace.meets import Meetings, chosen, distributions
from paramlint.model.trace.pairs import adapters
from paramlint.model.trace.parts import divided
from paramlint.model.trace.reading import Reading
from paramlint.parameter import Use

_NARROW = 4  # a side below it is none to orthogonalise: timm's Muon leaves such to AdamW
_COORDINATES = 32  # features of constants that are no hidden states: coordinates, distances, a bias for each head
_READERS = 4  # maps that may read one raw input side by side; a context is read by some in every layer


def maps(reading: Reading) -> Iterator[tuple[int, Use]]:
    """The use of every linear map and convolution."""
    follow = feeding(reading)
    raw = _raw_inputs(reading, follow)
    meetings = Meetings(reading)
    first = {
        m.node.number
        for m in reading.products
        if m.fresh and reading.inputs[m.data] & raw and not meetings.attention(m)
    }
    heads = output_maps(reading, follow)
    if not first and not reading.lookups:
        # a lone layer maps hidden states to hidden states of the same width
        widths = {node.shape[-1] for node in reading.graph.nodes if node.leaf == "input" and node.shape}
        heads = {i for i in heads if reading.product_at[i].fan_out not in widths}
    choosing = chosen(reading)
    tables = distributions(reading)
    thin = adapters(reading)
    divisions = divided(reading)
    scores = set(tables.values())
    for m in reading.products:
        number = m.node.number
        if number in tables:
            yield from ((p, Use("lookup", m.operand, m.node.op, index="data")) for p in m.weights)
            continue
        if m.batched and meetings.scores(m):
            yield from ((p, Use("attend", m.operand, m.node.op)) for p in m.weights)
            continue
        convolution = m.node.op in kinds.CONVOLUTIONS
        use = Use(
            op="convolution" if convolution else "matmul",
            operand=m.operand,
            function=m.node.op,
            batch_dims=int(m.batched),
            groups=int(m.node.details.get("groups") or 1) if convolution else 1,
            from_input=number in first,
            on_constants=m.on_constants and min(m.fan_in, m.fan_out) <= _COORDINATES,
            to_output=number in heads or number in scores,
            feeds=follow[number] and number not in scores and number not in heads,
            chooses=number in choosing,
            adapts=number in thin,
            narrow=min(m.fan_in, m.fan_out) < _NARROW,
        )
        for p in m.weights:
            division = divisions.get(p)
            yield p, use if division is None else replace(use, parts=division.parts, repeats=division.repeats)


def _raw_inputs(reading: Reading, follow: list[bool]) -> int:
    """Bits of the inputs that are data: neither hidden states from elsewhere nor a stream that layers add to."""
    readers: dict[int, int] = {}
    for m in reading.products:
        if m.fresh:
            readers[reading.inputs[m.data]] = readers.get(reading.inputs[m.data], 0) + 1
    bits = 0
    for key, count in readers.items():
        if count <= _READERS:
            bits |= key
    for i in reading.hidden_inputs:
        bits &= ~(1 << i)
    for node in reading.graph.nodes:
        if node.op in ("add", "add_") and follow[node.number] and len(node.parents) == 2:
            for a, b in (node.parents, node.parents[::-1]):
                if reading.inputs[a] and not reading.touched[a] and reading.touched[b]:
                    bits &= ~reading.inputs[a]
    return bits
