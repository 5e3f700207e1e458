"""Evidence from the place in the tree: repeated blocks, and siblings whose sizes fit together."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.parameter import Evidence, Parameter, Site
from paramlint.roles.module import Fused
from paramlint.roles.tree import Tree, parent


def speak(tree: Tree, p: Parameter) -> Iterator[Evidence]:
    """What the neighbours of a parameter say of it."""
    if p.effective_ndim < 2:
        return
    site = p.sites[0]
    fans = tree.matrix_shape(p, site)
    if fans is None:
        if tree.kind_of(site) == "other":
            yield from _raw(tree, p, site)
        return
    experts = _expert_count(tree, tree.owner(site)[0])
    if experts and fans[1] == experts and p.ndim == 2 and fans[1] not in {took for took, _ in _later(tree, site)}:
        yield Evidence("structure", "router", f"one output for each of the {experts} experts beside it", "likely")
    yield from _fused(tree, p, site, fans)
    if _low_rank(tree, p, site, fans):
        yield Evidence(
            "structure", "low-rank-adapter", f"rank {min(fans)}, one of a pair around a larger map", "likely"
        )
    if p.ndim == 2 and tree.block(site.module) is not None:
        yield Evidence("structure", "hidden-matrix", f"in {tree.described(site.module)}", "likely")


def _raw(tree: Tree, p: Parameter, site: Site) -> Iterator[Evidence]:
    """A tensor of a module that says nothing of it: stacks, routers and pairs show by their siblings' shapes."""
    if p.ndim == 3 and min(p.shape[1:]) > 1 and (count := _stack_of(tree, p, site)):
        yield Evidence("structure", "expert-stack", f"{count} matrices in one tensor", "likely")
    elif p.ndim == 2:
        if _is_stack_bias(tree, p, site):
            yield Evidence("structure", "bias", f"one row for each of the {p.shape[0]} stacked matrices", "likely")
        elif p.shape[0] == _expert_count(tree, site.module):
            yield Evidence("structure", "router", f"one row for each of the {p.shape[0]} experts beside it", "likely")
        elif _low_rank(tree, p, site, (p.shape[1], p.shape[0])):
            text = f"rank {min(p.shape)}, one of a pair around a larger map"
            yield Evidence("structure", "low-rank-adapter", text, "likely")
        elif p.shape[1] in _head_counts(tree, site) and p.shape[0] != p.shape[1]:
            text = f"one column for each of the {p.shape[1]} heads of its attention"
            yield Evidence("structure", "relative-bias", text, "likely")
        elif _state_matrix(tree, p, site):
            yield Evidence(
                "structure",
                "elementwise",
                f"one row of {p.shape[1]} states for each of {p.shape[0]} channels",
                "likely",
            )


def _stack_of(tree: Tree, p: Parameter, site: Site) -> int:
    """How many matrices a raw 3-D tensor stacks: as many as its module declares experts, or, fewer than a matrix is
    long, as many as a raw sibling whose matrices fit."""
    declared = tree.modules[site.module].sizes if site.module in tree.modules else {}
    if p.shape[0] in [v for k, v in declared.items() if "expert" in k]:
        return p.shape[0]
    for other in tree.owned.get(site.module, ()):
        same_count = other is not p and other.ndim == 3 and other.shape[0] == p.shape[0]
        if same_count and 1 < p.shape[0] <= max(p.shape[1:]) and _fits(p.shape[1:], other.shape[1:]):
            return p.shape[0]
    return 0


