"""The dispatch mode that writes down what a forward pass does, one node for each operation at the aten level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from paramlint.model.trace.answers import answer
from paramlint.model.trace.graph import Geometry, Graph, Node
from paramlint.model.trace.values import Values

#: The plain arguments worth keeping, by operation: position, or keyword, and name.
_DETAILS: dict[str, dict[str, int]] = {
    "convolution": {"transposed": 6, "groups": 8},
    "_convolution": {"transposed": 6, "groups": 8},
    "cat": {"dim": 1},
    "stack": {"dim": 1},
    "topk": {"dim": 2},
    "sort": {"dim": 1},
    "argmax": {"dim": 1},
    "_softmax": {"dim": 1},
    "_safe_softmax": {"dim": 1},
    "index_select": {"dim": 1},
    "gather": {"dim": 1},
}


class TooLong(Exception):
    """The pass does more operations than anybody wants to wait for."""


class Tape(TorchDispatchMode):
    """Records a `Graph`. Parameters and inputs are told to it before the pass; anything else it meets is a constant.

    Every tensor is kept alive until the tape is dropped, so that none takes the identity of another.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], limit: int = 2_000_000) -> None:
        super().__init__()
        self.graph = Graph()
        self.values = Values()
        self.limit = limit
        self._node: dict[int, int] = {}
        self._kept: list[torch.Tensor] = []
        self._written: dict[int, list[int]] = {}
        for i, p in enumerate(parameters):
            self._leaf(p, "parameter", i)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports all of dynamo to wrap one method

    def given(self, tensor: torch.Tensor, index: int, value: torch.Tensor | None = None) -> None:
        """Tells the tape an input of the model, with its real values where they are known."""
        self._leaf(tensor, "input", index)
        if value is not None:
            self.values.know(tensor, value)

    def returned(self, tensors: Iterable[torch.Tensor]) -> None:
        """Tells the tape what the model returned."""
        self.graph.results = tuple(self._read(t) for t in tensors)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name == "_local_scalar_dense":
            return self.values.scalar(args[0])
        if len(self.graph.nodes) > self.limit:
            raise TooLong(f"more than {self.limit:,} operations")
        tensors: list[torch.Tensor] = []
        operands: list[int] = []
        _collect(args, tensors, operands)
        if kwargs:
            _collect(tuple(kwargs.values()), tensors, operands, first=100)
        # read before the operation: it may write in place
        parents = tuple([self._read(t) for t in tensors])
        reads = tuple([_geometry(t) for t in tensors])
        known = self.values.before(func, name, args, kwargs, tensors)
        out = answer(func, name, args, kwargs, self.values)
        outs: list[torch.Tensor] = []
        _collect((out,), outs, [])
        self.values.after(func, known, outs)
        self._write_down(func, name, args, kwargs, parents, operands, reads, tensors, outs)
        return out

    def _write_down(
        self,
        func: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        parents: tuple[int, ...],
        operands: list[int],
        reads: tuple[Geometry, ...],
        tensors: list[torch.Tensor],
        outs: list[torch.Tensor],
    ) -> None:
        nodes = self.graph.nodes
        wanted = _DETAILS.get(name)
        details = None
        if wanted:
            details = {k: args[i] if i < len(args) else kwargs.get(k) for k, i in wanted.items()}
        for carries in (True, False):
            some = [t for t in outs if _carries(t) is carries]
            if not some:
                continue
            node = Node(
                len(nodes),
                name,
                parents,
                tuple(operands),
                reads,
                tuple([_geometry(t) for t in some]),
                carries=carries,
                details=details,
            )
            nodes.append(node)
            for t in some:
                self._node[id(t)] = node.number
                self._kept.append(t)
        if name.endswith("_") and not name.endswith("__") and tensors:
            self._note_write(tensors[0])

    def _note_write(self, target: torch.Tensor) -> None:
        """A write into a view shows in everything that shares its storage."""
        self._written.setdefault(_storage(target), []).append(self._node[id(target)])

    def _read(self, tensor: torch.Tensor) -> int:
        number = self._node.get(id(tensor))
        if number is None:
            number = self._leaf(tensor, "constant", -1)
        if self._written:
            since = [w for w in self._written.get(_storage(tensor), ()) if w > number]
            if since:
                nodes = self.graph.nodes
                shape = (_geometry(tensor),)
                node = Node(
                    len(nodes), "written", (number, *since), tuple(range(len(since) + 1)), shape * (1 + len(since)),
                    shape, carries=_carries(tensor),
                )  # fmt: skip
                nodes.append(node)
                number = self._node[id(tensor)] = node.number
        return number

    def _leaf(self, tensor: torch.Tensor, leaf: str, index: int) -> int:
        nodes = self.graph.nodes
        node = Node(
            len(nodes), leaf, outputs=(_geometry(tensor),), carries=_carries(tensor), leaf=leaf, index=index
        )  # fmt: skip
        nodes.append(node)
        self._node[id(tensor)] = node.number
        self._kept.append(tensor)
        return node.number


def _carries(tensor: torch.Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _storage(tensor: torch.Tensor) -> int:
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse tensors and wrappers have none
        return id(tensor)


def _geometry(tensor: torch.Tensor) -> Geometry:
    try:
        return Geometry(
            tensor.untyped_storage()._cdata, tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())
        )
    except (NotImplementedError, RuntimeError):
        return Geometry(id(tensor), 0, tuple(tensor.shape), ())


def _collect(values: Iterable[Any], tensors: list[torch.Tensor], operands: list[int], first: int = 0) -> None:
    """The tensors among arguments, those in lists and tuples too, each with the position of its argument."""
    for position, value in enumerate(values, first):
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            operands.append(position)
        elif isinstance(value, (list, tuple)):
            for v in value:
                if isinstance(v, torch.Tensor):
                    tensors.append(v)
                    operands.append(position)
