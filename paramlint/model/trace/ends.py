"""Where linear maps stand between the inputs of a model and its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paramlint.model.trace import kinds
from paramlint.model.trace.meets import Meetings, chosen, distributions
from paramlint.model.trace.pairs import adapters
from paramlint.model.trace.parts import divided
from paramlint.model.trace.reading import ACTIVATION, Product, Reading
from paramlint.parameter import Use

_SIDE_BY_SIDE = 64  # heads that may be averaged, compared or stacked in one output
_FEW = 8  # features that are scores themselves, where one more map weighs them
_NARROW = 4  # a side below it is none to orthogonalise: timm's Muon leaves such to AdamW
_COORDINATES = 32  # features of constants that are no hidden states: coordinates, distances
_READERS = 4  # maps that may read one raw input side by side; a context is read by some in every layer


def maps(reading: Reading) -> Iterator[tuple[int, Use]]:
    """The use of every linear map and convolution."""
    follow = feeding(reading)
    heads = _heads(reading, follow)
    raw = _raw_inputs(reading, follow)
    choosing = chosen(reading)
    tables = distributions(reading)
    meetings = Meetings(reading)
    thin = adapters(reading)
    divisions = divided(reading)
    scores = set(tables.values())
    for m in reading.products:
        number = m.node.number
        if number in tables:
            yield from ((p, Use("lookup", m.operand, m.node.op, index="data")) for p in m.weights)
            continue
        convolution = m.node.op in kinds.CONVOLUTIONS
        use = Use(
            op="convolution" if convolution else "matmul",
            operand=m.operand,
            function=m.node.op,
            batch_dims=int(m.batched),
            groups=int(m.node.details.get("groups") or 1) if convolution else 1,
            from_input=m.fresh and bool(reading.inputs[m.data] & raw) and not meetings.attention(m),
            on_constants=m.on_constants and m.fan_in <= _COORDINATES,
            to_output=number in heads or number in scores,
            feeds=follow[number] and number not in scores,
            chooses=number in choosing,
            adapts=number in thin,
            narrow=min(m.fan_in, m.fan_out) < _NARROW,
        )
        for p in m.weights:
            division = divisions.get(p)
            yield p, use if division is None else replace(use, parts=division.parts, repeats=division.repeats)


def feeding(reading: Reading) -> list[bool]:
    """For every node whether its result goes on, through numbers, into another linear map of parameters."""
    nodes = reading.graph.nodes
    found = [False] * len(nodes)
    for node in reversed(nodes):
        if node.leaf or not (found[node.number] or node.number in reading.product_at):
            continue
        for q in node.parents:
            if nodes[q].carries:
                found[q] = True
    return found


def _heads(reading: Reading, follow: list[bool]) -> set[int]:
    """Products that reach an output through no other, where every way back from that output meets them first."""
    found = _dead_ends(reading, follow)
    repeated = {p for m in reading.products if follow[m.node.number] for p in m.weights}
    for result in dict.fromkeys(reading.graph.results):
        if not reading.graph.nodes[result].carries:
            continue
        frontier, looked_up = _frontier(reading, result)
        if looked_up or not 0 < len(frontier) <= _SIDE_BY_SIDE:
            continue
        if not any(follow[i] or repeated & set(reading.product_at[i].weights) for i in frontier):
            found |= frontier
            for i in frontier:
                found |= _weighed(reading, reading.product_at[i])
    return found


def _weighed(reading: Reading, last: Product) -> set[int]:
    """Where the last map only weighs a few features into one, what gives these is the head."""
    if last.fan_out > 1 or last.fan_in > _FEW:
        return set()
    frontier, _ = _frontier(reading, last.data)
    return frontier


def _dead_ends(reading: Reading, follow: list[bool]) -> set[int]:
    """Products that lead neither to another nor to what was returned: outputs that only a loss would take."""
    graph = reading.graph
    if not graph.complete:
        return set()
    arrives = [False] * len(graph.nodes)
    for result in graph.results:
        arrives[result] = True
    for node in reversed(graph.nodes):
        if arrives[node.number]:
            for q in node.parents:
                arrives[q] = True
    inside = {m.shape for m in reading.products if follow[m.node.number]}
    # of the shape of maps inside, it is rather the end of a last block that was not asked for
    return {i for i, m in reading.product_at.items() if not follow[i] and not arrives[i] and m.shape not in inside}


def _frontier(reading: Reading, result: int) -> tuple[set[int], bool]:
    """The first products on every way back from a node, and whether one ends in a table."""
    seen: set[int] = set()
    stack, frontier, looked_up = [result], set(), False
    while stack:
        i = stack.pop()
        if i in seen:
            continue
        seen.add(i)
        if i in reading.product_at:
            frontier.add(i)
        elif i in reading.lookups:
            looked_up = True
        else:
            node = reading.graph.nodes[i]
            onward = [q for q in node.parents if reading.graph.nodes[q].carries and reading.status[q] == ACTIVATION]
            if len(onward) < 2 or node.op not in kinds.PRODUCTS:  # activations compared with one another are no scores
                stack.extend(onward)
    return frontier, looked_up


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
