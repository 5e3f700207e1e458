"""What a string that names are tested for is about, and what else it is found in."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

#: Words, and the roles that they speak of.
_NORM = frozenset({"norm", "norms", "ln", "layernorm", "rmsnorm", "bn", "batchnorm", "gn", "groupnorm", "rms"})
_TABLE = frozenset({"embed", "embeds", "embedding", "embeddings", "embd", "emb", "embs", "wte", "vocab"})
_TOKENS = frozenset({"tok", "token", "tokens", "word", "words"})
_POSITION = frozenset({"pos", "position", "positions", "positional", "wpe"})
_HEAD = frozenset({"head", "classifier", "logits", "unembed", "unembedding", "output"})
_BIAS = frozenset({"bias", "biases"})
_SCALE = frozenset({"scale", "scales", "gamma", "gain", "layerscale"})
#: Words that say nothing by themselves.
_BESIDE = frozenset({"weight", "weights", "layer", "batch", "group", "lm", "table", "model", "transformer"})

#: Words for layers of any kind: what stands for one thing in one model stands for all its layers in another.
LAYERS = frozenset({"proj", "projection", "out", "output", "in", "input", "fc", "linear", "lin", "dense", "gate"})

#: Needles that are part of other words, or of the names of most layers, and names that they are found in.
ELSEWHERE = {
    "proj": "q_proj",
    "projection": "out_projection",
    "head": "multihead_attn",
    "heads": "heads_proj",
    "output": "attention.output.dense",
    "out": "router",
    "in": "linear1",
    "fc": "c_fc",
    "linear": "linear1",
    "dense": "attention.dense",
    "gate": "gate_proj",
    "pos": "composer",
    "emb": "ensemble",
    "ln": "modelnet",
    "bn": "subnet",
    "gn": "signal",
    "k": "blocks",
    "q": "seq_proj",
    "v": "conv1",
    "w": "weight",
}


#: What a needle that is made of such words alone speaks of, the first that fits.
_ABOUT = (
    (_BIAS | _NORM, _BIAS, frozenset({"bias"})),
    (_NORM, _NORM, frozenset({"norm-gain"})),
    (_POSITION | _TABLE, _POSITION, frozenset({"position-table"})),
    (_TABLE | _TOKENS, _TABLE | _TOKENS, frozenset({"embedding", "tied-embedding"})),
    (_HEAD, _HEAD, frozenset({"output-head", "tied-embedding"})),
    (_SCALE, _SCALE, frozenset({"scale"})),
)


def roles(text: str) -> frozenset[str]:
    """The roles that a needle speaks of, where all its words do; none where one says something further."""
    words = {t.lower() for t in _TOKEN.findall(text)} - _BESIDE
    return next((about for all_, some, about in _ABOUT if words & some and words <= all_), frozenset())


def is_word(needle: str, name: str) -> bool:
    """Whether a needle is found in a name where a word begins: `embed` in `x_embedder`, not `head` in `multihead_attn`.
    One of one or two letters has to be the whole word."""
    letters = needle.strip("._-0123456789 ")
    if not letters:
        return True
    starts = {m.start(): m.end() for m in _TOKEN.finditer(name)}
    ends = set(starts.values())
    at = name.lower().find(letters.lower())
    while at >= 0:
        if at in starts and (len(letters) > 2 or at + len(letters) in ends):
            return True
        at = name.lower().find(letters.lower(), at + 1)
    return False
