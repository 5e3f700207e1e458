"""The parameters that an optimizer fails on, in a model that may be sharded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from paramlint.smoke.optimizers import Made
from paramlint.smoke.step import StepFailed, clear, parameters, seeded


def culprits(model: nn.Module, made: Made, failed: StepFailed) -> Iterator[str]:
    """Parameters on which the optimizer fails alone with the same kind of error. All ranks ask in the same order."""
    held = parameters(model)
    names = {id(p): name for name, p in held.items()}
    asked: dict[tuple[Any, ...], bool] = {}
    for optimizer in made.inner:
        for group in optimizer.param_groups:
            for tensor in list(group["params"]):
                name = names.get(id(tensor))
                if name is None or name not in failed.gradients:
                    continue
                key = (id(group), tuple(tensor.shape), tensor.dtype)
                if key not in asked:
                    clear(model)
                    held[name].grad = _like(failed.gradients[name], held[name])
                    asked[key] = fails_alone(optimizer, group, tensor, failed.__cause__)
                if asked[key]:
                    yield name
    clear(model)


def fails_alone(optimizer: Any, group: dict[str, Any], tensor: Any, error: BaseException | None) -> bool:
    """Whether a step over this parameter alone raises an error of that kind."""
    groups, params = optimizer.param_groups, group["params"]
    optimizer.param_groups, group["params"] = [group], [tensor]
    try:
        with seeded():
            optimizer.step()
    except Exception as again:
        return type(again) is type(error)
    finally:
        group["params"] = params
        with suppress(AttributeError):
            optimizer.param_groups = groups
    return False


def _like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """A whole gradient as that of a parameter, sharded where the parameter is."""
    moved = gradient.to(parameter.device)
    placements = getattr(parameter, "placements", None)
    if placements is None:
        return moved
    from torch.distributed.tensor import distribute_tensor

    sharded: Tensor = distribute_tensor(moved, parameter.device_mesh, placements)  # type: ignore[attr-defined]
    return sharded
