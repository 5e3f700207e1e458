"""Models that need none of the user's code: transformers configurations and timm names. Weights are never read."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paramlint.errors import ParamlintError
from paramlint.model.failure import did_you_mean, text
from paramlint.target import Target

#: Tried in this order for a configuration without `architectures`. An encoder that is also known as a causal model
#: (BERT) is a masked one first.
_AUTO = (
    "AutoModelForSeq2SeqLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForImageClassification",
    "AutoModelForCTC",
    "AutoModelForAudioClassification",
    "AutoModel",
)
_ENCODER_DECODER = _AUTO[:2]
#: Fields that are None by right.
_OFTEN_EMPTY = ("dtype", "_token_id", "_plan", "_implementation", "architectures", "name_or_path")


@dataclass(frozen=True)
class Source:
    """How to build a model, and what is worth saying of the choice."""

    build: Callable[[], Any]
    notes: tuple[str, ...] = ()


def prepare(target: Target, kwargs: Mapping[str, Any]) -> Source:
    """
    Raises:
        ParamlintError: the library is not installed, or knows no such model, class or field.
    """
    return _timm(target, kwargs) if target.kind == "timm" else _hf(target, kwargs)


def _needs(library: str, target: Target) -> Any:
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ParamlintError(f"{library} is not installed", where=target.text, hint=f"pip install {library}") from None


def _timm(target: Target, kwargs: Mapping[str, Any]) -> Source:
    timm = _needs("timm", target)
    if not timm.is_model(target.source.partition(".")[0]):
        hint = did_you_mean(target.source, timm.list_models(), "timm.list_models() has them all")
        raise ParamlintError(f"timm knows no model {target.source!r}", where=target.text, hint=hint)
    return Source(lambda: timm.create_model(target.source, **{"pretrained": False, **kwargs}))


def _hf(target: Target, kwargs: Mapping[str, Any]) -> Source:
    _needs("transformers", target)
    config = _configuration(target, kwargs)
    cls, note = _class(target, config)
    config = _own_config(cls, config, target)

    def build() -> Any:
        mine = copy.deepcopy(config)  # building writes into it, and may be tried more than once
        try:
            return getattr(cls, "_from_config", cls)(mine)
        except (TypeError, AttributeError) as error:
            path = _field_at_fault(error, cls, copy.deepcopy(config))
            if not path:
                raise
            example = "..."
            for part in reversed(path):
                example = f'{{"{part}": {example}}}'
            raise ParamlintError(
                f"{cls.__name__} needs {'.'.join(path)!r}, which the configuration leaves empty ({text(error)})",
                where=target.text,
                hint=f"--kwargs '{example}'",
            ) from error

    return Source(build, (note,) if note else ())


def _configuration(target: Target, kwargs: Mapping[str, Any]) -> Any:
    """The configuration, of a model type or out of a file, with `kwargs` over its fields."""
    path = _config_file(target)
    if path is None:
        cls = _config_class(target.source, target)
        default = _made(cls, {}, target)
        _check_fields(default, kwargs, target)
        return _made(cls, kwargs, target) if kwargs else default
    data = _read(path, target)
    model_type = data.get("model_type")
    if not isinstance(model_type, str):
        raise ParamlintError("has no model_type", where=str(path), hint="it is not a transformers configuration")
    if data.get("auto_map") and model_type not in _model_types():
        raise ParamlintError(
            f"model type {model_type!r} is code of its own (auto_map), which is not run from here",
            where=str(path),
            hint="name a .py file that builds the model",
        )
    cls = _config_class(model_type, target)
    _check_fields(_made(cls, data, target), kwargs, target)
    return _made(cls, _merged(data, kwargs), target)


def _config_file(target: Target) -> Path | None:
    """The config.json that is meant, None for a model type. A name with a slash that is no path is the hub's."""
    path = Path(target.source).expanduser()
    if path.is_dir():
        if (path / "config.json").is_file():
            return path / "config.json"
        if target.source not in _model_types():
            raise ParamlintError("the folder has no config.json", where=target.text)
        return None
    if path.is_file():
        return path
    if path.suffix == ".json" or target.source.startswith((".", "/", "~")):
        raise ParamlintError(f"no such file or folder: {path}", where=target.text)
    if "/" not in target.source:
        return None
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(target.source, "config.json"))
    except Exception as error:
        raise ParamlintError(
            f"no such folder, and the configuration of {target.source} is not on this machine ({type(error).__name__})",
            where=target.text,
            hint="--allow-network fetches it (the configuration, no weights)",
        ) from error


