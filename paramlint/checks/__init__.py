"""The rules' logic: what is wrong with the groups of a model, and with sources. No torch.

Importing this package imports none of it: whoever reads sources rarely needs the rules on models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramlint.checks.on_models import CHECKS as CHECKS
    from paramlint.checks.on_models import examine as examine
    from paramlint.checks.on_models import run as run
    from paramlint.checks.refusal import unexplained_refusals as unexplained_refusals

__all__ = ["CHECKS", "examine", "run", "unexplained_refusals"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from paramlint.checks import on_models, refusal

    return getattr(refusal if name == "unexplained_refusals" else on_models, name)
