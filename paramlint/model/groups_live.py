"""Finds the optimizers inside wrappers, and the groups of a live one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from torch import Tensor, nn

from paramlint.model import groups_given as given
from paramlint.model.groups_given import Given
from paramlint.model.recorder import Record

_ATTRIBUTES = ("optimizers", "optimizer", "base_optimizer", "chained_optimizers")


def is_optimizer(obj: Any) -> bool:
    """Whether the object keeps `param_groups`, of whatever class it is."""
    if isinstance(obj, (type, nn.Module)):
        return False
    groups = _attribute(obj, "param_groups")
    return isinstance(groups, (list, tuple)) and all(isinstance(g, Mapping) and "params" in g for g in groups)


def wrapped(obj: Any) -> list[Any]:
    """The optimizers that an object holds in its attributes, or in lists and dicts that are its attributes."""
    if isinstance(obj, (str, bytes, type, Tensor, Mapping, Sequence, Set)) or given.is_iterator(obj):
        return []
    found: dict[int, Any] = {}
    values = [*_plain_attributes(obj), *(_attribute(obj, name) for name in _ATTRIBUTES)]
    for value in values:
        for candidate in _candidates(value):
            if candidate is not obj and is_optimizer(candidate):
                found.setdefault(id(candidate), candidate)
    return list(found.values())


def expand(obj: Any) -> list[Any]:
    """The optimizers that hold the parameters: those inside a wrapper, and the wrapper too where it has its own."""
    return list(_expand(obj, set()))


def _expand(obj: Any, seen: set[int]) -> Iterator[Any]:
    if id(obj) in seen:
        return
    seen.add(id(obj))
    inner = [o for held in wrapped(obj) for o in _expand(held, seen)]
    if not is_optimizer(obj):
        yield from inner
        return
    own = _tensors([obj])
    if inner and own <= _tensors(inner):
        yield from inner
        return
    yield obj
    # a copy that some wrappers keep of a part of the groups says nothing new
    yield from (o for o in inner if not _tensors([o]) <= own)


def live_groups(optimizer: Any, record: Record | None) -> list[Given]:
    """The groups as they were given, where that was noted and is still true; else as the optimizer holds them."""
    held = [g for group in optimizer.param_groups for g in given.groups(dict(group))]
    if record is None or not record.found:
        return held
    if _identities(record.groups) != _identities(held):
        return held
    if len(record.groups) == len(held):
        for noted, kept in zip(record.groups, held, strict=True):
            _reorder(noted, kept)
    return record.groups


def _identities(groups: list[Given]) -> set[int]:
    return {id(t) for g in groups for _, t in g.items}


def _reorder(noted: Given, kept: Given) -> None:
    """State is saved by position, and some constructors sort what they are given."""
    place = {id(t): i for i, (_, t) in enumerate(kept.items)}
    if len(place) == len(noted.items) and all(id(t) in place for _, t in noted.items):
        noted.items.sort(key=lambda item: place[id(item[1])])


def state_flags(optimizer: Any) -> dict[int, bool]:
    """`use_muon` of each tensor that has it in its state, as Moonlight's optimizer keeps it; by tensor identity."""
    state = _attribute(optimizer, "state")
    if not isinstance(state, Mapping):
        return {}
    flags = {}
    for tensor, values in state.items():
        flag = values.get("use_muon") if isinstance(values, Mapping) else None
        if isinstance(tensor, Tensor) and isinstance(flag, bool):
            flags[id(tensor)] = flag
    return flags


def _tensors(optimizers: list[Any]) -> set[int]:
    return {id(t) for o in optimizers for g in o.param_groups for t in g["params"]}


def _attribute(obj: Any, name: str) -> Any:
    try:
        return getattr(obj, name, None)
    except Exception:  # a property of the user's own
        return None


def _plain_attributes(obj: Any) -> list[Any]:
    return list(vars(obj).values()) if hasattr(obj, "__dict__") else []


def _candidates(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
    elif value is not None:
        yield value
