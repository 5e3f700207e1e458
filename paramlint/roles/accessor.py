"""Evidence from what the model's library says of itself: its accessors, its config, its no-decay list."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.parameter import Evidence, Parameter
from paramlint.roles.tree import Tree


def speak(tree: Tree, p: Parameter) -> Iterator[Evidence]:
    """What `get_output_embeddings()`, `get_classifier()`, `default_cfg`, `no_weight_decay()` say of this parameter."""
    known = tree.inventory.accessors
    for site in p.sites:
        path, _ = tree.owner(site)
        if p.effective_ndim > 1:
            if any(_owns(root, path) for root in known.output_embeddings) and tree.matrix_shape(p, site):
                yield Evidence("accessor", "output-head", f"the model's get_output_embeddings() gives {path}")
            if any(_owns(root, path) for root in known.classifiers) and tree.matrix_shape(p, site):
                yield from _classifier(tree, p, path)
            if path in known.first_layers and tree.matrix_shape(p, site):
                yield Evidence("accessor", "input-projection", f"the model names {path} as its first layer")
            if path in known.input_embeddings and tree.kind_of(site) == "embedding":
                yield Evidence("accessor", "embedding", f"the model's get_input_embeddings() gives {path}")
        if site.name in known.no_weight_decay and tree.kind_of(site) in ("other", "embedding") and p.ndim >= 2:
            text = "listed by the model's no_weight_decay()"
            if p.effective_ndim <= 1:
                yield Evidence("accessor", "token", text)
            else:
                yield Evidence("accessor", "position-table", text)


def _owns(root: str, path: str) -> bool:
    return path == root or (bool(root) and path.startswith(root + "."))


def _classifier(tree: Tree, p: Parameter, path: str) -> Iterator[Evidence]:
    """The last matrix under what the model calls its classifier; a hidden layer of an MLP head is none."""
    roots = [r for r in tree.inventory.accessors.classifiers if _owns(r, path)]
    for root in roots:
        inside = [m for m in tree.matrices if _owns(root, tree.owner(m.site)[0])]
        if inside and (inside[-1].parameter is p or inside[-1].fan_out == _fan_out(tree, p)):
            yield Evidence("accessor", "output-head", f"the model names {root} as its classifier")


def _fan_out(tree: Tree, p: Parameter) -> int:
    fans = tree.matrix_shape(p, p.sites[0])
    return fans[1] if fans else -1
