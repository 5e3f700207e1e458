"""What is known of a pass that failed: the frames it failed in, their names and tensors, and the operation."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any

import torch
from torch import nn

from paramlint.model.inputs.known import Known
from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Graph, Node

_APART = 1 << 24  # operations that one size that does not fit is worth


@dataclass(frozen=True)
class Frame:
    """One call on the way to the error. `line` is the source of the statement that it stood in."""

    function: str
    line: str
    local: Mapping[str, Any]
    own: bool  # not torch's code

    @property
    def module(self) -> nn.Module | None:
        """The module whose method this is."""
        me = self.local.get("self")
        return me if isinstance(me, nn.Module) else None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The plain names in the statement, in order."""
        return tuple(dict.fromkeys(re.findall(r"(?<![\w.\"'])[A-Za-z_]\w*", self.line)))


class Failure:
    """An error, where it was raised, and the graph of the pass until then."""

    def __init__(self, model: nn.Module, error: BaseException, graph: Graph) -> None:
        self.model, self.error, self.graph = model, error, graph
        self.text = str(error)
        self.kind = type(error).__name__
        every = list(_frames(error.__traceback__))
        start = next((i for i, f in enumerate(every) if f.local.get("self") is model), len(every))
        self.frames = every[start:]

    @cached_property
    def forward(self) -> Frame | None:
        """The frame of the model's own forward: the innermost one that has the model for its `self`."""
        mine = [f for f in self.frames if f.local.get("self") is self.model and f.function == "forward"]
        return mine[-1] if mine else None

    @cached_property
    def deepest(self) -> Frame | None:
        """The innermost frame that is not torch's."""
        own = [f for f in self.frames if f.own]
        return own[-1] if own else (self.frames[-1] if self.frames else None)

    @property
    def operation(self) -> Node | None:
        """The operation that raised, unless the model caught that and went on."""
        failed = self.graph.failed
        return failed if failed is not None and failed.number == len(self.graph.nodes) else None

    @cached_property
    def known(self) -> Known:
        return Known(self.model)

    @cached_property
    def reached(self) -> tuple[int, int, str]:
        """How many modules ran, how many operations (less where the next one's operands fit badly), and the message."""
        node = self.operation
        misfit = 0
        if node is not None and node.op in kinds.CONVOLUTIONS and len(node.reads) > 1:
            data, weight = node.reads[0].shape, node.reads[1].shape
            misfit = 4 * abs(len(data) - len(weight)) + 1
        elif node is not None and node.reads:
            first = node.reads[0].shape
            for other in node.reads[1:]:
                misfit += abs(len(first) - len(other.shape))
                pairs = zip(reversed(first), reversed(other.shape), strict=False)
                misfit += sum(a != b and 1 not in (a, b) for a, b in pairs)
        # modules first: what a model keeps from pass to pass makes for fewer operations
        return len(self.graph.ran), len(self.graph.nodes) - misfit * _APART, self.text

    def node(self, tensor: Any) -> int | None:
        """The node that made a tensor."""
        return self.graph.at.get(id(tensor)) if isinstance(tensor, torch.Tensor) else None

    def said(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.text, re.IGNORECASE | re.DOTALL)


def _frames(traceback: TracebackType | None) -> Iterator[Frame]:
    while traceback is not None:
        frame = traceback.tb_frame
        code = frame.f_code
        path = code.co_filename.replace("\\", "/")
        own = not any(part in path for part in ("/torch/", "/einops/", "/paramlint/")) and not path.startswith("<")
        yield Frame(code.co_name, _statement(traceback), frame.f_locals, own)
        traceback = traceback.tb_next


def _statement(traceback: TracebackType) -> str:
    """The source that was being run: the expression where Python tells positions, else the line."""
    code = traceback.tb_frame.f_code
    first = last = traceback.tb_lineno
    if hasattr(code, "co_positions"):
        positions = list(code.co_positions())
        i = traceback.tb_lasti // 2
        if i < len(positions) and positions[i][0] is not None:
            first, last = positions[i][0], positions[i][1] or first
    return " ".join(linecache.getline(code.co_filename, n).strip() for n in range(first, min(last, first + 30) + 1))
