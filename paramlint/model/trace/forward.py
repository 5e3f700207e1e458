"""Runs a stand-in of the model on example inputs, and brings back what each parameter was used for."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from paramlint.model.facts import walk
from paramlint.model.inputs.example import Example
from paramlint.model.inputs.find import starts
from paramlint.model.inputs.repair import repaired
from paramlint.model.trace import alone, ladder
from paramlint.model.trace.allow import allowed
from paramlint.model.trace.described import described
from paramlint.model.trace.eager import without_dynamo
from paramlint.model.trace.graph import Graph
from paramlint.model.trace.left_behind import as_it_was, taken_back
from paramlint.model.trace.stand_in import answering
from paramlint.model.trace.tape import Tape, TooLong
from paramlint.model.trace.twin import NotReady, Twin
from paramlint.model.trace.uses import uses_of
from paramlint.model.trace.watch import entered, random_state, uncollected, values_told
from paramlint.parameter import Pass, Use

_REPAIRS = 24
_PART_REPAIRS = 12
PATIENCE = 30.0  # seconds for all passes of a model
_BRANCHES = 6.0  # seconds, at least, for what the first complete pass did not reach
_FEW = 4  # parameters that a model may keep to itself without being run on the CPU for them
_FIRST = ladder.Rung()


@dataclass
class Traced:
    """What the passes over a model found. Parameters are numbered in the order of the inventory.

    `appeared` are the names of trainable parameters that a forward made. `ran` are the paths of modules that ran with
    the whole model, and `through` those that did in a pass that was complete.
    """

    passes: list[Pass] = field(default_factory=list)
    uses: dict[int, dict[Use, None]] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    through: set[str] = field(default_factory=set)
    appeared: tuple[str, ...] = ()


def trace(model: nn.Module, given: Example | None = None, patience: float = PATIENCE) -> Traced:
    """Passes over a model until each of its parameters was read, or no more inputs are known; then over parts of it.

    The model itself is not run: a copy of it on meta is. `patience` is in seconds.
    """
    found = Traced()
    last = end = time.monotonic() + patience
    with random_state(), allowed(), warnings.catch_warnings(), without_dynamo(), taken_back(model):
        warnings.simplefilter("ignore")
        try:
            with uncollected():
                twin = Twin(model)
        except Exception as error:
            found.passes.append(Pass("", stopped=said(error)))
            return found
        shapes = [tuple(p.shape) for p in twin.parameters]
        failed: list[_Outcome] = []
        for example in [given] if given is not None else starts(twin.module):
            began = time.monotonic()
            outcome = _mended(twin, example, end, _FIRST, mend=given is None)
            if outcome.error is None:
                _add(found, outcome, _FIRST, shapes)
                # what one pass did not reach is worth a few more of its kind, and no more
                end = min(end, time.monotonic() + max(_BRANCHES, 4 * (time.monotonic() - began)))
            else:
                failed.append(outcome)
            if time.monotonic() > end or len(found.uses) == len(shapes):
                break
        # dearer rungs are for what is worth it, or for a model that nothing else is known of
        few = max(_FEW, len(shapes) // 50) if found.through else 0
        for outcome in failed:
            if len(shapes) - len(found.uses) > few:
                _add(found, *_climbed(twin, outcome, end, mend=given is None), shapes)
        if given is None:
            _run_parts(twin, found, shapes, min(last, time.monotonic() + _BRANCHES))
    return found


def _run_parts(twin: Twin, found: Traced, shapes: Sequence[tuple[int, ...]], end: float) -> None:
    """Passes over parts that no pass over the model came to."""
    numbers = {id(p): i for i, p in enumerate(twin.parameters)}
    came: dict[alone.Kind, Example] = {}  # what went farthest in a part of that kind
    for path, module in alone.parts(twin.module, lambda p: numbers.get(p, -1) in found.uses, found.through):
        kind = alone.kind(module)
        before = [replace(came[kind], part=path)] if kind in came else []
        single = alone.single(twin.module, module)
        for example in chain(before, alone.examples(path, module)):
            now, known = time.monotonic(), len(found.uses)
            mend = not any(example is b for b in before)
            outcome = _mended(twin, example, min(end, now + max(1.0, (end - now) / 3)), _FIRST, mend=mend)
            _add(found, outcome, _FIRST, shapes, ends=single)
            if len(found.uses) > known:
                came[kind] = outcome.example
            if len(found.uses) == known and outcome.error is not None:
                found.passes.pop()  # one more part for which no inputs are known
            if time.monotonic() > end:
                return
            if (not mend and len(found.uses) > known) or all(
                numbers.get(id(p), -1) in found.uses for p in module.parameters()
            ):
                break


def _appeared(module: nn.Module, known: set[int]) -> Iterator[str]:
    """The trainable parameters that were not there before."""
    for path, m in walk(module):
        for name, p in m._parameters.items():
            if p is not None and p.requires_grad and id(p) not in known:
                yield f"{path}.{name}" if path else name


def _add(
    found: Traced, outcome: _Outcome, rung: ladder.Rung, shapes: Sequence[tuple[int, ...]], *, ends: bool = True
) -> None:
    example, stopped = outcome.example, "" if outcome.error is None else said(outcome.error)
    tried = Pass(example.label, rung.how, stopped, ladder.answered(rung), example.part, example.training)
    found.passes.append(tried)
    if not example.part:
        found.ran |= outcome.graph.ran
        found.through |= outcome.graph.ran if outcome.error is None else set()
    found.appeared = tuple(dict.fromkeys((*found.appeared, *outcome.appeared)))
    names = [name for name, _ in _flat(example)]
    hidden = frozenset(
        i for i, n in enumerate(names) if n in example.hidden or (example.part and alone.made_elsewhere(example, n))
    )
    with uncollected():
        read = uses_of(outcome.graph, shapes, hidden)
    if example.part:
        found.uses.update(alone.in_the_whole(read, found.uses, shapes, ends=ends))
        return
    if not stopped:
        new = sum(p not in found.uses for p in read)
        found.passes[-1] = replace(tried, new=new, given=described(example, outcome.graph, shapes))
    for p, us in read.items():
        found.uses.setdefault(p, {}).update(dict.fromkeys(us))


@dataclass
class _Outcome:
    """What became of a pass. `guessed` says that values were asked for which were made up; `appeared` are the names of
    parameters that the forward made.
    """

    example: Example
    graph: Graph
    error: BaseException | None
    guessed: bool
    appeared: tuple[str, ...] = ()

    def beats(self, other: _Outcome | None) -> bool:
        if other is None or self.graph.complete != other.graph.complete:
            return other is None or self.graph.complete
        return len(self.graph.nodes) >= len(other.graph.nodes)


def _climbed(twin: Twin, outcome: _Outcome, end: float, *, mend: bool) -> tuple[_Outcome, ladder.Rung]:
    """The pass that came farthest from one that failed on the first rung, and the rung it was on."""
    rung, best, reached = _FIRST, outcome, _FIRST
    while outcome.error is not None and time.monotonic() < end:
        higher = ladder.higher(twin, rung, outcome.error, guessed=outcome.guessed)
        if higher is None:
            break
        rung = higher
        outcome = _mended(twin, best.example, end, rung, mend=mend)
        if outcome.beats(best):
            best, reached = outcome, rung
    return best, reached


def _mended(twin: Twin, example: Example, end: float, rung: ladder.Rung, *, mend: bool) -> _Outcome:
    """The pass on this example, or on what it becomes when it is mended by what went wrong."""
    best: _Outcome | None = None
    for _ in range((_PART_REPAIRS if example.part else _REPAIRS) if mend else 1):
        outcome = run(twin, example, end, rung)
        if outcome.beats(best):
            best = outcome
        if outcome.error is None or isinstance(outcome.error, TooLong) or time.monotonic() > end:
            break
        better = repaired(_of(twin, example), example, outcome.error, outcome.graph)
        if better is None:
            break
        example = better
    assert best is not None
    return best


def run(twin: Twin, example: Example, end: float = inf, rung: ladder.Rung = _FIRST) -> _Outcome:
    """One pass: the graph of what was done, and what ended it before its end, if anything did."""
    module = _of(twin, example)
    ran: set[str] = set()
    error: BaseException | None = None
    appeared: tuple[str, ...] = ()
    with ExitStack() as stack:
        stack.enter_context(uncollected())
        stack.enter_context(as_it_was(module))
        stack.enter_context(_mode(module, example.training))
        stack.enter_context(entered(module, ran))
        stack.enter_context(torch.no_grad())
        ground = stack.enter_context(ladder.footing(twin, rung))
        tape = Tape(
            ground.parameters, values=ground.values, memo=ground.memo, end=end, limit_bytes=ground.limit_bytes
        )  # fmt: skip
        inputs = _placed(example, tape, ground)
        stack.enter_context(values_told(tape.values))
        stack.enter_context(answering(twin.module, tape, ladder.answers_of(rung)))
        known = set(map(id, module.parameters()))
        stack.enter_context(tape)
        try:
            out = module(*inputs.args, **inputs.kwargs)
            tape.graph.complete = True
            tape.returned(_tensors(out))
        except (Exception, SystemExit, TooLong) as e:
            error = e
        appeared = () if example.part else tuple(_appeared(module, known))
    tape.graph.ran = frozenset(ran)
    return _Outcome(example, tape.graph, error, tape.values.guessed, appeared)


def _of(twin: Twin, example: Example) -> nn.Module:
    """What an example is for."""
    return twin.module.get_submodule(example.part)


def _flat(example: Example) -> list[tuple[str, torch.Tensor]]:
    """Every tensor of the example with the name of its argument, in a fixed order."""
    named = [(str(i), a) for i, a in enumerate(example.args)] + list(example.kwargs.items())
    return [(name, t) for name, value in named for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def _placed(example: Example, tape: Tape, ground: ladder.Footing) -> Example:
    """The example where the pass is to be, told to the tape."""
    count = iter(range(1 << 30))

    def told(tensor: torch.Tensor) -> torch.Tensor:
        made = ground.given(tensor)
        known = None if tensor.is_meta or tensor.dtype.is_floating_point else tensor
        tape.given(made, next(count), known)
        return made

    return example.mapped(told)


@contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    if not training:
        yield
        return
    with suppress(Exception):
        module.train()
    try:
        yield
    finally:
        with suppress(Exception):
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


def said(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, NotReady):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
