"""Copies the modules of a model without its memory: same classes, same structure, blank tensors."""

from __future__ import annotations

import copy
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from paramlint.model.facts import unwrapped

Blank = Callable[[torch.Tensor], torch.Tensor]

_ATOMS = (
    type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis), type, types.ModuleType,
    types.BuiltinFunctionType, torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format,
)  # fmt: skip


class Copier:
    """Copies modules, and whatever hangs on them, each object once.

    Unlike `copy.deepcopy` it gets by with what cannot be copied (locks, files, process groups, generators): that is
    shared with the original. Functions that close over a module are bound to its copy. Wrappers of `torch.compile`,
    checkpointing and distributed training fall away.

    Args:
        blank: what stands for a tensor; called once for each.
    """

    def __init__(self, blank: Blank) -> None:
        self.memo: dict[int, Any] = {}
        self._blank = blank
        self._kept: list[Any] = []  # what the memo knows by identity stays alive
        self._unfilled: list[tuple[nn.Module, nn.Module]] = []

    def module(self, root: nn.Module) -> nn.Module:
        with _Blanks(self):
            made = self._shell(root)
            while self._unfilled:
                self._fill(*self._unfilled.pop())
        return made

    def tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        known = self.memo.get(id(tensor))
        if known is None:
            with torch._C.DisableTorchFunction():
                known = self._blank(tensor)
            self._remember(tensor, known)
        return known

    def _remember(self, original: Any, made: Any) -> None:
        self.memo[id(original)] = made
        self._kept.append(original)

    def _shell(self, original: nn.Module) -> nn.Module:
        """The copy of a module, which may still be empty."""
        known = self.memo.get(id(original))
        if known is not None:
            return known  # type: ignore[no-any-return]
        inner = unwrapped(original)
        if inner is not original:
            made = self._shell(inner)
        else:
            made = object.__new__(_own_class(type(original)))
            self._unfilled.append((original, made))
        self._remember(original, made)
        return made

    def _fill(self, original: nn.Module, made: nn.Module) -> None:
        into = vars(made)
        for key, value in vars(original).items():
            if key in ("_parameters", "_buffers", "_modules"):
                into[key] = type(value)((k, self(v)) for k, v in value.items())
            elif type(value) in (dict, OrderedDict) and not value and key.endswith(("_hooks", "_hooks_with_kwargs")):
                into[key] = type(value)()
            elif key == "_compiled_call_impl":
                into[key] = None
            elif key in ("_forward_hooks", "_forward_pre_hooks"):
                into[key] = type(value)((k, self(v)) for k, v in value.items() if not _distributed(v))
            else:
                into[key] = self(value)

    def __call__(self, value: Any) -> Any:
        """The copy of anything."""
        if isinstance(value, _ATOMS):
            return value
        known = self.memo.get(id(value))
        if known is not None:
            return known
        if isinstance(value, torch.Tensor):
            return self.tensor(value)
        if isinstance(value, nn.Module):
            return self._shell(value)
        copier = _COPIERS.get(type(value))
        made = copier(self, value) if copier is not None else self._object(value)
        self._remember(value, made)
        return made

    def _object(self, value: Any) -> Any:
        try:
            return copy.deepcopy(value, self.memo)
        except Exception:
            pass
        try:
            made = copy.copy(value)
        except Exception:
            return value  # a lock, a file, a process group: it cannot be had twice
        self._remember(value, made)
        own = getattr(made, "__dict__", None)
        if own is not None and made is not value:
            for key, item in list(own.items()):
                own[key] = self(item)
        return made

    def _sequence(self, value: Any) -> Any:
        return type(value)([self(v) for v in value])

    def _list(self, value: list[Any]) -> list[Any]:
        made: list[Any] = []
        self._remember(value, made)  # before its items: it may hold itself
        made.extend([self(v) for v in value])
        return made

    def _mapping(self, value: Mapping[Any, Any]) -> Mapping[Any, Any]:
        made: Any = type(value)()
        self._remember(value, made)
        for k, v in value.items():
            made[self(k)] = self(v)
        return made  # type: ignore[no-any-return]

    def _method(self, value: types.MethodType) -> types.MethodType:
        return types.MethodType(self(value.__func__), self(value.__self__))

    def _partial(self, value: partial[Any]) -> partial[Any]:
        return partial(self(value.func), *self(value.args), **self(value.keywords))

    def _generator(self, value: torch.Generator) -> torch.Generator:
        """One that draws the same, so that the original's state stays: its own copies are not made of blank states."""
        with torch._C.DisableTorchFunction():
            made = torch.Generator(device=value.device)
            made.set_state(value.get_state())
        return made

    def _reference(self, value: weakref.ref[Any]) -> weakref.ref[Any]:
        target = value()
        return weakref.ref(self._shell(target)) if isinstance(target, nn.Module) else value

    def _function(self, value: types.FunctionType) -> types.FunctionType:
        """A function that closes over modules or tensors, over their copies instead."""
        if not _closes_over_state(value, 0):
            return value
        cells = tuple(types.CellType() for _ in value.__closure__ or ())
        made = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, cells)
        self._remember(value, made)
        for cell, original in zip(cells, value.__closure__ or (), strict=True):
            try:
                cell.cell_contents = self(original.cell_contents)
            except ValueError:  # a cell that is still empty
                continue
        made.__defaults__ = None if value.__defaults__ is None else tuple(self(v) for v in value.__defaults__)
        made.__kwdefaults__ = {k: self(v) for k, v in (value.__kwdefaults__ or {}).items()} or None
        made.__dict__.update({k: self(v) for k, v in value.__dict__.items()})
        made.__qualname__, made.__module__, made.__doc__ = value.__qualname__, value.__module__, value.__doc__
        return made


