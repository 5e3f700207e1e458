"""Calls a user's function for its optimizers or groups."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paramlint.errors import ParamlintError
from paramlint.model.failure import explain
from paramlint.model.process import relative
from paramlint.model.recorder import Record, Session, standing_in
from paramlint.profile import Profile

_MODEL = frozenset(("model", "net", "network", "module", "self", "pl_module", "lightning_module", "m", "nn_model"))
_PARAMETERS = frozenset(("params", "parameters", "model_params", "model_parameters"))
_NAMED = frozenset(("named_parameters", "named_params", "model_named_parameters"))


@dataclass(frozen=True)
class Refused:
    """A function in which a constructor refused its arguments. `read` understands it.

    `stopped`: `records` are all that was built until then, the refusing one included. Else `result` is what the
    function returned with the refusals passed over, and `records` are the refusing ones.
    """

    records: tuple[Record, ...]
    stopped: bool
    result: Any = None


def call(
    factory: Callable[..., Any],
    model: nn.Module,
    profiles: Mapping[str, Profile],
    arguments: Mapping[str, Any] | None = None,
) -> Any:
    """What a user's function makes of the model: something that `read` understands.

    The function may take the model (by position or name), its parameters, or nothing; a method taken from a class
    gets the model as `self`. When the constructor of an optimizer refuses its arguments the result is `Refused`, not
    an error; the function is then run once more with that constructor passed over, so that what it builds afterwards
    is known too. The RNG state of torch and `random` is put back.

    Args:
        arguments: values for further parameters, by name.

    Raises:
        ParamlintError: the function wants arguments that nobody gives, is a method of another class, or fails by
            itself; with its traceback.
    """
    args, kwargs = _arguments(factory, model, dict(arguments or {}))
    state = random.getstate()
    try:
        with standing_in(profiles) as session, torch.random.fork_rng(devices=[]):
            return _run(factory, model, args, kwargs, session)
    finally:
        random.setstate(state)


def _run(factory: Callable[..., Any], model: nn.Module, args: Any, kwargs: Any, session: Session) -> Any:
    before = [id(p) for p in model.parameters()]
    start = len(session.records)
    try:
        return factory(*(a() for a in args), **{k: v() for k, v in kwargs.items()})
    except ParamlintError:
        raise
    except (Exception, SystemExit) as error:
        if not _refused(error, session.records[start:]):
            raise _failed(factory, error) from error
        first = session.records[start:]
    if [id(p) for p in model.parameters()] != before:
        return Refused(_outermost(first), stopped=True)  # a second run would meet another model
    start, session.lenient = len(session.records), True
    try:
        result = factory(*(a() for a in args), **{k: v() for k, v in kwargs.items()})
    except (Exception, SystemExit):
        return Refused(_outermost(first), stopped=True)
    finally:
        session.lenient = False
    errors = tuple(r for r in _outermost(session.records[start:]) if r.error)
    # one that refuses only the first time was not refused for its arguments
    return Refused(errors, stopped=False, result=result) if errors else Refused(_outermost(first), stopped=True)


def _outermost(records: list[Record]) -> tuple[Record, ...]:
    """Without optimizers that only hold others."""
    return tuple(r for r in records if not r.nested)


def _refused(error: BaseException, records: list[Record]) -> bool:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return any(r.error is e for r in records for e in chain)


def _failed(factory: Callable[..., Any], error: BaseException) -> ParamlintError:
    """The one line for what a user's function raised by itself."""
    said = explain(error, _place(factory))
    return ParamlintError(
        f"{_name(factory)} failed: {said.message}", where=said.where, hint=said.hint, traceback=said.traceback
    )


def _arguments(factory: Callable[..., Any], model: nn.Module, given: dict[str, Any]) -> tuple[list[Any], Any]:
    """Thunks, so that an iterator is fresh for each run."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return [lambda: model], {}
    _check_owner(factory, parameters, model)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    extra = [k for k in given if k not in {p.name for p in named}]
    if extra and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ParamlintError(f"{_name(factory)} takes no argument {extra[0]!r}", where=_place(factory))
    values: dict[str, Callable[[], Any]] = {k: (lambda v=v: v) for k, v in given.items()}  # type: ignore[misc]
    for p in named:
        if p.name in values:
            continue
        if p.name in _MODEL and (p.default is p.empty or p.default is None or isinstance(p.default, nn.Module)):
            values[p.name] = lambda: model
        elif p.default is p.empty and p.name in _PARAMETERS:
            values[p.name] = model.parameters
        elif p.default is p.empty and p.name in _NAMED:
            values[p.name] = model.named_parameters
    missing = [p for p in named if p.default is p.empty and p.name not in values]
    served = any(p.name in values and p.name not in given for p in named)
    if missing and not served and missing[0].kind is not missing[0].KEYWORD_ONLY:
        values[missing.pop(0).name] = lambda: model
    if missing:
        names = ", ".join(p.name for p in missing)
        raise ParamlintError(
            f"{_name(factory)} needs more than the model: {names}",
            where=_place(factory),
            hint="wrap it in a function of the model that fills them in",
        )
    positional = [p for p in named if p.kind is p.POSITIONAL_ONLY and p.name in values]
    args: list[Any] = [values.pop(p.name) for p in positional]
    if not named and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        args.append(lambda: model)
    return args, values


def _check_owner(factory: Any, parameters: list[inspect.Parameter], model: nn.Module) -> None:
    """A method taken from a class gets the model as `self`: the model has to be one."""
    if not inspect.isfunction(factory) or not parameters or parameters[0].name != "self":
        return
    owner: Any = sys.modules.get(factory.__module__)
    for part in factory.__qualname__.split(".")[:-1]:
        owner = getattr(owner, part, None)
    if isinstance(owner, type) and not isinstance(model, owner):
        raise ParamlintError(
            f"{factory.__qualname__} is a method of {owner.__name__}, and the model is a {type(model).__name__}",
            where=_place(factory),
            hint="name a function that takes the model, or a model of that class",
        )


def _name(factory: Any) -> str:
    return getattr(factory, "__qualname__", None) or type(factory).__name__


def _place(factory: Any) -> str:
    code = getattr(inspect.unwrap(factory), "__code__", None)
    return f"{relative(code.co_filename)}:{code.co_firstlineno}" if code else ""
