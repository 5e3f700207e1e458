"""What is watched, and put back, while a stand-in runs."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from paramlint.model.trace.values import Values


@contextmanager
def random_state() -> Iterator[None]:
    """Python's, NumPy's and torch's generators on the CPU go on as if nothing had been drawn."""
    state, python = torch.get_rng_state(), random.getstate()
    numpy = sys.modules.get("numpy")
    drawn = numpy.random.get_state() if numpy is not None else None
    grad = torch.is_grad_enabled()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one kernel for a whole layer shows nothing of it
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.set_rng_state(state)
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(drawn)
        torch.set_grad_enabled(grad)


@contextmanager
def entered(root: nn.Module, ran: set[str]) -> Iterator[None]:
    """Collects the paths of the modules whose forward is entered."""
    paths = {id(m): path for path, m in root.named_modules(remove_duplicate=False)}

    def note(module: nn.Module, args: Any) -> None:
        path = paths.get(id(module))
        if path is not None:
            ran.add(path)

    handle = hooks.register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()


class values_told(TorchFunctionMode):
    """Tells `Values` of tensors that are made from Python values, and answers where Python asks for all of one."""

    def __init__(self, values: Values) -> None:
        super().__init__()
        self.values = values

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _READS and args[0].is_meta:
            return getattr(self.values.guess(args[0]), func.__name__)()
        if func in _MADE:
            made = func(*args, **kwargs)
            if isinstance(made, torch.Tensor) and made.is_meta and not any(isinstance(a, torch.Tensor) for a in args):
                with torch._C.DisableTorchFunction():
                    real = func(*args, **{**kwargs, "device": "cpu"} if func is not torch.from_numpy else {})
                self.values.know(made, real)
            return made
        return func(*args, **kwargs)


_READS = {torch.Tensor.tolist, torch.Tensor.numpy}
_MADE = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray}
