"""Evidence from the class of the module that owns a tensor (bases included)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paramlint.parameter import Evidence, Module, Parameter, Site
from paramlint.roles.kinds import gates, is_norm_like, short, size
from paramlint.roles.tree import Tree, parent


@dataclass(frozen=True)
class Fused(Evidence):
    """Evidence for a fused matrix that knows how its rows are shared out."""

    splits: tuple[int, ...] = ()


def speak(tree: Tree, p: Parameter) -> Iterator[Evidence]:
    """What the owning modules' classes say of this parameter, one statement per place where it is registered."""
    for site in p.sites:
        path, attribute = tree.owner(site)
        module = tree.modules.get(path)
        if module is None:
            continue
        if p.ndim == 2 and (above := _adaptive_softmax(tree, path)) is not None:
            yield from _class_rows(p, path.removeprefix(above).strip("."))
        yield from _site(tree, p, site, module, attribute)


def _adaptive_softmax(tree: Tree, path: str) -> str | None:
    """The nn.AdaptiveLogSoftmaxWithLoss that holds this module."""
    while path:
        path = parent(path)
        module = tree.modules.get(path)
        if module and any(c.endswith(".AdaptiveLogSoftmaxWithLoss") for c in module.classes):
            return path
    return None


def _class_rows(p: Parameter, inside: str) -> Iterator[Evidence]:
    """Its head and the second map of each tail have a row for each class; the first of each tail only projects."""
    if inside == "head" or inside.endswith(".1"):
        yield Evidence("module", "output-head", "rows of nn.AdaptiveLogSoftmaxWithLoss, one for each class")


def _site(tree: Tree, p: Parameter, site: Site, module: Module, attribute: str) -> Iterator[Evidence]:
    kind, what = tree.kind_of(site), short(module)
    if kind == "embedding":
        yield Evidence("module", "embedding", f"table of {what}: its rows are picked by integer index")
    elif kind == "norm" or (kind == "other" and p.effective_ndim <= 1 and is_norm_like(module)):
        role = "bias" if attribute == "bias" else "norm-gain"
        yield Evidence("module", role, f"{attribute} of {what}")
    elif kind == "rnn":
        yield from _recurrent(p, module, what)
    elif kind == "attention" and p.ndim == 2:
        width = size(module, "embed_dim") or p.shape[1]
        if p.shape[0] == 3 * width:
            yield Fused(
                "module", "fused-matrix", f"query, key and value projection of {what} in one", splits=(width,) * 3
            )
        else:
            yield Evidence("module", "hidden-matrix", f"projection of {what}")
    elif kind == "bilinear" and p.ndim == 3:
        yield Evidence("module", "unknown", f"weight of {what}: one bilinear form per output", "likely")
    elif p.ndim == 2 and tree.kinds.get(parent(tree.owner(site)[0])) == "attention":
        yield Evidence("module", "hidden-matrix", "output projection of nn.MultiheadAttention")
    elif tree.matrix_shape(p, site) is not None:
        yield _matrix(p, module, kind, what)
    elif kind in ("linear", "linear-transposed", "conv", "conv-transposed", "attention", "bilinear"):
        if p.effective_ndim <= 1 and "bias" in attribute:
            yield Evidence("module", "bias", f"{attribute} of {what}")
        elif p.effective_ndim <= 1 < p.ndim and kind in ("linear", "conv", "conv-transposed"):
            yield Evidence("module", "scale", f"gain of a normalised weight of {what}")
    elif p.ndim <= 1 and attribute == "bias":
        yield Evidence("module", "bias", f"bias of {what}", "likely")


def _matrix(p: Parameter, module: Module, kind: str, what: str) -> Evidence:
    if kind == "linear-transposed":
        return Evidence("module", "hidden-matrix", f"weight of {what}, stored (in, out)", "likely")
    if kind == "linear":
        return Evidence("module", "hidden-matrix", f"weight of {what}", "likely")
    groups = size(module, "groups") or 1
    channels = size(module, "in_channels") or 0
    if groups > 1 and groups == channels:
        return Evidence("module", "depthwise-conv", f"filter of {what} with groups = channels = {groups}")
    if groups > 1:
        return Evidence("module", "grouped-conv", f"filter of {what} with {groups} groups")
    return Evidence("module", "conv-filter", f"filter of {what}, dense", "likely")


def _recurrent(p: Parameter, module: Module, what: str) -> Iterator[Evidence]:
    if p.ndim < 2:
        yield Evidence("module", "bias", f"bias of {what}")
        return
    hidden, stacked = size(module, "hidden_size") or p.shape[0], gates(module)
    if stacked > 1 and p.shape[0] == stacked * hidden:
        text = f"weight of {what}: {stacked} gates of {hidden} rows stacked"
        yield Fused("module", "fused-matrix", text, splits=(hidden,) * stacked)
    else:
        yield Evidence("module", "hidden-matrix", f"weight of {what}")
