"""Evidence from the two ends of a model: which maps come first on a continuous input, which nothing follows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from paramlint.parameter import Confidence, Evidence, Parameter
from paramlint.roles.tree import Matrix, Tree

#: A convolution with at most this many input channels reads pixels (RGB, with depth or alpha) or a waveform.
_PIXEL_CHANNELS = 4
#: Widths up to this are those of gates, flags and coordinates, and coincide by chance.
_NARROW = 32


class Ends:
    """The first and the last maps, from definition order, sizes and the library's base model."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._label_sizes = frozenset(tree.inventory.accessors.label_sizes)
        self._input_sizes = frozenset(tree.inventory.accessors.input_sizes)
        self.outside = [m for m in tree.matrices if m.block is None]
        inside = [m.order for m in tree.matrices if m.block is not None and tree.is_block(m.block)]
        self.last_block = max(inside, default=-1)

    def singleton(self, p: Parameter) -> bool:
        """Whether this is a map outside every stack of like blocks."""
        return p.name in self._by_name

    @cached_property
    def _by_name(self) -> Mapping[str, Matrix]:
        return {m.parameter.name: m for m in self.outside}

    def speak(self, p: Parameter) -> Evidence | None:
        """What the place of a map before, after or between the stacks says of it."""
        m = self._by_name.get(p.name)
        if p.effective_ndim < 2 or (m is None and not self._opens(p)):
            return None
        if m is None or self._reads_input(m):
            m = m or self.tree.matrices[0]
            text = f"first {'map' if p.ndim == 2 else 'convolution'}, on {m.fan_in} continuous input features"
            return Evidence("structure", "input-projection", text, "likely")
        base = self.tree.inventory.accessors.base
        beyond = base is not None and not self.tree.under(m.site.module, base)
        if (as_many := self._labels(m)) and (m.fan_out <= _NARROW or not self._followed(m)):
            text = f"{m.fan_out} outputs, as many as {as_many}; nothing takes them"
            return Evidence("structure", "output-head", text, "likely")
        hidden: tuple[str, Confidence] | None = None
        if base is not None and not beyond:
            hidden = f"inside the base model {base}", "likely"
        elif self._followed(m):
            hidden = f"outside the stacks, its {m.fan_out} outputs are taken by a later map", "likely"
        elif not beyond and m.order < self.last_block:
            hidden = "outside the stacks, between them", "guess"
        if hidden is not None and p.ndim == 2:
            return Evidence("structure", "hidden-matrix", *hidden)
        if hidden is not None:
            return Evidence("structure", "conv-filter", *hidden) if hidden[1] == "guess" else None
        if beyond:
            text = f"outside the base model {base}, nothing takes its output"
            return Evidence("structure", "output-head", text, "likely")
        if m.fan_out in self._last_taking:
            # as wide as the stream inside: what is defined last need not come last
            text = f"after the last block, nothing later takes its {m.fan_out} outputs"
            return Evidence("structure", "output-head", text, "guess")
        return Evidence("structure", "output-head", "after the last block, nothing takes its output", "likely")

    def _labels(self, m: Matrix) -> str:
        """What has as many members as this map has outputs: labels (and "no object"), tokens, another head; or ''."""
        if m.fan_out == m.fan_in:
            return ""
        if m.fan_out in self._label_sizes or m.fan_out - 1 in self._label_sizes:
            return "the config has labels or tokens"
        return "the last map of the model" if m is not self.outside[-1] and m.fan_out in self._head_sizes else ""

    @cached_property
    def _head_sizes(self) -> frozenset[int]:
        """The widths of the last map of the model, if it is behind all stacks and wider than a gate or a flag."""
        last = self.outside[-1] if self.outside else None
        if last is None or last.order < self.last_block or last.fan_out <= _NARROW or self._followed(last):
            return frozenset()
        return frozenset({last.fan_out})

    def _followed(self, m: Matrix) -> bool:
        """Whether a later map takes as many features as this one gives, or twice as many (two of them joined)."""
        takes = (m.fan_out, 2 * m.fan_out) if m.fan_out > _NARROW else (m.fan_out,)
        return any(self._last_taking.get(width, -1) > m.order for width in takes)

    @cached_property
    def _last_taking(self) -> Mapping[int, int]:
        """The place of the last map that takes so many features."""
        return {m.fan_in: m.order for m in self.tree.matrices}

    def _reads_input(self, m: Matrix) -> bool:
        if m is not self.outside[0] and not self._first_of_tower(m):
            return False
        if m.parameter.ndim > 2:
            return m.fan_in <= _PIXEL_CHANNELS or m.fan_in in self._input_sizes or self._is_first(m)
        return self._is_first(m) and not self._has_embedding and m.fan_in not in self._produced

    def _opens(self, p: Parameter) -> bool:
        """Whether this is the convolution that the whole model begins with, a stage of its own kind perhaps."""
        first = self.tree.matrices[0] if self.tree.matrices else None
        return first is not None and first.parameter is p and p.ndim > 2 and first.fan_in <= _PIXEL_CHANNELS

    def _is_first(self, m: Matrix) -> bool:
        return m is self.tree.matrices[0]

    def _first_of_tower(self, m: Matrix) -> bool:
        return m.parameter.ndim > 2 and (m.fan_in <= _PIXEL_CHANNELS or m.fan_in in self._input_sizes)

    @cached_property
    def _produced(self) -> frozenset[int]:
        return frozenset(m.fan_out for m in self.tree.matrices)

    @cached_property
    def _has_embedding(self) -> bool:
        return "embedding" in self.tree.kinds.values()
