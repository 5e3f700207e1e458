"""How counts, shapes, places and destinations are written, everywhere the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from paramlint.parameter import Destination, Location, Parameter

#: How reports call the two destinations.
DESTINATIONS: dict[Destination, str] = {"muon": "Muon", "adam": "AdamW"}


def short(count: int) -> str:
    """`512`, `50.3k`, `124.4M`, `671.0B`."""
    value, unit = float(count), ""
    for unit in ("", "k", "M", "B", "T"):
        if value < 999.95 or unit == "T":
            break
        value /= 1000
    return f"{count}" if not unit else f"{value:.1f}{unit}"


def counted(count: int, noun: str) -> str:
    """`1 error`, `3 errors`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return "<0.1%" if 0 < share < 0.05 else f"{share:.1f}%"


def dimensions(shape: Sequence[int]) -> str:
    """`768×3072`; `scalar` for no dimensions."""
    return "×".join(map(str, shape)) or "scalar"


def shape_of(p: Parameter) -> str:
    return "lazy" if p.state == "uninitialized" else dimensions(p.shape)


def goes_to(p: Parameter) -> str:
    """Where policy sends a parameter; `frozen` for one that is not trained."""
    return DESTINATIONS[p.destination] if p.trainable else "frozen"


def path_of(location: Location) -> str:
    """Relative to the working folder for what lies in it."""
    if not os.path.isabs(location.path):
        return location.path
    path, here = Path(location.path), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else location.path


def place(location: Location) -> str:
    """`examples/gpt.py:88`."""
    return f"{path_of(location)}:{location.line}"
