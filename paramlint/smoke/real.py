"""The real model on its device, with inputs that its forward takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from paramlint.errors import ParamlintError
from paramlint.model.inputs.example import Example
from paramlint.model.inputs.find import starts
from paramlint.model.inputs.given import example
from paramlint.model.inputs.repair import repaired
from paramlint.model.trace.allow import allowed
from paramlint.model.trace.eager import without_dynamo
from paramlint.model.trace.forward import run
from paramlint.model.trace.left_behind import taken_back
from paramlint.model.trace.twin import NotReady, Twin
from paramlint.model.trace.watch import random_state
from paramlint.smoke.step import SEED, Inputs, Loss, backward, clear
from paramlint.smoke.wording import said

_PATIENCE = 20.0  # seconds in which example inputs are looked for
_REPAIRS = 24
_TRIED = 4  # examples that are run for real
_ROWS = 2  # batch where one is too few


@dataclass(frozen=True)
class Ready:
    """Inputs on which forward and backward were run, and what had to be done for that."""

    inputs: Inputs
    notes: tuple[str, ...] = ()


def device_of(wanted: str) -> torch.device:
    """The device of that name; for "auto" the best there is.

    Raises:
        ParamlintError: this machine, or this torch, does not have it.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        wanted = "cuda" if cuda else "mps" if mps else "cpu"
    if (wanted == "cuda" and not cuda) or (wanted == "mps" and not mps):
        raise ParamlintError(f"this machine has no device {wanted}", where="--device", hint="auto takes what there is")
    return torch.device(wanted)


def described(device: torch.device) -> str:
    """`cpu`, `cuda: NVIDIA H200`."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def free_memory(device: torch.device, limit: int | None) -> int | None:
    """Bytes that are free on a device; None where nobody knows. `limit` is that of a worker's data."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [limit] if limit else []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    return min(found) if found else None


def examples(model: nn.Module) -> list[Example]:
    """Inputs for a model, those that run the most of it first. The model itself is not run: a stand-in on meta is.

    Raises:
        ParamlintError: none are found.
    """
    end = time.monotonic() + _PATIENCE
    found: list[tuple[bool, int, int, Example]] = []
    with random_state(), allowed(), without_dynamo(), taken_back(model):
        try:
            twin = Twin(model)
        except NotReady as error:
            raise ParamlintError(str(error)) from None
        for number, start in enumerate(starts(twin.module)):
            tried = start
            for _ in range(_REPAIRS):
                outcome = run(twin, tried, end)
                better = None if outcome.error is None else repaired(twin.module, tried, outcome.error, outcome.graph)
                if better is None:
                    break
                tried = better
            found.append((outcome.error is None, len(outcome.graph.ran), -number, tried))
            if time.monotonic() > end:
                break
    if not found:
        raise ParamlintError("no inputs are known for its forward", hint="--inputs OBJ gives them")
    return [one for *_, one in sorted(found, key=lambda f: f[:3], reverse=True)][:_TRIED]


def given(inputs: Any, model: nn.Module) -> Example:
    """The user's inputs, with the values that they have.

    Raises:
        ParamlintError: inputs of no form that is known.
    """
    if callable(inputs) and not isinstance(inputs, (Tensor, Mapping)):
        held: list[Any] = []
        original = inputs

        def noting(*args: Any) -> Any:
            held.append(original(*args))
            return held[-1]

        noting.__signature__ = _signature(original)  # type: ignore[attr-defined]
        checked = example(noting, model)
        inputs = held[-1]
    else:
        checked = example(inputs, model)
    if isinstance(inputs, Example):
        return inputs
    real = iter([t for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor)])
    return checked.mapped(lambda t: next(real).detach())


def ready(
    model: nn.Module, found: list[Example], loss: Loss, device: torch.device, *, own: bool, floats: torch.dtype | None
) -> Ready:
    """Runs forward and backward on these examples until one is taken, with random rows where integers pick rows of a
    table; if need be with a larger batch, or in evaluation mode.

    Args:
        own: the examples are the user's, to be taken as they are.
        floats: the dtype of floating inputs; None for float32.

    Raises:
        ParamlintError: none is taken, saying why the first is not.
    """
    first: Exception | None = None
    for one in found:
        inputs = placed(one, device, floats)
        for attempt, note in _attempts(model, inputs, own):
            try:
                picked = _picked_rows(model, attempt, loss)
                if picked and not own:
                    varied = _varied(attempt, picked)
                    try:
                        backward(model, varied, loss)
                        attempt = varied
                    except Exception:
                        pass
                return Ready(attempt, (note,) if note else ())
            except Exception as error:
                first = first or error
            finally:
                clear(model)
    assert first is not None
    if isinstance(first, ParamlintError):
        raise first
    raise ParamlintError(
        f"the forward or backward fails on {found[0].label or 'no inputs'}: {type(first).__name__}: {said(first)}",
        hint="--inputs OBJ gives what it takes" if not own else "",
    ) from first


