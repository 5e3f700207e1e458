"""Builds the model that a target names: on the meta device if that can be, else on the CPU."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from paramlint.errors import ParamlintError
from paramlint.model import importing
from paramlint.model.failure import TORCH_HINT, chain, did_you_mean, needs_values, text
from paramlint.model.process import relative
from paramlint.parameter import Location
from paramlint.target import Target

_MIXED = re.compile(r"not on the expected device|on the same device", re.IGNORECASE)


@dataclass(frozen=True)
class Built:
    """A model, what to call the place it comes from, and where its tensors are."""

    model: Any
    location: Location | None
    built_on: Literal["meta", "cpu"]
    notes: tuple[str, ...] = ()


def build(target: Target, kwargs: Mapping[str, Any], device: Literal["meta", "cpu"] = "meta") -> Built:
    """Builds the model; what it raises is what the target raised.

    `kwargs` go to the callable, over the fields of a transformers configuration, or to `timm.create_model`. A build
    on meta that needs values is tried again: with values made by `torch.linspace` and its like, then on the CPU. A
    callable is therefore called up to three times.

    Raises:
        ParamlintError: no such thing, not a model, arguments missing or not known.
    """
    if target.kind == "python":
        return _python(target, kwargs, device)
    require_torch(target.text)
    from paramlint.model import sources

    source = sources.prepare(target, kwargs)
    model, built_on, notes = _climb(source.build, device)
    return Built(model, place(type(model)), built_on, (*source.notes, *notes))


def require_torch(where: str) -> None:
    """
    Raises:
        ParamlintError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ParamlintError("torch is not installed", where=where, hint=TORCH_HINT) from None
    torch.set_num_threads(1)


def _python(target: Target, kwargs: Mapping[str, Any], device: Literal["meta", "cpu"]) -> Built:
    found = importing.locate(target)
    line = importing.assigned_at(found, target.attribute)
    if line is None:
        thing = importing.take(importing.load(found), target)
        location = place(thing)
        make = _maker(thing, kwargs, target)
        if _is_module(thing):
            return Built(thing, place(type(thing)), _device_of(thing))
        model, built_on, notes = _climb(make, device)
        return Built(model, location, built_on, notes)

    location = Location(relative(found.path), line, label=target.attribute) if found.path else None

    def run_module() -> Any:
        importing.forget(found)
        return _maker(importing.take(importing.load(found), target), kwargs, target)()

    model, built_on, notes = _climb(run_module, device)
    return Built(model, location, built_on, notes)


def _climb(
    attempt: Callable[[], Any], device: Literal["meta", "cpu"]
) -> tuple[Any, Literal["meta", "cpu"], tuple[str, ...]]:
    """On meta, on meta with other values, on the CPU: as far up as the failures are for want of values."""
    from paramlint.model.meta import Values, building, settle

    reason = ""
    values: Values = "asked"
    for _ in range(2 if device == "meta" else 0):
        try:
            with building("meta", values):
                model = attempt()
            settle(model)
            return model, "meta", ()
        except Exception as error:
            if not needs_values(error):
                raise
            reason = reason or text(next(e for e in chain(error) if needs_values(e)))
            values = "none" if _MIXED.search(" ".join(map(text, chain(error)))) else "all"
    try:
        with building("cpu"):
            model = attempt()
    except Exception as error:
        if reason:
            error.on_meta = reason  # type: ignore[attr-defined]  # read by failure.explain
        raise
    return model, "cpu", (f"cannot be built on the meta device ({reason}): built on CPU",) if reason else ()


