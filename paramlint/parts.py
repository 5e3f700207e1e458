"""The parts of a fused matrix, as a trace tells them: how many rows, what for, and whether they are interleaved."""

from __future__ import annotations

from paramlint.parameter import Parameter, Use


def fused_use(p: Parameter) -> Use | None:
    """The use that divides the outputs of a matrix into the most parts, if its parts are those of the role."""
    divided = [u for u in p.uses if len(u.parts) > 1 and tuple(part.rows for part in u.parts) == p.splits]
    return max(divided, key=lambda u: sum(bool(part.purpose) for part in u.parts), default=None)


def told(p: Parameter) -> str:
    """`64 query + 64 key + 64 value, interleaved 4 times`; '' where no sizes are known."""
    if not p.splits:
        return ""
    use = fused_use(p)
    if use is None:
        return " + ".join(map(str, p.splits))
    return of(use)


def of(use: Use) -> str:
    """The same for one use."""
    sizes = " + ".join(f"{part.rows} {part.purpose}".rstrip() for part in use.parts)
    return sizes + (f", interleaved {use.repeats} times" if use.repeats > 1 else "")
