"""The memory that an optimizer's state takes after a step, and plain AdamW's for the same parameters. No torch.

Sizes are those of global shapes: where parameters are sharded, the devices share them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, prod

from paramlint.errors import ParamlintError, near
from paramlint.parameter import Destination, Inventory, Parameter
from paramlint.planned import Plan, PlannedGroup
from paramlint.profile import Profile

#: What torch's AdamW holds: two moments of the parameter's dtype, and its step count, a float32 tensor.
_ADAMW = ("full", "full", "scalar")
_TOKENS = ("full", "rows", "square", "float32", "bfloat16", "scalar")
_BITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Memory:
    """Bytes of state after a step: `state` with the plan's optimizer, None where its profile does not say, and `adamw`
    with torch's AdamW for the same parameters."""

    state: int | None
    adamw: int

    @property
    def saved(self) -> int | None:
        """What the plan needs less than AdamW; negative where it needs more."""
        return None if self.state is None else self.adamw - self.state


def state_bytes(p: Parameter, half: Destination, profile: Profile) -> int | None:
    """What a half of an optimizer holds for a parameter; None where its profile has no `state` for that half.

    Raises:
        ParamlintError: the profile has a word for state that does not exist.
    """
    held = profile.state.get(half)
    return None if held is None else sum(_bytes(token, p, profile.name) for token in held)


def adamw_bytes(p: Parameter) -> int:
    """What torch's AdamW holds for a parameter (`exp_avg`, `exp_avg_sq`, `step`)."""
    return sum(_bytes(token, p, "adamw") for token in _ADAMW)


def group_memory(group: PlannedGroup, parameters: Mapping[str, Parameter], profile: Profile) -> Memory:
    """The state of one group; `parameters` by name."""
    members = [parameters[name] for name in group.parameters]
    held = [state_bytes(p, group.kind.half, profile) for p in members]
    return Memory(_sum(held), sum(map(adamw_bytes, members)))


def plan_memory(plan: Plan, inventory: Inventory, profile: Profile) -> Memory:
    """The state of all groups. Frozen parameters have none."""
    parameters = {p.name: p for p in inventory.parameters}
    groups = [group_memory(g, parameters, profile) for g in plan.groups]
    return Memory(_sum(g.state for g in groups), sum(g.adamw for g in groups))


def element_bytes(dtype: str) -> float:
    """The size of an element by the name of its dtype: 4 of "float32", 1 of "float8_e4m3fn" and "bool"."""
    bits = _BITS.search(dtype)
    return int(bits[0]) / 8 if bits else 1


def _bytes(token: str, p: Parameter, profile: str) -> int:
    if token == "scalar":
        return 4
    if token == "float32":
        return 4 * p.numel
    if token == "bfloat16":
        return 2 * p.numel
    if token not in _TOKENS:
        hint = near(token, _TOKENS) or f"there are {', '.join(_TOKENS)}"
        raise ParamlintError(f"profile {profile} has no such state as {token!r}", hint=hint)
    count = p.numel
    if token == "rows":
        count = prod(p.shape[:-1])
    elif token == "square":
        rows = p.shape[0] if p.shape else 1
        count = min(rows, p.numel // rows if rows else 0) ** 2
    return ceil(count * element_bytes(p.dtype))


def _sum(parts: Iterable[int | None]) -> int | None:
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
