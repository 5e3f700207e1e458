"""A number to go back from: the user's own, or one that every output has a part in."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from paramlint.errors import ParamlintError
from paramlint.smoke.expected import parts
from paramlint.smoke.step import Inputs, Loss

_DEEP = 6  # containers in containers
_NOISE = 4051  # the seed of what outputs are compared with
_CLEAR = 1e-4  # the norm of a matrix's gradient that no eps has a part in
_MOST = 1e4  # the norm that no gradient is to be brought over
_MODEL = ("model", "net", "network", "module", "m")


def default(model: nn.Module, inputs: Inputs) -> Tensor:
    """The mean squared difference of every floating or complex output to fixed noise, summed over the outputs.

    An output that is called `loss` is taken as it is, and no other is looked at.

    Raises:
        ParamlintError: no output is of floating point or complex and has a gradient.
    """
    return of_outputs(model(*inputs.args, **inputs.kwargs))


def of_outputs(outputs: Any) -> Tensor:
    """As `default`, of outputs that are there already."""
    own = _loss_of(outputs)
    if own is not None:
        return own.float().mean()
    found = [parts(t) for t in floating(outputs) if t.requires_grad]
    if not found:
        raise ParamlintError(
            "no output has a gradient", hint="--loss OBJ names a function of the outputs that gives a number"
        )
    total = found[0].new_zeros((), dtype=torch.float32)
    for number, output in enumerate(found):
        generator = torch.Generator().manual_seed(_NOISE + number)
        noise = torch.randn(output.shape, generator=generator).to(output.device)
        total = total + (output - noise).square().mean()
    return total


def scaled(loss: Loss, factor: float) -> Loss:
    """So many times a loss."""

    def larger(model: nn.Module, inputs: Inputs) -> Tensor:
        return loss(model, inputs) * factor

    return larger


def factor_for(gradients: Mapping[str, Tensor]) -> float:
    """What a loss of no meaning is multiplied with, so that optimizers see gradients and not their eps: a power of 2.

    Where blocks begin with almost no say (LayerScale at 1e-6), theirs are that small, and an eps of 1e-7 damps what is
    orthogonalised. 1 where the gradients of all matrices are large enough as they are.
    """
    found = [float(parts(g).norm()) for g in gradients.values() if g.ndim > 1]
    norms = [n for n in found if math.isfinite(n)]
    small = [n for n in norms if 0 < n < _CLEAR]
    if not small:
        return 1.0
    return 2.0 ** min(math.ceil(math.log2(_CLEAR / min(small))), math.floor(math.log2(_MOST / max(norms))))


def own(function: Callable[..., Any]) -> Loss:
    """The loss of a user's function: of the outputs, or of (model, inputs) where it takes two.

    `inputs` are the one positional argument, the tuple of several, or the dict of keyword arguments.
    """
    takes_model = _takes_model(function)

    def loss(model: nn.Module, inputs: Inputs) -> Tensor:
        if takes_model:
            value = function(model, _given(inputs))
        else:
            value = function(model(*inputs.args, **inputs.kwargs))
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
            raise ParamlintError(
                f"--loss gave {_described(value)}", hint="a tensor of one element with a gradient is wanted"
            )
        return value.reshape(())

    return loss


def floating(outputs: Any, depth: int = 0) -> Iterator[Tensor]:
    """Every tensor of floating point or complex numbers in what a model returned, each once: in tuples, dicts,
    dataclasses, objects."""
    seen: set[int] = set()
    for tensor in _tensors(outputs, depth):
        numbers = tensor.is_floating_point() or tensor.is_complex()
        if id(tensor) not in seen and numbers and tensor.numel():
            seen.add(id(tensor))
            yield tensor


def _tensors(out: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
    elif depth > _DEEP or out is None or isinstance(out, (str, bytes, int, float, nn.Module)):
        return
    elif hasattr(out, "items") and hasattr(out, "keys"):
        for value in dict(out).values():
            yield from _tensors(value, depth + 1)
    elif isinstance(out, (list, tuple, set)):
        for value in out:
            yield from _tensors(value, depth + 1)
    elif hasattr(out, "__dict__"):
        for value in vars(out).values():
            yield from _tensors(value, depth + 1)


def _loss_of(outputs: Any) -> Tensor | None:
    value = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    return value if isinstance(value, Tensor) and value.requires_grad and value.numel() else None


def _takes_model(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in named if p.default is p.empty]
    return len(required) == 2 or (len(named) >= 2 and named[0].name in _MODEL)


def _given(inputs: Inputs) -> Any:
    if inputs.kwargs and not inputs.args:
        return dict(inputs.kwargs)
    if inputs.kwargs:
        return inputs.args, dict(inputs.kwargs)
    return inputs.args[0] if len(inputs.args) == 1 else inputs.args


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}{'' if value.requires_grad else ' without a gradient'}"
    return f"a {type(value).__name__}"
