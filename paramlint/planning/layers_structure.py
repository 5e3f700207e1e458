"""The layer of every parameter by the module tree: repeated blocks in order, what is before, between and after them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from paramlint.parameter import Inventory, Parameter
from paramlint.roles.tree import Tree, parent

#: What stands at the beginning and at the end of a model, wherever it was defined.
_FIRST = frozenset({"embedding", "tied-embedding", "input-projection"})
#: So do these, unless they are part of a stage or come after all blocks (the query of a pooling).
_TABLES = frozenset({"position-table", "token"})
_LAST = frozenset({"output-head"})
#: A stage has at most so many parts beside its blocks: what samples down or up, a norm. A block that holds a list of
#: like blocks (experts, heads) has more: attention, norms, a router.
_STAGE_PARTS = 2
#: Numbered attributes are a stack from so many on: two (`ln_1`, `ln_2`) are two different things.
_COUNTED = 3


def assign(inventory: Inventory) -> dict[str, int]:
    """The layer of every parameter by name, in model order, from 0 without gaps.

    Repeated blocks are a layer each, those of several stages or stacks in the order in which they are defined. What is
    defined before the first of them, or begins a model by its role, is layer 0; what comes after them, or ends it, is
    the last. In between, what samples down goes with the block that follows, what only ends a stack with the one
    before. A tied tensor is where its first name is. Without repeated blocks every map is a layer.
    """
    tree = Tree(inventory)
    blocks = _Blocks(tree).found
    slots = _between(tree, blocks) if blocks else _by_map(tree)
    order = {slot: layer for layer, slot in enumerate(sorted(set(slots.values())))}
    return {name: order[slot] for name, slot in slots.items()}


class _Blocks:
    """The repeated blocks that are a layer each: not stages made of them, not the experts inside them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._by_module: dict[str, list[Parameter]] = {}
        for p in tree.inventory.parameters:
            for path in (p.sites[0].module, *_above([p.sites[0].module])):
                self._by_module.setdefault(path, []).append(p)
        stacks = list(self._counting())
        # pairs of a map and a norm are blocks only where nothing greater is repeated
        several = [members for members in stacks if any(len(self._maps(path)) > 1 for path in members)]
        self.found = self._among(self._chosen(several)) or self._among(stacks)

    def _counting(self) -> Iterator[list[str]]:
        """Stacks by what stands before their numbers: `conv1` is none of `layer1`, `layer2`, ..."""
        split: list[tuple[tuple[str, str], list[str], bool]] = []
        longest: dict[tuple[str, str], int] = {}
        for (_, cls), members in self.tree.stacks.items():
            starts: dict[str, list[str]] = {}
            for path in members:
                starts.setdefault(path.rpartition(".")[2].rstrip("0123456789"), []).append(path)
            for start, alike in starts.items():
                split.append(((cls, start), alike, len(members) == 1))
                longest[cls, start] = max(longest.get((cls, start), 0), len(alike))
        for (cls, start), alike, alone in split:
            if (alone or len(alike) > 1) and (not start or longest[cls, start] >= _COUNTED):
                yield alike

    def _chosen(self, stacks: Sequence[list[str]]) -> list[list[str]]:
        """Lists, and numbered attributes (`layer3`) that are inside them or make up half of the maps of the model:
        else these are branches beside each other."""
        lists = [members for members in stacks if _listed(members[0])]
        inside = {path for members in lists for path in members}
        attributes = [members for members in stacks if not _listed(members[0])]
        beside = [members for members in attributes if inside.isdisjoint(_above(members))]
        maps = {p.name for members in beside for path in members for p in self._maps(path)}
        if 2 * len(maps) >= sum(p.effective_ndim > 1 for p in self.tree.inventory.parameters):
            return list(stacks)
        return [members for members in stacks if members not in beside]

    def _among(self, stacks: Sequence[list[str]]) -> list[str]:
        self._stack = {member: members for members in stacks for member in members}
        self._around = set(_above(self._stack))
        self._known_alike: dict[str, bool] = {}
        return [path for path in self._blocks("") if not self._is_end(path)]

    def _blocks(self, path: str) -> Iterator[str]:
        """The blocks inside a module: of stacks, and what is in one list with them and has several maps too."""
        children = [child for child in self.tree.children.get(path, ()) if child in self._by_module]
        # where one of a list takes turns between lists of its own, none of them is a stage
        turns = any(_listed(child) and len(self._lists(child)) > 1 for child in children)
        stages = {child for child in children if not turns and self._is_stage(child)}
        among = any(_listed(child) and child in self._stack and child not in stages for child in children)
        for child in children:
            listed = among and _listed(child) and len(self._maps(child)) > 1
            if child not in stages and (listed or child in self._stack):
                yield child
            else:
                yield from self._blocks(child)

    def _is_stage(self, path: str) -> bool:
        """Whether a module is little more than one list of inner blocks. With several it is a block: they are branches,
        or take turns."""
        parts = list(self._parts(path))
        return (
            len(self._lists(path)) == 1
            and len(parts) <= _STAGE_PARTS
            and not any(p.role == "router" for part in parts for p in part)
        )

    def _lists(self, path: str) -> set[str]:
        return {parent(block) for block in self._inner(path) if self._alike(block)}

    def _inner(self, path: str) -> Iterator[str]:
        """The outermost repeated blocks strictly inside a module; not in what is in one list with them."""
        children = self.tree.children.get(path, ())
        among = any(_listed(child) and child in self._stack for child in children)
        for child in children:
            if child in self._stack:
                yield child
            elif child in self._around and not (among and _listed(child)):
                yield from self._inner(child)

    def _parts(self, path: str) -> Iterator[list[Parameter]]:
        """What a module has beside its inner blocks, by part."""
        yield from ([p] for p in self.tree.owned.get(path, ()))
        for child in self.tree.children.get(path, ()):
            if child not in self._by_module or (child in self._stack and self._alike(child)):
                continue
            if child in self._around:
                yield from self._parts(child)
            else:
                yield self._by_module[child]

    def _alike(self, path: str) -> bool:
        """Whether the blocks of a stack have parts in common, too: an attention and an MLP in like wrappers do not."""
        members = self._stack[path]
        if members[0] not in self._known_alike:
            names = [{p.name[len(member) :] for p in self._by_module.get(member, ())} for member in members]
            likeness = all(2 * len(a & b) >= min(len(a), len(b)) for a, b in pairwise(names))
            self._known_alike[members[0]] = likeness
        return self._known_alike[members[0]]

    def _maps(self, path: str) -> list[Parameter]:
        return [p for p in self._by_module.get(path, ()) if p.effective_ndim > 1]

    def _is_end(self, path: str) -> bool:
        roles = {p.role for p in self._maps(path)}
        return not roles or roles <= _LAST or roles <= _FIRST


