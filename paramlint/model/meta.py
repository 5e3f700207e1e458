"""Builds on the meta device code that was written for a real one.

`torch.device("meta")` gives every factory call a default. `OnMeta` stands above it and takes care of what the code says
itself: an explicit `device=`, `.cuda()`, `.to(device)`, `with torch.device("cuda")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _device

#: Which tensors made from values, as by `torch.linspace`, are real in a build on meta: those that are asked for on the
#: CPU (builders read drop-path rates back from them), none, or all.
Values = Literal["asked", "none", "all"]
_VALUES_TOLD = 1 << 20  # elements: above it, a tensor from values stays on meta too

_Handler = Callable[["OnMeta", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class OnMeta(TorchFunctionMode):
    """Puts on one device, `home`, whatever is made or moved, and keeps conversions of dtype.

    `home` is "meta" or "cpu"; with "cpu" only devices that this machine lacks are replaced.
    """

    def __init__(self, home: Literal["meta", "cpu"] = "meta", values: Values = "asked") -> None:
        self.home, self.values = torch.device(home), values
        self.on_meta = home == "meta"

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        handler = _HANDLERS.get(func)
        if handler is None:
            return func(*args, **(kwargs or {}))
        return handler(self, func, args, dict(kwargs) if kwargs else {})

    def placed(self, device: Any) -> torch.device | None:
        """Where a tensor goes that was asked for on `device`; None where nothing is to be said."""
        if device is None:
            default = _device.CURRENT_DEVICE  # asking torch.get_default_device() for "cuda" would look for one
            return self.home if self.on_meta or default is None or default.type != "meta" else None
        return torch.device("meta") if is_on(device, "meta") else self.home


def is_on(device: Any, kind: str) -> bool:
    """Whether a device, in any of the ways it is written, is of a kind. A number is an accelerator."""
    return not isinstance(device, int) and torch.device(device).type == kind


@contextmanager
def building(home: Literal["meta", "cpu"] = "meta", values: Values = "asked") -> Iterator[None]:
    """Everything built inside is on `home`, and asks for other devices in vain.

    On "cpu" with CUDA at hand nothing is changed: the build is what it always is.
    """
    if home == "cpu" and torch.cuda.is_available():
        yield
        return
    build = _Build(home, values)
    _open.append(build)
    build.enter()
    try:
        yield
    finally:
        build.leave()
        _open.remove(build)


@contextmanager
def paused() -> Iterator[None]:
    """As if no build were under way: what a user's function asks of paramlint itself is not part of what it builds."""
    builds = list(_open)
    for build in reversed(builds):
        build.leave()
    _open.clear()
    try:
        yield
    finally:
        _open[:] = builds
        for build in builds:
            build.enter()


class _Build:
    """The modes of one build, which can be left and entered again."""

    def __init__(self, home: Literal["meta", "cpu"], values: Values) -> None:
        self.home, self.values, self.stack = home, values, ExitStack()

    def enter(self) -> None:
        modes: tuple[AbstractContextManager[Any], ...] = (
            torch.device(self.home),
            _constructors(),
            OnMeta(self.home, self.values),
        )
        for each in modes:
            self.stack.enter_context(each)

    def leave(self) -> None:
        self.stack.close()


_open: list[_Build] = []

_tensor_new, _module_to = torch.Tensor.__new__, nn.Module.to


def _sized(*args: Any, **kwargs: Any) -> Any:
    """`torch.Tensor(3, 4)` goes past modes: as `torch.empty(3, 4)` it does not, and takes no memory on meta."""
    cls, sizes = args[0], args[1:]
    if cls is torch.Tensor and sizes and not kwargs:
        if all(type(s) is int for s in sizes):
            return torch.empty(*sizes)
        if isinstance(sizes[0], torch.Size):
            return torch.empty(sizes[0])
    return _tensor_new(*args, **kwargs)