_COPIERS: dict[type, Callable[[Copier, Any], Any]] = {
    list: Copier._list,
    tuple: Copier._sequence,
    set: Copier._sequence,
    frozenset: Copier._sequence,
    deque: Copier._sequence,
    dict: Copier._mapping,
    OrderedDict: Copier._mapping,
    types.MethodType: Copier._method,
    types.FunctionType: Copier._function,
    partial: Copier._partial,
    torch.Generator: Copier._generator,
    weakref.ref: Copier._reference,
}


class _Blanks(TorchFunctionMode):
    """Keeps `copy.deepcopy` of objects that hold tensors from copying these."""

    def __init__(self, copier: Copier) -> None:
        super().__init__()
        self.copier = copier

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.__deepcopy__, torch.Tensor.clone):
            return self.copier.tensor(args[0])
        return func(*args, **(kwargs or {}))


def _closes_over_state(function: types.FunctionType, depth: int) -> bool:
    held = list(function.__defaults__ or ()) + list((function.__kwdefaults__ or {}).values())
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:
            continue
    return any(_is_state(v, depth) for v in held)


def _is_state(value: Any, depth: int) -> bool:
    if isinstance(value, (nn.Module, torch.Tensor)):
        return True
    if depth > 4:
        return False
    if isinstance(value, types.MethodType):
        return _is_state(value.__self__, depth + 1)
    if isinstance(value, types.FunctionType):
        return _closes_over_state(value, depth + 1)
    if isinstance(value, partial):
        return _is_state(value.func, depth + 1) or _is_state(value.args, depth + 1)
    if isinstance(value, (list, tuple)):
        return any(_is_state(v, depth + 1) for v in value)
    if isinstance(value, dict):
        return any(_is_state(v, depth + 1) for v in value.values())
    return False


def _own_class(cls: type) -> type:
    """The class that the user wrote: `fully_shard` puts one of its own, which gathers shards, in its place."""
    for base in cls.__mro__:
        if base.__name__ == "FSDPModule" and base.__module__.startswith("torch.distributed"):
            return cls.__mro__[cls.__mro__.index(base) + 1]
    return cls


def _distributed(hook: Any) -> bool:
    while hasattr(hook, "func"):
        hook = hook.func
    hook = getattr(hook, "__wrapped__", hook)
    return (getattr(hook, "__module__", "") or "").startswith("torch.distributed")
