"""Words of figures."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """`1 group`, `3 groups`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def memory(count: int) -> str:
    """`1 MB`, `300 MB`, `4.5 GB`: powers of 1000, as options have them."""
    small = count < 999.5e6
    return f"{count / 1e6:.0f} MB" if small else f"{count / 1e9:.1f} GB"


def said(error: BaseException | None, longest: int = 200) -> str:
    """The first line of an error's message, "" where it has none."""
    lines = str(error).strip().splitlines() if error is not None else []
    return lines[0][:longest] if lines else ""
