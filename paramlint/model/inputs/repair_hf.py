"""Mends inputs of Hugging Face transformers' models by what the model said against them."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from math import isqrt
from types import FrameType

import torch
from torch import nn

from paramlint.model.inputs import hf_audio, hf_vision
from paramlint.model.inputs.example import Example
from paramlint.model.inputs.hf import configured
from paramlint.model.inputs.hf_ask import MAKERS, Ask
from paramlint.model.inputs.hf_tokens import placed
from paramlint.model.trace.graph import Graph

_EITHER = re.compile(r"cannot use both|cannot specify both|at the same time|exactly one of|[Oo]nly one of|not both")
_MADE_INSIDE = re.compile("past|cache|outputs|embeds|labels|hidden")
_MISMATCH = re.compile(r"tokens?\D{0,40}?(\d+)\D{0,60}?features?\D{0,20}?(\d+)", re.S)


def repaired(model: nn.Module, example: Example, error: BaseException, graph: Graph) -> Example | None:
    """The example with one thing changed, or None where nothing better is known. See `repair.repaired`."""
    if not configured(model):
        return None
    ask = Ask(model, batch=_batch_of(example))
    for rule in (
        _placeholders,
        _unasked,
        _batch,
        _named,
        _none,
        _unrolled,
        _dimensions,
        _size,
        _pieces,
        _mono,
        _turned,
        _rows,
        _choices,
        _as_long,
    ):
        better = rule(ask, example, error)
        if better is not None:
            return better
    return None


def hopeless(error: BaseException) -> bool:
    """Whether no other shape would help: placeholders and features are counted by the model itself."""
    return isinstance(error, ValueError) and _MISMATCH.search(str(error)) is not None


def _batch_of(example: Example) -> int:
    for name in ("input_ids", "pixel_values", "input_features", "input_values"):
        value = example.kwargs.get(name)
        if isinstance(value, torch.Tensor) and value.ndim > 1:
            return value.shape[0]
    return 2


def _placeholders(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """As many placeholders as there are features."""
    text = str(error)
    match = _MISMATCH.search(text)
    if match is None or "input_ids" not in example.kwargs:
        return None
    features = int(match[2])
    rows = example.kwargs["input_ids"].shape[0]
    token = re.search(r"token id (\d+)", text)
    if token:
        kind = next((k for k, t in ask.placeholders.items() if t == int(token[1])), None)
    else:
        kind = next((k for k in ask.placeholders if k in text.lower()), None)
    if kind is None and len(ask.placeholders) == 1:
        kind = next(iter(ask.placeholders))
    if kind is None or features % rows:
        return None
    better = placed(ask, example, {kind: features // rows})
    if better is None and features // rows % ask.hidden == 0:  # elements were counted
        better = placed(ask, example, {kind: features // rows // ask.hidden})
    return better


def _unasked(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """Without an argument that the model says it cannot use."""
    text = str(error)
    match = re.search(r"unexpected keyword argument '(\w+)'", text)
    if match and match[1] in example.kwargs:
        return example.with_kwargs(**{match[1]: None})
    if _EITHER.search(text):
        named = [n for n in re.findall(r"\w+", text) if n in example.kwargs]
        if len(set(named)) > 1:
            return example.with_kwargs(**{named[0]: None})
    if "cross-attention layers" in text and "encoder_hidden_states" in example.kwargs:
        return example.with_kwargs(encoder_hidden_states=None)
    return None


def _batch(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """One row, where the model has no padding."""
    if re.search(r"batch sizes? > 1", str(error)) and ask.batch > 1:
        return example.mapped(lambda t: t[:1] if t.ndim and t.shape[0] == ask.batch else t)
    return None


def _named(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """With an argument that the message asks for."""
    if not isinstance(error, (ValueError, TypeError, KeyError, NotImplementedError)):
        return None
    for name in re.findall(r"\w+", str(error)):
        better = _with(ask, example, name) if name in MAKERS else None
        if better is not None:
            return better
    return None


def _none(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """With an argument that the code which failed wanted to use, and which was None."""
    if not isinstance(error, (AttributeError, TypeError)) or "None" not in str(error):
        return None
    for lines in (1, 6):  # a statement may go on for some lines
        for frame, line in _frames(error, lines):
            for name in re.findall(r"[A-Za-z_]\w*", line):
                if frame.f_locals.get(name, 0) is None and name in ask.arguments and not _MADE_INSIDE.search(name):
                    better = _with(ask, example, name)
                    if better is not None:
                        return better
    return None


def _frames(error: BaseException, lines: int = 1) -> Iterator[tuple[FrameType, str]]:
    """The frames that an error came through, the innermost first, with the code of each from where it failed on."""
    steps = []
    trace = error.__traceback__
    while trace is not None:
        path, first = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        steps.append((trace.tb_frame, "".join(linecache.getline(path, first + i) for i in range(lines))))
        trace = trace.tb_next
    yield from reversed(steps)


def _with(ask: Ask, example: Example, name: str) -> Example | None:
    if name in ask.arguments and name not in example.kwargs:
        value = ask.make(name)
        if value is not None:
            return example.with_kwargs(**{name: value})
    return None


def _unrolled(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """Patches as small images, or volumes with their channels last, where they are not read as rows of numbers."""
    text = str(error)
    few = re.search(r"not enough values to unpack \(expected (\d), got (\d)\)", text)
    rows = re.search(r"conv\dd, but got input of size: \[\d+, \d+\]", text)
    missing = int(few[1]) - int(few[2]) if few else 2 if rows else 0
    side, channels = hf_vision.patch(ask), hf_vision.channels(ask)
    depth = ask.sizes.number("image", "temporal_patch_size", "patch_temporal", default=1)
    for key, given in example.kwargs.items():
        if not key.startswith("pixel_values") or not isinstance(given, torch.Tensor):
            continue
        if given.ndim == 2 and missing in (2, 3) and given.shape[1] == channels * depth * side * side:
            times = [depth] if missing == 3 else []
            if depth == 1 or times:
                return example.with_kwargs(**{key: given.new_empty((given.shape[0], channels, *times, side, side))})
        if given.ndim == 4 and missing == 1 and few and few[1] == "5" and depth > 1:
            return example.with_kwargs(**{key: given.new_empty((given.shape[0], depth, side, side, channels))})
    return None


def _dimensions(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """With one dimension more or less, where a shape was unpacked, or a dimension asked for, that is not there."""
    text = str(error)
    told = re.search(r"must be a (\d)D tensor of shape \(batch_size, (\d+)", text)
    if told:
        for key, given in example.kwargs.items():
            if isinstance(given, torch.Tensor) and given.is_meta and given.ndim == int(told[1]) - 1:
                more = (given.shape[0], int(told[2]), *given.shape[1:])
                return example.with_kwargs(**{key: given.new_empty(more)})
    few = re.search(r"not enough values to unpack \(expected (\d), got (\d)\)", text)
    many = re.search(r"too many values to unpack \(expected (\d)(?:, got (\d))?\)", text)
    beyond = re.search(r"range of \[-(\d), \d\], but got (\d)", text)
    if beyond:
        wanted = int(beyond[2]) + 1
    elif few or many:
        wanted = int((few or many)[1])  # type: ignore[index]
    else:
        return None
    for frame, line in _frames(error):
        for name in re.findall(r"[A-Za-z_]\w*", line):
            value = frame.f_locals.get(name)
            if not isinstance(value, torch.Tensor) or value.ndim == wanted:
                continue
            for key, given in example.kwargs.items():
                if not isinstance(given, torch.Tensor) or given.shape != value.shape or given.dtype != value.dtype:
                    continue
                if value.ndim == wanted - 1:
                    return example.with_kwargs(**{key: given.unsqueeze(1)})
                if value.ndim == wanted + 1:
                    return example.with_kwargs(**{key: given.flatten(0, 1)})
    return None


def _size(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """An image of the size that the model names, or a larger one where it says that this one is too small."""
    told = re.search(r"(\d+)(?:\D{1,3}(\d+))?\D{1,4}doesn't match model[^\d]*(\d+)(?:\D{1,3}(\d+))?", str(error))
    places = re.search(r"[Nn]umber of patches \d+ .*?\[(\d+)", str(error), re.S)
    if places and "pixel_values" in example.kwargs:
        side = isqrt(int(places[1])) * hf_vision.patch(ask)
        given = example.kwargs["pixel_values"]
        if given.shape[-1] != side:
            return example.with_kwargs(pixel_values=given.new_empty((*given.shape[:-2], side, side)))
    if told:
        h, w = int(told[1]), int(told[2] or told[1])
        right_h, right_w = int(told[3]), int(told[4] or told[3])
        changes = {
            key: given.new_empty((*given.shape[:-2], given.shape[-2] * right_h // h, given.shape[-1] * right_w // w))
            for key, given in example.kwargs.items()
            if isinstance(given, torch.Tensor) and given.is_meta and given.ndim > 3
        }
        return example.with_kwargs(**changes) if changes and (h, w) != (right_h, right_w) else None
    if "too small" not in str(error) and "smaller than" not in str(error):
        return None
    for key, given in example.kwargs.items():
        if isinstance(given, torch.Tensor) and key.startswith("pixel_values") and 2048 > given.shape[-1] > 32:
            return example.with_kwargs(
                **{key: given.new_empty((*given.shape[:-2], *(2 * d for d in given.shape[-2:])))}
            )
    return None


def _pieces(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """An image as the several pieces that the model cuts its features into."""
    told = re.search(r"split_sizes to sum exactly to (\d+) .*split_sizes=\[(\d+)", str(error))
    if told is None or "image_sizes" not in example.kwargs:
        return None
    for key in ("pixel_values", "image_pixel_values"):
        given = example.kwargs.get(key)
        if isinstance(given, torch.Tensor) and given.ndim == 4 and given.shape[0] == int(told[1]):
            return example.with_kwargs(**{key: given.new_empty((given.shape[0], int(told[2]), *given.shape[1:]))})
    return None


def _mono(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """A waveform with its one channel, and as long as the model can cut it."""
    image = example.kwargs.get("pixel_values")
    if ("channel" in str(error) or "or 4D" in str(error)) and isinstance(image, torch.Tensor) and image.ndim == 5:
        return example.with_kwargs(pixel_values=image[:, 0])  # one frame is an image
    given = example.kwargs.get("input_values")
    step = re.search(r"not a multiple of (\d+)", str(error))
    if step and isinstance(given, torch.Tensor) and given.shape[-1] % int(step[1]):
        length = (given.shape[-1] // int(step[1]) + 1) * int(step[1])
        return example.with_kwargs(input_values=given.new_empty((*given.shape[:-1], length)))
    if "channel" in str(error) and isinstance(given, torch.Tensor) and given.ndim == 2:
        return example.with_kwargs(input_values=given.unsqueeze(1))
    return None


def _turned(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """A spectrogram with its bands where they are read: last for a linear map, second for a convolution."""
    given = example.kwargs.get("input_features")
    if not isinstance(given, torch.Tensor) or given.ndim != 3 or not isinstance(error, RuntimeError):
        return None
    text, last = str(error), given.shape[-1] == hf_audio.bands(ask)
    if (last and "channel" in text) or (not last and ("normalized_shape" in text or "reduction dim" in text)):
        return example.with_kwargs(input_features=given.new_empty((given.shape[0], given.shape[2], given.shape[1])))
    return None


def _as_long(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """A mask as long as the spectrogram that it is for."""
    given, mask = example.kwargs.get("input_features"), example.kwargs.get("input_features_mask")
    if not isinstance(given, torch.Tensor) or not isinstance(mask, torch.Tensor) or given.ndim != 3 or mask.ndim != 2:
        return None
    length = given.shape[2] if given.shape[1] == hf_audio.bands(ask) else given.shape[1]
    if mask.shape[1] == length:
        return None
    return example.with_kwargs(input_features_mask=torch.ones(mask.shape[0], length, dtype=mask.dtype))


def _rows(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """As many patches as there are places for them, and a token of each codebook where each has an offset."""
    told = re.search(r"length (\d+) at -1! .*torch.Size\(\[([\d, ]+)\]\).*broadcastable to \[([\d, ]+)\]", str(error))
    if told is None:
        return None
    length, other = int(told[1]), [int(n) for n in told[3].split(", ")]
    ids, image = example.kwargs.get("input_ids"), example.kwargs.get("pixel_values")
    if isinstance(ids, torch.Tensor) and list(ids.shape) == other and told[2] == told[1]:
        return example.with_kwargs(input_ids=ids.unsqueeze(-1).repeat(*[1] * ids.ndim, length))
    if isinstance(image, torch.Tensor) and hf_vision.flat(ask) and told[2] == told[1] and len(other) == 1:
        rows = image.shape[0]
        if rows == length:
            return example.with_kwargs(pixel_values=image.new_empty((other[0], *image.shape[1:])))
        each = other[0] // rows
        if each and other[0] % rows == 0 and length % each == 0 and length // each != rows:
            return example.with_kwargs(pixel_values=image.new_empty((length // each, *image.shape[1:])))
    return None


def _choices(ask: Ask, example: Example, error: BaseException) -> Example | None:
    """Two texts side by side, where the code that failed counts choices."""
    ids = example.kwargs.get("input_ids")
    if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or not isinstance(error, RuntimeError):
        return None
    if not any("num_choices" in frame.f_locals for frame, _ in _frames(error)):
        return None
    return example.mapped(lambda t: t[:, None].repeat(1, 2, *[1] * (t.ndim - 1)) if t.shape[:2] == ids.shape else t)
