"""What rows are for, by how they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paramlint.model.trace import kinds
from paramlint.model.trace.parts_flow import ACTIVATED, FILTERED, SHIFTED, SOFTPLUS, Token
from paramlint.model.trace.reading import Reading

_SOFTMAX = frozenset(("_softmax", "_safe_softmax", "softmax", "_masked_softmax"))
_AHEAD = 40  # operations between scores and their softmax, with those beside the way
_ATTENTION = ("query", "key", "value")


def _opens(token: Token) -> bool:
    """Whether rows that an activation function was applied to are a gate: what a filter mixes first is a state."""
    if not token.marks & FILTERED:
        return True
    return token.met >= 0 and not token.met & (ACTIVATED | SOFTPLUS)


class Purposes:
    """Names of purposes: "query", "key", "value", "gate", "up", "step", "scale", "shift", or ""."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._children: list[list[int]] | None = None
        self._known: dict[tuple[int, int], str] = {}

    def of(self, tokens: Sequence[Token]) -> str:
        """The purpose of rows that are used so."""
        found = {self._attention(t) for t in tokens} - {""}
        if found:
            return found.pop() if len(found) == 1 else ""
        if any(t.marks & SOFTPLUS for t in tokens):
            return "step"
        factors = [t for t in tokens if t.kind == "mul"]
        if any(t.kind in ("bmm", "attend") for t in tokens):
            return ""
        if any(t.marks & ACTIVATED and _opens(t) for t in factors):
            return "gate"
        if any(t.met > 0 and t.met & ACTIVATED and not t.marks & ACTIVATED for t in factors):
            return "up"
        if factors and all(t.marks & SHIFTED for t in factors):
            return "scale"
        if tokens and not factors and all(t.kind in ("add", "map") for t in tokens):
            return "shift" if any(t.kind == "add" for t in tokens) else ""
        return ""

    def _attention(self, token: Token) -> str:
        if token.kind == "attend":
            return _ATTENTION[token.operand] if token.operand < 3 else ""
        if token.kind != "bmm":
            return ""
        key = token.node, token.operand
        if key not in self._known:
            self._known[key] = self._in_product(*key)
        return self._known[key]

    def _in_product(self, number: int, operand: int) -> str:
        """The place of an operand in attention that is written out."""
        node = self._reading.graph.nodes[number]
        factors = kinds.PRODUCTS[node.op]
        others = [q for q, o in zip(node.parents, node.operands, strict=True) if o in factors and o != operand]
        if any(self._weighs(q) for q in others):
            return "value"
        if self._scores(number):
            return "query" if operand == factors[0] else "key"
        return ""

    def _weighs(self, number: int) -> bool:
        """Whether a tensor comes out of a softmax, by views, masks and dropout alone."""
        nodes = self._reading.graph.nodes
        stack = [(number, 0)]
        while stack:
            i, depth = stack.pop()
            op = kinds.plain(nodes[i].op)
            if op in _SOFTMAX:
                return True
            if depth < 8 and (op in kinds.VIEWS or op in ("mul", "div", "native_dropout", "where", "masked_fill")):
                stack += [(q, depth + 1) for q in nodes[i].parents if nodes[q].carries]
        return False

    def _scores(self, number: int) -> bool:
        """Whether a softmax follows before another product."""
        nodes, seen, queue = self._reading.graph.nodes, {number}, [number]
        for i in queue:
            for c in self._after(i):
                if c in seen or not nodes[c].carries:
                    continue
                if nodes[c].op in _SOFTMAX:
                    return True
                seen.add(c)
                if nodes[c].op not in kinds.PRODUCTS and not kinds.attends(nodes[c].op):
                    queue.append(c)
            if len(queue) > _AHEAD:
                break
        return False

    def _after(self, number: int) -> Iterator[int]:
        if self._children is None:
            self._children = [[] for _ in self._reading.graph.nodes]
            for node in self._reading.graph.nodes:
                for q in node.parents:
                    self._children[q].append(node.number)
        yield from self._children[number]