def _read(path: Path, target: Target) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParamlintError(f"cannot be read: {text(error)}", where=str(path)) from error
    if not isinstance(data, dict):
        raise ParamlintError("is not a transformers configuration", where=str(path))
    return data


@functools.cache
def _model_types() -> tuple[str, ...]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return tuple(CONFIG_MAPPING_NAMES)


def _config_class(model_type: str, target: Target) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in _model_types():
        hint = did_you_mean(model_type, _model_types(), "or name a folder with a config.json")
        raise ParamlintError(f"transformers knows no model type {model_type!r}", where=target.text, hint=hint)
    return CONFIG_MAPPING[model_type]


def _made(cls: Any, fields: Mapping[str, Any], target: Target) -> Any:
    try:
        return cls.from_dict(_listed(fields)) if "model_type" in fields else cls(**_listed(fields))
    except Exception as error:
        raise ParamlintError(
            f"{cls.__name__} refuses its fields: {type(error).__name__}: {text(error)}", where=target.text
        ) from error


def _listed(value: Any) -> Any:
    """Plain values travel as tuples; a configuration has lists."""
    if isinstance(value, Mapping):
        return {k: _listed(v) for k, v in value.items()}
    return [_listed(v) for v in value] if isinstance(value, (tuple, list)) else value


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return both


def _check_fields(config: Any, kwargs: Mapping[str, Any], target: Target, path: str = "") -> None:
    """A transformers configuration takes any field: one that it does not have is a slip."""
    for key, value in kwargs.items():
        if not hasattr(config, key):
            if _read_by_model(config, key):
                continue
            known = [*vars(config), *getattr(config, "attribute_map", {})]
            hint = did_you_mean(key, known, f"its fields are those of {type(config).__name__}")
            raise ParamlintError(f"the configuration has no field {path + key!r}", where=target.text, hint=hint)
        inner = getattr(config, key)
        if isinstance(value, Mapping) and hasattr(inner, "to_dict"):
            _check_fields(inner, value, target, f"{path}{key}.")


def _read_by_model(config: Any, field: str) -> bool:
    """Whether the modeling code reads a field that the configuration lacks: some do."""
    module = importlib.import_module(type(config).__module__.rpartition(".")[0])
    wanted = re.compile(rf"config\.{re.escape(field)}\b")
    files = (f for folder in getattr(module, "__path__", ()) for f in Path(folder).glob("modeling_*.py"))
    return any(wanted.search(f.read_text(encoding="utf-8")) for f in files)


def _class(target: Target, config: Any) -> tuple[Any, str]:
    """The model class: the one that is named, the configuration's own, or the first of `_AUTO` that knows it."""
    import transformers

    name = target.attribute
    if name.startswith("AutoModel"):
        auto = getattr(transformers, name, None)
        if auto is None:
            hint = did_you_mean(name, [n for n in dir(transformers) if n.startswith("AutoModel")])
            raise ParamlintError(f"transformers has no class {name!r}", where=target.text, hint=hint)
        if type(config) not in auto._model_mapping:
            knows = [a for a in _AUTO if type(config) in getattr(transformers, a)._model_mapping]
            raise ParamlintError(
                f"{name} knows no {config.model_type!r} models", where=target.text, hint=f"{' and '.join(knows)} do"
            )
        return _first(auto._model_mapping[type(config)]), ""
    if name:
        return _concrete(name, config, target), ""
    for own in getattr(config, "architectures", None) or ():
        if hasattr(transformers, own):
            return getattr(transformers, own), f"built as {own}, as its config.json says"
    order: tuple[str, ...] = _AUTO
    if not getattr(config, "is_encoder_decoder", False):
        order = tuple(a for a in _AUTO if a not in _ENCODER_DECODER) + _ENCODER_DECODER
    for auto_name in order:
        mapping = getattr(transformers, auto_name)._model_mapping
        if type(config) in mapping:
            cls = _first(mapping[type(config)])
            return cls, f"built as {cls.__name__} ({auto_name})"
    raise ParamlintError(
        f"no Auto class knows {config.model_type!r} models", where=target.text, hint=f"{target.text}:<class name>"
    )


