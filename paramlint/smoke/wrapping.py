"""Puts a model under DDP or FSDP2, as training scripts do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from paramlint.errors import ParamlintError

Mode = Literal["ddp", "fsdp2"]
TITLES: dict[Mode, str] = {"ddp": "DDP", "fsdp2": "FSDP2"}


def fully_shard() -> Callable[..., Any]:
    """FSDP2's function: public since torch 2.6, before that where it was tried out.

    Raises:
        ParamlintError: this torch has neither.
    """
    try:
        from torch.distributed.fsdp import fully_shard as found
    except ImportError:
        try:
            from torch.distributed._composable.fsdp import fully_shard as found  # type: ignore[attr-defined]
        except ImportError:
            raise ParamlintError(f"torch {torch.__version__} has no fully_shard", hint="2.6 has it") from None
    function: Callable[..., Any] = found
    return function


def repeated(model: nn.Module) -> list[str]:
    """Paths of the blocks that a user shards one by one: the members of each outermost list of like modules.

    A block that shares a parameter with another part of the model stays with the root: FSDP2 wants tied parameters in
    one unit.
    """
    owners = Counter(id(p) for m in model.modules() for p in m._parameters.values() if p is not None)
    found: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or any(path.startswith(f"{f}.") for f in found):
            continue
        blocks = list(module.named_children())
        if len(blocks) < 2 or len({type(b) for _, b in blocks}) > 1:
            continue
        for key, block in blocks:
            inside = Counter(id(p) for m in block.modules() for p in m._parameters.values() if p is not None)
            if inside and any(True for _ in block.children()) and all(owners[i] == n for i, n in inside.items()):
                found.append(f"{path}.{key}" if path else key)
    return found


@contextmanager
def noting_calls(model: nn.Module, paths: Sequence[str]) -> Iterator[set[str]]:
    """Which of these modules are called while the context is open. FSDP2 gathers a module's parameters when it is
    called: one whose parts are used past it must not be sharded on its own."""
    called: set[str] = set()
    hooks = []
    for path in paths:

        def note(*_: Any, path: str = path) -> None:
            called.add(path)

        hooks.append(model.get_submodule(path).register_forward_pre_hook(note))
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


def ddp(model: nn.Module, device: torch.device, *, unused: bool) -> nn.Module:
    """The model in DDP; `unused`: some trainable parameters get no gradient.

    Raises:
        RuntimeError: DDP does not take it.
    """
    from torch.nn.parallel import DistributedDataParallel

    indices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=indices, find_unused_parameters=unused)


def fsdp2(model: nn.Module, mesh: Any, blocks: Sequence[str]) -> nn.Module:
    """The model sharded in place over a mesh of one dimension: each block on its own, and the rest with the root.

    Raises:
        ParamlintError: this torch has no FSDP2.
        ValueError: FSDP2 does not take it: it has parameters without dimensions.
    """
    shard = fully_shard()
    for path in blocks:
        shard(model.get_submodule(path), mesh=mesh)
    shard(model, mesh=mesh)
    return model
