"""Follows the rows of every matrix from its products to where they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Geometry, Node
from paramlint.model.trace.heads import feeding
from paramlint.model.trace.parts_layout import Block, Piece, layout, written
from paramlint.model.trace.parts_moves import Moves, carry, looked, picked, reshaped
from paramlint.model.trace.parts_source import Sources
from paramlint.model.trace.reading import ACTIVATION, Product, Reading

#: Marks of what was done with rows on their way: an activation function, a softplus, one or more was added.
ACTIVATED, SOFTPLUS, SHIFTED, FILTERED = 1, 2, 4, 8
_ACTIVATIONS = frozenset(
    "silu gelu sigmoid tanh relu hardswish hardsigmoid hardtanh elu celu selu leaky_relu mish threshold log_sigmoid "
    "log_sigmoid_forward relu6 erf _prelu_kernel prelu square _softmax".split()
)
_SHAPED_ALIKE = frozenset(
    "zeros ones empty full rand randn new_zeros new_ones new_empty new_full empty_strided".split()
)
_SAMPLERS = frozenset("grid_sampler grid_sampler_2d grid_sampler_3d roi_align roi_pool ps_roi_align".split())
_TO_REAL = frozenset("view_as_real abs angle real imag".split())
_BLOCKS = 64  # pieces that one storage may hold: more are a loop over something that is not of interest
_STREAM = 3  # matrices whose rows may be summed: more make a residual stream


class Token(NamedTuple):
    """One use of rows. `kind` is "map" (read by a matrix), "add", "attend", "bmm" or "mul"; `met` has the marks of the
    rows of the same matrix that these are multiplied with, -1 where there are none."""

    kind: str
    node: int
    operand: int
    marks: int = 0
    met: int = -1


@dataclass
class Flow:
    """The uses of rows: by parameter, the rows (as bits) and how they are used."""

    reading: Reading
    tokens: dict[int, dict[int, dict[Token, None]]] = field(default_factory=dict)
    follow: Sequence[bool] = ()
    _blocks: dict[int, dict[Block, None]] = field(default_factory=dict)
    _base: dict[int, Geometry] = field(default_factory=dict)
    _complex: set[int] = field(default_factory=set)
    _cut: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sources = Sources(self.reading)
        self.follow = feeding(self.reading, _SAMPLERS)  # as features, and not only as the places that it reads at
        for node in self.reading.graph.nodes:
            self._visit(node)

    # ---- one node

    def _visit(self, node: Node) -> None:
        base, blocks = self._base, self._blocks
        read = [g.storage for g in node.reads]
        for g in node.outputs:
            if g.storage not in base or not (g.storage in read or node.leaf):
                base[g.storage] = g
                blocks.pop(g.storage, None)  # of a storage that is no more
        product = self.reading.product_at.get(node.number)
        if product is None and (node.leaf or not node.carries or not node.outputs):
            return
        held = not blocks.keys().isdisjoint(read)
        if product is not None:
            self._product(node, product, held)
        elif held:
            self._operation(node)

    def _operation(self, node: Node) -> None:
        op = kinds.plain(node.op)
        shared = node.outputs[0].storage == node.reads[0].storage
        self._note_complex(node, op)
        if op == "detach" or (op in kinds.VIEWS and node.parents[0] in self._cut):
            self._cut.add(node.number)
        if (shared and (op in kinds.VIEWS or op == "written")) or op.endswith("_like") or op in _SHAPED_ALIKE:
            return
        pieces = [self._pieces(node, i) for i in range(len(node.parents))]
        if not any(pieces):
            return
        if kinds.attends(op):
            self._use("attend", node, pieces)
        elif op in kinds.PRODUCTS:
            self._between_activations(node, pieces)
        elif op in kinds.JOINS:
            self._join(node, op, pieces)
        elif op in kinds.MULTIPLICATIONS:
            self._multiply(node, pieces)
        elif op == "glu":
            self._glu(node, pieces[0])
        elif (moves := self._moves(node, op, pieces[0])) is not None:
            for moved, at in moves:
                self._write(node, moved, at)
        elif op == "copy":
            self._write(node, [carry(p, node.reads[-1].shape, node.outputs[0].shape) for p in pieces[-1]])
        elif op in kinds.ADDITIONS or op in kinds.REPLACEMENTS:
            self._add(node, op, pieces)
        elif op in kinds.NORMS:
            self._write(node, self._moved(node, 0, pieces[0]))
        else:
            self._write(node, [m for i, ps in enumerate(pieces) for m in self._moved(node, i, ps, _mark(op))])

    # ---- what tensors hold

    def _note_complex(self, node: Node, op: str) -> None:
        """Addresses of complex tensors count pairs."""
        made = op in ("view_as_complex", "complex", "polar")
        if made or (op not in _TO_REAL and not self._complex.isdisjoint(node.parents)):
            self._complex.add(node.number)

    def _real(self, number: int, g: Geometry) -> Geometry:
        if number not in self._complex:
            return g
        return Geometry(g.storage, g.offset * 2, (*g.shape, 2), (*(s * 2 for s in g.strides), 1))

    def _pieces(self, node: Node, i: int) -> list[Piece]:
        """What operand i holds."""
        parent, g = node.parents[i], node.reads[i]
        blocks = self._blocks.get(g.storage)
        if not blocks or parent in self._cut or 0 in g.shape or not self.reading.graph.nodes[parent].carries:
            return []
        g = self._real(parent, g)
        if len(g.strides) != len(g.shape):
            return []
        return list(dict.fromkeys(looked(blocks, g)))

    def _moved(self, node: Node, i: int, pieces: list[Piece], mark: int = 0) -> list[Piece]:
        """Pieces of operand i where they are in the result."""
        if not pieces or (
            node.outputs[0].storage == node.reads[i].storage and all(p.content.marks & mark == mark for p in pieces)
        ):
            return []  # done in place
        shape = self._real(node.parents[i], node.reads[i]).shape
        out = self._real(node.number, node.outputs[0]).shape
        return [carry(p, shape, out, mark) for p in pieces]

    def _write(self, node: Node, pieces: Sequence[Piece], at: Geometry | None = None) -> None:
        """Puts pieces into the result of a node, or into a part of it."""
        if not pieces:
            return
        g = self._real(node.number, node.outputs[0]) if at is None else at
        base = self._real(node.number, self._base[g.storage])
        if len(g.shape) != len(g.strides) or len(base.shape) != len(base.strides):
            return
        held = self._blocks.setdefault(g.storage, {})
        for p in pieces:
            held[Block(p.parameter, written(p.content, g.offset, g.shape, g.strides, base[2:]))] = None
        if len(held) > _BLOCKS:
            smears = [Block(b.parameter, layout(b.layout.row, (), b.layout.smeared(), b.layout.marks)) for b in held]
            self._blocks[g.storage] = dict.fromkeys(smears)
            if len(self._blocks[g.storage]) > _BLOCKS:
                del self._blocks[g.storage]

    def _say(self, piece: Piece, token: Token) -> None:
        self.tokens.setdefault(piece.parameter, {}).setdefault(piece.content.rows, {})[token] = None

    def _use(self, kind: str, node: Node, pieces: Sequence[Sequence[Piece]]) -> None:
        for ps, operand in zip(pieces, node.operands, strict=True):
            for p in ps:
                self._say(p, Token(kind, node.number, operand, p.content.marks))

    def _foreign(self, number: int) -> bool:
        """Whether a tensor is an activation that maps or tables had a part in: no mask, no angle of a position."""
        return self.reading.status[number] == ACTIVATION and self.reading.touched[number]

    # ---- kinds of operations

    def _product(self, node: Node, product: Product, held: bool) -> None:
        shapes = self.reading.shapes
        groups = int(node.details.get("groups") or 1) if node.op in kinds.CONVOLUTIONS else 1
        if held:
            i = node.operands.index(kinds.PRODUCTS[node.op][0])
            if node.parents[i] != product.data:
                i = node.parents.index(product.data)
            pieces = self._pieces(node, i)
            if groups > 1 and len(node.shape) > 1 and node.reads[i].shape[1] == node.shape[1]:
                self._write(node, self._moved(node, i, pieces, FILTERED))  # each filter sees a few features
            else:
                for p in pieces:
                    self._say(p, Token("map", node.number, node.operands[i], p.content.marks))
        if self.follow[node.number] and not (groups > 1 and groups == node.shape[1]):
            for w in product.weights:
                if len(shapes[w]) > 1 and (source := self.sources.content(product, w)) is not None:
                    self._write(node, [Piece(w, source)])

    def _between_activations(self, node: Node, pieces: list[list[Piece]]) -> None:
        factors = [i for i, o in enumerate(node.operands) if o in kinds.PRODUCTS[node.op]]
        if not any(self._steady(node.parents[i]) for i in factors):
            self._use("bmm", node, pieces)
        else:  # a rotation, an average, a mask
            self._write(node, [m for i in factors for m in self._moved(node, i, pieces[i])])

    def _steady(self, number: int) -> bool:
        """Whether a factor is neither data nor learned."""
        return not self._foreign(number) and number not in self.reading.made_of

    def _join(self, node: Node, op: str, pieces: list[list[Piece]]) -> None:
        out = self._real(node.number, node.outputs[0])
        whole = len(out.shape) - (node.number in self._complex)
        dim = int(node.details.get("dim") or 0) % whole
        at = 0
        for i, ps in enumerate(pieces):
            shape = self._real(node.parents[i], node.reads[i]).shape
            if op == "cat" and len(shape) != len(out.shape):
                continue  # an empty one
            size = shape[dim] if op == "cat" else 1
            if ps:
                place = (size,) if op == "cat" else ()
                strides = (out.strides[dim],) if op == "cat" else ()
                region = Geometry(
                    out.storage,
                    out.offset + at * out.strides[dim],
                    (*out.shape[:dim], *place, *out.shape[dim + 1 :]),
                    (*out.strides[:dim], *strides, *out.strides[dim + 1 :]),
                )
                self._write(node, ps, region)
            at += size

    def _multiply(self, node: Node, pieces: list[list[Piece]]) -> None:
        if len(pieces) < 2:
            self._write(node, self._moved(node, 0, pieces[0]))
            return
        a, b = _by_parameter(pieces[0]), _by_parameter(pieces[1])
        kept: list[Piece] = []
        for p in {**a, **b}:
            if p in a and p in b:
                if _rows(a[p]) & _rows(b[p]):  # by a function or a statistic of itself
                    kept += self._own(node, a[p], b[p])
                    continue
                for mine, other in ((0, b[p]), (1, a[p])):
                    for x in (a, b)[mine][p]:
                        self._say(x, Token("mul", node.number, mine, x.content.marks, _marks(other)))
                continue
            i = 0 if p in a else 1
            if pieces[1 - i] or self._foreign(node.parents[1 - i]):
                if i == 0 and node.outputs[0].storage == node.reads[0].storage:
                    continue  # still there, and read again
                for x in (a, b)[i][p]:
                    self._say(x, Token("mul", node.number, i, x.content.marks))
            else:
                kept += self._moved(node, i, (a, b)[i][p])
        self._write(node, kept)

    def _own(self, node: Node, a: list[Piece], b: list[Piece]) -> list[Piece]:
        """The more telling of two operands that hold the same rows."""
        marks = (_marks(a) | _marks(b)) & ACTIVATED
        scores = [sum(bool(x.content.settled) - bool(x.content.every) for x in ps) for ps in (a, b)]
        i = 0 if scores[0] >= scores[1] else 1
        return self._moved(node, i, (a, b)[i], marks)

    def _add(self, node: Node, op: str, pieces: list[list[Piece]]) -> None:
        by = [_by_parameter(ps) for ps in pieces]
        parameters = {p for one in by for p in one}
        mark = SHIFTED if len(pieces) == 1 and op == "add" else 0
        for i, one in enumerate(by):
            elsewhere = any(
                self._foreign(q) and self.reading.graph.nodes[q].carries and not set(one) & set(by[j])
                for j, q in enumerate(node.parents)
                if j != i
            )  # fmt: skip
            for p, ps in one.items():
                if elsewhere:
                    for x in ps:
                        self._say(x, Token("add", node.number, i, x.content.marks))
                if len(parameters) > _STREAM:
                    continue
                moved = self._moved(node, i, ps, mark)
                if any(p in other and j != i and _rows(other[p]) & _rows(ps) for j, other in enumerate(by)):
                    moved = [
                        m for m in moved if m.content.settled or not m.content.every
                    ]  # a mean says nothing of places
                self._write(node, moved)

    def _moves(self, node: Node, op: str, pieces: list[Piece]) -> Moves | None:
        """What a node does that only cuts or reshapes, where it can be followed exactly."""
        if op in ("index", "index_select"):
            return None if node.parents[0] in self._complex else picked(node, pieces)
        if op not in kinds.VIEWS:
            return None
        outs = [self._real(node.number, g) for g in node.outputs]
        return reshaped(node.op, self._real(node.parents[0], node.reads[0]).shape, outs, pieces)

    def _glu(self, node: Node, pieces: list[Piece]) -> None:
        """One operation that halves its operand, and multiplies the first half with the sigmoid of the second."""
        g, out = node.reads[0], node.shape
        dim = next((d for d, (a, b) in enumerate(zip(g.shape, out, strict=True)) if a != b), None)
        if dim is None or not pieces:
            return
        for half, marks, met in ((0, 0, ACTIVATED), (1, ACTIVATED, 0)):
            offset = g.offset + half * out[dim] * g.strides[dim]
            view = Geometry(g.storage, offset, out, g.strides)
            for p in looked(self._blocks[g.storage], view):
                self._say(p, Token("mul", node.number, half, p.content.marks | marks, met))


def _mark(op: str) -> int:
    if op == "softplus":
        return SOFTPLUS
    return ACTIVATED if op in _ACTIVATIONS else 0


def _by_parameter(pieces: Sequence[Piece]) -> dict[int, list[Piece]]:
    found: dict[int, list[Piece]] = {}
    for p in pieces:
        found.setdefault(p.parameter, []).append(p)
    return found


def _rows(pieces: Sequence[Piece]) -> int:
    found = 0
    for p in pieces:
        found |= p.content.rows
    return found


def _marks(pieces: Sequence[Piece]) -> int:
    found = 0
    for p in pieces:
        found |= p.content.marks
    return found
