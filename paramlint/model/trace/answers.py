"""Answers for operations that the meta device refuses: their shapes are found out by doing them on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from paramlint.model.trace.values import Values

_MOST = 1 << 26  # bytes that an operation done for its shapes may take


def answer(func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Values) -> Any:
    """What the operation gives, on meta.

    Raises:
        Exception: whatever the operation itself raises, where no right-shaped answer can be found.
    """
    if _on_meta(args):
        if name in _ASK_VALUES:
            return _by_shape(func, name, args, kwargs, values)
        if name in _INDEXED:
            args = (args[0], _integers(args[1], values), *args[2:])
    try:
        return func(*args, **kwargs)
    except NotImplementedError:
        return _by_shape(func, name, args, kwargs, values)
    except RuntimeError as error:
        special = _SPECIAL.get(name)
        if special is not None:
            return special(*args, **kwargs)
        text = str(error)
        if "device" in text and "meta" in text and "cpu" in text:
            return func(*_all_meta(args), **{k: _all_meta((v,))[0] for k, v in kwargs.items()})
        raise


# operations whose output's shape depends on values
_ASK_VALUES = frozenset(
    "nonzero unique_consecutive _unique2 unique_dim masked_select repeat_interleave bincount".split()
)


_INDEXED = frozenset("index _unsafe_index index_put index_put_ _index_put_impl_".split())


def _integers(indices: Any, values: Values) -> list[Any]:
    """Masks among indices as the integers that they stand for: how many there are is a matter of values."""
    found: list[Any] = []
    for i in indices:
        if isinstance(i, torch.Tensor) and i.is_meta and i.dtype in (torch.bool, torch.uint8):
            for where in values.guess(i).nonzero(as_tuple=True):
                made = torch.empty(where.shape, dtype=where.dtype, device="meta")
                values.know(made, where)
                found.append(made)
        else:
            found.append(i)
    return found


def _on_meta(args: tuple[Any, ...]) -> bool:
    return any(isinstance(a, torch.Tensor) and a.is_meta for a in args)


def _all_meta(args: tuple[Any, ...]) -> tuple[Any, ...]:
    def moved(a: Any) -> Any:
        if isinstance(a, torch.Tensor):
            return a.to("meta")
        return [moved(v) for v in a] if isinstance(a, (list, tuple)) else a

    return tuple(moved(a) for a in args)


def _by_shape(func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Values) -> Any:
    """The operation on the CPU, on known values or on ones, for the shapes that come out."""
    size = 0

    def real(a: Any) -> Any:
        nonlocal size
        if isinstance(a, torch.Tensor):
            size += a.numel() * a.element_size()
            if size > _MOST:
                raise NotImplementedError(f"{name} has no meta kernel, and is too large to be tried")
            return values.guess(a)
        if isinstance(a, (list, tuple)):
            return [real(v) for v in a]
        return a

    if func._schema.is_mutable:
        return args[0]
    kw = {k: real(v) for k, v in kwargs.items()}
    if kw.get("device") is not None:
        kw["device"] = torch.device("cpu")
    out = func(*(real(a) for a in args), **kw)

    def told(v: Any) -> Any:
        if isinstance(v, torch.Tensor):
            made = torch.empty_strided(v.shape, v.stride(), dtype=v.dtype, device="meta")
            if not v.dtype.is_floating_point:
                values.know(made, v)
            return made
        if isinstance(v, (list, tuple)):
            return type(v)(told(x) for x in v)
        return v

    return told(out)


def _grouped_mm(a: torch.Tensor, b: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
    """(tokens, in) x (experts, in, out), and its two kin with the groups elsewhere."""
    if a.ndim == 2 and b.ndim == 3:
        shape: tuple[int, ...] = (a.shape[0], b.shape[-1])
    elif a.ndim == 3 and b.ndim == 3:
        shape = (a.shape[0], a.shape[1], b.shape[-1])
    elif a.ndim == 3:
        shape = (a.shape[1], b.shape[-1])
    else:
        offsets = rest[0] if rest else named.get("offs")
        shape = (offsets.shape[0] if isinstance(offsets, torch.Tensor) else 1, a.shape[0], b.shape[-1])
    return torch.empty(shape, dtype=a.dtype, device="meta")


_SPECIAL = {"_grouped_mm": _grouped_mm}
