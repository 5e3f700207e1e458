"""Which rows of a parameter the output features of a product come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Geometry
from paramlint.model.trace.parts_layout import Content, Digit, Span, content, digits_of, layout, seen
from paramlint.model.trace.reading import Product, Reading


@dataclass
class Sources:
    """The rows of parameters: the dimensions that output features run along, in all products alike.

    `rows` holds their number by parameter, 0 where products disagree.
    """

    reading: Reading
    rows: dict[int, int] = field(default_factory=dict)
    _axes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _stored: dict[int, Geometry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.reading.graph.nodes:
            if node.leaf == "parameter":
                self._stored[node.index] = node.outputs[0]

    def content(self, product: Product, parameter: int) -> Content | None:
        """What the product's result holds of the rows of a parameter; None where that cannot be told."""
        node = product.node
        _, second = kinds.PRODUCTS[node.op]
        if node.op == "_trilinear" or not node.shape:
            return None
        weight = node.reads[node.operands.index(product.operand)]
        if node.op in kinds.CONVOLUTIONS:
            transposed = bool(node.details.get("transposed"))
            if transposed and (node.details.get("groups") or 1) != 1:
                return None
            dim, out = int(transposed), 1
        elif node.op in ("linear", "mkldnn_linear"):
            dim, out = 0, len(node.shape) - 1
        elif product.operand == second:
            dim = out = -1
        else:
            dim = -2 if len(weight.shape) > 1 else -1
            out = -2 if len(node.shape) >= len(weight.shape) else -1
        out %= len(node.shape)
        if len(weight.strides) != len(weight.shape) or len(weight.shape) < 2 or node.shape[out] != weight.shape[dim]:
            return None
        found = self._features(parameter, weight, dim % len(weight.shape))
        if found is None:
            return None
        row, spans = found
        return content(row, tuple(spans if d == out else () for d in range(len(node.shape))))

    def _features(self, parameter: int, weight: Geometry, dim: int) -> tuple[int, tuple[Span, ...]] | None:
        stored, n = self._stored[parameter], weight.shape[dim]
        if weight.storage != stored.storage:
            return self._copied(parameter, stored, n)
        digits = digits_of(stored.shape, stored.strides)
        view = weight.offset, (n,), (weight.strides[dim],)
        axes = _run(digits, *view)
        if not axes:
            return None
        rows, steps = 1, [0] * len(digits)
        for k in reversed(axes):
            steps[k], rows = rows, rows * digits[k].total
        if not self._agreed(parameter, axes, rows):
            return None
        found = seen(layout(0, tuple(d._replace(step=s) for d, s in zip(digits, steps, strict=True))), *view)
        return None if found is None or found.every else (found.row, found.spans[0])

    def _copied(self, parameter: int, stored: Geometry, n: int) -> tuple[int, tuple[Span, ...]] | None:
        """The rows of a weight that is a function of the parameter: all of them, or it is not known which."""
        dims = [d for d, size in enumerate(stored.shape) if size == n]
        if not dims or not self._agreed(parameter, (-1,), n):
            return None
        return 0, (Span(n, 0, n, 1),)

    def _agreed(self, parameter: int, axes: tuple[int, ...], rows: int) -> bool:
        if self._axes.setdefault(parameter, axes) != axes:
            self.rows[parameter] = 0
            return False
        self.rows.setdefault(parameter, rows)
        return self.rows[parameter] != 0


@lru_cache(maxsize=256)
def _run(digits: tuple[Digit, ...], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The digits of a parameter's addresses that its output features run through."""
    found = []
    for k in range(len(digits)):
        marked = tuple(d._replace(step=int(i == k)) for i, d in enumerate(digits))
        c = seen(layout(0, marked), offset, shape, strides)
        if c is None or c.every:
            return ()
        if any(s.step for s in c.spans[0]):
            found.append(k)
    return tuple(found)
