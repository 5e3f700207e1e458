"""What the user names on the command line: text to a `Target`. Nothing is imported or opened here."""

from __future__ import annotations

import os
from typing import Literal

from paramlint.errors import ParamlintError
from paramlint.record import dataclass

FORMS = "pkg.module:attribute, path/file.py:attribute, hf:<model type | folder | config.json>[:class] or timm:<name>"


@dataclass(frozen=True)
class Target:
    """A model, or a thing that stands beside one, by name.

    `source` is what comes before the attribute: a dotted module, the path of a .py file, a transformers model type or
    configuration, a timm model. `attribute` is the dotted rest: what to take from the module, or a transformers class.
    """

    text: str
    kind: Literal["python", "hf", "timm"]
    source: str
    attribute: str = ""

    @property
    def is_file(self) -> bool:
        """True for `path/file.py:attribute`, False for `pkg.module:attribute`."""
        return self.kind == "python" and _looks_like_file(self.source)


def parse(text: str) -> Target:
    """The target that a text names.

    Raises:
        ParamlintError: it has none of the forms; with the one it is nearest to.
    """
    given, text = text, text.strip()
    kind, _, rest = text.partition(":")
    if kind == "hf" and ":" in text:
        return _hf(text, rest)
    if kind == "timm" and ":" in text:
        if not rest:
            raise ParamlintError("names no model", where=text, hint="timm:<name>, as timm:vit_base_patch16_224")
        return Target(text, "timm", rest)
    source, colon, attribute = text.rpartition(":")
    if not colon:
        raise _no_attribute(given, text)
    if attribute.endswith(("()", ")")) and "(" in attribute:
        bare = attribute.partition("(")[0]
        raise ParamlintError(
            "names a call", where=text, hint=f"name the callable, {source}:{bare}, and pass arguments with --kwargs"
        )
    if not attribute or not all(part.isidentifier() for part in attribute.split(".")):
        raise ParamlintError(
            f"{attribute!r} is not the name of an attribute" if attribute else "names no attribute after the colon",
            where=text,
            hint=f"a target is {FORMS}",
        )
    if not source:
        raise ParamlintError("names no module before the colon", where=text, hint=f"a target is {FORMS}")
    if not _looks_like_file(source) and not all(part.isidentifier() for part in source.split(".")):
        raise ParamlintError(
            f"{source!r} is neither a dotted module name nor the path of a .py file",
            where=text,
            hint=f"a target is {FORMS}",
        )
    return Target(text, "python", source, attribute)


def parse_object(text: str, beside: Target) -> Target:
    """What names groups, an optimizer or inputs: a Python target, or an attribute (`make`, `:make`) beside the model's.

    Raises:
        ParamlintError: it is neither, or there is no module that it could stand in.
    """
    attribute = text.strip().removeprefix(":")
    if ":" not in attribute and not _looks_like_file(attribute):
        if beside.kind != "python":
            raise ParamlintError(
                f"{text!r} names no module, and {beside.text} has none to look in",
                hint=f"name the file too: path/file.py:{attribute or 'function'}",
            )
        return parse(f"{beside.source}:{attribute}")
    found = parse(attribute)
    if found.kind != "python":
        raise ParamlintError(
            "names a model, not something beside one", where=text, hint="pkg.module:function or path/file.py:function"
        )
    return found


def _looks_like_file(source: str) -> bool:
    return source.endswith(".py") or "/" in source or "\\" in source


def _hf(text: str, rest: str) -> Target:
    """The class is what follows the last colon, where that can be a class: paths may hold colons of their own."""
    head, colon, tail = rest.rpartition(":")
    source, attribute = (head, tail) if colon and tail.isidentifier() else (rest, "")
    if not source:
        raise ParamlintError("names no model", where=text, hint="hf:<model type>[:class], for example hf:llama")
    if source.endswith(":"):
        raise ParamlintError("has an empty class name", where=text, hint="hf:<model type>[:class]")
    return Target(text, "hf", source, attribute)


def _no_attribute(given: str, text: str) -> ParamlintError:
    missing = not os.path.exists(text)
    if missing and "/" in text and given == text:
        return ParamlintError("no such file or folder", where=given, hint=f"a target is {FORMS}, a script or a folder")
    if _looks_like_file(text):
        return ParamlintError(
            "names a file, not a model in it", where=given, hint=f"{text}:<name of a function, class or model>"
        )
    if text and all(part.isidentifier() for part in text.split(".")):
        module, _, attribute = text.rpartition(".")
        hint = f"did you mean {module}:{attribute}?" if module else f"a target is {FORMS}"
        message = f"names no attribute{', and no file or folder' if missing and given == text else ''}"
        return ParamlintError(message, where=given, hint=hint)
    return ParamlintError("is not a target", where=given or "''", hint=f"a target is {FORMS}")
