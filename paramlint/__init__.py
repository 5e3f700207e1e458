"""paramlint: what each parameter is for, and whether the optimizer's groups agree.

Importing this package loads neither torch nor any other dependency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from paramlint.api import check as check
    from paramlint.api import inspect as inspect
    from paramlint.api import plan as plan

__all__ = ["__version__", "check", "inspect", "plan"]


def __getattr__(name: str) -> object:
    if name in ("check", "inspect", "plan"):
        from paramlint import api

        return getattr(api, name)
    raise AttributeError(f"module 'paramlint' has no attribute {name!r}")
