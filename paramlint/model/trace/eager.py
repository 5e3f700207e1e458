"""Keeps torch's compiler out of a trace."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FunctionType
from typing import Any

import torch


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Nothing is compiled, and torch's compiler is not imported."""
    compiles = torch.compile
    torch.compile = _as_it_is
    try:
        with unaided(), _eagerly():
            yield
    finally:
        torch.compile = compiles


@contextmanager
def unaided() -> Iterator[None]:
    """Meta kernels run, and optimizers are made, without torch's compiler being imported.

    They ask it not to compile them, and that import takes a second. Where torch does that in another way, nothing is
    done about it. What is to be compiled still is.
    """
    marked: list[Any] = []
    found: list[Any] = []
    if "torch._dynamo" not in sys.modules:
        with suppress(ImportError, AttributeError):  # another torch
            found = list(_shielded())
        for function in found:
            if not hasattr(function, _MARK):
                setattr(function, _MARK, function)
                marked.append(function)
    try:
        yield
    finally:
        for function in marked:
            if getattr(function, _MARK, None) is function:
                delattr(function, _MARK)


def _as_it_is(model: Any = None, **options: Any) -> Any:
    """Stands in for `torch.compile`."""
    return (lambda function: function) if model is None else model


def _eagerly() -> AbstractContextManager[Any]:
    """What was compiled before is run as it was written."""
    stance = getattr(torch.compiler, "set_stance", None)
    loaded = "torch._dynamo" in sys.modules
    return stance("force_eager") if stance is not None and loaded else nullcontext()


_MARK = "__dynamo_disable"


def _shielded() -> Iterator[Any]:
    """The functions inside `torch._disable_dynamo` among torch's references, meta kernels and methods of optimizers."""
    import torch._refs as refs

    shield = getattr(torch, "_disable_dynamo", None)
    code = getattr(shield(len) if shield is not None else None, "__code__", None)
    if code is None:
        return
    places: list[Mapping[Any, Any]] = [vars(m) for m in (refs, refs.nn.functional, refs.special, refs.linalg, refs.fft)]
    places += [torch._decomp.meta_table, torch._decomp.decomposition_table, vars(torch.optim.Optimizer)]
    stack = [f for place in places for f in place.values() if isinstance(f, FunctionType)]
    seen: set[int] = set()
    while stack:
        function = stack.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        with suppress(ValueError):  # an empty cell
            held = [c.cell_contents for c in function.__closure__ or () if isinstance(c.cell_contents, FunctionType)]
            stack.extend(held)
            if function.__code__ is code:
                yield from held
