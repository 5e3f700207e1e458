"""Names as models have them: below a path, for a number of dimensions, and those that may be of one weight."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NORMS = frozenset({"norm", "norms", "ln", "layernorm", "rmsnorm", "bn", "batchnorm", "gn", "groupnorm"})
_VECTORS = frozenset({"bias", "biases", "gain", "gamma", "beta", "scale"})
_NUMBERS = frozenset({"scales", "gains", "lambdas", "alphas", "betas", "scalars", "temperature", "temperatures"})
_EMPTY = frozenset(
    {"rope", "rotary", "encoding", "encodings", "dropout", "drop", "act", "activation", "relu", "softmax", "identity"}
    | {"pool", "pooling", "loss", "criterion", "buffers"}
)
_TABLES = frozenset(
    {"embed", "embeds", "embedding", "embeddings", "embedder", "embd", "emb", "wte", "tok", "token", "tokens"}
    | {"vocab", "word", "words", "lookup", "shared"}
)
#: Tables of other things than the words that a head tells apart.
_OTHER_TABLES = frozenset(
    {"pos", "position", "positions", "positional", "wpe", "patch", "patches", "time", "timestep", "type", "segment"}
    | {"cls", "class", "mask", "dist", "register", "registers", "prompt", "query"}
)
_HEADS = frozenset(
    {"head", "heads", "logits", "unembed", "unembedding", "output", "out", "classifier", "predictions", "generator"}
    | {"decoder", "vocab", "fc", "proj", "projection"}
)
#: What holds layers that are numbered, though its name is no plural.
_HOLDERS = frozenset({"h", "net", "trunk", "body", "backbone", "encoder", "decoder", "transformer", "model", "module"})
_STACKS = frozenset({"h", "blocks", "layers"})


def below(path: str) -> Iterator[str]:
    """Names that parameters of a module at a path may have, the likeliest first."""
    first = ("0.weight", "weight") if holds_layers(path) else ("weight", "0.weight")
    yield from (f"{path}.{rest}" for rest in (*first, "0.w1", "w", "0.gain", "x.y"))


def holds_layers(path: str) -> bool:
    """Whether a module at a path is called what those are that hold layers."""
    last = path.rpartition(".")[2]
    return last in _HOLDERS or (last.endswith("s") and not last.endswith("ss"))


def is_stack(path: str) -> bool:
    """Whether a module at a path is called what stacks of layers with matrices are."""
    return path.rpartition(".")[2] in _STACKS


def has_vectors(path: str) -> bool:
    """Whether a module at a path, or the one that has the weight there, is called what those are that have vectors
    alone, or numbers."""
    return bool(_words(_end(path)) & (_NORMS | _VECTORS | _NUMBERS))


def may_be_empty(path: str) -> bool:
    """Whether a module at a path is called what those are that may have no parameters."""
    return bool(_words(_end(path)) & _EMPTY)


def is_head(path: str) -> bool:
    """Whether what is at a path may be another name of a table of words: a head is often tied to one."""
    return bool(_words(_end(path)) & _HEADS)


def is_table(text: str) -> bool:
    """Whether a path, or a string that names are tested for, is about a table of words."""
    words = _words(_end(text))
    return bool(words & _TABLES) and not words & _OTHER_TABLES


def may_be_tied(one: str, other: str) -> bool:
    """Whether what is at two paths may be one weight."""
    return (is_table(one) and is_head(other)) or (is_head(one) and is_table(other))


def fits(name: str, ndim: int) -> bool:
    """Whether a parameter of that name usually has so many dimensions: one where it is a bias or of a norm."""
    *above, last = name.split(".")
    vector = bool(_words(last) & (_VECTORS | _NORMS)) or bool(above and _words(above[-1]) & _NORMS)
    return ndim == 0 or vector == (ndim == 1)


def instead(name: str, ndim: int) -> Iterator[str]:
    """Names like one, for so many dimensions; none where it fits itself."""
    if fits(name, ndim):
        return
    above, _, last = name.rpartition(".")
    front = f"{above}." if above else ""
    if ndim == 1:
        names = (f"{front}norm.weight", f"{front}bias")
        yield from names[::-1] if is_head(above) else names
        yield f"{name}.bias"
        return
    yield f"{front}weight"
    start, _, module = above.rpartition(".")
    if _words(module) & _NORMS:
        yield f"{start}.{last}" if start else last
        yield f"{start}.weight" if start else "weight"


def _end(path: str) -> str:
    """The last parts of a path that say what is there."""
    parts = [p for p in path.split(".") if not p.isdigit() and p not in ("weight", "")]
    return ".".join(parts[-1:])


def _words(text: str) -> set[str]:
    return {w.lower() for w in _WORD.findall(text)}
