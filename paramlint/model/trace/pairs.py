"""Low-rank pairs: two thin maps in a row whose result is added to that of a larger map of the same data."""

from __future__ import annotations

from paramlint.model.trace import kinds
from paramlint.model.trace.reading import ACTIVATION, Product, Reading

_THIN = 4  # a rank this many times smaller than both sides makes a pair an adapter
_PASSED = kinds.VIEWS | {"mul", "mul_", "div", "native_dropout", "dropout", "_to_copy"}


def adapters(reading: Reading) -> set[int]:
    """The products, by node, that are halves of such pairs (LoRA: W x + s B A x, https://arxiv.org/abs/2106.09685)."""
    pairs = {b.node.number: a for b in reading.products if (a := _thin_before(reading, b)) is not None}
    if not pairs:
        return set()
    found: set[int] = set()
    for node in reading.graph.nodes:
        if kinds.plain(node.op) != "add" or len(node.parents) != 2:
            continue
        for one, other in (node.parents, node.parents[::-1]):
            second = _back(reading, one)
            if second is None or second.node.number not in pairs:
                continue
            first = pairs[second.node.number]
            full = _full(reading, other)
            if full is not None and full.fan_out == second.fan_out and _same_data(reading, full, first):
                found |= {first.node.number, second.node.number}
    return found


def _thin_before(reading: Reading, b: Product) -> Product | None:
    a = _back(reading, b.data)
    if a is None or b.fan_in * _THIN > min(a.fan_in, b.fan_out) or a.fan_out != b.fan_in:
        return None
    return a


def _full(reading: Reading, number: int) -> Product | None:
    """The map that a pair's result is added to, other pairs' results perhaps added before."""
    for _ in range(8):
        found = _back(reading, number)
        if found is not None:
            return found
        node = reading.graph.nodes[_through(reading, number)]
        if kinds.plain(node.op) != "add":
            return None
        number = node.parents[0]
    return None


def _back(reading: Reading, number: int) -> Product | None:
    return reading.product_at.get(_through(reading, number))


def _through(reading: Reading, number: int) -> int:
    """Back through views, dropout and scaling."""
    nodes = reading.graph.nodes
    for _ in range(16):
        node = nodes[number]
        if number in reading.product_at or node.op not in _PASSED:
            break
        onward = [q for q in node.parents if reading.status[q] == ACTIVATION and nodes[q].carries]
        if len(onward) != 1:
            break
        number = onward[0]
    return number


def _same_data(reading: Reading, a: Product, b: Product) -> bool:
    return _through(reading, a.data) == _through(reading, b.data)
