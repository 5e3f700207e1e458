"""From the graph of a pass to the uses of every parameter.

Each node is one of three things. *Constant*: made of neither parameters nor inputs. *Weight*: made of parameters (and
constants) alone, by other means than a linear map: a view, a normalisation, a sum of parameters. *Activation*: it
depends on an input, or is what a linear map gives. A parameter is used where a weight meets an activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Graph, Node
from paramlint.parameter import Use

CONSTANT, WEIGHT, ACTIVATION = 0, 1, 2
#: How a weight was made of a parameter, in the order in which the later hides the earlier.
VIEW, POINTWISE, LOOKUP, PRODUCT = 0, 1, 2, 3


@dataclass
class Product:
    """A linear map or convolution at work: a node, the parameters of its weight, and the node of its data."""

    node: Node
    weights: tuple[int, ...]  # parameters that are the matrix
    data: int
    operand: int
    shape: tuple[int, ...]  # of the weight operand, as the product reads it
    batched: bool = False
    fresh: bool = False
    on_constants: bool = False

    @property
    def fan_in(self) -> int:
        return self._fans[0]

    @property
    def fan_out(self) -> int:
        return self._fans[1]

    @property
    def _fans(self) -> tuple[int, int]:
        """(features or channels taken, given)."""
        if self.node.op in kinds.CONVOLUTIONS:
            groups = int(self.node.details.get("groups") or 1)
            out, taken = self.shape[:2]
            return (out, taken * groups) if self.node.details.get("transposed") else (taken * groups, out)
        if len(self.shape) < 2:
            return self.shape[0] if self.shape else 1, 1
        first, second = self.shape[-2:]
        return (second, first) if self.operand == kinds.PRODUCTS[self.node.op][0] else (first, second)


@dataclass
class Reading:
    """What is known of every node of a graph, and the uses found on the way."""

    graph: Graph
    shapes: Sequence[tuple[int, ...]]
    hidden_inputs: frozenset[int] = frozenset()
    status: list[int] = field(default_factory=list)
    live: list[bool] = field(default_factory=list)
    made_of: dict[int, dict[int, int]] = field(default_factory=dict)
    touched: list[bool] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)  # bits of the inputs that flow in untouched
    products: list[Product] = field(default_factory=list)
    product_at: dict[int, Product] = field(default_factory=dict)
    lookups: set[int] = field(default_factory=set)
    fixed: set[int] = field(default_factory=set)  # activations that are the same for every input: maps of constants
    uses: list[tuple[int, Use]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            self._visit(node)

    def _visit(self, node: Node) -> None:
        status, live, touched, inputs = CONSTANT, False, False, 0
        if node.leaf:
            if node.leaf == "parameter":
                status = WEIGHT
                self.made_of[node.number] = {node.index: VIEW}
            elif node.leaf == "input":
                status, live, inputs = ACTIVATION, True, 1 << node.index
        elif node.op not in kinds.SHAPED:
            for q in node.parents:
                status = max(status, self.status[q])
                live = live or self.live[q]
                if self.graph.nodes[q].carries or not node.carries or node.op == "_to_copy":
                    touched = touched or self.touched[q]
                    inputs |= self.inputs[q]
                elif self.status[q] == ACTIVATION and node.op not in kinds.LOOKUPS:
                    # integers turned into numbers: a time step, a coordinate
                    touched = touched or self.touched[q]
                    inputs |= self.inputs[q]
        self.status.append(status)
        self.live.append(live)
        self.touched.append(touched)
        self.inputs.append(inputs)
        if self.fixed and not live and status == ACTIVATION and not self.fixed.isdisjoint(node.parents):
            self.fixed.add(node.number)
        if not node.leaf and node.op not in kinds.SHAPED and any(q in self.made_of for q in node.parents):
            self._use(node)

    def _use(self, node: Node) -> None:
        op, number = node.op, node.number
        if op in kinds.PRODUCTS:
            self._product(node)
        elif op in kinds.LOOKUPS and node.parents[0] in self.made_of:
            self._lookup(node)
        elif op in kinds.NORMS:
            self._norm(node)
        elif self.status[number] == ACTIVATION:
            self._meeting(node)
        else:
            self._weight(node)

    # ---- weights made of parameters

    def _weight(self, node: Node, kind: int | None = None) -> None:
        """The result is made of parameters alone, or looked up from them."""
        if kind is None:
            kind = VIEW if node.op in kinds.VIEWS and len(node.parents) == 1 else POINTWISE
        made: dict[int, int] = {}
        for q in node.parents:
            for p, how in self.made_of.get(q, {}).items():
                made[p] = max(made.get(p, 0), how, kind)
        if made and len(made) <= 16:
            self.made_of[node.number] = made

    def _lookup(self, node: Node) -> None:
        made = self.made_of[node.parents[0]]
        by_data = any(self.live[q] for q in node.parents[1:])
        for p in made:
            self._say(p, Use("lookup", node.operands[0], function=node.op, index="data" if by_data else "constant"))
        if by_data:
            self.status[node.number], self.touched[node.number], self.inputs[node.number] = ACTIVATION, True, 0
            self.lookups.add(node.number)
            if len(node.shape) > 2 and any(len(self.shapes[p]) > 2 for p in made):
                self._weight(node, LOOKUP)  # a stack of matrices, some of which are picked for a token
        else:
            self._weight(node, LOOKUP)

    # ---- products

    def _product(self, node: Node) -> None:
        first, second = kinds.PRODUCTS[node.op]
        added = kinds.ADDED.get(node.op, -1)
        at = {o: i for i, o in enumerate(node.operands)}
        for o, i in at.items():
            if o == added:
                for p in self.made_of.get(node.parents[i], ()):
                    self._say(p, Use("bias", o, function=node.op))
        weight = self._weight_operand(node, at.get(first), at.get(second))
        if weight is None:
            if self.status[node.number] == ACTIVATION:
                # a parameter that both operands depend on, or attention over learned vectors
                for o in (first, second):
                    if o in at and self._is_weight(node.parents[at[o]]):
                        for p in self.made_of[node.parents[at[o]]]:
                            self._say(p, Use("attend", o, function=node.op))
            else:
                self._weight(node, PRODUCT)
            return
        self._linear(node, weight, at[first] if weight == at.get(second) else at[second])

    def _weight_operand(self, node: Node, first: int | None, second: int | None) -> int | None:
        """Which operand is the matrix, by its index in `parents`; None where neither is, or no map is at work."""
        if first is None or second is None:
            return None
        a, b = node.parents[first], node.parents[second]
        if node.op in kinds.PLACED:
            return second if b in self.made_of else (first if self._is_weight(a) and self.live[b] else None)
        a_weight, b_weight = self._is_weight(a), self._is_weight(b)
        if a_weight and b_weight:
            # a linear map of learned vectors reads its matrix transposed; a product of two factors does not
            if self._transposed(node, second) and not self._transposed(node, first):
                return second
            return None
        if b_weight or (b in self.made_of and a not in self.made_of):
            mapped = self.status[a] == ACTIVATION or self._transposed(node, second)
            if self.status[a] == CONSTANT:
                mapped = set(self.made_of[b].values()) == {VIEW} and (mapped or self._by_heads(node, second))
            return second if mapped else None
        if (a_weight or a in self.made_of) and self.status[b] == ACTIVATION:
            return None if self._expanded(node, first) else first
        return None

    def _is_weight(self, number: int) -> bool:
        return self.status[number] == WEIGHT and number in self.made_of

    def _by_heads(self, node: Node, operand: int) -> bool:
        """Whether one matrix is read that is stored with a dimension for heads; several are picked from, not mapped."""
        shape = node.reads[operand].shape
        made = self.made_of[node.parents[operand]]
        return (len(shape) < 3 or shape[0] == 1) and all(len(self.shapes[p]) > 2 for p in made)

    def _transposed(self, node: Node, operand: int) -> bool:
        """Whether an operand is a parameter read with its last two dimensions swapped."""
        made = self.made_of.get(node.parents[operand], {})
        if not made or min(made.values()) > POINTWISE:
            return False
        strides = node.reads[operand].strides
        shape = node.reads[operand].shape
        return len(strides) >= 2 and strides[-2] == 1 and (strides[-1] != 1 or shape[-1] == 1) and shape[-2] > 1

    def _expanded(self, node: Node, operand: int) -> bool:
        """Whether the batch dimension of an operand only repeats it: learned queries, keys or prototypes."""
        geometry = node.reads[operand]
        if len(geometry.shape) < 3 or geometry.shape[0] == 1:
            return False
        made = self.made_of[node.parents[operand]]
        size = prod(geometry.shape)
        repeated = geometry.strides and geometry.strides[0] == 0
        return bool(repeated) or all(prod(self.shapes[p]) * geometry.shape[0] <= size for p in made)

    def _linear(self, node: Node, weight: int, data: int) -> None:
        source, number = node.parents[data], node.number
        made = self.made_of[node.parents[weight]]
        geometry = node.reads[weight]
        most = max(prod(self.shapes[p]) for p in made)
        weights = []
        batched = (
            node.op in ("bmm", "baddbmm", "_grouped_mm", "_scaled_grouped_mm")
            and len(geometry.shape) == 3
            and min(geometry.shape) > 1
            and not self._expanded(node, weight)
        )
        for p, how in made.items():
            if how == PRODUCT and len(made) > 1:
                self._say(p, Use("factor", node.operands[weight], function=node.op))
            elif how == LOOKUP and len(self.shapes[p]) < 3:
                self._say(p, Use("attend", node.operands[weight], function=node.op))  # rows compared with activations
            elif prod(self.shapes[p]) * 2 > most:
                weights.append(p)
                # or some matrices of a stack, picked one by one
                batched = batched or self._one_of(p, node, geometry.shape)
            else:
                self._say(p, Use("multiply", node.operands[weight], function=node.op))
        fresh = self.inputs[source] != 0 and not self.touched[source]
        constants = self.status[source] == CONSTANT or source in self.fixed
        product = Product(
            node, tuple(weights), source, node.operands[weight], geometry.shape, batched, fresh, constants
        )
        if constants:
            self.fixed.add(number)
        if weights:
            self.products.append(product)
            self.product_at[number] = product
        # what a linear map gives is an activation, of whatever it was made
        self.status[number], self.touched[number], self.inputs[number] = ACTIVATION, True, 0
        if self._is_weight(source):
            for p in self.made_of[source]:
                self._say(p, Use("mapped", node.operands[data], function=node.op))

    def _one_of(self, p: int, node: Node, shape: tuple[int, ...]) -> bool:
        whole = self.shapes[p]
        return len(whole) > 2 and node.op not in kinds.CONVOLUTIONS and prod(shape) * whole[0] <= prod(whole)

    # ---- the rest

    def _norm(self, node: Node) -> None:
        gain, bias = kinds.NORMS[node.op]
        for q, o in zip(node.parents, node.operands, strict=True):
            if o in (gain, bias):
                for p in self.made_of.get(q, ()):
                    self._say(p, Use("normalise" if o == gain else "bias", o, function=node.op))
        data = node.parents[0]
        if data in self.made_of and self.status[data] == WEIGHT:
            self.made_of[node.number] = {p: max(how, POINTWISE) for p, how in self.made_of[data].items()}
            self.status[node.number] = WEIGHT

    def _meeting(self, node: Node) -> None:
        """A weight meets an activation, in something that is no linear map."""
        op = kinds.plain(node.op)
        for q, o in zip(node.parents, node.operands, strict=True):
            if self._is_weight(q):
                for p in self.made_of[q]:
                    self._say(p, Use(_meaning(op), o, function=node.op))
        if op in kinds.VIEWS and len(node.parents) == 1 and node.parents[0] in self.made_of:
            self.made_of[node.number] = self.made_of[node.parents[0]]

    def _say(self, p: int, use: Use) -> None:
        self.uses.append((p, use))


def _meaning(op: str) -> str:
    if op in kinds.JOINS:
        return "concatenate"
    if op in kinds.ADDITIONS:
        return "add"
    if op in kinds.MULTIPLICATIONS:
        return "multiply"
    if op in kinds.REPLACEMENTS:
        return "replace"
    if kinds.attends(op):
        return "attend"
    return "other"