def placed(one: Example, device: torch.device, floats: torch.dtype | None) -> Inputs:
    """The example on a device: numbers that have no values become noise."""
    generator = torch.Generator().manual_seed(SEED)

    def place(t: Tensor) -> Tensor:
        if t.is_meta and (t.dtype.is_floating_point or t.dtype.is_complex):
            noise = torch.randn(t.shape, generator=generator, dtype=t.dtype if t.dtype.is_complex else torch.float32)
            wanted = floats if floats is not None and t.dtype == torch.float32 else t.dtype
            return noise.to(device, wanted)
        if t.is_meta:
            return torch.ones(t.shape, dtype=t.dtype, device=device)
        return t.to(device)

    moved = one.mapped(place)
    return Inputs(moved.args, dict(moved.kwargs), one.label)


def _attempts(model: nn.Module, inputs: Inputs, own: bool) -> Iterator[tuple[Inputs, str]]:
    """As it is built; then with a batch that statistics over the batch can be made of; then in evaluation mode."""
    yield inputs, ""
    if own:
        return
    doubled = _doubled(inputs)
    if doubled is not None:
        yield doubled, f"the batch is {_ROWS}: the model does not take one alone in training mode"
    if model.training:
        model.eval()
        yield inputs, "in evaluation mode: in training mode the forward fails on these inputs"
        model.train()


def _doubled(inputs: Inputs) -> Inputs | None:
    leaves = [t for t in pytree.tree_leaves((inputs.args, dict(inputs.kwargs))) if isinstance(t, Tensor) and t.ndim]
    if not leaves or any(t.shape[0] != leaves[0].shape[0] for t in leaves):
        return None
    generator = torch.Generator().manual_seed(SEED + 1)

    def double(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.ndim:
            return value
        other = value
        if value.dtype.is_floating_point:
            other = torch.randn(value.shape, generator=generator).to(value.device, value.dtype)
        return torch.cat([value, other])

    args, kwargs = pytree.tree_map(double, (inputs.args, dict(inputs.kwargs)))
    return Inputs(args, kwargs, inputs.label)


class _Lookups(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which input tensors pick rows of a table, and of how many."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        leaves = pytree.tree_leaves((inputs.args, dict(inputs.kwargs)))
        self.wanted = {
            t.untyped_storage().data_ptr(): i
            for i, t in enumerate(leaves)
            if isinstance(t, Tensor) and t.dtype in (torch.int64, torch.int32) and t.numel()
        }
        self.rows: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.embedding.default:
            number = self.wanted.get(args[1].untyped_storage().data_ptr())
            if number is not None:
                self.rows[number] = min(self.rows.get(number, args[0].shape[0]), args[0].shape[0])
        return func(*args, **(kwargs or {}))


def _picked_rows(model: nn.Module, inputs: Inputs, loss: Loss) -> dict[int, int]:
    """Runs forward and backward; the numbers of the input tensors that pick rows of tables, with the rows."""
    watch = _Lookups(inputs)

    def watched(m: nn.Module, i: Inputs) -> Tensor:
        with watch:
            return loss(m, i)

    backward(model, inputs, watched)
    return watch.rows


def _varied(inputs: Inputs, rows: Mapping[int, int]) -> Inputs:
    """Random rows where all were the same: with equal tokens attention has nothing to choose from, and no gradient."""
    generator = torch.Generator().manual_seed(SEED + 2)
    leaves, tree = pytree.tree_flatten((inputs.args, dict(inputs.kwargs)))
    for number, count in rows.items():
        t = leaves[number]
        if bool((t == t.flatten()[0]).all()):
            leaves[number] = torch.randint(0, count, t.shape, generator=generator, dtype=t.dtype).to(t.device)
    args, kwargs = pytree.tree_unflatten(leaves, tree)
    return replace(inputs, args=args, kwargs=kwargs)


def _signature(function: Any) -> Any:
    import inspect

    return inspect.signature(function)
