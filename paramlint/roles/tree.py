"""The module tree of an inventory, indexed: owners, kinds, repeated blocks, order, siblings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from paramlint.parameter import Inventory, Module, Parameter, Site
from paramlint.roles.kinds import Kind, kind, size

_PARAMETRIZATIONS = "parametrizations"


@dataclass(frozen=True)
class Matrix:
    """A linear map or a convolution: `fan_in` and `fan_out` are its features or channels, whatever the layout."""

    parameter: Parameter
    site: Site
    kind: Kind
    fan_in: int
    fan_out: int
    order: int
    block: str | None


class Tree:
    """Everything the evidence layers ask about the place of a parameter."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.modules: dict[str, Module] = {m.path: m for m in inventory.modules}
        self.kinds: dict[str, Kind] = {path: kind(m) for path, m in self.modules.items()}
        self.children: dict[str, list[str]] = {path: [] for path in self.modules}
        for path in self.modules:
            if path:
                self.children.setdefault(parent(path), []).append(path)
        self.owned: dict[str, list[Parameter]] = {path: [] for path in self.modules}
        for p in inventory.parameters:
            for site in p.sites:
                self.owned.setdefault(site.module, []).append(p)
        # what evidence has already worked out, by module path
        self.experts: dict[str, list[tuple[str, int]]] = {}
        self.shapes_below: dict[str, list[tuple[int, ...]]] = {}

    def owner(self, site: Site) -> tuple[str, str]:
        """The module whose tensor this is and the attribute: parametrized weights belong to their host."""
        head, _, tail = site.module.rpartition(".")
        if tail and (head == _PARAMETRIZATIONS or head.endswith("." + _PARAMETRIZATIONS)):
            return head[: -len(_PARAMETRIZATIONS)].rstrip("."), tail
        return site.module, site.attribute

    def kind_of(self, site: Site) -> Kind:
        return self.kinds.get(self.owner(site)[0], "other")

    def matrix_shape(self, p: Parameter, site: Site) -> tuple[int, int] | None:
        """(fan_in, fan_out) if this tensor is its owner's linear map or convolution, else None."""
        what = self.kind_of(site)
        module = self.modules.get(self.owner(site)[0])
        if module is None or p.effective_ndim == 0:
            return None
        if what == "linear" and p.ndim == 2:
            declared = (size(module, "out_features"), size(module, "in_features"))
            return (p.shape[1], p.shape[0]) if p.shape == declared or None in declared else None
        if what == "linear-transposed" and p.ndim == 2:
            return p.shape[0], p.shape[1]
        if what in ("conv", "conv-transposed") and p.ndim >= 3:
            channels = (size(module, "in_channels"), size(module, "out_channels"))
            groups = size(module, "groups") or 1
            if channels[0] is None or channels[1] is None:
                return None
            want = (
                (channels[0], channels[1] // groups)
                if what == "conv-transposed"
                else (channels[1], channels[0] // groups)
            )
            return (channels[0], channels[1]) if p.shape[:2] == want else None
        return None

    @cached_property
    def matrices(self) -> tuple[Matrix, ...]:
        """Every linear map and convolution, in the order in which the modules were defined."""
        found: list[Matrix] = []
        order = {path: i for i, path in enumerate(self.modules)}
        for p in self.inventory.parameters:
            for site in p.sites:
                fans = self.matrix_shape(p, site)
                if fans is not None:
                    found.append(
                        Matrix(p, site, self.kind_of(site), *fans, order[site.module], self.block(site.module))
                    )
        return tuple(sorted(found, key=lambda m: m.order))

    @cached_property
    def _block_of(self) -> dict[str, str | None]:
        """For every module path the outermost repeated block that it is in (itself included), or None."""
        repeated = {path for siblings in self.stacks.values() for path in siblings}
        found: dict[str, str | None] = {}
        for path in self.modules:  # parents come first
            above = found.get(parent(path)) if path else None
            found[path] = above or (path if path in repeated else None)
        return found

    def block(self, path: str) -> str | None:
        return self._block_of.get(path)

    @cached_property
    def stacks(self) -> dict[tuple[str, str], list[str]]:
        """Like blocks: two or more children of one module, of one class, numbered, each with parts of its own.

        Keyed by the parent's path and the class. A plain list of layers (the Linears of an MLP) is no stack of
        blocks; the numbering is that of a ModuleList or Sequential, or a number at the end of an attribute.
        """
        found: dict[tuple[str, str], list[str]] = {}
        alone: list[tuple[str, str, str]] = []
        for path, children in self.children.items():
            by_class: dict[str, list[str]] = {}
            for child in children:
                module = self.modules[child]
                if child[-1].isdigit() and module.classes and self.kinds[child] == "other":
                    by_class.setdefault(module.classes[0], []).append(child)
            for cls, members in by_class.items():
                blocks = [m for m in members if self.is_block(m)] or self._like_maps(members)
                if len(blocks) > 1:
                    found[path, cls] = blocks
                elif blocks:
                    alone.append((path, cls, blocks[0]))
        # a stack of one shows by its class, where that makes up another stack
        repeated = {cls for _, cls in found if not cls.startswith("torch.nn.")}
        return found | {(path, cls): [block] for path, cls, block in alone if cls in repeated}

    def _like_maps(self, members: list[str]) -> list[str]:
        """Modules around a single map each are blocks where three or more have one shape."""
        shapes = {m: tuple(p.shape for c in self.children[m] for p in self.owned[c]) for m in members}
        return [m for m, own in shapes.items() if own and list(shapes.values()).count(own) > 2]

    @cached_property
    def stack_sizes(self) -> dict[str, list[int]]:
        """How many like blocks a module lists, by its path; several where its children are of several classes."""
        sizes: dict[str, list[int]] = {}
        for (path, _), members in self.stacks.items():
            sizes.setdefault(path, []).append(len(members))
        return sizes

    @cached_property
    def _descriptions(self) -> dict[str, str]:
        return {
            member: f"one of {len(members)} like blocks" if len(members) > 1 else "a block like those elsewhere"
            for members in self.stacks.values()
            for member in members
        }

    def described(self, path: str) -> str:
        """The nearest repeated block around a module, in words: `one of 12 like blocks`."""
        while path not in self._descriptions:
            path = parent(path)
        return self._descriptions[path]

    def is_block(self, path: str) -> bool:
        """A module made of parts: children with parameters, or several matrices of its own."""
        if self.kinds[path] != "other":
            return False
        with_parameters = sum(1 for c in self.children[path] if self._has_parameters(c))
        own = sum(p.effective_ndim > 1 for p in self.owned[path])
        return with_parameters + own > 1 or (with_parameters == 1 and any(map(self.is_block, self.children[path])))

    def _has_parameters(self, path: str) -> bool:
        return path in self._with_parameters

    @cached_property
    def _with_parameters(self) -> frozenset[str]:
        found: set[str] = set()
        for owner, own in self.owned.items():
            path = owner
            while own and path not in found:
                found.add(path)
                if not path:
                    break
                path = parent(path)
        return frozenset(found)

    def under(self, path: str, root: str) -> bool:
        return not root or path == root or path.startswith(root + ".")


def parent(path: str) -> str:
    """The path of the module that holds this one; '' for children of the root."""
    return path.rpartition(".")[0]