def _maker(thing: Any, kwargs: Mapping[str, Any], target: Target) -> Callable[[], Any]:
    """A function of nothing that gives the model, or an error that says why `thing` cannot."""
    if _is_module(thing):
        if kwargs:
            raise ParamlintError(
                "is a model already and takes no arguments", where=target.text, hint="leave out --kwargs"
            )
        return lambda: thing
    if inspect.ismodule(thing):
        raise ParamlintError(
            f"{target.attribute} is a Python module, not a model", where=target.text, hint="name a function in it"
        )
    if inspect.iscoroutinefunction(thing) or inspect.isasyncgenfunction(thing):
        raise ParamlintError(
            f"{target.attribute} is async", where=target.text, hint="name a plain function that builds the model"
        )
    if not callable(thing):
        raise ParamlintError(
            f"{target.attribute} is {described(thing)}, not a model and not callable",
            where=target.text,
            hint="name a torch.nn.Module, a class of one, or a function that returns one",
        )
    check_arguments(thing, kwargs, target)
    require_torch(target.text)
    if inspect.isclass(thing) and not _is_module_class(thing):
        raise ParamlintError(
            f"{target.attribute} is a class, but not of a torch.nn.Module",
            where=target.text,
            hint="name a function that returns the model",
        )
    return lambda: _model(thing(**kwargs), target)


def _model(result: Any, target: Target) -> Any:
    if _is_module(result):
        return result
    hint = "name a function that returns the model alone"
    if inspect.iscoroutine(result):
        result.close()
        raise ParamlintError(f"{target.attribute} is async", where=target.text, hint=hint)
    raise ParamlintError(
        f"{target.attribute} returned {described(result)}, not a torch.nn.Module", where=target.text, hint=hint
    )


def check_arguments(thing: Callable[..., Any], kwargs: Mapping[str, Any], target: Target) -> None:
    """
    Raises:
        ParamlintError: `thing(**kwargs)` would fail for its signature; names the arguments.
    """
    try:
        parameters = inspect.signature(thing).parameters
    except (ValueError, TypeError):
        return
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in kwargs:
        if name not in named and not open_ended:
            hint = did_you_mean(name, named, f"it takes {', '.join(named)}" if named else "it takes none")
            raise ParamlintError(f"{target.attribute} has no argument {name!r}", where=target.text, hint=hint)
    missing = [n for n, p in named.items() if p.default is p.empty and n not in kwargs]
    missing += [
        n for n, p in parameters.items() if p.kind is inspect.Parameter.POSITIONAL_ONLY and p.default is p.empty
    ]
    if missing:
        example = ", ".join(f'"{n}": ...' for n in missing)
        raise ParamlintError(
            f"{target.attribute} needs arguments: {', '.join(missing)}",
            where=target.text,
            hint=f"--kwargs '{{{example}}}', or name a function that needs none",
        )


def described(value: Any) -> str:
    """What a value is, in a few words: `None`, `a dict`, `a tuple (Net, AdamW)`."""
    if value is None:
        return "None"
    kind = type(value).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    if isinstance(value, (tuple, list)):
        return f"{article} {kind} ({', '.join(type(v).__name__ for v in value[:4])}{', ...' if len(value) > 4 else ''})"
    return f"{article} {kind}"


def place(thing: Any) -> Location | None:
    """File and line of a function or class; None for what has neither."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    label = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    if not inspect.isclass(thing):
        with suppress(ValueError):
            thing = inspect.unwrap(thing)
        code = getattr(thing, "__code__", None)
        if code is not None:
            return Location(relative(code.co_filename), code.co_firstlineno, label=label)
        thing = type(thing)
    path = getattr(sys.modules.get(thing.__module__), "__file__", None)
    if not path or not path.endswith(".py"):
        return None
    return Location(relative(path), _line_of_class(path, thing.__name__), label=label)


def _line_of_class(path: str, name: str) -> int:
    """By a search for the text: `inspect` would parse the file."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 1
    wanted = re.compile(rf"\s*class\s+{re.escape(name)}\b")
    return next((i for i, line in enumerate(lines, 1) if wanted.match(line)), 1)


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "nn") and isinstance(value, torch.nn.Module)


def _is_module_class(value: type) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "nn") and issubclass(value, torch.nn.Module)


def _device_of(model: Any) -> Literal["meta", "cpu"]:
    first = next(iter(model.parameters()), None)
    return "meta" if first is not None and first.is_meta else "cpu"