def _listed(path: str) -> bool:
    """Whether a module is a numbered member of a list."""
    return path.rpartition(".")[2].isdigit()


def _above(paths: Iterable[str]) -> Iterator[str]:
    """The modules around each of these, the root not counted."""
    for path in paths:
        while path := parent(path):
            yield path


def _between(tree: Tree, blocks: Sequence[str]) -> dict[str, int]:
    """0 for what comes first, i for the i-th block, one more than there are for what comes last."""
    order = {path: i for i, path in enumerate(tree.modules)}
    number = {path: i + 1 for i, path in enumerate(blocks)}
    starts = [order[path] for path in blocks]
    numbered = {member for members in tree.stacks.values() for member in members}
    stages = numbered.intersection(_above(blocks))
    companions = _companions(tree, blocks, stages)
    slots: dict[str, int] = {}
    for p in tree.inventory.parameters:
        module = p.sites[0].module
        around = (module, *_above([module]))
        inside = next((path for path in around if path in number), None)
        before = bisect_left(starts, order[module])
        staged = not stages.isdisjoint(around)
        looked_up = tree.kind_of(p.sites[0]) == "embedding"
        table = p.role in _TABLES and not staged and (before < len(blocks) or looked_up)
        beside = next((companions[path] for path in around if path in companions), None)
        if inside is not None:
            slots[p.name] = number[inside]
        elif beside is not None:
            slots[p.name] = beside
        elif p.role in _FIRST or table:
            slots[p.name] = 0
        elif p.role in _LAST or before == len(blocks):
            slots[p.name] = len(blocks) + 1
        elif before == 0 and not staged:
            slots[p.name] = 0
        else:
            follows = before == 0 or _goes_with_next(tree, module, blocks[before - 1], blocks[before])
            slots[p.name] = before + follows
    return slots