def _fits(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether one matrix can follow the other: a side in common, or twice it (gate and up in one)."""
    return any(x == y or x == 2 * y or y == 2 * x for x in a for y in b)


def _expert_count(tree: Tree, path: str) -> int:
    """How many experts stand beside a module: the length of a raw stack or of a list of like blocks nearby."""
    near = parent(path) if path else ""
    # a router may have a module to itself; what shares one with other maps is no router of the experts outside it
    alone = len(_shapes_below(tree, near)) == 1
    for root in (near, parent(near)) if alone and near else (near,):
        for where, count in _experts_at(tree, root):
            # a list of blocks at the top is the model's depth, not a choice of experts
            is_list = where != root and where in tree.stack_sizes
            if (not is_list or tree.block(root) is not None) and (not tree.under(path, where) or where == root):
                return count
    return 0


def _experts_at(tree: Tree, root: str) -> list[tuple[str, int]]:
    """The stacks that a module or one of its children holds, with how many matrices or blocks each has."""
    known = tree.experts
    if root not in known:
        found: list[tuple[str, int]] = []
        for where in (root, *tree.children.get(root, ())):
            stacked = [
                p.shape[0]
                for p in tree.owned.get(where, ())
                for s in p.sites
                if p.ndim == 3 and s.module == where and _stack_of(tree, p, s)
            ]
            listed = [] if where == root else [n for n in tree.stack_sizes.get(where, ()) if n > 2]
            found += [(where, n) for n in (*stacked[:1], *listed)]
        known[root] = found
    return known[root]


def _is_stack_bias(tree: Tree, p: Parameter, site: Site) -> bool:
    """A `(E, out)` tensor beside `(E, out, in)` or `(E, in, out)` in the same module: the stack's bias."""
    return any(
        o.ndim == 3 and o.shape[0] == p.shape[0] and p.shape[1] in o.shape[1:] and _stack_of(tree, o, s)
        for o in tree.owned.get(site.module, ())
        for s in o.sites
        if s.module == site.module
    )


def _fused(tree: Tree, p: Parameter, site: Site, fans: tuple[int, int]) -> Iterator[Evidence]:
    """A linear map whose product is two or three times what the next of its siblings takes, and which none takes
    whole: its rows are shared out."""
    if p.ndim != 2:
        return
    later = _later(tree, site)
    takes = {fan_in for fan_in, _ in later}
    if not takes or fans[1] in takes:
        return
    for parts in (3, 2):
        width, rest = divmod(fans[1], parts)
        # three parts as wide as the input: query, key and value; two parts: gate and up, or key and value
        if rest == 0 and width in takes and (parts == 2 or width == fans[0]):
            text = f"gives {parts} x {width} features where the next takes {width}"
            yield Fused("structure", "fused-matrix", text, "likely", splits=(width,) * parts)
            return


def _later(tree: Tree, site: Site) -> list[tuple[int, int]]:
    """(fan_in, fan_out) of the maps that come after this one in the module that holds it."""
    path = tree.owner(site)[0]
    siblings = tree.children.get(parent(path), []) if path else []
    after = siblings[siblings.index(path) + 1 :] if path in siblings else []
    sites = ((q, s) for child in after for q in tree.owned.get(child, ()) for s in q.sites if s.module == child)
    return [fans for q, s in sites if (fans := tree.matrix_shape(q, s))]


def _low_rank(tree: Tree, p: Parameter, site: Site, fans: tuple[int, int]) -> bool:
    """One of a thin pair `(r, in)`, `(out, r)` in a module that holds a full map `(out, in)` and such pairs only."""
    rank = min(fans)
    if rank * 4 > max(fans):
        return False
    root = tree.owner(site)[0]
    for _ in range(3):
        around = _shapes_below(tree, root)
        full = max(around, key=lambda shape: shape[0] * shape[1], default=None)
        if full is not None and around.count(full) == 1 and min(full) >= 4 * rank and len(around) > 2:
            pairs = [s for s in around if s != full]
            a, b = (rank, full[1]), (full[0], rank)
            if p.shape in (a, b) and a in pairs and b in pairs:
                return all(s[1] == full[1] or s[0] == full[0] for s in pairs)
        if not root:
            return False
        root = parent(root)
    return False


def _shapes_below(tree: Tree, root: str) -> list[tuple[int, ...]]:
    """The 2-D shapes that a module and its nearest descendants own (three levels: an adapter's dict of Linears)."""
    if root not in tree.shapes_below:
        found: list[tuple[int, ...]] = []
        level = [root]
        for _ in range(4):
            for path in level:
                found += [q.shape for q in tree.owned.get(path, ()) if q.ndim == 2 and q.effective_ndim == 2]
            level = [c for path in level for c in tree.children.get(path, ())]
        tree.shapes_below[root] = found
    return tree.shapes_below[root]


def _head_counts(tree: Tree, site: Site) -> list[object]:
    """How many attention heads the module, or the one that holds it, declares."""
    near = [tree.modules[m].sizes for m in (site.module, parent(site.module)) if m in tree.modules]
    return [sizes[k] for sizes in near for k in ("num_heads", "num_attention_heads", "n_heads") if k in sizes]


def _state_matrix(tree: Tree, p: Parameter, site: Site) -> bool:
    """`(channels, states)` beside a raw vector of `channels` and a depthwise convolution of as many: a state-space
    layer's transition, which is only ever multiplied element by element."""
    vector = any(q.shape == (p.shape[0],) and q is not p for q in tree.owned.get(site.module, ()))
    conv = any(
        tree.kinds[c] == "conv" and tree.modules[c].sizes.get("groups") == p.shape[0]
        for c in tree.children.get(site.module, ())
    )
    return vector and conv
