"""What is known of a Hugging Face model before inputs are made for it: its forward's arguments, and its sizes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from paramlint.model.inputs import hf_doc
from paramlint.model.inputs.hf_sizes import Sizes

WORDS = 16  # tokens of text
Maker = Callable[["Ask"], Any]
#: What makes the value of an argument, by the argument's name.
MAKERS: dict[str, Maker] = {}


def makes(*names: str) -> Callable[[Maker], Maker]:
    def note(maker: Maker) -> Maker:
        for name in names:
            MAKERS[name] = maker
        return maker

    return note


class Ask:
    """A model, the names of its forward's arguments, and the batch size that inputs shall have.

    `given` are the arguments in the example that is being made.
    """

    def __init__(self, model: nn.Module, batch: int = 2) -> None:
        self.model = model
        self.config: Any = model.config
        self.sizes = Sizes(self.config)
        parameters = list(inspect.signature(model.forward).parameters.values())
        self.arguments = {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        main = getattr(model, "main_input_name", None)
        self.main: tuple[str, ...] = tuple(main) if isinstance(main, (list, tuple)) else (main,) if main else ()
        self.batch = batch
        self.placeholders = placeholders(self.sizes)
        self.documented = hf_doc.shapes(type(model).forward)
        self.given: tuple[str, ...] = tuple(self.arguments)
        self.word, self.last = self._tokens()

    def takes(self, *names: str) -> bool:
        return any(n in self.arguments for n in names)

    @property
    def giving(self) -> frozenset[str]:
        """The kinds of data in the example that is being made: "text", "image", "video", "audio"."""
        return frozenset(kind_of(n) for n in self.given)

    def required(self) -> list[str]:
        return [n for n, p in self.arguments.items() if p.default is p.empty]

    def make(self, name: str) -> Any:
        """The value of an argument; None where no value is known to be right."""
        maker = MAKERS.get(name)
        if maker is not None:
            return maker(self)
        made = hf_doc.tensor(self, name) if name in self.arguments else None
        return self._by_annotation(name) if made is None else made

    def dim(self, *names: str, default: int = 0) -> int:
        return self.sizes.number("text", *names, default=default)

    @property
    def hidden(self) -> int:
        """Features of a hidden state."""
        return self.dim("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "hidden_dim", default=64)

    def _tokens(self) -> tuple[int, int]:
        """An ordinary token, and the one that ends a text (which some models look for)."""
        special: set[int] = set(self.placeholders.values())
        for _, config in self.sizes.nested:
            for name, value in vars(config).items():
                if name.endswith(("token_id", "token_index", "token_ids", "tokens_id")):
                    special |= {v for v in (value if isinstance(value, (list, tuple)) else (value,)) if type(v) is int}
        vocabulary = self.dim("vocab_size", default=1000)
        word = next((i for i in range(5, 100) if i not in special), 5) % vocabulary
        end = getattr(self.config, "eos_token_id", None)
        if end is None:
            end = self.sizes.find("text", "eos_token_id")
        end = end[0] if isinstance(end, (list, tuple)) and end else end
        if not isinstance(end, int) or not 0 <= end < vocabulary or end in self.placeholders.values():
            end = word
        return word, end

    def _by_annotation(self, name: str) -> Any:
        """For an argument that no rule names: by the kind of tensor it is declared to be, and how it is called."""
        said = str(self.arguments[name].annotation) if name in self.arguments else ""
        if "mask" in name or name.endswith(("_ids", "_id", "ids")) or "LongTensor" in said:
            return torch.ones(self.batch, WORDS, dtype=torch.long)
        if "Tensor" in said:
            return torch.empty(self.batch, WORDS, self.hidden, device="meta")
        return 1 if said in ("<class 'int'>", "int") else None


def kind_of(argument: str) -> str:
    """What an argument is about: "text", "image", "video" or "audio"."""
    if "video" in argument:
        return "video"
    if "audio" in argument or argument.startswith(("input_features", "input_values", "padding_mask")):
        return "audio"
    return "image" if argument.startswith(("pixel_", "image_", "flattened_patches")) else "text"


_PLACEHOLDER = re.compile(
    r"(image|img|video|audio|speech|sound|vision|document)(_context|_pad|_patch|_placeholder|_latent|_prompt)?"
    r"_?(token_id|token_index|tokens_id|patch_id|_id)$"
)
_KINDS = {"img": "image", "speech": "audio", "sound": "audio"}
_APART = {"_latent", "_prompt"}  # stand beside the other placeholders of their kind


def placeholders(sizes: Sizes) -> dict[str, int]:
    """The tokens whose embeddings are replaced by features of something else, by what that is.

    Kinds that the configuration (that of the stand-in) has a field for, but no token, get one: the last in the
    vocabulary.
    """
    found: dict[str, int] = {}
    missing: list[tuple[str, str]] = []
    for path, config in sizes.nested:
        for name in {**dict.fromkeys(dir(type(config))), **vars(config)}:
            match = _PLACEHOLDER.match(name)
            if match is None:
                continue
            value = getattr(config, name, None)
            kind = _KINDS.get(match[1], match[1]) + (match[2] if match[2] in _APART else "")
            if type(value) is int and value >= 0:
                found.setdefault(kind, value)
            elif value is None and match[2] is None and name in vars(config) and not path:
                missing.append((name, kind))
    last = sizes.number("text", "vocab_size", default=1000) - 1
    for name, kind in missing:
        if kind not in found:
            found[kind] = last - len(found)
            setattr(sizes.root, name, found[kind])
    return found
