"""Mends which arguments are given: those that the model missed, and those that it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from inspect import Parameter
from typing import Any

import torch

from paramlint.model.inputs import guess
from paramlint.model.inputs.attempt import Attempt, leaves, with_argument, without
from paramlint.model.inputs.declared import Sizes
from paramlint.model.inputs.failure import Failure
from paramlint.model.inputs.known import Known, words
from paramlint.model.inputs.signature import Argument, arguments

_MOST_ARGS = 4
_MOST_LISTED = 64
_NOT_NAMED = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_QUOTED = re.compile(r"[`'\"]([A-Za-z_][\w.]*)[`'\"]")


def candidates(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Examples with an argument more, or less, or of another structure."""
    args = {a.name: a for a in arguments(failure.model)}
    known = failure.known
    yield from _unknown(failure, example, args)
    takes_any = any(a.kind == Parameter.VAR_KEYWORD for a in args.values())
    yield from _keys(failure, example, known, args, takes_any and not any(a.required for a in args.values()))
    listed = any(a.kind == Parameter.VAR_POSITIONAL for a in args.values()) and len(example.args) < _MOST_ARGS
    if listed and failure.said("unpack|index out of range|missing"):
        yield replace(example, args=(*example.args, example.args[-1] if example.args else _any(known)))
    yield from _values(failure, example)
    yield from _missing(failure, example, args, known)
    yield from _restructured(failure, example, args)


def _any(known: Known) -> torch.Tensor:
    return guess.tensor("x", "", known, main=True)


def _data(example: Attempt) -> torch.Tensor | None:
    """The first tensor of the example, which stands for the data."""
    return next(iter(leaves(example)), None)


