"""transformers configurations: by model type, from a folder, with fields overridden; and which field is missing."""

from __future__ import annotations

import functools
import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paramlint.errors import ParamlintError
from paramlint.model.failure import did_you_mean, text
from paramlint.target import Target

#: Fields that are None by right.
_OFTEN_EMPTY = ("dtype", "_token_id", "_plan", "_implementation", "architectures", "name_or_path")


def configuration(target: Target, kwargs: Mapping[str, Any]) -> Any:
    """The configuration, of a model type or out of a file, with `kwargs` over its fields.

    Raises:
        ParamlintError: no such model type, file or field, or fields that the configuration refuses.
    """
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
        return cls.from_dict(dict(fields)) if "model_type" in fields else cls(**fields)
    except Exception as error:
        raise ParamlintError(
            f"{cls.__name__} refuses its fields: {type(error).__name__}: {text(error)}", where=target.text
        ) from error


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


def field_at_fault(error: Exception, cls: Any, config: Any) -> tuple[str, ...]:
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
