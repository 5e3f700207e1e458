"""The function of a smoke script that builds the model: as paramlint does, but for real."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

from paramlint.codegen.text import WIDTH, docstring, enclosed, literal
from paramlint.parameter import Plain
from paramlint.target import Target, parse

_MAY_BE_ABSENT = "  # type: ignore[import-not-found,import-untyped,unused-ignore]"


def model_function(target: str, kwargs: Mapping[str, Plain], model: str, folder: Path) -> str:
    """`build_model()`, for a script in `folder`.

    Args:
        target: what the user named; paths are relative to the current folder.
        kwargs: what the target is called with, or fields of its configuration.
        model: the qualified class name of what it builds.
    """
    parsed = parse(target)
    if parsed.kind == "timm":
        lines = _timm(parsed, kwargs)
    elif parsed.kind == "hf":
        lines = _hf(parsed, kwargs, model, folder)
    else:
        lines = _python(parsed, kwargs, folder)
    body = [docstring(f"The model that the groups are for: {target}.", indent=4), *lines]
    text = "\n".join(body)
    return "def build_model() -> nn.Module:\n" + "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _timm(target: Target, kwargs: Mapping[str, Plain]) -> list[str]:
    arguments = [literal(target.source), *_keywords({"pretrained": False, **kwargs})]
    return [
        "import timm",
        "",
        *_assigned("model: nn.Module = ", "timm.create_model(", arguments),
        "return model",
    ]


def _python(target: Target, kwargs: Mapping[str, Plain], folder: Path) -> list[str]:
    first, *_ = target.attribute.split(".")
    if target.is_file:
        path = Path(target.source).expanduser().resolve()
        root, name = _package(path)
        if root is None:
            making = [_place(path, folder), "module = load(path)"]
            called = f"module.{target.attribute}"
        else:
            making = [*_searched(root, folder), _from(name, first), ""]
            called = target.attribute
    else:
        top = target.source.partition(".")[0]
        local = (Path(top).is_dir() or Path(f"{top}.py").is_file()) and Path.cwd()
        making = _searched(local, folder) if local else []
        making += [_from(target.source, first), ""]
        called = target.attribute
    return [*making, *_assigned("model: nn.Module = ", f"{called}(", _keywords(kwargs)), "return model"]


def _package(path: Path) -> tuple[Path | None, str]:
    """The folder that the package of a file lies in, and its dotted name; None for a file that stands alone."""
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    if len(names) == 1 or not path.stem.isidentifier():
        return None, ""
    return folder, ".".join(n for n in names if n != "__init__")


def _hf(target: Target, kwargs: Mapping[str, Plain], model: str, folder: Path) -> list[str]:
    module, _, name = model.rpartition(".")
    path = Path(target.source).expanduser()
    lines = ["import transformers", _from(module, name, ""), ""]
    if path.exists() or "/" in target.source:
        if path.exists():
            lines.append(_place(path.resolve(), folder))
        where = "str(path)" if path.exists() else literal(target.source)
        lines += [
            *_assigned("fields, _ = ", "transformers.PretrainedConfig.get_config_dict(", [where]),
            *(f"fields{keys} = {_json(value)}" for keys, value in _leaves(kwargs)),
            'made = transformers.CONFIG_MAPPING[fields["model_type"]]',
            "config = made.from_dict(fields)",
        ]
    else:
        lines += _assigned(
            "config = ", "transformers.AutoConfig.for_model(", [literal(target.source), *_keywords(kwargs)]
        )
    return [
        *lines,
        "# A part of a larger model is made from its part of the configuration.",
        "parts = [config, *vars(config).values()]",
        f"model_class = {name}",
        "own = next(c for c in parts if isinstance(c, model_class.config_class))",
        "model: nn.Module = model_class._from_config(own)",
        "return model",
    ]


def _leaves(fields: Mapping[str, Any], keys: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested fields, with the subscripts that lead to them."""
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{keys}[{literal(key)}]")
        else:
            yield f"{keys}[{literal(key)}]", value


def _place(path: Path, folder: Path) -> str:
    """The statement that names a path: from where the script lies."""
    try:
        relative = Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        relative = path.as_posix()  # joined to `HERE`, it stands for itself
    return "path = HERE" if relative == "." else "\n".join(_assigned("path = ", "HERE.joinpath(", [literal(relative)]))


def _searched(path: Path, folder: Path) -> list[str]:
    """Statements that let a script import what lies in a folder."""
    return [_place(path, folder), "sys.path.insert(0, str(path))"]


def _from(module: str, name: str, remark: str = _MAY_BE_ABSENT) -> str:
    """An import of one name. To the formatter, a remark that is for tools has no width."""
    line = f"from {module} import {name}"
    return f"{line}{remark}" if 4 + len(line) <= WIDTH else f"from {module} import ({remark}\n    {name},\n)"


def _keywords(kwargs: Mapping[str, Plain]) -> list[str]:
    if all(key.isidentifier() and not iskeyword(key) for key in kwargs):
        return [f"{key}={_json(value)}" for key, value in kwargs.items()]
    return [f"**{_json(kwargs)}"]


def _json(value: Any) -> str:
    """A value of the command line, lists among them."""
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {_json(v)}" for k, v in value.items()) + "}"
    return literal(value)


def _assigned(name: str, call: str, arguments: Sequence[str]) -> list[str]:
    """A call, and the name that its result is given, in one line where it fits."""
    fits = 4 + len(name) + len(call) + len(", ".join(arguments)) < WIDTH
    return enclosed(f"{name}{call}", arguments, ")", broken=not fits and bool(arguments)).splitlines()
