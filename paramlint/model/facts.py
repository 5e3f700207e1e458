"""Reads off a live model what needs no judgement: names, shapes, modules, what its own library says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from paramlint.model.accessors import accessors
from paramlint.parameter import Inventory, Location, Module, Parameter, Plain, Site

#: Attributes that say what a module does, whatever its class is called.
SIZES = frozenset(
    "in_features out_features in_channels out_channels kernel_size groups transposed num_embeddings embedding_dim "
    "sparse nf nx normalized_shape input_size hidden_size proj_size num_layers bidirectional embed_dim kdim vdim "
    "num_heads num_attention_heads n_heads num_experts n_experts num_local_experts top_k r rank in1_features "
    "in2_features".split()
)
# Classes that put the user's model under one attribute: the attribute is dropped from names.
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
    "ActivationWrapper": "_checkpoint_wrapped_module",
    "OffloadWrapper": "_checkpoint_wrapped_module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
}


def inventory(
    model: nn.Module, *, location: Location | None = None, built_on: str = "live", notes: tuple[str, ...] = ()
) -> Inventory:
    """The facts of a model: parameters in the order of `named_parameters()`, tied tensors once, roles not judged.

    Nothing of the model is changed or run.
    """
    modules: list[Module] = []
    sites: dict[int, list[Site]] = {}
    tensors: dict[int, nn.Parameter] = {}
    owners: dict[int, list[dict[str, Plain]]] = {}
    for path, module in walk(model):
        sizes = _sizes(module)
        modules.append(Module(path, _classes(type(module)), sizes))
        for attribute, tensor in module._parameters.items():
            if tensor is None:
                continue
            name = f"{path}.{attribute}" if path else attribute
            sites.setdefault(id(tensor), []).append(Site(name, path, attribute))
            tensors[id(tensor)] = tensor
            owners.setdefault(id(tensor), []).append(sizes)
    parameters = tuple(_parameter(tensors[key], tuple(where), owners[key]) for key, where in sites.items())
    inner = unwrapped(model)
    return Inventory(
        model=f"{type(inner).__module__}.{type(inner).__qualname__}",
        parameters=parameters,
        modules=tuple(modules),
        accessors=accessors(inner),
        location=location,
        built_on=built_on,
        notes=notes,
    )


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's model inside DDP, `torch.compile` and checkpoint wrappers."""
    while (attribute := _wrapped(model)) is not None:
        model = getattr(model, attribute)
    return model


def _wrapped(module: nn.Module) -> str | None:
    for cls in type(module).__mro__:
        attribute = _WRAPPERS.get(cls.__name__)
        if attribute is not None and attribute in module._modules:
            return attribute
    return None


def walk(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module under every path it has, parents first, without the wrappers' own prefixes."""
    stack: list[tuple[str, nn.Module]] = [("", model)]
    while stack:
        path, module = stack.pop()
        attribute = _wrapped(module)
        if attribute is None:
            yield path, module
        else:
            # a wrapper's own parameters (FSDP's flat one) stay visible under the wrapped path
            own = {k: p for k, p in module._parameters.items() if p is not None}
            if own:
                yield path, module
        for key, child in reversed(module._modules.items()):
            if child is not None:
                inside = path if key == attribute else f"{path}.{key}" if path else key
                stack.append((inside, child))


_CLASSES: dict[type, tuple[str, ...]] = {}


def _classes(cls: type) -> tuple[str, ...]:
    if cls not in _CLASSES:
        _CLASSES[cls] = tuple(
            f"{c.__module__}.{c.__qualname__}" for c in cls.__mro__ if c is not nn.Module and c is not object
        )
    return _CLASSES[cls]


def _sizes(module: nn.Module) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    for key in SIZES & vars(module).keys():
        value = vars(module)[key]
        if isinstance(value, torch.Size):
            value = tuple(value)
        if isinstance(value, (bool, int, str)) or (isinstance(value, tuple) and all(isinstance(v, int) for v in value)):
            found[key] = value
    return found


State = Literal["ok", "uninitialized", "flat", "emptied", "quantized"]
#: The sizes that layers of torch have: with these, a weight or bias cannot be empty by itself.
_LAYER_SIZES = frozenset(
    "in_features out_features in_channels out_channels num_embeddings embedding_dim normalized_shape in1_features "
    "in2_features input_size".split()
)


def _parameter(tensor: nn.Parameter, sites: tuple[Site, ...], owners: Sequence[Mapping[str, Plain]]) -> Parameter:
    use_muon = getattr(tensor, "use_muon", None)
    state = _state(tensor, sites[0].attribute, owners)
    return Parameter(
        name=sites[0].name,
        shape=() if state == "uninitialized" else tuple(int(d) for d in tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        trainable=tensor.requires_grad,
        sites=sites,
        state=state,
        sparse=any(sizes.get("sparse") is True for sizes in owners),
        use_muon=use_muon if isinstance(use_muon, bool) else None,
    )


def _state(tensor: Any, attribute: str, owners: Sequence[Mapping[str, Plain]]) -> State:
    if nn.parameter.is_lazy(tensor):
        return "uninitialized"
    if type(tensor).__name__ == "FlatParameter" or attribute == "_flat_param":
        return "flat"
    if tuple(tensor.shape) == (0,) and (_partitioned(tensor) or _must_have_elements(attribute, owners)):
        return "emptied"
    if not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        return "quantized"
    return "ok"


def _partitioned(tensor: Any) -> bool:
    """Whether DeepSpeed keeps the elements elsewhere until a layer is gathered (`ds_id`, `ds_shape`, ...)."""
    return any(name.startswith("ds_") for name in vars(tensor))


def _must_have_elements(attribute: str, owners: Sequence[Mapping[str, Plain]]) -> bool:
    """Whether the layer around a weight or bias declares sizes, none of them 0: what is left of one by sharding."""
    declared = [size for sizes in owners for key, size in sizes.items() if key in _LAYER_SIZES]
    return attribute.startswith(("weight", "bias")) and bool(declared) and not any(map(_is_zero, declared))


def _is_zero(size: Plain) -> bool:
    return (type(size) is int and size == 0) or (isinstance(size, tuple) and 0 in size)
