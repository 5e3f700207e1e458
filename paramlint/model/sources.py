"""Models that need none of the user's code: transformers configurations and timm names. Weights are never read."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paramlint.errors import ParamlintError
from paramlint.model.failure import did_you_mean, text
from paramlint.model.hf_config import configuration, field_at_fault
from paramlint.target import Target

#: Tried in this order for a configuration without `architectures`, then AutoModel and all others. An encoder that is
#: also known as a causal model (BERT) is a masked one first.
_AUTO = (
    "AutoModelForSeq2SeqLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForImageClassification",
    "AutoModelForCTC",
    "AutoModelForAudioClassification",
)
_ENCODER_DECODER = _AUTO[:2]


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
    config = configuration(target, kwargs)
    cls, config, note = _class(target, config)

    def build() -> Any:
        mine = copy.deepcopy(config)  # building writes into it, and may be tried more than once
        try:
            return getattr(cls, "_from_config", cls)(mine)
        except (TypeError, AttributeError) as error:
            path = field_at_fault(error, cls, copy.deepcopy(config))
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


def _class(target: Target, config: Any) -> tuple[Any, Any, str]:
    """The model class, the configuration that it is made from, and a note where the choice is ours.

    The class is the one that is named, the configuration's own, or that of the first Auto class which knows it.
    """
    import transformers

    name = target.attribute
    if name.startswith("Auto"):
        auto = getattr(transformers, name, None)
        if auto is None:
            hint = did_you_mean(name, _auto_classes())
            raise ParamlintError(f"transformers has no class {name!r}", where=target.text, hint=hint)
        if type(config) not in auto._model_mapping:
            knows = [a for a in _auto_classes() if type(config) in getattr(transformers, a)._model_mapping]
            raise ParamlintError(
                f"{name} knows no {config.model_type!r} models",
                where=target.text,
                hint=f"{' and '.join(knows[:2])} {'does' if len(knows) == 1 else 'do'}" if knows else "",
            )
        return *_mapped(auto, config), ""
    if name:
        cls = _concrete(name, config, target)
        mine = _part(config, getattr(cls, "config_class", None))
        if mine is None:
            raise ParamlintError(
                f"{name} is made from a {cls.config_class.__name__}, not from a {type(config).__name__}",
                where=target.text,
            )
        return cls, mine, ""
    for own in getattr(config, "architectures", None) or ():
        if hasattr(transformers, own):
            return getattr(transformers, own), config, f"built as {own}, as its config.json says"
    for auto_name in _auto_classes(bool(getattr(config, "is_encoder_decoder", False))):
        auto = getattr(transformers, auto_name)
        if type(config) in auto._model_mapping:
            cls, mine = _mapped(auto, config)
            return cls, mine, f"built as {cls.__name__} ({auto_name})"
    classes = [n for n, c in _classes(config) if getattr(c, "config_class", None) is type(config)]
    hint = f"name the class: {target.text}:{classes[-1]}" if classes else "name the class after a colon"
    raise ParamlintError(f"no Auto class knows {config.model_type!r} models", where=target.text, hint=hint)


def _auto_classes(encoder_decoder: bool = True) -> Iterator[str]:
    """The names of the Auto classes, in the order in which they are tried."""
    import transformers

    yield from _AUTO if encoder_decoder else (*(a for a in _AUTO if a not in _ENCODER_DECODER), *_ENCODER_DECODER)
    yield "AutoModel"
    for name in dir(transformers):
        special = name.startswith(("AutoModelFor", "AutoBackbone")) and name not in _AUTO
        if special and hasattr(getattr(transformers, name), "_model_mapping"):
            yield name


def _mapped(auto: Any, config: Any) -> tuple[Any, Any]:
    """What an Auto class makes of a configuration: of a multimodal one it may be the language model inside."""
    found = auto._model_mapping[type(config)]
    cls = found[0] if isinstance(found, (tuple, list)) else found
    return cls, _part(config, getattr(cls, "config_class", None)) or config


def _part(config: Any, wanted: type | None) -> Any:
    """The configuration, or the one inside it, that is a `wanted`; None where there is none."""
    if wanted is None or isinstance(config, wanted):
        return config
    return next((inner for inner in vars(config).values() if isinstance(inner, wanted)), None)


def _concrete(name: str, config: Any, target: Target) -> Any:
    """A class by name: of transformers, or of the modules of the model type, where some are not exported."""
    import transformers

    mine = dict(_classes(config))
    cls = mine.get(name) or getattr(transformers, name, None)
    if cls is None:
        raise ParamlintError(
            f"transformers has no class {name!r}",
            where=target.text,
            hint=did_you_mean(name, [*mine, *dir(transformers)], "name an Auto class, or one of its modeling file"),
        )
    if not hasattr(cls, "_from_config") and name not in mine:
        raise ParamlintError(f"{name} is not a model class", where=target.text)
    return cls


def _classes(config: Any) -> Iterator[tuple[str, Any]]:
    """The modules of the modeling files beside a configuration, by name, in the order of the file."""
    from torch import nn

    package = type(config).__module__.rpartition(".")[0]
    folder = Path(importlib.import_module(package).__path__[0])
    for path in sorted(folder.glob("modeling_*.py")):
        try:
            module = importlib.import_module(f"{package}.{path.stem}")
        except ImportError:
            continue
        for name, cls in vars(module).items():
            if isinstance(cls, type) and issubclass(cls, nn.Module) and cls.__module__ == module.__name__:
                yield name, cls
