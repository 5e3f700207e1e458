"""Runs a stand-in of the model on example inputs, and brings back what each parameter was used for."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from paramlint.model.inputs.example import Example
from paramlint.model.inputs.find import starts
from paramlint.model.inputs.repair import repaired
from paramlint.model.meta import building
from paramlint.model.trace import reading
from paramlint.model.trace.graph import Graph
from paramlint.model.trace.tape import Tape
from paramlint.model.trace.twin import NotReady, Twin
from paramlint.model.trace.watch import entered, random_state, values_told
from paramlint.parameter import Pass, Use

_REPAIRS = 12
_PATIENCE = 30.0  # seconds for all passes of a model


@dataclass
class Traced:
    """What the passes over a model found. Parameters are numbered in the order of the inventory."""

    passes: list[Pass] = field(default_factory=list)
    uses: dict[int, dict[Use, None]] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)


def trace(model: nn.Module, given: Example | None = None, patience: float = _PATIENCE) -> Traced:
    """Passes over a model until each of its parameters was read, or no more inputs are known.

    The model itself is not run: a copy of it on meta is. `patience` is in seconds.
    """
    found = Traced()
    end = time.monotonic() + patience
    with random_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            twin = Twin(model)
        except Exception as error:
            found.passes.append(Pass("", stopped=_said(error)))
            return found
        shapes = [tuple(p.shape) for p in twin.parameters]
        for example in [given] if given is not None else starts(twin.module):
            graph, pass_ = _persevere(twin, example, end, mend=given is None)
            _add(found, graph, pass_, shapes, example)
            if time.monotonic() > end or len(found.uses) == len(shapes):
                break
    return found


def _add(found: Traced, graph: Graph, pass_: Pass, shapes: Sequence[tuple[int, ...]], example: Example) -> None:
    found.passes.append(pass_)
    found.ran |= graph.ran
    hidden = frozenset(i for i, (name, _) in enumerate(_flat(example)) if name in example.hidden)
    for p, uses in reading.uses(graph, shapes, hidden).items():
        found.uses.setdefault(p, {}).update(dict.fromkeys(uses))


def _persevere(twin: Twin, example: Example, end: float, *, mend: bool) -> tuple[Graph, Pass]:
    """The pass on this example, or on what it becomes when it is mended by what went wrong."""
    best: tuple[Graph, Pass] | None = None
    for _ in range(_REPAIRS if mend else 1):
        graph, error = run(twin, example)
        pass_ = Pass(example.label, stopped="" if error is None else _said(error))
        if best is None or error is None or len(graph.nodes) >= len(best[0].nodes):
            best = graph, pass_
        if error is None or time.monotonic() > end:
            break
        better = repaired(twin.module, example, error, graph)
        if better is None:
            break
        example = better
    assert best is not None
    return best


def run(twin: Twin, example: Example) -> tuple[Graph, BaseException | None]:
    """One pass: the graph of what was done, and what ended it before its end, if anything did."""
    tape = Tape(twin.parameters)
    twin.tell(tape.values)
    inputs = _on_meta(example, tape)
    ran: set[str] = set()
    error: BaseException | None = None
    with ExitStack() as stack:
        stack.enter_context(_mode(twin.module, example.training))
        stack.enter_context(entered(twin.module, ran))
        stack.enter_context(torch.no_grad())
        stack.enter_context(building("meta", "none"))
        stack.enter_context(values_told(tape.values))
        stack.enter_context(tape)
        try:
            out = twin.module(*inputs.args, **inputs.kwargs)
            tape.graph.complete = True
            tape.returned(_tensors(out))
        except Exception as e:
            error = e
    tape.graph.ran = frozenset(ran)
    return tape.graph, error


def _flat(example: Example) -> list[tuple[str, torch.Tensor]]:
    """Every tensor of the example with the name of its argument, in a fixed order."""
    named = [(str(i), a) for i, a in enumerate(example.args)] + list(example.kwargs.items())
    return [(name, t) for name, value in named for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def _on_meta(example: Example, tape: Tape) -> Example:
    count = iter(range(1 << 30))

    def told(tensor: torch.Tensor) -> torch.Tensor:
        meta = torch.empty_like(tensor, device="meta")
        known = None if tensor.is_meta or tensor.dtype.is_floating_point else tensor
        tape.given(meta, next(count), known)
        return meta

    return example.mapped(told)


@contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    if not training:
        yield
        return
    module.train()
    try:
        yield
    finally:
        module.eval()


def _tensors(out: Any, depth: int = 0) -> list[torch.Tensor]:
    """The tensors that a model returned, in dicts, dataclasses and objects of its own."""
    if isinstance(out, torch.Tensor):
        return [out]
    if depth > 6 or out is None or isinstance(out, (str, bytes, int, float, torch.dtype, torch.device)):
        return []
    if hasattr(out, "items") and hasattr(out, "keys"):
        return [t for v in dict(out).values() for t in _tensors(v, depth + 1)]
    if isinstance(out, (list, tuple, set)):
        return [t for v in out for t in _tensors(v, depth + 1)]
    if hasattr(out, "__dict__"):
        return [t for v in vars(out).values() for t in _tensors(v, depth + 1)]
    return []


def _said(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, NotReady):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
