"""What the result of a map meets on its way, before the next map: attention, a choice, a distribution."""

from __future__ import annotations

from collections.abc import Callable, Collection

from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Node
from paramlint.model.trace.reading import ACTIVATION, Product, Reading

_FAR = 16  # operations between a map and what it is for
_SHAPING = kinds.VIEWS | kinds.MULTIPLICATIONS | kinds.ADDITIONS | kinds.JOINS | frozenset(kinds.NORMS)
_SCORING = (
    kinds.VIEWS
    | kinds.MULTIPLICATIONS
    | kinds.ADDITIONS
    | kinds.REPLACEMENTS
    | frozenset(kinds.NORMS)
    | frozenset(
        "_softmax _safe_softmax softmax _log_softmax sigmoid sigmoid_ exp log tanh softplus relu sqrt clamp clamp_min "
        "log_sigmoid_forward native_dropout".split()
    )
)
_SOFTMAX = frozenset(("_softmax", "_safe_softmax", "softmax"))


class Meetings:
    """Answers, for the products of a reading, where their results go."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.children: dict[int, list[int]] = {}
        for node in reading.graph.nodes:
            if node.carries:
                for q in node.parents:
                    self.children.setdefault(q, []).append(node.number)

    def attention(self, m: Product) -> bool:
        """Whether the result goes straight into attention, as query, key or value."""
        return self._meets(m, lambda node: kinds.attends(node.op) or self._compares(node), _SHAPING)

    def scores(self, m: Product) -> bool:
        """Whether the result is added to, or is, the scores of an attention: learned keys, compared with queries."""
        return self._meets(m, lambda node: node.op in _SOFTMAX, _SHAPING | kinds.LOOKUPS | kinds.REPLACEMENTS)

    def _meets(self, m: Product, wanted: Callable[[Node], bool], through: Collection[str]) -> bool:
        """Whether such a node is on a way from a product, with operations of some kinds alone before it."""
        seen: set[int] = set()
        stack = [(m.node.number, 0)]
        while stack:
            i, far = stack.pop()
            for child in self.children.get(i, ()):
                node = self.reading.graph.nodes[child]
                if child in seen or child in self.reading.product_at or far > _FAR:
                    continue
                seen.add(child)
                if wanted(node):
                    return True
                if node.op in through:
                    stack.append((child, far + 1))
        return False

    def _compares(self, node: Node) -> bool:
        """Whether activations are multiplied with activations."""
        if node.op not in kinds.PRODUCTS:
            return False
        return sum(self.reading.status[q] == ACTIVATION for q in node.parents) > 1


def chosen(reading: Reading) -> set[int]:
    """Products whose features are compared, and the largest picked: routers."""
    picked: set[int] = set()
    for node in reading.graph.nodes:
        if node.op not in kinds.CHOICES or not node.parents:
            continue
        dim = node.details.get("dim")
        shape = node.reads[0].shape
        if not shape or (dim is not None and dim not in (-1, len(shape) - 1)):
            continue
        product = _scored(reading, node.parents[0], shape[-1])
        if product is not None and reading.live[node.number]:
            picked.add(product.node.number)
    return picked


def distributions(reading: Reading) -> dict[int, int]:
    """Products that weigh the rows of a table by a distribution, and the maps that give its scores: table -> map."""
    found: dict[int, int] = {}
    for m in reading.products:
        i = m.data
        for _ in range(_FAR):
            node = reading.graph.nodes[i]
            if node.op in _SOFTMAX or node.op not in kinds.VIEWS | kinds.JOINS or not node.parents:
                break
            i = node.parents[0]
        node = reading.graph.nodes[i]
        if node.op in _SOFTMAX and node.details.get("dim") in (-1, len(node.shape) - 1):
            scores = _scored(reading, node.parents[0], node.shape[-1])
            if scores is not None:
                found[m.node.number] = scores.node.number
    return found


def _scored(reading: Reading, number: int, choices: int) -> Product | None:
    """The one product of that many features whose scores these are."""
    stack: list[tuple[int, int]] = [(number, 0)]
    seen: set[int] = set()
    while stack:
        i, far = stack.pop()
        if i in seen or far > _FAR:
            continue
        seen.add(i)
        product = reading.product_at.get(i)
        if product is not None:
            return product if product.node.shape and product.node.shape[-1] == choices else None
        node = reading.graph.nodes[i]
        if node.op not in _SCORING:
            continue
        stack.extend((q, far + 1) for q in node.parents if reading.graph.nodes[q].carries)
    return None