def _first(found: Any) -> Any:
    return found[0] if isinstance(found, (tuple, list)) else found


def _concrete(name: str, config: Any, target: Target) -> Any:
    """A class by name: of transformers, or of the modules of the model type, where some are not exported."""
    import transformers
    from torch import nn

    package = type(config).__module__.rpartition(".")[0]
    for owner in (transformers, *_modules(package)):
        cls = getattr(owner, name, None)
        if isinstance(cls, type) and issubclass(cls, nn.Module):
            return cls
        if cls is not None:
            raise ParamlintError(f"{name} is not a model class", where=target.text)
    mine = [n for m in _modules(package) for n in dir(m) if isinstance(getattr(m, n, None), type) and "Config" not in n]
    raise ParamlintError(
        f"transformers has no class {name!r}",
        where=target.text,
        hint=did_you_mean(name, [*mine, *dir(transformers)], "an Auto class, or a class of its modeling file"),
    )


def _modules(package: str) -> Iterator[Any]:
    """The modeling modules beside a configuration."""
    folder = Path(importlib.import_module(package).__path__[0])
    for path in sorted(folder.glob("modeling_*.py")):
        try:
            yield importlib.import_module(f"{package}.{path.stem}")
        except ImportError:
            continue


def _own_config(cls: Any, config: Any, target: Target) -> Any:
    """The part of a composed configuration that the class is made for: a language model inside a multimodal one."""
    wanted = getattr(cls, "config_class", None)
    if wanted is None or isinstance(config, wanted):
        return config
    for inner in vars(config).values():
        if isinstance(inner, wanted):
            return inner
    raise ParamlintError(
        f"{cls.__name__} is made from a {wanted.__name__}, not from a {type(config).__name__}", where=target.text
    )


def _field_at_fault(error: Exception, cls: Any, config: Any) -> tuple[str, ...]:
    """The path of the field behind a failure: the one that is not there, or the last that was read as None.

    The second is found by building once more and looking on. () where it is neither.
    """
    from transformers import PretrainedConfig

    if isinstance(error, AttributeError):
        if not isinstance(error.obj, PretrainedConfig) or not error.name:
            return ()
        return (*_way_to(type(error.obj), config), error.name)
    read: list[tuple[type, str]] = []
    plain = PretrainedConfig.__getattribute__

    def looked_at(self: Any, name: str) -> Any:
        value = plain(self, name)
        if value is None and not name.startswith("_") and not name.endswith(_OFTEN_EMPTY):
            read.append((type(self), name))
        return value

    PretrainedConfig.__getattribute__ = looked_at
    try:
        getattr(cls, "_from_config", cls)(config)
    except Exception:
        pass
    finally:
        PretrainedConfig.__getattribute__ = plain
    return (*_way_to(read[-1][0], config), read[-1][1]) if read else ()


def _way_to(part: type, config: Any) -> tuple[str, ...]:
    """The fields that lead from a configuration to the one of a class inside it."""
    if type(config) is part:
        return ()
    for name, value in vars(config).items():
        if hasattr(value, "to_dict"):
            if type(value) is part:
                return (name,)
            if below := _way_to(part, value):
                return (name, *below)
    return ()