def _companions(tree: Tree, blocks: Sequence[str], stages: set[str]) -> dict[str, int]:
    """Lists as long as a list of stages beside them: the i-th member goes with the i-th stage. What has a map goes with
    the first block there, or is the beginning of the model; what has none with the last block."""
    found: dict[str, int] = {}
    order = {path: i for i, path in enumerate(tree.modules)}
    for of_stages in dict.fromkeys(parent(stage) for stage in stages):
        listed = tree.children[of_stages]
        inside = [[i + 1 for i, block in enumerate(blocks) if tree.under(block, stage)] for stage in listed]
        beside = [path for path in tree.children.get(parent(of_stages), ()) if path != of_stages] if of_stages else []
        for path in beside:
            members = tree.children[path]
            if len(members) != len(listed) or not all(map(_listed, (*members, *listed))) or not all(inside):
                continue
            if any(tree.under(block, path) for block in blocks) or _ends(tree, path):
                continue
            for member, numbers in zip(members, inside, strict=True):
                opens = numbers[0] == 1 and order[member] < order[blocks[0]]
                found[member] = (0 if opens else numbers[0]) if _samples(tree, member) else numbers[-1]
    return found


def _samples(tree: Tree, path: str) -> bool:
    """Whether there is a map in a module."""
    return any(p.effective_ndim > 1 for p in _inside(tree, path))


def _ends(tree: Tree, path: str) -> bool:
    """Whether there is a head in a module."""
    return any(p.role in _LAST for p in _inside(tree, path))


def _inside(tree: Tree, path: str) -> Iterator[Parameter]:
    yield from (p for module, own in tree.owned.items() if tree.under(module, path) for p in own)


def _goes_with_next(tree: Tree, module: str, previous: str, following: str) -> bool:
    """Whether what stands between two blocks belongs to the second: the maps between stages, the beginning of a stack.

    What has no map ends a stack (a norm), and so does all that is inside a tower with the first block alone.
    """
    part = module
    while part and not tree.under(previous, parent(part)) and not tree.under(following, parent(part)):
        part = parent(part)
    if not part or tree.under(following, part):
        return True
    around = parent(part)
    if not _samples(tree, part):
        return tree.under(following, around) and not tree.under(previous, around)
    if tree.under(following, around):
        return True
    # inside with the first block alone: a stage if it is one of several like it, else a tower
    stage = around
    while stage and not tree.under(following, parent(stage)):
        stage = parent(stage)
    return any(stage in members for members in tree.stacks.values())


def _by_map(tree: Tree) -> dict[str, int]:
    """One layer for each module with a map; what else there is goes with the map before it."""
    slots: dict[str, int] = {}
    modules: dict[str, int] = {}
    for p in tree.inventory.parameters:
        if _is_map(p):
            modules.setdefault(p.sites[0].module, len(modules))
        slots[p.name] = 0 if p.role in _FIRST else modules.get(p.sites[0].module, max(len(modules) - 1, 0))
    return slots


def _is_map(p: Parameter) -> bool:
    """Whether a parameter is a map, one with a single input or output too: the score at the end of a discriminator."""
    return p.effective_ndim > 1 or (p.ndim > 1 and p.role in (*_FIRST, *_LAST, "row-matrix"))
