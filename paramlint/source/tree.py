"""An inventory as a tree of modules: what `model.h[0].attn`, `named_parameters()` and `isinstance` are in it.

The tree knows what was registered, not what a class computes: an attribute that is neither a module, a parameter nor
a plain size is unknown, never absent, but where torch's own layers say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from paramlint.parameter import Inventory, Parameter
from paramlint.source.values import UNKNOWN, ClassOf, Node, Unknown, Value

# Attributes that torch's layers register as None when they are switched off.
_OPTIONAL = {
    **dict.fromkeys(("Linear", "Bilinear", "_ConvNd"), ("bias",)),
    **dict.fromkeys(("LayerNorm", "GroupNorm", "_NormBase"), ("weight", "bias")),
    "RMSNorm": ("weight",),
}
_CONTAINERS = ("ModuleList", "Sequential", "ModuleDict", "ParameterList", "ParameterDict")
# What wrappers call the model inside: names in an inventory are without them.
_WRAPPED = ("module", "_orig_mod")
_ROOT = Node("")


class Tree:
    """The modules and parameters of a model, by path."""

    root = _ROOT

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._classes = {m.path: m.classes for m in inventory.modules}
        self._sizes = {m.path: m.sizes for m in inventory.modules}
        self._children: dict[str, dict[str, str]] = {"": {}}
        self._own: dict[str, dict[str, Parameter]] = {}
        self._lists: dict[tuple[str, bool], tuple[tuple[str, Parameter], ...]] = {}
        for module in inventory.modules:
            self._add(module.path)
        for p in inventory.parameters:
            for site in p.sites:
                self._add(site.module)
                self._own.setdefault(site.module, {})[site.attribute] = p

    def _add(self, path: str) -> None:
        if path in self._children:
            return
        parent, _, name = path.rpartition(".")
        self._add(parent)
        self._children[parent][name] = path
        self._children[path] = {}

    # Attributes and items

    def attribute(self, node: Node, name: str) -> Value:
        """`node.name`: a module, a parameter, a size, None, or UNKNOWN."""
        child = self._children[node.path].get(name)
        if child is not None:
            return Node(child)
        own = self._own.get(node.path, {})
        if name in own:
            return own[name]
        sizes = self._sizes.get(node.path, {})
        if name in sizes:
            return sizes[name]
        if name == "__class__":
            return self.class_of(node)
        if self._switched_off(node, name):
            return None
        if node == _ROOT and name in _WRAPPED:
            return node
        if node == _ROOT and name == "base_model" and self.inventory.accessors.base in self._children:
            return Node(self.inventory.accessors.base or "")
        return UNKNOWN

    def has(self, node: Node, name: str) -> bool | Unknown:
        """`hasattr(node, name)`: of weights and biases, torch's own layers have those that they register."""
        if self.attribute(node, name) is not UNKNOWN:
            return True
        classes = self._classes.get(node.path, ())
        return False if classes and classes[0].startswith("torch.nn.") and name in ("weight", "bias") else UNKNOWN

    def _switched_off(self, node: Node, name: str) -> bool:
        classes = self._classes.get(node.path, ())
        return any(name in _OPTIONAL.get(_last(c), ()) for c in classes if c.startswith("torch.nn."))

    def class_of(self, node: Node) -> Value:
        classes = self._classes.get(node.path)
        return ClassOf(classes) if classes else UNKNOWN

    def at(self, path: str) -> Value:
        """The module or parameter of a dotted path from the root; UNKNOWN where there is none."""
        return self.below(_ROOT, path)

    def below(self, node: Node, path: str) -> Value:
        """The module or parameter of a dotted path from a module; UNKNOWN where there is none."""
        found: Value = node
        for part in path.split(".") if path else ():
            found = self.attribute(found, part) if isinstance(found, Node) else UNKNOWN
        return found if isinstance(found, (Node, Parameter)) else UNKNOWN

    def item(self, node: Node, index: Value) -> Value:
        """`node[index]` of a container: by position, slice or key."""
        elements = self.elements(node)
        if elements is None:
            return UNKNOWN
        if isinstance(index, str):
            return dict(elements).get(index, UNKNOWN)
        if isinstance(index, slice):
            return tuple(value for _, value in elements[index])
        if isinstance(index, int) and -len(elements) <= index < len(elements):
            return elements[index][1]
        return UNKNOWN

    def elements(self, node: Node) -> tuple[tuple[str, Value], ...] | None:
        """What a container holds, with its keys; None for what is not known to be one.

        Without classes (in a document that has none) a module whose children are counted is one.
        """
        children = self._children[node.path]
        if node.path in self._classes:
            known = any(_last(c) in _CONTAINERS for c in self._classes[node.path])
        else:
            known = bool(children) and all(name.isdigit() for name in children)
        if not known:
            return None
        return (
            *((name, Node(path)) for name, path in children.items()),
            *self._own.get(node.path, {}).items(),
        )

    # Walks, in torch's order

    def named_parameters(self, node: Node = _ROOT, recurse: bool = True) -> tuple[tuple[str, Parameter], ...]:
        """Each tensor once, by the first name that it has below this module, relative to it."""
        where = (node.path, recurse)
        if where not in self._lists:
            found: dict[str, tuple[str, Parameter]] = {}
            for path in self._below(node.path) if recurse else (node.path,):
                for attribute, p in self._own.get(path, {}).items():
                    found.setdefault(p.name, (_relative(f"{path}.{attribute}" if path else attribute, node.path), p))
            self._lists[where] = tuple(found.values())
        return self._lists[where]

    def named_modules(self, node: Node = _ROOT) -> Iterator[tuple[str, Node]]:
        """Itself first, then all below it. A module under two paths comes once, by the first."""
        seen: set[object] = set()
        for path in self._below(node.path):
            if (key := self._keys[path]) not in seen:
                seen.add(key)
                yield _relative(path, node.path), Node(path)

    def named_children(self, node: Node = _ROOT) -> Iterator[tuple[str, Node]]:
        seen: set[object] = set()
        for name, path in self._children[node.path].items():
            if (key := self._keys[path]) not in seen:
                seen.add(key)
                yield name, Node(path)

    def names(self, node: Node = _ROOT) -> frozenset[str]:
        """The names of all parameters in a module."""
        return frozenset(p.name for _, p in self.named_parameters(node))

    def _below(self, path: str) -> Iterator[str]:
        stack = [path]
        while stack:
            one = stack.pop()
            yield one
            stack.extend(reversed(self._children[one].values()))

    @cached_property
    def _keys(self) -> dict[str, object]:
        """What tells modules apart: an inventory has a shared module under each of its paths. Those of one class that
        hold the very same tensors are taken for one, so that nobody is blamed for a duplicate that may not be there.
        """
        keys: dict[str, object] = {}
        for path in self._below(""):
            held = tuple((name, p.name) for name, p in self.named_parameters(Node(path)))
            keys[path] = (self._classes.get(path), held) if held else path
        return keys

    # Classes

    def is_instance(self, node: Node, name: str) -> bool | Unknown:
        """Whether a module is of the class of a qualified name.

        A class may be imported under several packages, so that its last part decides; but a class of torch is no other
        package's, and another package may pass one of torch's on.
        """
        last = _last(name)
        if last == "Module" and (name == last or name.startswith(("torch.", "nn."))):
            return True
        classes = self._classes.get(node.path)
        if not classes:
            return UNKNOWN
        same = [c for c in classes if _last(c) == last]
        if not same:
            return False
        of_torch = name.startswith(("torch.", "nn."))
        if any(c.startswith("torch.") == of_torch for c in same):
            return True
        return False if of_torch else UNKNOWN


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _relative(path: str, to: str) -> str:
    return path[len(to) :].removeprefix(".") if to else path
