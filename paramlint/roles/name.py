"""Evidence from names, as whole tokens against a small vocabulary. The last to be asked: it never makes an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from paramlint.parameter import Evidence, Parameter

_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_HEAD = frozenset({"head", "classifier", "logits", "unembed", "unembedding", "score", "pred", "preds"})
_HEADS = (("lm", "head"), ("qa", "outputs"), ("proj", "out"), ("conv", "out"), ("to", "logits"))
_POSITION = frozenset({"pos", "position", "positions", "positional", "wpe", "posemb"})
_TABLE = frozenset({"embed", "embeds", "embedding", "embeddings", "emb", "codebook", "wte"})
_TOKENS = frozenset({"token", "tokens", "query", "queries", "latents", "register", "registers", "mask"})
_RELATIVE = frozenset({"rel", "relative"})
_BIAS = frozenset({"bias", "biases"})
_SCALE = frozenset({"scale", "scales", "gamma", "gain", "lambda", "alpha", "temperature"})
_ELEMENTWISE = frozenset({"log", "decay", "mix", "coefficients"})


def tokens(name: str) -> list[str]:
    """`lm_head` -> lm, head; `posEmbed` -> pos, embed; letters and digits apart."""
    return [t.lower() for t in _TOKEN.findall(name)]


def speak(p: Parameter, *, raw: bool, singleton: bool) -> Iterator[Evidence]:
    """What the last parts of the name suggest: of a raw tensor (`raw`), or of a linear map outside any stack."""
    site = p.sites[0]
    path = f"{site.module}.{site.attribute}" if raw else site.module
    parts = [s for s in path.split(".") if s]
    if not parts:
        return
    last = tokens(parts[-1])
    words = set(last)
    quoted = f"called {parts[-1]!r}"
    if singleton and not raw:
        if words & _HEAD or last == ["fc"] or any(_follows(last, pair) for pair in _HEADS):
            yield Evidence("name", "output-head", quoted, "guess")
        return
    if not raw:
        if words & _BIAS and words & _RELATIVE:
            yield Evidence("name", "relative-bias", quoted, "guess")
        elif words & _POSITION:
            yield Evidence("name", "position-table", quoted, "guess")
        return
    if words & _BIAS:
        yield Evidence("name", "relative-bias" if words & _RELATIVE else "bias", quoted, "guess")
    elif words & _POSITION:
        yield Evidence("name", "position-table", quoted, "guess")
    elif words & _TOKENS:
        yield Evidence("name", "token", quoted, "guess")
    elif words & _TABLE:
        yield Evidence("name", "embedding", quoted, "guess")
    elif words & _SCALE:
        yield Evidence("name", "scale", quoted, "guess")
    elif words & _ELEMENTWISE:
        yield Evidence("name", "elementwise", quoted, "guess")


def _follows(words: list[str], pair: tuple[str, str]) -> bool:
    return pair in pairwise(words)
