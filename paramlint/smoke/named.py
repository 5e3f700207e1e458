"""What a request names: inputs, a loss, and what makes the optimizers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from paramlint.errors import ParamlintError
from paramlint.knowledge import Knowledge
from paramlint.model import importing
from paramlint.model import load as loading
from paramlint.model.failure import explain
from paramlint.parameter import Inventory
from paramlint.smoke import loss as losses
from paramlint.smoke import optimizers, real
from paramlint.smoke.optimizers import Factory
from paramlint.smoke.process import SmokeRequest
from paramlint.smoke.step import Loss
from paramlint.target import parse, parse_object


def inputs(request: SmokeRequest, model: nn.Module) -> list[Any]:
    """The example inputs that the user names; none where nothing is named.

    Raises:
        ParamlintError: they cannot be had.
    """
    if not request.build.inputs:
        return []
    try:
        return [real.given(_object(request.build.inputs, request), model)]
    except Exception as error:
        raise explain(error, f"--inputs {request.build.inputs}") from error


def loss(request: SmokeRequest) -> Loss:
    """The user's loss, or the default.

    Raises:
        ParamlintError: it cannot be had, or is no function.
    """
    if not request.loss:
        return losses.default
    try:
        function = _object(request.loss, request)
    except Exception as error:
        raise explain(error, f"--loss {request.loss}") from error
    if not callable(function):
        raise ParamlintError("is no function", where=f"--loss {request.loss}")
    return losses.own(function)


def factories(request: SmokeRequest, known: Knowledge, inventory: Inventory) -> list[Factory]:
    """What makes the optimizers: the user's functions, or generated code.

    Raises:
        ParamlintError: they cannot be loaded, or are not functions of the model.
    """
    profiles = known.profiles
    if request.optimizers:
        return [_function(text, request, known) for text in request.optimizers]
    profile = known.profile(request.profile)
    if request.groups:
        made = [_function(text, request, known) for text in request.groups]

        def groups_of(model: nn.Module) -> Any:
            from paramlint.model.groups_call import call

            given = [call(function, model, profiles) for function in made]
            return given[0] if len(given) == 1 else [g for part in given for g in part]

        return [optimizers.Plain(optimizers.from_groups(groups_of, profile, profiles))]
    from paramlint.codegen.generate import generate
    from paramlint.planning import plan

    if profile.call_shape == "attribute":
        raise ParamlintError(f"{profile.name} needs its whole framework, and cannot be stepped here")
    planned = plan(inventory, known, profile.name, policy=request.policy, target=request.build.target)
    text = generate(planned, inventory, profile)
    try:
        return [optimizers.generated(text)]
    except ImportError:
        raise optimizers.not_installed(next(iter(profile.imports), profile.name), profiles) from None


def _function(text: str, request: SmokeRequest, known: Knowledge) -> Factory:
    try:
        thing = _object(text, request)
    except ModuleNotFoundError as error:
        raise missing(error, known, text) from None
    except Exception as error:
        raise explain(error, text) from error
    if not callable(thing) or isinstance(thing, (Tensor, nn.Module)) or hasattr(thing, "param_groups"):
        hint = "name a function of the model: it is called again for a fresh one"
        made = f"is {loading.described(thing)}, made once and for all, not a function"
        raise ParamlintError(made, where=text, hint=hint)
    factory: Factory = thing
    return factory


def _object(text: str, request: SmokeRequest) -> Any:
    found = parse_object(text, parse(request.build.target))
    return importing.take(importing.load(importing.locate(found)), found)


def missing(error: ModuleNotFoundError, known: Knowledge, where: str) -> ParamlintError:
    """A module that is not installed: how to install it, where it is an optimizer's."""
    name = error.name or ""
    top = name.partition(".")[0]
    if any(i.partition(".")[0] == top for p in known.profiles.values() for i in p.imports):
        lacking = optimizers.not_installed(name, known.profiles)
        lacking.where = where
        return lacking
    return explain(error, where)