def _numbered(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """`model.to(0)` looks for an accelerator before any tensor is asked."""
    if args and type(args[0]) is int:
        args = (torch.device("cuda", args[0]), *args[1:])
    return _module_to(self, *args, **kwargs)


@contextmanager
def _constructors() -> Iterator[None]:
    torch.Tensor.__new__ = _sized  # type: ignore[method-assign]
    nn.Module.to = _numbered  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del torch.Tensor.__new__
        nn.Module.to = _module_to  # type: ignore[method-assign]


def settle(model: nn.Module) -> None:
    """Moves to meta what a build on meta left real (values read from arrays or files). Parameters stay themselves."""
    moved: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device.type == "cpu" and type(buffer) is torch.Tensor:
                module._buffers[name] = moved.setdefault(id(buffer), buffer.to("meta"))
        for parameter in module._parameters.values():
            if parameter is not None and parameter.device.type == "cpu" and type(parameter) is nn.Parameter:
                real = parameter.detach()
                with suppress(RuntimeError):  # something else holds on to it: real is as good
                    torch.utils.swap_tensors(parameter, nn.Parameter(real.to("meta"), parameter.requires_grad))  # type: ignore[no-untyped-call]


def _storage(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    device = mode.placed(kwargs.get("device"))
    if device is not None:
        kwargs["device"] = device
        kwargs.pop("pin_memory", None)
    return func(*args, **kwargs)


def _from_values(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    asked = kwargs.get("device")
    real = mode.values == "all" or (mode.values == "asked" and asked is not None and is_on(asked, "cpu"))
    if not (mode.on_meta and real):
        return _storage(mode, func, args, kwargs)
    kwargs["device"] = "cpu"
    if any(isinstance(a, torch.Tensor) and a.is_meta for a in args):
        kwargs["device"] = mode.home
    made = func(*args, **kwargs)
    return made.to("meta") if made.numel() > _VALUES_TOLD else made


def _like(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`zeros_like`, `new_zeros`: where their model is, unless that is another device's business."""
    device = kwargs.pop("device", None)
    kwargs.pop("pin_memory", None)
    if device is not None and (is_on(device, "meta") or (mode.on_meta and not is_on(device, "cpu"))):
        kwargs["device"] = "meta"
    return func(*args, **kwargs)


def _stay(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0]


def _cpu(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args[0].is_meta else func(*args, **kwargs)


def _to(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, rest = args[0], list(args[1:])
    device = kwargs.get("device")
    if rest and (isinstance(rest[0], (str, torch.device)) or (isinstance(rest[0], int) and type(rest[0]) is not bool)):
        device = rest[0]
        if is_on(device, "meta"):
            return func(*args, **kwargs)
        rest[0] = tensor.device
    elif device is not None:
        if is_on(device, "meta"):
            return func(*args, **kwargs)
        kwargs["device"] = tensor.device
    elif rest and isinstance(rest[0], torch.Tensor) and tensor.is_meta and not rest[0].is_meta:
        rest[0] = rest[0].dtype
    return func(tensor, *rest, **kwargs)


def _type(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`t.type("torch.cuda.HalfTensor")` converts the dtype and moves: only the first is done."""
    wanted = args[1] if len(args) > 1 else kwargs.get("dtype")
    if wanted is None or isinstance(wanted, torch.dtype):
        return func(*args, **kwargs)
    name = wanted if isinstance(wanted, str) else f"{wanted.__module__}.{wanted.__name__}"
    dtype = _DTYPES.get(name.rpartition(".")[2])
    return args[0].to(dtype) if dtype is not None else func(*args, **kwargs)


def _set_data(mode: OnMeta, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`p.data = real` is refused for a `p` on meta: its shape and dtype are what a build is about."""
    tensor, value = args[0], args[1]
    if tensor.is_meta and isinstance(value, torch.Tensor) and value.device.type == "cpu":
        value = value.to("meta")
    return func(tensor, value)


_DTYPES = {
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float64,
    "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16,
    "LongTensor": torch.int64,
    "IntTensor": torch.int32,
    "ByteTensor": torch.uint8,
    "BoolTensor": torch.bool,
}
_STORAGE = (
    "empty empty_permuted empty_strided empty_quantized ones zeros full eye rand randn randint normal "
    "sparse_coo_tensor sparse_compressed_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor sparse_bsc_tensor"
)
_VALUES = (
    "arange range linspace logspace tensor as_tensor asarray scalar_tensor randperm tril_indices triu_indices "
    "bartlett_window blackman_window hamming_window hann_window kaiser_window"
)
_LIKE = "empty_like zeros_like ones_like full_like rand_like randn_like randint_like"
_NEW = "new_empty new_empty_strided new_zeros new_ones new_full new_tensor"


def _handlers() -> dict[Any, _Handler]:
    table: dict[Any, _Handler] = {}
    for owner, names, handler in (
        (torch, _STORAGE, _storage),
        (torch, _VALUES, _from_values),
        (torch.fft, "fftfreq rfftfreq", _from_values),
        (torch, _LIKE, _like),
        (torch.Tensor, _NEW, _like),
        (torch.Tensor, "cuda xpu hpu npu ipu pin_memory", _stay),
        (torch.Tensor, "cpu", _cpu),
        (torch.Tensor, "to", _to),
        (torch.Tensor, "type", _type),
    ):
        table.update((getattr(owner, name), handler) for name in names.split() if hasattr(owner, name))
    table[torch.Tensor.data.__set__] = _set_data  # type: ignore[attr-defined]
    return table


_HANDLERS = _handlers()
