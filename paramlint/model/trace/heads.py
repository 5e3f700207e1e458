"""Output heads: the maps that every way back from an output meets first."""

from __future__ import annotations

from collections.abc import Collection

from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Node
from paramlint.model.trace.reading import ACTIVATION, Product, Reading

_SIDE_BY_SIDE = 64  # heads that may be averaged, compared or stacked in one output
_FEW = 8  # features that are scores themselves, where one more map weighs them
#: What moves, adds or averages features.
_LINEAR = (
    kinds.VIEWS
    | kinds.JOINS
    | kinds.LOOKUPS
    | frozenset("add sub rsub neg sum mean dropout native_dropout constant_pad_nd pad".split())
)
_RESIZING = (
    "upsample_",
    "_upsample_",
    "avg_pool",
    "adaptive_avg_pool",
    "_adaptive_avg_pool",
    "reflection_pad",
    "replication_pad",
)
_NARROWING = 4  # a map to an output gives this many times fewer features than the stream that it reads has


def feeding(reading: Reading, placed: Collection[str] = kinds.CROPS) -> list[bool]:
    """For every node whether its result goes on, where a gradient would come back, into another linear map.

    Of operations in `placed` only the first operand goes on: the others say where to read it.
    """
    found = [False] * len(reading.graph.nodes)
    for node in reversed(reading.graph.nodes):
        if found[node.number] or node.number in reading.product_at:
            for q in _behind(reading, node, placed):
                found[q] = True
    return found


def _behind(reading: Reading, node: Node, placed: Collection[str] = kinds.CROPS) -> list[int]:
    """The parents of a node that a gradient would reach: no integers, nothing detached, no regions to crop."""
    if node.leaf or node.op == "detach":
        return []
    parents = node.parents[:1] if node.op in placed else node.parents
    return [q for q in parents if reading.graph.nodes[q].carries]


def output_maps(reading: Reading, follow: list[bool]) -> set[int]:
    """Products that reach an output through no other, where every way back from that output meets them first."""
    found = _dead_ends(reading, follow)
    repeated = {p for m in reading.products if follow[m.node.number] for p in m.weights}
    for result in dict.fromkeys(reading.graph.results):
        if not reading.graph.nodes[result].carries:
            continue
        frontier, beyond, looked_up = _frontier(reading, result)
        if looked_up or not 0 < len(frontier) <= _SIDE_BY_SIDE:
            continue
        last = {i for i in frontier if not follow[i] and not repeated & set(reading.product_at[i].weights)}
        widths = {reading.product_at[i].fan_out for i in (frontier | beyond) - last if follow[i]}
        # what gives as many features as maps before it is added to their stream, and is no end of its own
        ends = {i for i in last if reading.product_at[i].fan_out not in widths}
        found |= ends
        for i in ends:
            found |= _weighed(reading, reading.product_at[i])
        if last and not ends:
            found |= _refined(reading, last, frontier - last)
    return found


def _weighed(reading: Reading, last: Product) -> set[int]:
    """Where the last map only weighs a few scores into one, what gives these is the head.

    Scores are what a map makes of many more features, and they reach the last map as they are: the two together are one
    linear map to the output. Behind an activation, a normalisation or a product they are features of a narrow hidden
    layer, as those before an output of one channel are, and what gives them is a hidden map like any other.
    """
    if last.fan_out > 1 or last.fan_in > _FEW or not _as_they_are(reading, last.data):
        return set()
    giving = _frontier(reading, last.data)[0]
    maps = [reading.product_at[i] for i in giving]
    return giving if all(m.fan_in >= _NARROWING * m.fan_out for m in maps) else set()


def _as_they_are(reading: Reading, number: int) -> bool:
    """Whether nothing but moving, adding and averaging stands between a node and the maps before it."""
    seen, stack = {number}, [number]
    while stack:
        node = reading.graph.nodes[stack.pop()]
        if node.number in reading.product_at or node.leaf:
            continue
        onward = [q for q in _behind(reading, node) if reading.status[q] == ACTIVATION]
        scaled = node.op in kinds.MULTIPLICATIONS and len(onward) == 1
        if not (scaled or kinds.plain(node.op) in _LINEAR or node.op.startswith(_RESIZING)):
            return False
        stack += set(onward) - seen
        seen.update(onward)
    return True


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


def _frontier(reading: Reading, result: int) -> tuple[set[int], set[int], bool]:
    """The first products on every way back from a node, and whether one of these ways ends in a table.

    Those in the second set lie beyond a product of activations: what is compared with something else is no score.
    """
    seen: set[tuple[int, bool]] = set()
    stack = [(result, False)]
    found: tuple[set[int], set[int]] = set(), set()
    looked_up = False
    while stack:
        i, compared = stack.pop()
        if (i, compared) in seen:
            continue
        seen.add((i, compared))
        if i in reading.product_at:
            found[compared].add(i)
        elif i in reading.lookups:
            looked_up = True
        else:
            node = reading.graph.nodes[i]
            onward = [q for q in _behind(reading, node) if reading.status[q] == ACTIVATION]
            compared = compared or (len(onward) > 1 and node.op in kinds.PRODUCTS)
            stack.extend((q, compared) for q in onward)
    return found[0], found[1] - found[0], looked_up


def _refined(reading: Reading, last: set[int], before: set[int]) -> set[int]:
    """The map that narrows the stream to an output and the one of the same width that refines it: h + f(h)."""
    if len(last) != 1 or len(before) != 1:
        return set()
    refining, narrowing = reading.product_at[min(last)], reading.product_at[min(before)]
    same = refining.fan_in == refining.fan_out == narrowing.fan_out
    if same and narrowing.fan_in >= _NARROWING * narrowing.fan_out and _frontier(reading, refining.data)[0] == before:
        return last | before
    return set()
