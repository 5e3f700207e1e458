"""What is watched, and put back, while a stand-in runs."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from paramlint.model.trace.values import Values, pretends


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
def uncollected() -> Iterator[None]:
    """The search for cyclic garbage rests: it goes over every node of a growing graph again and again."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


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
        if func in _READS and pretends(args[0]):
            return getattr(self.values.guess(args[0]), func.__name__)()
        if func is torch.Tensor.__format__ and pretends(args[0]) and args[0].ndim == 0:
            return format(self.values.scalar(args[0]), *args[1:])  # error messages say how many
        if func is torch.Tensor.__getitem__ and type(args[1]) is tuple and pretends(args[0]):
            return func(args[0], tuple([self._told(i) if type(i) is list else i for i in args[1]]))
        if func in _MADE:
            args = (self._plain(args[0]), *args[1:]) if args else args
            made = func(*args, **kwargs)
            if isinstance(made, torch.Tensor) and pretends(made) and not any(isinstance(a, torch.Tensor) for a in args):
                with torch._C.DisableTorchFunction(), self.values.aside():
                    real = func(*args, **{**kwargs, "device": "cpu"} if func is not torch.from_numpy else {})
                self.values.know(made, real)
            return made
        return func(*args, **kwargs)

    def _plain(self, value: Any) -> Any:
        """Numbers for the tensors in a list of numbers."""
        if type(value) not in (list, tuple) or not any(isinstance(v, (torch.Tensor, list, tuple)) for v in value):
            return value
        return [
            self.values.scalar(v) if isinstance(v, torch.Tensor) and pretends(v) and v.ndim == 0 else self._plain(v)
            for v in value
        ]

    def _told(self, index: list[Any]) -> Any:
        """Integers in a list as a tensor that is known; anything else as it is."""
        if not index or any(type(i) is not int for i in index):
            return index
        made = torch.empty(len(index), dtype=torch.int64, device="meta")
        with torch._C.DisableTorchFunction():
            self.values.know(made, torch.tensor(index, device="cpu"))
        return made


_READS = {torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__}
_MADE = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray}
