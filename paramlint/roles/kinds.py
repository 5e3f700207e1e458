"""What a module does, by its class (bases included) or, for classes nobody knows, by the sizes it declares."""

from __future__ import annotations

from typing import Literal

from paramlint.parameter import Module, Plain

Kind = Literal[
    "embedding",
    "linear",
    "linear-transposed",
    "conv",
    "conv-transposed",
    "norm",
    "rnn",
    "attention",
    "bilinear",
    "other",
]

_TORCH: dict[str, Kind] = {
    "sparse.Embedding": "embedding",
    "sparse.EmbeddingBag": "embedding",
    "linear.Linear": "linear",
    "linear.LazyLinear": "linear",
    "linear.Bilinear": "bilinear",
    "conv._ConvTransposeNd": "conv-transposed",
    "conv._ConvNd": "conv",
    "normalization.LayerNorm": "norm",
    "normalization.GroupNorm": "norm",
    "normalization.RMSNorm": "norm",
    "batchnorm._NormBase": "norm",
    "rnn.RNNBase": "rnn",
    "rnn.RNNCellBase": "rnn",
    "activation.MultiheadAttention": "attention",
}


def kind(module: Module) -> Kind:
    """The kind of a module. A subclass is what its nearest known base is."""
    for name in module.classes:
        if name.startswith("torch."):
            tail = ".".join(name.split(".")[-2:])
            if tail in _TORCH:
                return _TORCH[tail]
    sizes = module.sizes
    if _has(sizes, "num_embeddings", "embedding_dim"):
        return "embedding"
    if _has(sizes, "in_channels", "out_channels") and "kernel_size" in sizes:
        return "conv-transposed" if sizes.get("transposed") is True else "conv"
    if _has(sizes, "in_features", "out_features"):
        return "linear"
    if _has(sizes, "nf", "nx"):
        # the GPT-2 family's Conv1D: a linear map stored (in, out)
        return "linear-transposed"
    if any("norm" in c.rsplit(".", 1)[-1].lower() for c in module.classes) and "normalized_shape" in sizes:
        return "norm"
    return "other"


def is_norm_like(module: Module) -> bool:
    """Whether the class calls itself a norm: enough to name a vector, never enough to place a matrix."""
    return any("norm" in c.rsplit(".", 1)[-1].lower() for c in module.classes)


def gates(module: Module) -> int:
    """How many gates an RNN stacks in its rows: LSTM 4, GRU 3, plain RNN 1."""
    for name in module.classes:
        short = name.rsplit(".", 1)[-1]
        if short.startswith("LSTM"):
            return 4
        if short.startswith("GRU"):
            return 3
    return 1


def size(module: Module, key: str) -> int | None:
    value: Plain = module.sizes.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _has(sizes: object, *keys: str) -> bool:
    return isinstance(sizes, dict) and all(isinstance(sizes.get(k), int) for k in keys)


def short(module: Module) -> str:
    """The class as people write it: `nn.Linear`, `LlamaRMSNorm`."""
    if not module.classes:
        return "nn.Module"
    name = module.classes[0]
    return f"nn.{name.rsplit('.', 1)[-1]}" if name.startswith("torch.nn.") else name.rsplit(".", 1)[-1]
