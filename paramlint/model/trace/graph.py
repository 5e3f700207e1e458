"""What a traced forward pass did: plain data, no torch in it.

A `Node` is one tensor operation (or a leaf: a parameter, an input of the model, a constant). Its parents are the
operations that made its tensor operands, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Geometry(NamedTuple):
    """Where the elements of a tensor lie: two tensors with one `storage` are views of one another."""

    storage: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Node:
    """One operation. `operands[i]` is the argument position that `parents[i]` was given at.

    `leaf` is "" for an operation, else "parameter", "input" or "constant"; `index` numbers parameters in the order of
    the inventory, and inputs in the order in which they were given. `carries` is False for integers and booleans: no
    gradient flows through them. `outputs` holds a geometry for each tensor that came out. `details` are the plain
    arguments that matter for an operation of its kind (`groups`, `dim`, ...).
    """

    __slots__ = ("carries", "details", "index", "leaf", "number", "op", "operands", "outputs", "parents", "reads")

    def __init__(
        self,
        number: int,
        op: str,
        parents: tuple[int, ...] = (),
        operands: tuple[int, ...] = (),
        reads: tuple[Geometry, ...] = (),
        outputs: tuple[Geometry, ...] = (),
        *,
        carries: bool = True,
        leaf: str = "",
        index: int = -1,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.number, self.op, self.parents, self.operands = number, op, parents, operands
        self.reads, self.outputs, self.carries, self.leaf = reads, outputs, carries, leaf
        self.index, self.details = index, details or {}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return self.outputs[0].shape if self.outputs else ()

    def __repr__(self) -> str:
        what = f"{self.leaf} {self.index}" if self.leaf else self.op
        return f"<{self.number}: {what} {self.shape} from {self.parents}>"


@dataclass
class Graph:
    """All nodes of a pass, in the order of execution: parents come before what they feed.

    `results` are the tensors that the model returned. `ran` are the paths of the modules whose forward was entered.
    `failed` is the operation that raised, if one did: it has no outputs, and is not among `nodes`. `at` finds the node
    of a tensor by its identity, as long as the tensor is alive.
    """

    nodes: list[Node] = field(default_factory=list)
    results: tuple[int, ...] = ()
    ran: frozenset[str] = frozenset()
    complete: bool = False
    failed: Node | None = None
    at: Mapping[int, int] = field(default_factory=dict, repr=False)
