"""The dispatch mode that writes down what a forward pass does, one node for each operation at the aten level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, prod
from time import monotonic
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

from paramlint.model.trace.answers import answer
from paramlint.model.trace.graph import Geometry, Graph, Node
from paramlint.model.trace.memo import Memo
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

_PICKED = 64  # values of an index that are kept


class TooLong(BaseException):
    """The pass does more than anybody wants to wait for. Models that catch every `Exception` do not go on after it."""


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records a `Graph`. Parameters and inputs are told to it before the pass; anything else it meets is a constant.

    `end` is when, by `time.monotonic()`, the pass is cut short, and so it is after `limit` operations, and where real
    tensors take more than `limit_bytes`.

    Every tensor is kept alive until the tape is dropped, so that none takes the identity of another.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        *,
        values: Values | None = None,
        memo: Memo | None = None,
        end: float = inf,
        limit: int = 2_000_000,
        limit_bytes: int | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph()
        self.values = values or Values()
        self.memo = memo or Memo()
        self.end, self.limit_bytes = end, limit_bytes
        self.limit = limit
        self._node: dict[int, int] = {}
        self.graph.at = self._node
        self._kept: list[torch.Tensor] = []
        self._bytes = 0
        self._storages: set[int] = set()
        self._geometry: dict[int, Geometry] = {}
        self._sizes: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._written: dict[int, list[int]] = {}
        for i, p in enumerate(parameters):
            self._leaf(p, "parameter", i)

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports all of dynamo to wrap one method

    def given(self, tensor: torch.Tensor, index: int, value: torch.Tensor | None = None) -> None:
        """Tells the tape an input of the model, with its real values where they are known."""
        self._leaf(tensor, "input", index)
        if value is not None:
            self.values.know(tensor, value.clone())  # a forward may write into its inputs

    def returned(self, tensors: Iterable[torch.Tensor]) -> None:
        """Tells the tape what the model returned."""
        self.graph.results = tuple(self._read(t) for t in tensors)

    def invent(
        self,
        op: str,
        tensors: list[torch.Tensor],
        operands: list[int] | None,
        shape: Sequence[int],
        dtype: torch.dtype,
        *,
        weight: tuple[int, ...] = (),
        details: Mapping[str, Any] | None = None,
    ) -> torch.Tensor:
        """A tensor that an operation would have given which cannot be run here. The operation is written down.

        Args:
            operands: the positions of `tensors` as arguments; in their order where None.
            weight: what the second of `tensors` would have been unpacked to.
        """
        made = self.memo.empty(tuple(shape), None, dtype)
        nodes = self.graph.nodes
        places = tuple(range(len(tensors))) if operands is None else tuple(operands)
        parents = tuple([self._read(t) for t in tensors])
        reads = [self._lies(t) for t in tensors]
        if weight:
            strides = [prod(weight[i + 1 :]) for i in range(len(weight))]
            if len(weight) == 2:
                strides = [1, weight[0]]  # a map reads its matrix transposed
            reads[1] = reads[1]._replace(shape=weight, strides=tuple(strides))
        node = Node(
            len(nodes), op, parents, places, tuple(reads), (self._lay(made),), carries=_carries(made), details=details
        )  # fmt: skip
        nodes.append(node)
        self._node[id(made)] = node.number
        self._kept.append(made)
        return made

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return self._in_small(func, args, kwargs)
        name = func.overloadpacket.__name__
        if name == "_local_scalar_dense":
            return self.values.scalar(args[0])
        if len(self.graph.nodes) > self.limit:
            raise TooLong(f"more than {self.limit:,} operations")
        if monotonic() > self.end:
            raise TooLong("it took too long")
        if self.limit_bytes is not None and self._bytes > self.limit_bytes:
            raise TooLong("it takes too much memory")
        tensors: list[torch.Tensor] = []
        operands: list[int] = []
        _collect(args, tensors, operands)
        if kwargs:
            _collect(tuple(kwargs.values()), tensors, operands, first=100)
        # read before the operation: it may write in place
        parents = tuple([self._read(t) for t in tensors])
        reads = tuple([self._lies(t) for t in tensors])
        known = self.values.before(func, name, args, kwargs, tensors)
        try:
            out = answer(func, name, args, kwargs, self.values, self.memo)
        except Exception:
            details = _details(name, args, kwargs)
            self.graph.failed = Node(len(self.graph.nodes), name, parents, tuple(operands), reads, details=details)
            raise
        outs: list[torch.Tensor] = []
        _collect((out,), outs, [])
        self.values.after(func, known, outs)
        self._write_down(func, name, args, kwargs, parents, operands, reads, tensors, outs)
        return out

    def _in_small(self, func: HigherOrderOperator, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """An operator that takes functions (flex attention, a condition), done by the operations it is made of."""
        if func._name == "cond":
            with self:  # either may be the one, and both have parameters
                args[2](*args[3])
                return args[1](*args[3])
        kernel = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)
        if not callable(kernel):
            raise NotImplementedError(f"{func._name} is no operation, and has no kernel made of some")
        with self:
            return kernel(*args, **kwargs)

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
        details = _details(name, args, kwargs)
        if name in ("index", "index_select") and outs and _carries(outs[0]):
            details = {**(details or {}), "picked": self._picked(name, args)}
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
                tuple([self._lay(t) for t in some]),
                carries=carries,
                details=details,
            )
            nodes.append(node)
            for t in some:
                self._node[id(t)] = node.number
                self._kept.append(t)
                if self.limit_bytes is not None:
                    storage = _storage(t)
                    self._bytes += t.numel() * t.element_size() * (storage not in self._storages)
                    self._storages.add(storage)
        if name.endswith("_") and not name.endswith("__") and tensors:
            self._note_write(tensors[0])

    def _picked(self, name: str, args: tuple[Any, ...]) -> tuple[tuple[int, tuple[int, ...] | None], ...]:
        """The dimensions that an indexing picks from, and what it picks where that is known and little."""
        found: list[tuple[int, tuple[int, ...] | None]] = []
        for dim, index in [(args[1], args[2])] if name == "index_select" else enumerate(args[1]):
            if isinstance(index, torch.Tensor):
                value = self.values.of(index) if index.numel() <= _PICKED and index.dtype is torch.int64 else None
                found.append((dim, None if value is None else tuple(value.flatten().tolist())))
        return tuple(found)

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
                shape = (self._lies(tensor),)
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
            len(nodes), leaf, outputs=(self._lay(tensor),), carries=_carries(tensor), leaf=leaf, index=index
        )  # fmt: skip
        nodes.append(node)
        self._node[id(tensor)] = node.number
        self._kept.append(tensor)
        return node.number

    def _lies(self, tensor: torch.Tensor) -> Geometry:
        return self._geometry.get(id(tensor)) or self._lay(tensor)

    def _lay(self, tensor: torch.Tensor) -> Geometry:
        """Where a tensor lies now. Models repeat themselves: equal sizes are kept once."""
        try:
            shape: tuple[int, ...] = tuple(tensor.shape)
        except RuntimeError:  # nested tensors have none
            shape = ()
        shape = self._sizes.setdefault(shape, shape)
        try:
            strides = tensor.stride()
            strides = self._sizes.setdefault(strides, strides)
            found = Geometry(tensor.untyped_storage()._cdata, int(tensor.storage_offset()), shape, strides)
        except (NotImplementedError, RuntimeError):  # sparse tensors and wrappers have no storage
            found = Geometry(id(tensor), 0, shape, ())
        self._geometry[id(tensor)] = found
        return found


def _details(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    wanted = _DETAILS.get(name)
    return {k: args[i] if i < len(args) else kwargs.get(k) for k, i in wanted.items()} if wanted else None


def _carries(tensor: torch.Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _storage(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse tensors and wrappers have none
        return id(tensor)


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
