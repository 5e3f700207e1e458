"""Lets torchvision be imported beside a torch that its compiled operators do not fit.

The wheels of the usual index are linked against CUDA; beside a CPU torch their library does not load, and
`import torchvision` ends with "operator torchvision::nms does not exist". Building a model calls none of these
operators: that their schemas are declared is enough. Nothing is declared unless that import has failed so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_libraries: list[Any] = []  # a torch.library.Library takes its declarations back when it is collected


def install() -> None:
    """Makes the import of torchvision, whenever it comes, try again with the schemas declared."""
    if "torchvision" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Again(spec.loader)
        return spec


class _Again(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        try:
            self._loader.exec_module(module)
        except RuntimeError as error:
            if "torchvision::" not in str(error) or "does not exist" not in str(error):
                raise
            _declare()
            for name in [n for n in sys.modules if n.startswith("torchvision.")]:
                del sys.modules[name]
            self._loader.exec_module(module)


def _declare() -> None:
    import torch

    if not _libraries:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _libraries.append(library)
