"""What a model's own library says of it: embeddings, heads, first layers, what must not decay, config sizes, layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from torch import nn

from paramlint.parameter import Accessors

# Endings of config fields that count labels, tokens or codes: what an output head has a row for each of.
_LABELS = ("vocab_size", "num_labels", "_labels", "num_classes", "_classes", "codebook_size", "num_embeddings")
# Config fields that say how wide a continuous input is.
_INPUTS = ("num_channels", "in_channels", "num_mel_bins")

# What wrappers around submodules put into names.
_INSIDE = re.compile(r"\b(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")


def accessors(model: nn.Module) -> Accessors:
    """Asks the model and its submodules through the methods and attributes that transformers and timm define.

    An accessor that raises is passed over: many classes inherit one that they do not support.
    """
    paths = {id(m): path for path, m in model.named_modules()}
    inputs: dict[str, None] = {}
    outputs: dict[str, None] = {}
    classifiers: dict[str, None] = {}
    first: dict[str, None] = {}
    no_decay: dict[str, None] = {}
    for path, module in model.named_modules():
        kind = type(module)
        if hasattr(kind, "get_input_embeddings"):
            inputs.update(_found(_ask(module, "get_input_embeddings"), paths))
            outputs.update(_found(_ask(module, "get_output_embeddings"), paths))
        if hasattr(kind, "get_classifier"):
            classifiers.update(_found(_ask(module, "get_classifier"), paths))
        if hasattr(kind, "no_weight_decay") and callable(kind.no_weight_decay):
            listed = _ask(module, "no_weight_decay")
            if isinstance(listed, Iterable):
                no_decay.update((_join(path, str(n)), None) for n in sorted(map(str, listed)))
        cfg = vars(module).get("pretrained_cfg") or vars(module).get("default_cfg")
        if isinstance(cfg, Mapping):
            for key, into in (("first_conv", first), ("classifier", classifiers)):
                into.update((_join(path, n), None) for n in _names(cfg.get(key)))
    configs = list(_configs(getattr(model, "config", None)))
    return Accessors(
        input_embeddings=tuple(inputs),
        output_embeddings=tuple(outputs),
        classifiers=tuple(classifiers),
        first_layers=tuple(first),
        no_weight_decay=tuple(no_decay),
        base=_base(model),
        label_sizes=_sizes(configs, lambda key: key.endswith(_LABELS) and key != "type_vocab_size"),
        input_sizes=_sizes(configs, lambda key: key in _INPUTS),
        layers=_layers(model),
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _ask(module: nn.Module, method: str) -> Any:
    try:
        return getattr(module, method)()
    except Exception:
        return None


def _found(answer: Any, paths: Mapping[int, str]) -> dict[str, None]:
    """The paths of the modules in an answer: one module, or several in a tuple, list or dict."""
    if isinstance(answer, nn.Module) and not isinstance(answer, (nn.ModuleList, nn.ModuleDict)):
        return {paths[id(answer)]: None} if id(answer) in paths else {}
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    if isinstance(answer, (tuple, list, nn.ModuleList)):
        found: dict[str, None] = {}
        for item in answer:
            found.update(_found(item, paths))
        return found
    if isinstance(answer, nn.ModuleDict):
        return _found(tuple(answer.values()), paths)
    return {}


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, (tuple, list)):
        return tuple(v for v in value if isinstance(v, str))
    return ()


def _layers(model: nn.Module) -> dict[str, int]:
    """The layers of layer-wise lr decay by timm's `group_matcher(coarse=False)`, for a model that has one."""
    if not callable(getattr(type(model), "group_matcher", None)):
        return {}
    try:
        from timm.models import group_parameters

        matcher = cast(Any, model).group_matcher(coarse=False)
        found = group_parameters(model, matcher, reverse=True)
        return {_INSIDE.sub("", name): int(layer) for name, layer in found.items()}
    except Exception:
        return {}


def _base(model: nn.Module) -> str | None:
    prefix = getattr(model, "base_model_prefix", None)
    if isinstance(prefix, str) and prefix and isinstance(model._modules.get(prefix), nn.Module):
        return prefix
    return None


def _configs(config: Any, depth: int = 0) -> Iterator[Any]:
    """A config and the configs inside it."""
    if hasattr(config, "to_dict") and hasattr(config, "__dict__") and not isinstance(config, Mapping) and depth <= 3:
        yield config
        for key, value in vars(config).items():
            if not key.startswith("_"):
                yield from _configs(value, depth + 1)


def _sizes(configs: Iterable[Any], wanted: Callable[[str], bool]) -> tuple[int, ...]:
    """The numbers in the fields of these names. `num_labels` is a property of most configs."""
    found: dict[int, None] = {}
    for config in configs:
        for key in dict.fromkeys(["num_labels", *vars(config)]):
            if not key.startswith("_") and wanted(key) and (value := _number(config, key)) is not None:
                found[value] = None
    return tuple(found)


def _number(config: Any, name: str) -> int | None:
    try:
        value = getattr(config, name)
    except Exception:
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
