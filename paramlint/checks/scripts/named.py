"""How a script speaks of parameters that its model has, so that it holds for a model of another depth as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from paramlint.parameter import Inventory, Parameter

#: How many parameters are spoken of one by one.
_MOST = 8
_ROWS = ("Sequential", "ModuleList")


def named_as(inventory: Inventory, names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Paths of parameters that stand alone ("lm_head.weight", "net[-1].weight"), and ends of the names of those that
    each block has (".A_log"). None where some can be told in neither way.

    No other parameter that belongs into Muon has such an end in its name.
    """
    families: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        families.setdefault(tuple("" if part.isdigit() else part for part in name.split(".")), []).append(name)
    paths: list[str] = []
    ends: list[str] = []
    for family, members in families.items():
        if len(members) == 1:
            paths.append(_path(inventory, members[0]))
            continue
        end = next((e for e in _ends(family) if not any(_other(p, e, members) for p in inventory.parameters)), "")
        if not end:
            return None
        ends.append(end)
    return (tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(ends))) if len(paths) <= _MOST else None


def _ends(family: Sequence[str]) -> Iterator[str]:
    """What the names of a family end in, behind their last number, the shortest first."""
    for part in range(len(family) - 1, 0, -1):
        if not family[part]:
            return
        yield "." + ".".join(family[part:])


def _other(p: Parameter, end: str, members: Sequence[str]) -> bool:
    """Whether a parameter that belongs into Muon is caught by an end as well."""
    return p.name.endswith(end) and p.name not in members and p.destination == "muon"


def _path(inventory: Inventory, name: str) -> str:
    """A name with its numbers as indices, where these are of a list of modules; of the last one from behind."""
    modules = {m.path: m for m in inventory.modules}
    path, above = "", ""
    for part in name.split("."):
        own = f"{above}.{part}" if above else part
        if part.isdigit():
            classes = modules[above].classes if above in modules else ()
            if not path or not any(c.startswith("torch.nn.") and c.endswith(_ROWS) for c in classes):
                return name
            last = f"{above}.{int(part) + 1}" not in modules and part != "0"
            path += "[-1]" if last else f"[{part}]"
        else:
            path = f"{path}.{part}" if path else part
        above = own
    return path
