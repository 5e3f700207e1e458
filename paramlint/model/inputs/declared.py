"""The shapes that a forward says its arguments have: in its docstring, and where it takes them apart.

Dimensions are named (`batch_size, num_frames, in_channels`); a name is worth one size wherever it stands.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import torch
from torch import nn

from paramlint.model.inputs.attempt import reshaped
from paramlint.model.inputs.known import BATCH, CONTEXT, STACK, TOKENS, Known, width_of, words

Shape = tuple[str, ...]
_BATCH = frozenset("batch b bs bsz".split())
_FRAMES = frozenset("frames frame t f duration".split())
_HEIGHT, _WIDTH = frozenset("height h".split()), frozenset("width w".split())
_CHANNELS = frozenset("channels channel c dim dims d features embed".split())
_LONG = frozenset("samples waveform".split())
_LENGTHS = frozenset("seq sequence len length l s tokens embeddings".split())
_TEXT = frozenset("text txt caption cap encoder context source audio prompt".split())
_SPELLED = re.compile(r"(?:shaped?|size)\b[^(\[\n]{0,24}[(\[]([^()\[\]]*(?:\([^()]*\)[^()\[\]]*)*)[)\]]")
#: Without the word: "(B, C, H, W)", "[batch, tokens, 3]".
_BARE = re.compile(r"[(\[](\s*(?:batch\w*|B|N|bs|b)\s*,[^()\[\]]*(?:\([^()]*\)[^()\[\]]*)*)[)\]]")
_MOST_RANK, _LONGEST, _MOST_SIZE = 6, 16000, 1 << 20


def shapes(forward: Any) -> Mapping[str, Shape]:
    """The named dimensions of the arguments of a forward, where its text tells them."""
    return _shapes(inspect.unwrap(getattr(forward, "__func__", forward)))


@functools.lru_cache(maxsize=64)
def _shapes(function: Any) -> Mapping[str, Shape]:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}
    written = dict(_documented(inspect.getdoc(function) or "", names))
    done = {n: dims for n, dims in _taken_apart(function) if n in names}
    for name, dims in done.items():
        if len(written.get(name, ())) != len(dims):  # what is done counts; the text has the better names
            written[name] = dims
    return {n: dims for n, dims in written.items() if 0 < len(dims) <= _MOST_RANK}


def unpacked(statement: str) -> tuple[str, Shape] | None:
    """`b, c, h, w = x.shape` -> x, (b, c, h, w). Of a name that is "_" nothing is known."""
    m = re.search(
        r"^\(?((?:\w+\s*,\s*)+\w+)\s*,?\)?\s*=\s*(\w+)\.(?:shape$|size\(\)$|shape\s*(?:#|;))", statement.strip()
    )
    return (m[2], tuple(n.strip() for n in m[1].split(","))) if m else None


def _taken_apart(function: Any) -> Iterator[tuple[str, Shape]]:
    """Statements that give names to all dimensions of an argument, outside of branches."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return
    body = getattr(tree.body[0], "body", []) if tree.body else []
    assigned: set[str] = set()
    for node in body:
        if isinstance(node, ast.Assign):
            found = unpacked(ast.unparse(node))
            if found is not None and found[0] not in assigned:
                yield found
        assigned |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _documented(text: str, names: list[str]) -> Iterator[tuple[str, Shape]]:
    """What a docstring says: "x (`torch.Tensor` of shape `(batch_size, in_channels)`)"."""
    heads = [m for m in re.finditer(r"^[ \t*-]*`{0,2}(\w+)`{0,2}[ \t]*[(:]", text, re.MULTILINE) if m[1] in names]
    text = re.split(r"^\s*(?:Returns?|Yields?|Raises?):", text, maxsplit=1, flags=re.MULTILINE)[0]
    heads = [h for h in heads if h.end() <= len(text)]
    ends = [m.start() for m in heads[1:]]
    for head, end in zip_longest(heads, ends):
        between = text[head.end() : head.end() + 400 if end is None else end]
        said = _SPELLED.search(between)
        if said is None:
            said = _BARE.search(between)
        if said:
            dims = tuple(d.strip(" `\n") for d in _split(said[1]))
            if all(dims) and all(re.search(r"\w", d) for d in dims):
                yield head[1], dims


