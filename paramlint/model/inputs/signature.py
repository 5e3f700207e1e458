"""Inputs of any module, from the signature of its forward and what is known of its sizes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paramlint.model.inputs import guess
from paramlint.model.inputs.attempt import Attempt, leaves
from paramlint.model.inputs.declared import Sizes
from paramlint.model.inputs.example import Example
from paramlint.model.inputs.known import Known

_ALONE = 3  # optional arguments that are tried without the others
_CONTEXTS = ("encoder_hidden_states", "context", "memory")
_NEVER = frozenset("self return_dict output_attentions output_hidden_states use_cache".split())


@dataclass(frozen=True)
class Argument:
    """One argument of a forward. `annotation` is "" where there is none."""

    name: str
    annotation: str
    required: bool
    kind: Any
    default: Any = None


def arguments(model: nn.Module) -> list[Argument]:
    """The arguments of the forward, without those that only steer the output."""
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):
        return []
    return [
        Argument(
            p.name,
            _said(p.annotation),
            p.default is inspect.Parameter.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD),
            p.kind,
            None if p.default is inspect.Parameter.empty else p.default,
        )
        for p in signature.parameters.values()
        if p.name not in _NEVER
    ]


def _said(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return (
            annotation.__name__
            if annotation.__module__ == "builtins"
            else f"{annotation.__module__}.{annotation.__name__}"
        )
    text = str(annotation).strip("'\"")
    if text.startswith("typing.Optional[") and text.endswith("]"):
        text = text[len("typing.Optional[") : -1]
    return text


def starts(model: nn.Module) -> Iterator[Example]:
    """One example with what the forward demands, then with what it may take besides, then in training mode."""
    args = arguments(model)
    known = Known(model)
    plain = [a for a in args if a.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)]
    needed = [a for a in plain if a.required] or plain[:1]
    # a cross-attention without its context would attend to itself
    needed += [a for a in plain if a.name in _CONTEXTS and a not in needed and known.width(a.name) is not None]
    if not needed:
        if any(a.kind == inspect.Parameter.VAR_POSITIONAL for a in args):
            yield Attempt((guess.value("x", "", known, main=True),))
        elif args:
            yield Attempt()  # the keys that are missed are added one by one
        return
    ways = _ways(known, needed)
    first = _with(known, needed, needed, told=ways[0])
    for told in ways:
        yield _with(known, needed, needed, told=told)
    optional = [
        a for a in plain if a not in needed and a.default is None and guess.optional_worth_trying(a.name, a.annotation)
    ]
    for told in ways if optional else ():
        yield _with(known, needed, [*needed, *optional], told=told)
        if len(optional) > 1:
            for a in optional[:_ALONE]:
                yield _with(known, needed, [*needed, a], told=told)
    for a in plain:
        if a not in needed and a.default is None and guess.optional_mask(a.name):
            yield _with(known, needed, [*needed, a], told=ways[0])
    if any(not t.dtype.is_floating_point for t in leaves(first)):
        # integers of which nothing is known: what is asked of them is answered yes
        blank = first.mapped(lambda t: t.to("meta"))
        yield Attempt(blank.args, blank.kwargs, first.hidden)
    if any(_differs_in_training(m) for m in model.modules()):
        yield Attempt(first.args, first.kwargs, first.hidden, training=True)


def _ways(known: Known, needed: list[Argument]) -> tuple[bool, ...]:
    """Whether to heed what is written about shapes, which may be wrong: the likelier first."""
    guessed = _with(known, needed, needed, told=False)
    if guessed.key == _with(known, needed, needed, told=True).key:
        return (True,)
    main = needed[0].name
    return (False, True) if Sizes(known).doubtful(main, guessed.kwargs.get(main)) else (True, False)


def _with(known: Known, needed: list[Argument], given: list[Argument], *, told: bool = True) -> Attempt:
    """An example of these arguments; `told` heeds the shapes that the forward's text tells."""
    sizes = Sizes(known)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    main = needed[0]
    data: torch.Tensor | None = None
    for a in given:
        made = guess.value(a.name, a.annotation, known, main=a is main, like=data)
        if told:
            made = sizes.fitted(a.name, made, kwargs)
        if a is main and isinstance(made, torch.Tensor):
            data = made
        if made is None and not a.required:
            continue
        if a.kind == inspect.Parameter.POSITIONAL_ONLY:
            args.append(made)
        else:
            kwargs[a.name] = made
    return Attempt(tuple(args), kwargs, frozenset(k for k in kwargs if guess.is_hidden(k) and k != main.name))


def _differs_in_training(m: nn.Module) -> bool:
    """Whether its own forward asks for the mode, as one does that has heads for training only."""
    if type(m).__module__.startswith("torch.nn."):
        return False
    code = getattr(type(m).forward, "__code__", None)
    return code is not None and "training" in code.co_names
