"""Lets run on meta what would only refuse to because of where it is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

_libraries: list[Any] = []  # a torch.library.Library takes its declarations back when it is collected


@contextmanager
def allowed() -> Iterator[None]:
    """Autocast for a device that has none does nothing, and detectors reach their operators even without kernels."""
    with ExitStack() as stack:
        autocast = torch.amp.autocast_mode.autocast
        stack.enter_context(mock.patch.object(autocast, "__init__", _on_cpu(autocast.__init__)))
        for name in ("torchvision.extension", "torchvision.ops.roi_align"):
            module = sys.modules.get(name)
            if module is not None and hasattr(module, "_has_ops"):
                _declare()
                stack.enter_context(mock.patch.object(module, "_has_ops", lambda: True))
        flex = sys.modules.get("torch.nn.attention.flex_attention")
        if flex is not None and hasattr(flex, "_validate_device"):
            stack.enter_context(mock.patch.object(flex, "_validate_device", lambda *tensors: None))
        yield


def _on_cpu(init: Any) -> Any:
    def told(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        if device_type == "meta":
            init(self, "cpu", enabled=False)
        else:
            init(self, device_type, *args, **kwargs)

    return told


def _declare() -> None:
    """Schemas of torchvision's operators, where its library could not be loaded."""
    schemas = {
        "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "roi_align": "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor",
    }
    for name, schema in schemas.items():
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            library.define(schema)  # type: ignore[no-untyped-call]
            _libraries.append(library)
