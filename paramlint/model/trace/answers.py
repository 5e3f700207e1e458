"""Answers for operations that the meta device refuses: their shapes are found out by doing them on the CPU."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from paramlint.model.trace.memo import Memo
from paramlint.model.trace.values import Values, pretends

_MOST = 1 << 26  # bytes that an operation done for its shapes may take


def answer(func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Values, memo: Memo) -> Any:
    """What the operation gives, on meta. `memo` answers for those that were asked before.

    Raises:
        Exception: whatever the operation itself raises, where no right-shaped answer can be found.
    """
    if name in _PARTICULAR and _on_meta(args):
        given = _GIVEN.get(name)
        if given is not None:
            return given(values, *args, **kwargs)
        if name == "repeat_interleave" and kwargs.get("output_size") is not None:
            return memo.empty((kwargs["output_size"],), None, torch.int64)
        if name in _ASK_VALUES:
            return _by_shape(func, name, args, kwargs, values, memo)
        if name in _INDEXED:
            args = (args[0], _integers(args[1], values, memo), *args[2:])
    try:
        return memo.ask(func, args, kwargs)
    except NotImplementedError:
        return _by_shape(func, name, args, kwargs, values, memo)
    except RuntimeError as error:
        special = _SPECIAL.get(name)
        if special is not None:
            return special(*args, **kwargs)
        text = str(error)
        if _DISAGREE.search(text) and len(set(_number_types(args))) > 1:
            return func(*_agreed(args), **kwargs)
        if "no fake impl" in text:
            return _by_shape(func, name, args, kwargs, values, memo)
        if "device" in text and "meta" in text and "cpu" in text:
            return func(*_all_meta(args), **{k: _all_meta((v,))[0] for k, v in kwargs.items()})
        raise


# operations whose output's shape depends on values
_ASK_VALUES = frozenset(
    "nonzero unique_consecutive _unique2 unique_dim masked_select repeat_interleave bincount".split()
)


# what autocast would see to, or the user: nothing that the uses of parameters depend on
_DISAGREE = re.compile("same dtype|should be the same|scalar type|dtypes? of|same type")


def _number_types(args: tuple[Any, ...]) -> Iterator[torch.dtype]:
    return (a.dtype for a in args if isinstance(a, torch.Tensor) and a.dtype.is_floating_point)


def _agreed(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The operands with one dtype for all numbers: the widest."""
    wide = functools.reduce(torch.promote_types, _number_types(args))
    return tuple(a.to(wide) if isinstance(a, torch.Tensor) and a.dtype.is_floating_point else a for a in args)


_INDEXED = frozenset("index _unsafe_index index_put index_put_ _index_put_impl_".split())


def _integers(indices: Any, values: Values, memo: Memo) -> list[Any]:
    """Masks among indices as the integers that they stand for: how many there are is a matter of values."""
    found: list[Any] = []
    for i in indices:
        if isinstance(i, torch.Tensor) and pretends(i) and i.dtype in (torch.bool, torch.uint8):
            with values.aside():
                places = values.guess(i).nonzero(as_tuple=True)
            for where in places:
                made = memo.empty(where.shape, None, where.dtype)
                values.know(made, where)
                found.append(made)
        else:
            found.append(i)
    return found


def _on_meta(args: tuple[Any, ...]) -> bool:
    return any(isinstance(a, torch.Tensor) and pretends(a) for a in args)


def _all_meta(args: tuple[Any, ...]) -> tuple[Any, ...]:
    def moved(a: Any) -> Any:
        if isinstance(a, torch.Tensor):
            return a.to("meta")
        return [moved(v) for v in a] if isinstance(a, (list, tuple)) else a

    return tuple(moved(a) for a in args)


def _by_shape(
    func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Values, memo: Memo
) -> Any:
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
    known = [real(a) for a in args]
    with values.aside():
        out = func(*known, **kw)

    def told(v: Any) -> Any:
        if isinstance(v, torch.Tensor):
            made = memo.empty(v.shape, v.stride(), v.dtype)
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


def _split(data: torch.Tensor, sizes: Any, dim: int = 0) -> list[torch.Tensor]:
    """Groups (the tokens of each expert) whose sizes are unknown were guessed to be alike: they share what there is."""
    total, parts = data.shape[dim], len(sizes)
    if parts < 4 or len(set(sizes)) > 1 or total < parts:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {total} (input tensor's size at dimension {dim}), "
            f"but got split_sizes={list(sizes)}"
        )
    shared = [total // parts + (i < total % parts) for i in range(parts)]
    return list(torch.ops.aten.split_with_sizes.default(data, shared, dim))


_SPECIAL: dict[str, Callable[..., Any]] = {"_grouped_mm": _grouped_mm, "split_with_sizes": _split}


def _nms(values: Values, boxes: torch.Tensor, *rest: Any) -> torch.Tensor:
    """Which boxes are kept: the first few."""
    kept = torch.arange(min(boxes.shape[0], 16), device="cpu")
    made = torch.empty(kept.shape, dtype=kept.dtype, device="meta")
    values.know(made, kept)
    return made


def _roi_align(
    values: Values, data: torch.Tensor, rois: torch.Tensor, scale: float, height: int, width: int, *rest: Any
) -> torch.Tensor:
    return data.new_empty((rois.shape[0], data.shape[1], height, width))


def _packed(
    values: Values, data: torch.Tensor, lengths: torch.Tensor, batch_first: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The steps of all sequences in one, and how many sequences there are at each: real numbers, on the CPU."""
    long = [int(n) for n in values.guess(lengths).tolist()]
    sizes = [sum(n > i for n in long) for i in range(max(long))]
    return data.new_empty((sum(long), data.shape[2])), torch.tensor(sizes, device="cpu")


# operators that have no kernel on meta, or one for sizes that are not known
_GIVEN: dict[str, Callable[..., Any]] = {"nms": _nms, "roi_align": _roi_align, "_pack_padded_sequence": _packed}
_PARTICULAR = frozenset(_GIVEN) | _ASK_VALUES | _INDEXED
