"""Mends example inputs by what the model said against them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from weakref import WeakKeyDictionary

from torch import nn

from paramlint.model.inputs import mend_arguments, mend_ranks, mend_shapes
from paramlint.model.inputs.attempt import Attempt, attempt, leaves
from paramlint.model.inputs.example import Example
from paramlint.model.inputs.failure import Failure
from paramlint.model.trace.graph import Graph

_NUMBERS = re.compile(r"[\d\[\], x]+")
_WAYS = 8  # in which one failure may be mended
_IDLE = 12  # mends without any help
_AGAIN = 3  # the same, where that was tried before
_HOPELESS: WeakKeyDictionary[nn.Module, set[tuple[int, str]]] = WeakKeyDictionary()
_MOST = 1 << 28  # elements of an example


def repaired(model: nn.Module, example: Example, error: BaseException, graph: Graph) -> Example | None:
    """The example with one thing changed, or None where nothing better is known.

    Args:
        model: the stand-in on meta that was run.
        example: what it was given.
        error: what the pass ended with. Its traceback is read.
        graph: what was done before that; its inputs are numbered in the order of the example's tensors.
    """
    if _is_transformers(model):
        try:
            from paramlint.model.inputs import repair_hf
        except ImportError:
            pass
        else:
            tried_so = attempt(example).tried | {_exact(example)}
            better: Example | None = repair_hf.repaired(model, example, error, graph)
            if better is not None and _exact(better) not in tried_so:
                return replace(attempt(better), tried=tried_so)
            if repair_hf.hopeless(error):
                return None
            example = replace(attempt(example), tried=tried_so)
    before = attempt(example)
    tried = before.tried | {before.key}
    failure = Failure(model, error, graph)
    farther = _farther(failure.reached, before.reached)
    if failure.said(r"missing \d+ required") and failure.text != before.reached[2]:
        farther = True  # another argument of the same call
    idle = 0 if farther else before.idle + 1
    # another example was stopped for good by the same: it need not be tried as long
    hopeless = _HOPELESS.setdefault(model, set())
    stop = (failure.reached[0], _NUMBERS.sub("", failure.text))
    if idle > (_AGAIN if stop in hopeless else _IDLE):
        hopeless.add(stop)
        return None
    if not farther:
        # no better than before: another way to mend what was wrong then
        for i, other in enumerate(before.others):
            if other.key not in tried:
                return replace(other, tried=tried, reached=before.reached, others=before.others[i + 1 :], idle=idle)
    found: dict[str, Attempt] = {}
    for mended in _without_errors(_candidates(failure, before)):
        if mended.key not in tried and sum(t.numel() for t in leaves(mended)) <= _MOST:
            found.setdefault(mended.key, mended)
        if len(found) > _WAYS:
            break
    if not found:
        hopeless.add(stop)
        return None
    best, *others = found.values()
    return replace(best, tried=tried, reached=failure.reached, others=tuple(others), idle=idle)


def _exact(example: Example) -> str:
    """Tells examples apart by their integers too: where placeholders stand is among them."""
    known = [t for t in leaves(example) if not t.is_meta and not t.dtype.is_floating_point]
    return f"{attempt(example).key} {[hash(tuple(t.flatten().tolist())) for t in known]}"


def _without_errors(ways: Iterator[Attempt]) -> Iterator[Attempt]:
    """The ways that there are before one cannot be made: an odd model must not end the command."""
    with suppress(Exception):
        yield from ways


def _farther(now: tuple[int, int, str], before: tuple[int, int, str]) -> bool:
    """Whether a pass came farther than the one before, or was stopped by something else about as far."""
    if now[:2] > before[:2]:
        return True
    return now[0] == before[0] and _NUMBERS.sub("", now[2]) != _NUMBERS.sub("", before[2])


def _candidates(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    if failure.said("values to unpack|permute|must be [1-6]-?d"):
        yield from mend_ranks.candidates(failure, example)
    yield from mend_shapes.asked(failure, example)
    yield from mend_arguments.candidates(failure, example)
    yield from mend_ranks.of_dtype(failure, example)
    yield from mend_ranks.candidates(failure, example)
    yield from mend_shapes.candidates(failure, example)
    yield from mend_shapes.alike(failure, example)
    yield from mend_ranks.unlikely(failure, example)
    yield from mend_shapes.other_sizes(failure, example)


def _is_transformers(model: nn.Module) -> bool:
    config = getattr(model, "config", None)
    return any(c.__module__.startswith("transformers.") for c in type(config).__mro__)
