"""What somebody wrote where an optimizer takes its parameters, read without using it up."""

from __future__ import annotations

import itertools
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Set, ValuesView
from dataclasses import dataclass, field
from types import GeneratorType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from paramlint.parameter import Destination

Kind = Literal["empty", "tensors", "groups"]

# Iterators that can stand where parameters go. Others (a counter, an open file) are never advanced.
_ITERATORS: tuple[type[Iterable[Any]], ...] = (
    GeneratorType,
    filter,
    map,
    zip,
    itertools.chain,
    itertools.islice,
    type(iter([])),
    type(iter(())),
    type(iter(set[int]())),
    *(type(iter(view)) for view in ({0: 0}.keys(), {0: 0}.values(), {0: 0}.items())),
)
_ITERABLES: tuple[type[Iterable[Any]], ...] = (list, tuple, Set, ValuesView, ItemsView, nn.ParameterList)
# Words that an Adam half is called by.
_ADAM_WORDS = ("adam", "adamw", "aux", "lion", "sgd", "scalar", "scalars", "fallback")


@dataclass
class Given:
    """One group: tensors with the names they were paired with, the other keys, what held the tensors.

    `wrong` are the types of the entries that are no tensors.
    """

    items: list[tuple[str | None, Tensor]]
    options: dict[str, Any] = field(default_factory=dict)
    container: str = "list"
    half: Destination | None = None
    wrong: tuple[str, ...] = ()

    def copy(self) -> dict[str, Any]:
        """A group as torch keeps it."""
        return {"params": [t for _, t in self.items], **self.options}


def container(value: object) -> str:
    """What findings call the type that holds parameters."""
    return "tensor" if isinstance(value, Tensor) else type(value).__name__


def settle(value: Any) -> tuple[Any, Any]:
    """What can be read as often as one likes, and what to hand on in place of an iterator: one as fresh."""
    if not isinstance(value, _ITERATORS):
        return value, value
    items = list(value)
    return items, (x for x in items) if isinstance(value, GeneratorType) else iter(items)


def kind(value: Any) -> Kind | None:
    """Whether these are tensors (named or not) or group dicts; None when they are neither."""
    if isinstance(value, Tensor):
        return "tensors"
    if isinstance(value, Mapping):
        if "params" in value:
            return "groups"
        return "tensors" if value and all(isinstance(v, Tensor) for v in value.values()) else None
    if not isinstance(value, _ITERABLES):
        return None
    found = {"tensors" if _entry(v) else "groups" if _is_group(v) else "" for v in value}
    if not found:
        return "empty"
    return "tensors" if found == {"tensors"} else "groups" if found == {"groups"} else None


def groups(value: Any, half: Destination | None = None) -> list[Given]:
    """The groups of a value that has a `kind`. Iterators inside group dicts are replaced by fresh ones."""
    if kind(value) != "groups":
        items, wrong = _items(value)
        return [Given(items, {}, container(value), half, wrong)]
    return [_group(g, half) for g in ([value] if isinstance(value, Mapping) else value)]


def half_of(name: str, among: Iterable[str]) -> Destination | None:
    """Which half a list is for, by what it is called beside the others: `muon_params` and `adamw_params`."""
    if _says_muon(name):
        return "muon"
    return "adam" if any(_says_muon(n) for n in among) or says_adam(name) else None


def says_adam(name: str) -> bool:
    """Whether a label names an Adam half in so many words."""
    return any(w in _ADAM_WORDS for w in name.lower().replace("-", "_").split("_")) and not _says_muon(name)


def _says_muon(name: str) -> bool:
    text = name.lower().replace("-", "_").replace(" ", "_")
    return "muon" in text and not any(no in text for no in ("non_muon", "nonmuon", "no_muon", "not_muon"))


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping) and "params" in value


def _entry(value: Any) -> tuple[str | None, Tensor] | None:
    if isinstance(value, Tensor):
        return None, value
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str):
        return (value[0], value[1]) if isinstance(value[1], Tensor) else None
    return None


def _items(value: Any) -> tuple[list[tuple[str | None, Tensor]], tuple[str, ...]]:
    if isinstance(value, Tensor):
        return [(None, value)], ()
    if isinstance(value, Mapping):
        value = value.items()
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        return [], (type(value).__name__,)
    # a name paired with something else is as wrong as the something else
    entries = [(v, _entry(v)) for v in value]
    return [e for _, e in entries if e], tuple(type(v).__name__ for v, e in entries if e is None)


def _group(group: Any, half: Destination | None) -> Given:
    held = group["params"]
    value, fresh = settle(held)
    if value is not held and hasattr(group, "__setitem__"):
        group["params"] = fresh
    items, wrong = _items(value)
    options = {str(k): v for k, v in group.items() if k not in ("params", "param_names")}
    names = group.get("param_names")
    if isinstance(names, (list, tuple)) and len(names) == len(items):
        items = [(str(n), t) for n, (_, t) in zip(names, items, strict=True)]
    return Given(items, options, container(held), half, wrong)


def shape(tensor: Tensor) -> tuple[int, ...]:
    """The global shape; () for a lazy parameter."""
    if torch.nn.parameter.is_lazy(tensor):
        return ()
    return tuple(int(d) for d in tensor.shape)


def is_iterator(value: object) -> bool:
    """Whether reading the value uses it up."""
    return isinstance(value, Iterator)
