"""Fields of a Hugging Face configuration, those of the configurations inside it too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Words in the attribute that holds a nested configuration, by what it is about.
NEAR: dict[str, tuple[str, ...]] = {
    "image": ("vision", "image", "visual", "vit", "backbone", "img"),
    "audio": ("audio", "speech", "sound", "acoustic", "encoder", "codec", "asr"),
    "text": ("text", "language", "llm", "decoder", "generator", "question"),
}
_DEPTH = 4


class Sizes:
    """Looks fields up, near a word first: an image's size is rather in `vision_config` than in `text_config`."""

    def __init__(self, config: Any) -> None:
        self.root = config
        self.nested: list[tuple[str, Any]] = list(_nested(config, ""))

    def find(self, about: str, *names: str) -> Any:
        """The first field with a value by one of the names, in the configuration nearest to what it is about."""
        for config in self._order(about):
            for name in names:
                value = getattr(config, name, None)
                if value is not None:
                    return value
        return None

    def number(self, about: str, *names: str, default: int) -> int:
        """A whole number above zero; of a list the first."""
        for config in self._order(about):
            for name in names:
                value = getattr(config, name, None)
                if isinstance(value, (list, tuple)) and value:
                    value = value[0]
                if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1:
                    return int(value)
        return default

    def pair(self, about: str, *names: str) -> tuple[int, int] | None:
        """Height and width, however they are written down."""
        for config in self._order(about):
            for name in names:
                found = as_pair(getattr(config, name, None))
                if found is not None:
                    return found
        return None

    def _order(self, about: str) -> list[Any]:
        near = [c for path, c in self.nested if any(w in path for w in NEAR.get(about, ()))]
        far = [c for path, c in self.nested if not any(w in path for w in NEAR.get(about, ()))]
        if about == "text":
            return [self.root, *near, *far]
        own = [c for path, c in self.nested if path == ""]
        return own + near + [c for c in far if c is not self.root]


def as_pair(value: Any) -> tuple[int, int] | None:
    """Height and width from 224, [224, 224], [[224, 224]] or {"height": 224, "width": 224}."""
    if isinstance(value, dict):
        h, w = value.get("height", value.get("shortest_edge")), value.get("width", value.get("shortest_edge"))
        return (int(h), int(w)) if isinstance(h, int) and isinstance(w, int) else None
    if isinstance(value, (list, tuple)) and value:
        if isinstance(value[0], (list, tuple)):
            return as_pair(value[0])
        return (int(value[0]), int(value[-1])) if isinstance(value[0], (int, float)) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1:
        return int(value), int(value)
    return None


def _nested(config: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, config
    if path.count(".") < _DEPTH:
        for name, value in vars(config).items():
            if not name.startswith("__") and hasattr(value, "to_dict") and hasattr(value, "model_type"):
                yield from _nested(value, f"{path}.{name}" if path else name)
