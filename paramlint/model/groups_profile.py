"""Which profile an optimizer is: by its class, its constructor, and the keys of its groups."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch

from paramlint.model.groups_given import Given
from paramlint.model.recorder_modules import installed
from paramlint.profile import Profile

Profiles = Mapping[str, Profile]
# Class names that several implementations share: alone they say nothing.
_COMMON = frozenset({"Muon", "NorMuon", "AdaMuon", "Dion", "Dion2", "NorDion2", "Scion", "Adam", "AdamW", "SGD"})
_DION = {"normuon": "normuon-dion", "dion": "dion", "dion2": "dion2", "nordion2": "nordion2"}


@dataclass(frozen=True)
class Recognised:
    """`profile` is None for a class or groups that no profile describes; `note` says what was assumed."""

    profile: str | None = None
    assumed: bool = False
    version: str | None = None
    note: str = ""


def by_class(
    cls: type,
    groups: Iterable[Given],
    arguments: Collection[str],
    profiles: Profiles,
    *,
    recorded: bool = False,
    flagged_state: bool = False,
) -> Recognised:
    """The profile of an optimizer's class.

    The qualified name of the class or of one of its bases decides. A Muon of the user's own is read by the shape of
    its constructor and the keys of its groups; then the profile is the likeliest one, and a note says so.

    Args:
        arguments: the names of the constructor's parameters.
        recorded: a stand-in, so that no version can be known.
        flagged_state: the optimizer keeps `use_muon` in its per-tensor state, as Moonlight's does.
    """
    keys = {k for g in groups for k in g.options}
    own = "muon" in cls.__name__.lower() or "use_muon" in keys
    for base in cls.__mro__:
        found = [] if _file_of_ones_own(base) else _qualified(base, profiles)
        if found and not (own and base is not cls and found[0].family == "elementwise"):
            copied = _in_a_file(base.__module__.partition(".")[0])
            fitting = _of_that_shape(found, arguments)
            profile = _newest(fitting) if copied or recorded else _installed_one(fitting)
            return Recognised(profile.name, version=None if copied or recorded else _version(profile))
    named = [p for p in profiles.values() if _has_name(p, cls.__name__) and p.call_shape != "attribute"]
    if named and cls.__name__ not in _COMMON:
        profile = _installed_one(named)
        return _assumed(profile.name, profiles, f"{_full(cls)} is read as {profile.title}, by its name")
    kin = _of_the_package(cls, keys, profiles) if own or keys & {p.flag_key for p in profiles.values()} else None
    name, why = None, ""
    if {"muon_params", "adamw_params"} <= set(arguments):
        name, why = "moonlight", "it takes muon_params and adamw_params"
    elif flagged_state:
        name, why = "moonlight", "it keeps use_muon in its state"
    elif own and {"rank", "world_size"} <= set(arguments):
        name = "adamuon" if "adamuon" in cls.__name__.lower() else "muon-2024"
        why = "it takes rank and world_size"
    elif kin is not None:
        return _assumed(kin.name, profiles, f"{_full(cls)} is read as {kin.title}, of the same package")
    elif (flag := _by_keys(keys, groups)) is not None and flag[0] != "scion":
        name, why = flag[0], f"its groups carry {flag[1]}"
    elif own:
        name, why = "keller-muon", "it is called so and its groups carry no flag"
    if name is None:
        return Recognised()
    return _assumed(name, profiles, f"{_full(cls)} is nobody's that is known: read as {name}, because {why}")


def by_keys(groups: Collection[Given], two_lists: bool, profiles: Profiles) -> Recognised:
    """The likeliest profile of groups that have no optimizer."""
    found = _by_keys({k for g in groups for k in g.options}, groups)
    if found is None and two_lists:
        found = "moonlight", "tensors in two lists"
    if found is None or found[0] not in profiles:
        return Recognised()
    name, key = found
    title = profiles[name].title
    what = "there are two lists" if two_lists and name == "moonlight" else f"groups carry {key}"
    return _assumed(name, profiles, f"{what} and no optimizer: read as {name} ({title})")


def _assumed(name: str, profiles: Profiles, note: str) -> Recognised:
    if name not in profiles:
        return Recognised()
    return Recognised(name, assumed=True, note=f"{note}; --optimizer NAME says otherwise")


def _by_keys(keys: Collection[str], groups: Iterable[Given]) -> tuple[str, str] | None:
    if "use_fallback" in keys:
        return "timm", "use_fallback"
    if "use_muon" in keys:
        return "keller", "use_muon"
    if "algorithm" in keys:
        values = [str(g.options.get("algorithm")) for g in groups]
        return next((_DION[v] for v in values if v in _DION), "dion-muon"), "algorithm"
    if "norm" in keys:
        return "scion", "norm"
    return None


def _qualified(cls: type, profiles: Profiles) -> list[Profile]:
    names = {_full(cls)}
    # a class is written under the packages that export it: torch.optim.Muon lives in torch.optim._muon
    package = cls.__module__
    while package:
        module = sys.modules.get(package)
        if module is not None and vars(module).get(cls.__name__) is cls:
            names.add(f"{package}.{cls.__name__}")
        package = package.rpartition(".")[0]
    return [p for p in profiles.values() if not names.isdisjoint((*p.classes, *p.imports))]


def _of_the_package(cls: type, keys: Collection[str], profiles: Profiles) -> Profile | None:
    """What a Muon of a known package that has no profile of its own is likest: one that takes such groups."""
    package = cls.__module__.partition(".")[0]
    if package == "torch" or _in_a_file(package):
        return None
    muons = [p for p in profiles.values() if p.family == "muon" and p.install]
    kin = [p for p in muons if any(i.partition(".")[0] == package for i in p.imports)]
    flagged = [p for p in kin if p.flag_key in keys]
    plain = [p for p in kin if p.call_shape == "two-optimizers"]
    return next(iter(flagged or plain or kin), None)


def _in_a_file(module: str) -> bool:
    """Whether a module is a file outside the installed packages. A stand-in has no file."""
    path = getattr(sys.modules.get(module), "__file__", None)
    return path is not None and "site-packages" not in path and "dist-packages" not in path


def _file_of_ones_own(cls: type) -> bool:
    """Whether a class of a common name lives in a single file beside the script: any `muon.py` has a `Muon`."""
    return cls.__name__ in _COMMON and "." not in cls.__module__ and _in_a_file(cls.__module__)


def _has_name(profile: Profile, name: str) -> bool:
    return any(c.rpartition(".")[2] == name for c in (*profile.classes, *profile.imports))


def _of_that_shape(profiles: list[Profile], arguments: Collection[str]) -> list[Profile]:
    """Those of several profiles of one class whose constructor takes ranks where this one does."""
    ranked = "world_size" in arguments
    return [p for p in profiles if ("world_size" in p.defaults) is ranked] or profiles


def _installed_one(profiles: list[Profile]) -> Profile:
    """Of several profiles of one class, the one whose distribution and version are installed; else the first that
    is not tied to a version."""
    for distribution in dict.fromkeys(p.distribution for p in profiles if p.distribution):
        version = installed(distribution)
        if version is None:
            continue
        fitting = [p for p in profiles if p.distribution == distribution]
        if _from_git(distribution):
            # a repository has its last release's version number, and may be a profile of its own
            fitting = [p for p in fitting if _of_git(p)]
        else:
            fitting = [p for p in fitting if p.versions is None or within(version, p.versions)] or fitting
            # a profile of exactly this release knows more than one of any release, or of the repository
            fitting.sort(key=lambda p: (_of_git(p), p.versions is None))
        if fitting:
            return fitting[0]
    return _newest(profiles)


def _newest(profiles: list[Profile]) -> Profile:
    """The one that is tied to no version, where none is known."""
    return next((p for p in profiles if p.versions is None), profiles[0])


def _of_git(profile: Profile) -> bool:
    return "git+" in (profile.install or "")


def _from_git(distribution: str) -> bool:
    try:
        text = importlib.metadata.distribution(distribution).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return False
    return "vcs_info" in (text or "")


def within(version: str, specifier: str) -> bool:
    """Whether a version is in a range such as `>=3.9,<4.1`. Local and pre-release parts are not looked at."""
    have = _numbers(version)
    for part in specifier.replace(" ", "").split(","):
        operator = part.rstrip("0123456789.*abrcdevpost+")
        want = _numbers(part[len(operator) :])
        width = max(len(have), len(want))
        a, b = have + (0,) * (width - len(have)), want + (0,) * (width - len(want))
        verdict = {">=": a >= b, "<=": a <= b, ">": a > b, "<": a < b, "==": a == b, "": a == b, "!=": a != b}
        if operator == "~=":
            ok = a >= b and have[: len(want) - 1] == want[:-1]
        elif part.endswith(".*"):
            ok = (have[: len(want)] == want) == (operator != "!=")
        else:
            ok = verdict.get(operator, True)
        if not ok:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in version.partition("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def _version(profile: Profile) -> str | None:
    if profile.distribution == "torch":
        return str(torch.__version__)
    return installed(profile.distribution) if profile.distribution else None


def _full(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def refusal(profile: Profile | None, groups: Iterable[Given]) -> str | None:
    """What the constructor would have refused of these groups, where a stand-in took them and checked nothing."""
    if profile is None or profile.call_shape != "flagged-groups" or profile.flag_key is None:
        return None
    for index, group in enumerate(groups):
        flag = group.options.get(profile.flag_key)
        if flag is None and profile.unflagged == "error":
            return f"group {index} has no {profile.flag_key}"
        allowed = profile.keys.muon if flag in profile.flag_muon else profile.keys.adam
        wrong = [k for k in group.options if k not in allowed]
        if wrong and profile.keys.strictness == "exact":
            return f"group {index} has the key {wrong[0]!r}; it may have {', '.join(allowed)}"
    return None


def constructor(cls: type) -> frozenset[str]:
    """The names of a constructor's parameters."""
    try:
        return frozenset(inspect.signature(cls).parameters)
    except (TypeError, ValueError):
        return frozenset()
