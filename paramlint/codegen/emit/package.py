"""What a generated module imports its optimizer from, and what its docstring says of that."""

from __future__ import annotations

from paramlint.errors import ParamlintError
from paramlint.profile import Profile

#: Optimizers that have to be told of torch.distributed, since they look for themselves at nothing.
_TOLD_OF_RANKS = ("muon-2024", "adamuon")

#: How the classes of microsoft/dion are told of the device mesh of DTensors.
_MESHES = {"dion.Dion": ("replicate_mesh", "outer_shard_mesh", "inner_shard_mesh")}

#: A package may lack types, may not name what it exports, or may not be there where the types are checked.
_MAY_BE_ABSENT = "  # type: ignore[attr-defined,import-not-found,import-untyped,unused-ignore]"


def class_path(profile: Profile) -> str:
    """The qualified name to import the optimizer's class by: the shortest that the profile has.

    Raises:
        ParamlintError: the profile says of no class how it is imported.
    """
    paths = profile.imports or profile.classes
    if not paths:
        raise ParamlintError(f"no code can be written for {profile.name}: its profile names no class to import")
    return min(paths, key=lambda path: path.count("."))


def imported(path: str) -> tuple[str, str]:
    """The import statement for a qualified name, and the expression that names it after that."""
    module, _, name = path.rpartition(".")
    if module == "torch.optim":
        return "from torch import optim", f"optim.{name}"
    return f"from {module} import {name}{_MAY_BE_ABSENT}", name


def told_of_ranks(profile: Profile) -> bool:
    """Whether the constructor wants `rank` and `world_size`."""
    return "rank" in profile.defaults or profile.name in _TOLD_OF_RANKS


def meshes(profile: Profile) -> tuple[str, ...]:
    """The arguments of the constructor for device meshes."""
    path = class_path(profile)
    return _MESHES.get(path, ("distributed_mesh",)) if path.startswith("dion.") else ()


def remarks(profile: Profile) -> list[str]:
    """Paragraphs for the docstring of `build_optimizer`: what must be there before it is called."""
    path = class_path(profile)
    module, _, name = path.rpartition(".")
    found: list[str] = []
    if profile.install is None:
        file = f"{module.replace('.', '/')}.py"
        address = profile.source[0].partition(": ")[2] or profile.source[0]
        found.append(f"{name} is in no package: copy it to {file} from\n{address}")
    if profile.process_group and not told_of_ranks(profile):
        found.append("torch.distributed must be initialised before the first step, for one device too.")
    if profile.closure == "error" and profile.call_shape != "two-optimizers":
        found.append(f"The step of {name} takes no closure.")
    return found