def _split(text: str) -> list[str]:
    """At the commas outside of brackets; one comma at the end is the mark of a tuple of one."""
    parts = re.split(r",(?![^(]*\))", text)
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


class Sizes:
    """What the names of dimensions are worth in a model."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.shapes = shapes(type(known.model).forward)

    def frames_at(self, name: str, rank: int) -> int:
        """The dimension of videos in which frames follow each other."""
        dims = self.shapes.get(name, ())
        told = [i for i, d in enumerate(dims) if set(words(d)) & _FRAMES]
        return told[0] if told and len(dims) == rank else 2

    def bound(self, given: Mapping[str, Any]) -> dict[str, int]:
        """The names that the arguments given so far decide."""
        found: dict[str, int] = {}
        for name, value in given.items():
            dims = self.shapes.get(name)
            if isinstance(value, torch.Tensor) and dims is not None and len(dims) == value.ndim:
                for dim, size in zip(dims, value.shape, strict=True):
                    _bind(dim, size, found)
        return found

    def fitted(self, name: str, value: Any, given: Mapping[str, Any]) -> Any:
        """A guess at an argument in the shape that the forward says it has, beside those that are given."""
        dims = self.shapes.get(name)
        if dims is None or not isinstance(value, torch.Tensor) or value.ndim > 3 >= len(dims):
            return value  # no image is a sequence: such lines are copied from elsewhere
        return reshaped_as(value, self.shape(name, dims, tuple(value.shape), self.bound(given)))

    def doubtful(self, name: str, guess: Any) -> bool:
        """Whether an image is told of, and the first layer is one for vectors of just as many features."""
        dims = self.shapes.get(name, ())
        first = self.known.first
        if len(dims) < 4 or not isinstance(guess, torch.Tensor) or guess.ndim != 3 or first is None:
            return False
        vectors = isinstance(first[1], nn.Linear) and width_of(first[1]) == self.known.number("in_channels", "in_chans")
        return vectors and not set(words(dims[-1])) & _CHANNELS and " " in dims[0]

    def shape(self, name: str, dims: Shape, guess: tuple[int, ...], bound: dict[str, int]) -> tuple[int, ...]:
        """Sizes for named dimensions of an argument of which there is a guess."""
        found: list[int] = []
        for i, dim in enumerate(dims):
            size = self._size(name, dims, i, guess, bound)
            found.append(size if 0 < size <= _MOST_SIZE else TOKENS)
            _bind(dim, found[-1], bound)
        return tuple(found)

    def _size(self, name: str, dims: Shape, i: int, guess: tuple[int, ...], bound: Mapping[str, int]) -> int:
        dim = dims[i]
        tree = _parsed(dim)
        if tree is not None:
            value = _worth(tree, lambda n, of: self._whole(n, of) if of else bound.get(n) or self._field(n))
            if value is not None:
                return value
        said = set(words(dim.replace("'", "")))
        same = guess[i] if len(guess) == len(dims) else None
        spatial = len(dims) > 3
        if said & _BATCH or (i == 0 and said == {"n"}):
            return BATCH
        if dim == "_" and not any(set(words(d)) & _CHANNELS for d in dims):
            # what goes without a name beside named ones: the batch, then the channels
            frames = any(set(words(d)) & _FRAMES for d in dims)
            if i == 0 and not (frames and len(dims) == 4):
                return BATCH
            return self.known.number("in_channels", "in_chans") or (guess[1] if len(guess) > 3 else guess[-1])
        if said & _CHANNELS and not said & _LENGTHS:
            if spatial and len(guess) < 4:
                return self.known.number("in_channels", "in_chans") or guess[-1]
            inner = guess[1] if len(guess) > 3 else guess[-1] if len(guess) > 1 else TOKENS
            return inner if spatial else self.known.width(name) or inner
        if spatial and said & (_HEIGHT | _WIDTH):
            return self.known.side
        if spatial and said & _FRAMES:
            return self.known.frames
        if said & {"layers", "items"}:
            return STACK
        if said & _LONG:
            return _LONGEST
        if said & _LENGTHS:
            if same is not None and (spatial or (len(dims) == 3 and i == 2)):
                return same
            return CONTEXT if (said | set(words(name))) & _TEXT else TOKENS
        return same or TOKENS

    def _whole(self, name: str, of: str) -> int | None:
        """`len(layers)` or `prod(patch_size)`, of a field that has several numbers."""
        value = self.known.fields.get(name)
        if not isinstance(value, (list, tuple)) or (of != "len" and not all(isinstance(v, int) for v in value)):
            return None
        return len(value) if of == "len" else math.prod(value) if of == "prod" else sum(value)

    def _field(self, name: str) -> int | None:
        """A number of the configuration; `ph` and `pw` are sides of its patches."""
        fields = self.known.fields
        value = fields.get(name)
        if re.fullmatch("p[thw]", name) and "patch_size" in fields:
            value = fields["patch_size"]
            if isinstance(value, (list, tuple)) and value:
                value = value["thw".index(name[1]) - 3 + len(value)] if len(value) > 2 or name != "pt" else 1
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def reshaped_as(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return tensor if tuple(tensor.shape) == shape else reshaped(tensor, shape)


def _key(dim: str) -> str:
    """A name for a dimension that Python can read: `C'` is another one than `C`, `batch size` is one."""
    return re.sub(r"(?<=[A-Za-z])\s+(?=[A-Za-z])", "_", dim.replace("'", "_prime").strip())


@functools.lru_cache(maxsize=256)
def _parsed(dim: str) -> ast.expr | None:
    text = re.sub(r"(?<![\w.])(\d+)\s*(?=[A-Za-z_])", r"\1*", _key(dim).replace(" x ", "*"))
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None


def _worth(node: ast.expr, size: Callable[[str, str], int | None]) -> int | None:
    """What an expression in names of dimensions comes to, where all of them are known. `size` is asked with a name,
    and with the function that is applied to it, or "".
    """
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, int) else None
    if isinstance(node, ast.Name):
        return size(node.id, "") if node.id != "_" else None
    if isinstance(node, ast.Attribute):
        return size(node.attr, "")
    if isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.args[0], ast.Name):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return size(node.args[0].id, function) if function in ("len", "prod", "sum") else None
    if isinstance(node, ast.BinOp):
        a, b = _worth(node.left, size), _worth(node.right, size)
        if a is None or b is None:
            return None
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        if isinstance(node.op, ast.Mult):
            return a * b
        return a // b if isinstance(node.op, (ast.Div, ast.FloorDiv)) and b else None
    return None


def _bind(dim: str, size: int, bound: dict[str, int]) -> None:
    """Takes note of what a name is worth: of `2C + 4` too, where that is the only one in it."""
    tree = _parsed(dim)
    if tree is None:
        return
    if any(isinstance(n, (ast.Call, ast.Attribute)) for n in ast.walk(tree)):
        return
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - {"_"}
    unknown = names - set(bound)
    if len(unknown) != 1:
        return
    (name,) = unknown
    zero = _worth(tree, lambda n, _: bound.get(n, 0))
    one = _worth(tree, lambda n, _: bound.get(n, 1))
    if zero is None or one is None or one == zero or (size - zero) % (one - zero):
        return
    value = (size - zero) // (one - zero)
    if value > 0:
        bound[name] = value
