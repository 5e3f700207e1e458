"""One step of a real model, and what it did to every parameter: plain tensors, of full size.

This is what everything else in `paramlint.smoke` stands on, and what a run over several processes calls too:

    batch = Inputs(args, kwargs)                 # on the model's device
    updates = one_step(model, optimizers, batch, loss)
    updates.after["h.0.mlp.c_fc.weight"] - updates.before["h.0.mlp.c_fc.weight"]

- `model` may be wrapped (DDP, `torch.compile`, checkpointing) or sharded (FSDP2): names have no wrappers' prefixes, and
  a `DTensor` is gathered to the whole tensor, on every rank. Gathering is collective: all ranks call `one_step` alike.
- `optimizers` are stepped in their order, after one backward; gradients are None before and after.
- `loss(model, inputs)` runs the forward and gives one number to go back from: `paramlint.smoke.loss`.
- Random numbers (dropout) begin at `seed`, and the generators go on afterwards as if none had been drawn.
- Tensors of `Updates` are copies, on the device of the parameter, or where `keep` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from paramlint.model.facts import walk

SEED = 20250221


@dataclass(frozen=True)
class Inputs:
    """What a forward is called with. `label` says it in words."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


Loss = Callable[[nn.Module, Inputs], Tensor]


class Steps(Protocol):
    """What is asked of an optimizer, of whatever class."""

    def step(self) -> Any: ...


@dataclass(frozen=True)
class Updates:
    """What one step did. Keys are parameter names, in model order; tied tensors stand once, under the first name.

    `before` and `after` hold every parameter, frozen ones too; `gradients` those that had one, as the backward left
    them (an optimizer may overwrite them). `seconds` are those of "forward", "backward" and "optimizer".
    """

    loss: float
    before: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    seconds: Mapping[str, float] = field(default_factory=dict)

    def moved(self, name: str) -> bool:
        """Whether any element changed by any amount."""
        return not torch.equal(self.before[name], self.after[name])


class StepFailed(Exception):
    """An optimizer raised at its step. `index` is its place among the optimizers, `gradients` those it was given."""

    def __init__(self, index: int, gradients: Mapping[str, Tensor]) -> None:
        super().__init__(f"optimizer {index} failed at its step")
        self.index, self.gradients = index, gradients


def one_step(
    model: nn.Module,
    optimizers: Sequence[Steps],
    inputs: Inputs,
    loss: Loss,
    *,
    seed: int = SEED,
    keep: torch.device | None = None,
) -> Updates:
    """Forward, backward, and a step of each optimizer.

    Args:
        model: on its device, in the mode (training or not) that it is to run in.
        optimizers: over parameters of that model.
        inputs: on the model's device.
        loss: gives a scalar of model and inputs; see `paramlint.smoke.loss`.
        seed: what random numbers begin at.
        keep: where copies are held; None for the parameter's own device.

    Raises:
        StepFailed: an optimizer's step raised, which is the cause.
        Exception: whatever the forward or the backward raised.
    """
    before = weights(model, keep)
    value, seconds = backward(model, inputs, loss, seed=seed)
    grads = gradients(model, keep)
    try:
        seconds["optimizer"] = stepped(optimizers, model, grads)
    finally:
        clear(model)
    return Updates(value, before, grads, weights(model, keep), seconds)


def backward(model: nn.Module, inputs: Inputs, loss: Loss, *, seed: int = SEED) -> tuple[float, dict[str, float]]:
    """Gradients of the loss in the model's parameters, none being there before; the loss, and the seconds it took."""
    clear(model)
    with seeded(seed), torch.enable_grad():
        start = clock(model)
        value = loss(model, inputs)
        middle = clock(model)
        value.backward()  # type: ignore[no-untyped-call]
        end = clock(model)
    return float(value.detach()), {"forward": middle - start, "backward": end - middle}


def stepped(optimizers: Sequence[Steps], model: nn.Module, grads: Mapping[str, Tensor]) -> float:
    """Steps each optimizer; the seconds that all took.

    Raises:
        StepFailed: one of them raised.
    """
    start = clock(model)
    for index, optimizer in enumerate(optimizers):
        try:
            optimizer.step()
        except Exception as error:
            raise StepFailed(index, grads) from error
    return clock(model) - start


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter by its name, in model order; tied ones once, wrappers' prefixes stripped."""
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for path, module in walk(model):
        for attribute, p in module._parameters.items():
            if p is not None:
                found.setdefault(id(p), (f"{path}.{attribute}" if path else attribute, p))
    return dict(found.values())


def weights(model: nn.Module, keep: torch.device | None = None) -> dict[str, Tensor]:
    """Copies of all parameters."""
    return {name: copied(p, keep) for name, p in parameters(model).items()}


def gradients(model: nn.Module, keep: torch.device | None = None) -> dict[str, Tensor]:
    """Copies of the gradients that there are."""
    return {name: copied(p.grad, keep) for name, p in parameters(model).items() if p.grad is not None}


def give(model: nn.Module, grads: Mapping[str, Tensor], without: Sequence[str] = ()) -> None:
    """Puts copies of whole gradients into a model of whole tensors, but for some; those get None."""
    for name, p in parameters(model).items():
        given = grads.get(name) if name not in without else None
        p.grad = None if given is None else given.to(p.device, p.dtype, copy=True)


def clear(model: nn.Module) -> None:
    for p in model.parameters():
        p.grad = None


def copied(tensor: Tensor, keep: torch.device | None = None) -> Tensor:
    """A whole, detached, dense copy."""
    held = tensor.detach()
    full = getattr(held, "full_tensor", None)
    if callable(full):
        held = full()
    if held.layout is not torch.strided:
        held = held.to_dense()
    return held.to(keep, copy=True) if keep is not None else held.clone()


def clock(model: nn.Module) -> float:
    """Seconds, when what was asked of the model's device so far is done."""
    first = next(iter(model.parameters()), None)
    if first is not None and first.device.type == "cuda":
        torch.cuda.synchronize(first.device)
    elif first is not None and first.device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


@contextmanager
def seeded(seed: int = SEED) -> Iterator[None]:
    """Random numbers of torch, Python and NumPy begin at a seed; afterwards they go on as if none had been drawn."""
    import random
    import sys

    python = random.getstate()
    numpy = sys.modules.get("numpy")
    drawn = numpy.random.get_state() if numpy is not None else None
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        if numpy is not None:
            numpy.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            if numpy is not None:
                with suppress(Exception):
                    numpy.random.set_state(drawn)
