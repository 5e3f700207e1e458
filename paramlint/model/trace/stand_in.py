"""Answers for modules whose kernels cannot run here: quantised weights in packed form, extensions for one accelerator.

What such a module gives is made up from the sizes that it names, and the tape is told what its parameters are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from paramlint.model.trace.tape import Tape

Answer = Callable[[Tape, nn.Module, torch.Tensor], torch.Tensor | None]


def known_sizes(module: nn.Module) -> Answer | None:
    """How to answer for a module whose kind is plain from the sizes that it names; None where it is not."""
    own = vars(module)
    if _whole(own, "in_features", "out_features"):
        return _linear
    if _whole(own, "num_embeddings", "embedding_dim"):
        return _embedding
    if _whole(own, "in_channels", "out_channels") and isinstance(own.get("kernel_size"), tuple):
        return None if own.get("transposed") or isinstance(own.get("padding"), str) else _convolution
    if not module._modules and any("eps" in k and isinstance(v, float) for k, v in own.items()):
        parameters = [p for p in module._parameters.values() if p is not None]
        if parameters and all(p.ndim == 1 for p in parameters):
            return _norm
    return None


@contextmanager
def answering(root: nn.Module, tape: Tape, classes: Mapping[type, bool]) -> Iterator[None]:
    """Modules of some classes are answered for; of those marked True, only when they raise.

    The stand-in's modules are changed inside, and changed back after.
    """
    changed: list[tuple[nn.Module, Any]] = []
    for module in list(root.modules()) if classes else []:
        if type(module) in classes:
            changed.append((module, vars(module).get("forward")))
            vars(module)["forward"] = _forward(module, tape, first=classes[type(module)])
    try:
        yield
    finally:
        for module, before in changed:
            if before is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = before


def _forward(module: nn.Module, tape: Tape, *, first: bool) -> Callable[..., Any]:
    run, answer = module.forward, known_sizes(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        data = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)), None)
        if not first:
            made = answer(tape, module, data) if answer is not None and data is not None else None
            return run(*args, **kwargs) if made is None else made
        try:
            return run(*args, **kwargs)
        except Exception as error:
            if data is None or not data.dtype.is_floating_point:
                raise
            return tape.invent("opaque", [data, *_reached(error)], None, data.shape, data.dtype)

    return forward


def _reached(error: BaseException) -> Iterator[torch.Tensor]:
    """The tensors of numbers that were at hand where a module raised: what it would have given depends on them."""
    at = error.__traceback__
    while at is not None:
        if not at.tb_frame.f_globals.get("__name__", "").startswith(("torch.", "paramlint.")):
            for value in list(at.tb_frame.f_locals.values()):
                if type(value) is torch.Tensor and value.dtype.is_floating_point:
                    yield value
        at = at.tb_next


def _whole(own: Mapping[str, Any], *names: str) -> bool:
    return all(type(own.get(name)) is int for name in names)


def _weight(module: nn.Module) -> list[torch.Tensor]:
    """The largest parameter of a module; none where it keeps its weight in buffers or objects of its own."""
    parameters = [p for k, p in module._parameters.items() if p is not None and k != "bias"]
    return [max(parameters, key=torch.Tensor.numel)] if parameters else []


def _bias(module: nn.Module) -> list[torch.Tensor]:
    bias = module._parameters.get("bias")
    return [] if bias is None else [bias]


def _number_type(module: nn.Module) -> torch.dtype:
    for p in (*module._parameters.values(), *module._buffers.values()):
        if p is not None and p.dtype.is_floating_point and p.element_size() > 1:
            return p.dtype
    return torch.get_default_dtype()


def _linear(tape: Tape, module: nn.Module, data: torch.Tensor) -> torch.Tensor | None:
    if not data.ndim or data.shape[-1] != module.in_features or not data.dtype.is_floating_point:
        return None
    weight, bias = _weight(module), _bias(module)
    shape = (*data.shape[:-1], int(module.out_features))  # type: ignore[arg-type]
    if not weight:
        return tape.invent("opaque", [data, *bias], None, shape, data.dtype)
    full = (int(module.in_features), int(module.out_features))  # type: ignore[arg-type]
    places = [1, 2, 0] if bias else [1, 2]
    return tape.invent("addmm", [data, *weight, *bias], places, shape, data.dtype, weight=full)


def _embedding(tape: Tape, module: nn.Module, data: torch.Tensor) -> torch.Tensor | None:
    weight = _weight(module)
    if data.dtype.is_floating_point or not weight:
        return None
    shape = (*data.shape, int(module.embedding_dim))  # type: ignore[arg-type]
    return tape.invent("embedding", [*weight, data], [0, 1], shape, _number_type(module))


def _convolution(tape: Tape, module: nn.Module, data: torch.Tensor) -> torch.Tensor | None:
    kernel: tuple[int, ...] = module.kernel_size  # type: ignore[assignment]
    n = len(kernel)
    if data.ndim != n + 2 or data.shape[1] != module.in_channels:
        return None
    stride, padding, dilation = (
        _each(getattr(module, k, d), n) for k, d in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    sizes = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(data.shape[2:], kernel, stride, padding, dilation, strict=True)
    ]
    weight, bias = _weight(module), _bias(module)
    shape = (data.shape[0], int(module.out_channels), *sizes)  # type: ignore[arg-type]
    places = [0, *([1] if weight else []), *([2] if bias else [])]
    details = {"groups": getattr(module, "groups", 1), "transposed": False}
    if not weight:
        return tape.invent("opaque", [data, *bias], places, shape, data.dtype)
    full = (int(module.out_channels), data.shape[1] // int(details["groups"]), *kernel)  # type: ignore[arg-type]
    return tape.invent(
        "convolution", [data, *weight, *bias], places, shape, data.dtype, weight=full, details=details
    )  # fmt: skip


def _each(value: Any, n: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (int(value),) * n


def _norm(tape: Tape, module: nn.Module, data: torch.Tensor) -> torch.Tensor | None:
    gain, bias = _weight(module), _bias(module)
    if not gain or not data.ndim or data.shape[-1] != gain[0].shape[0]:
        return None
    places = [0, 2, *([3] if bias else [])]
    return tape.invent("native_layer_norm", [data, *gain, *bias], places, data.shape, data.dtype)
