"""Takes back what passes leave behind: in a stand-in, and in the Python modules that define its classes."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from paramlint.model.trace.values import pretends

_DEEP = 3  # containers in containers


@contextmanager
def taken_back(model: nn.Module) -> Iterator[None]:
    """Module globals, class attributes and caches of functions hold no tensors after that they did not hold before.

    A rotary table that is made at the first call and kept under a global name, or by `functools.lru_cache`, would be on
    meta ever after, and the model itself could not run any more.
    """
    places = list(_places(model))
    before = [(place, dict(vars(place))) for place in places]
    held = {id(v): _copied(v) for _, names in before for v in names.values() if type(v) in (dict, list, set)}
    counted = {id(f): (f, f.cache_info().currsize) for _, names in before for f in names.values() if _cached(f)}
    try:
        yield
    finally:
        for f, count in counted.values():
            if f.cache_info().currsize > count:
                f.cache_clear()
        for place, names in before:
            for key, value in list(vars(place).items()):
                old = names.get(key, _ABSENT)
                if old is not value:
                    if _stands_in(value):
                        delattr(place, key) if old is _ABSENT else setattr(place, key, old)
                elif id(value) in held and _stands_in(value) and not _stands_in(held[id(value)]):
                    _refill(value, held[id(value)])


_ABSENT = object()


def _places(model: nn.Module) -> Iterator[Any]:
    """The classes of a model's modules, and the Python modules that define them; torch's own aside."""
    seen: set[int] = set()
    for cls in {c for m in model.modules() for c in type(m).__mro__}:
        name = cls.__module__
        if name.partition(".")[0] in ("torch", "builtins") and not name.startswith("torch.fx"):
            continue
        for place in (cls, sys.modules.get(name)):
            if place is not None and id(place) not in seen:
                seen.add(id(place))
                yield place


def _cached(value: Any) -> bool:
    return hasattr(type(value), "cache_clear") and hasattr(type(value), "cache_info")


def _copied(value: Any) -> Any:
    """A container with the containers in it, and the same items."""
    if type(value) is dict:
        return {k: _copied(v) for k, v in value.items()} if len(value) < 10_000 else dict(value)
    return type(value)(value) if type(value) in (list, set) else value


@contextmanager
def as_it_was(root: nn.Module) -> Iterator[None]:
    """What a forward writes into its modules (caches, counters, hooks, new parameters) is gone for the next."""
    before: list[tuple[dict[str, Any], dict[str, Any], list[tuple[Any, Any]]]] = []
    for module in root.modules():
        own = vars(module)
        held = [(v, v.copy() if v else None) for v in own.values() if type(v) in _CONTAINERS]
        before.append((own, own.copy(), held))
    try:
        yield
    finally:
        for own, names, held in before:
            if not _same(own, names):
                own.clear()
                own.update(names)
            for container, items in held:
                if items is None:
                    container.clear()
                elif not _same(container, items):
                    _refill(container, items)


_CONTAINERS = (dict, list, set, OrderedDict)


def _same(container: Any, items: Any) -> bool:
    """Whether a container holds the very things that it held."""
    if len(container) != len(items):
        return False
    if isinstance(container, dict):
        return all(container.get(k, _ABSENT) is v for k, v in items.items())
    return all(a is b for a, b in zip(container, items, strict=True)) if type(container) is list else container == items


def _refill(value: Any, old: Any) -> None:
    value.clear()
    if type(value) is list:
        value.extend(old)
    else:
        value.update(old)


def _stands_in(value: Any, depth: int = 0) -> bool:
    """Whether there is a tensor without values in something."""
    if isinstance(value, torch.Tensor):
        return pretends(value)
    if depth < _DEEP and len(value) < 10_000 if type(value) in (dict, list, tuple, set) else False:
        return any(_stands_in(v, depth + 1) for v in (value.values() if type(value) is dict else value))
    return False