def _values(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Plain values as the message lists them."""
    if failure.kind not in ("ValueError", "KeyError", "AssertionError", "NotImplementedError"):
        return
    for name, value in example.kwargs.items():
        if not isinstance(value, (int, float, str)) or not re.search(rf"\b{name}\b", failure.text):
            continue
        if isinstance(value, str):
            offered: list[Any] = [w for w in _QUOTED.findall(failure.text) if w != name]
        else:
            offered = [type(value)(float(n)) for n in re.findall(r"\d+\.?\d*", failure.text)]
        for v in offered:
            if v != value:
                yield with_argument(example, name, v)


def _unknown(failure: Failure, example: Attempt, args: dict[str, Argument]) -> Iterator[Attempt]:
    """Without an argument that the model has no use for."""
    said = failure.said(r"unexpected keyword argument '(\w+)'")
    if said and said[1] in example.kwargs:
        yield without(example, said[1])
    optional = [k for k in example.kwargs if k in args and not args[k].required]
    if failure.kind in ("ValueError", "TypeError", "AssertionError", "NotImplementedError", "AttributeError"):
        for name in optional:
            if re.search(rf"\b{name}\b", failure.text):
                yield without(example, name)
    if failure.said("'NoneType' object is not callable"):
        for frame in reversed(failure.frames):
            for name in optional:
                if name in frame.names:
                    yield without(example, name)


def _keys(
    failure: Failure, example: Attempt, known: Known, args: dict[str, Argument], takes_any: bool
) -> Iterator[Attempt]:
    """Keys that were missed in dicts that were given."""
    dicts: list[tuple[int | str, Any]] = [(k, v) for k, v in example.kwargs.items() if type(v) is dict]
    dicts += [(i, v) for i, v in enumerate(example.args) if type(v) is dict]
    wanted: list[str] = []
    if failure.kind == "KeyError":
        wanted = [failure.text.strip("'\"")]
    elif failure.kind in ("ValueError", "TypeError", "AssertionError"):
        wanted = [w for w in _QUOTED.findall(failure.text) if w not in example.kwargs and w.isidentifier()]
    missing = failure.said(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)")
    if missing:
        wanted += _QUOTED.findall(missing[1])
    if "NoneType" in failure.text and failure.deepest is not None:
        local = failure.deepest.local
        wanted += [n for n in failure.deepest.names if n in local and local[n] is None]
    data = _data(example)
    for key in wanted:
        if takes_any and key not in example.kwargs:
            made = guess.value(key, "", known, main=data is None, like=data)
            yield replace(example, kwargs={**example.kwargs, key: made})
        if failure.kind == "KeyError" and not dicts:
            for a in args.values():
                if "dict" in a.annotation.lower() and a.default is None and a.name not in example.kwargs:
                    yield with_argument(example, a.name, {key: guess.tensor(key, "", known)})
        for owner, value in dicts:
            if key not in value:
                yield with_argument(example, owner, {**value, key: guess.tensor(key, "", known)})


def _missing(failure: Failure, example: Attempt, args: dict[str, Argument], known: Known) -> Iterator[Attempt]:
    absent = [a for a in args.values() if a.name not in example.kwargs and a.kind not in _NOT_NAMED]
    absent = absent[len(example.args) :] if example.args else absent
    names = {a.name: a for a in absent}
    ordered: list[str] = []
    said = failure.said(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)")
    if said:
        ordered += _QUOTED.findall(said[1])
    ordered += [w for w in _QUOTED.findall(failure.text) if w in names]
    nothing = "None" in failure.text
    if nothing or (failure.kind in ("AssertionError", "ValueError") and not failure.said("unpack")):
        for frame in reversed(failure.frames):
            if frame.own:
                empty = [n for n in frame.names if n in frame.local and frame.local[n] is None]
                ordered += [n for n in empty if n in names]
                if nothing:
                    ordered += [m for n in empty if n not in names for m in names if set(words(n)) & set(words(m))]
        ordered += [w for w in re.findall(r"\w+", failure.text) if w in names]
        if nothing or failure.said("provid|requir|missing|need|given|both|either|at least"):
            ordered += [a.name for a in absent if "Tensor" in a.annotation and "mask" not in a.name]
    sizes = Sizes(known)
    for name in dict.fromkeys(ordered):
        if name in names:
            made = guess.value(name, names[name].annotation, known, like=_data(example))
            if words(name) == ["mask"]:  # one that is missed is of a sequence more often than of an image
                sequence = guess.tensor(name, names[name].annotation, known)
                yield replace(example, kwargs={**example.kwargs, name: sequence}, hidden=_hidden(example, name))
            if made is not None:
                fitted = sizes.fitted(name, made, example.kwargs)
                if fitted is not made:
                    yield replace(example, kwargs={**example.kwargs, name: fitted}, hidden=_hidden(example, name))
                yield replace(example, kwargs={**example.kwargs, name: made}, hidden=_hidden(example, name))


def _hidden(example: Attempt, name: str) -> frozenset[str]:
    return example.hidden | ({name} if guess.is_hidden(name) else set())


def _restructured(failure: Failure, example: Attempt, args: dict[str, Argument]) -> Iterator[Attempt]:
    """A list for a tensor, a tensor for a list, a dict for a tensor."""
    given: list[tuple[int | str, Any]] = [*enumerate(example.args), *example.kwargs.items()]
    for owner, value in given:
        yield from _indices(failure, example, owner, value)
    if failure.kind not in ("TypeError", "AttributeError", "KeyError", "IndexError") and not failure.said("to unpack"):
        return
    for owner, value in given:
        if isinstance(value, torch.Tensor) and not _named(failure, owner):
            continue
        yield from _pairs(failure, example, owner, failure.known)
        yield from _other_forms(failure, example, owner, value)


def _named(failure: Failure, owner: int | str) -> bool:
    return not isinstance(owner, str) or any(owner in f.names for f in failure.frames if f.own)


def _pairs(failure: Failure, example: Attempt, owner: int | str, known: Known) -> Iterator[Attempt]:
    """A list of tuples, where a loop takes each of what is in it apart: `for x, mask in pairs`."""
    for frame in failure.frames:
        loop = re.search(r"\bfor ((?:\w+, )+\w+) in (?:\w+\()?(\w+)\b", frame.line)
        if loop and loop[2] == owner and frame.own:
            names = str(owner).split("_and_")
            if len(names) != loop[1].count(",") + 1:
                names = loop[1].split(", ")
            yield with_argument(example, owner, [tuple(guess.tensor(n, "", known) for n in names)])


def _indices(failure: Failure, example: Attempt, owner: int | str, value: Any) -> Iterator[Attempt]:
    """A range of positions for each number of a tuple: `angles[pos[0]]` takes many of them."""
    if not isinstance(value, (tuple, list)) or not value or not all(type(v) is int for v in value):
        return
    frame = failure.deepest
    if frame is not None and failure.said("invalid for input of size|broadcast|index"):
        sizes = [s for v in frame.local.values() if isinstance(v, (tuple, list)) and len(v) == len(value) for s in [v]]
        whole = [s for s in sizes if s != value and all(isinstance(n, int) and 0 < n < 1 << 16 for n in s)]
        for s in whole[:1] or [value]:
            yield with_argument(example, owner, type(value)(torch.arange(n) for n in s))


def _other_forms(failure: Failure, example: Attempt, owner: int | str, value: Any) -> Iterator[Attempt]:
    if isinstance(value, list) and value and failure.said("list index out of range") and len(value) < _MOST_LISTED:
        yield with_argument(example, owner, (value * _MOST_LISTED)[:_MOST_LISTED])
    said = failure.said(r"index (\d+) is out of range")
    if said and isinstance(value, list) and 0 < int(said[1]) < len(value):
        yield with_argument(example, owner, value[: int(said[1])])
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
        one = value[0]
        batched = one.new_empty((len(value), *one.shape)) if one.is_meta else torch.stack(list(value))
        if failure.said("'(list|tuple)' object has no attribute|not (list|tuple)|got list|list indices"):
            yield with_argument(example, owner, batched)
        yield with_argument(example, owner, [[v] for v in value])
    elif isinstance(value, torch.Tensor):
        if failure.said("dict|'str'|string ind|must be str|slice|keys|indices must be"):
            keys = [k for f in failure.frames if f.own for k in re.findall(r"\[['\"](\w+)['\"]\]", f.line)]
            if keys:
                yield with_argument(example, owner, dict.fromkeys(keys, value))
        if value.ndim > 1 and failure.said("list|tuple(?! index)|iter"):
            yield with_argument(example, owner, list(value))
        if value.ndim <= 1 and failure.said(r"interpreted as an integer|must be int|integer argument|not '?Tensor"):
            yield with_argument(example, owner, 1)
