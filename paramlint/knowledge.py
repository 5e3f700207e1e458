"""Loads and validates what `rules/` knows: roles, policies, optimizer profiles.

A folder of knowledge holds `roles.toml`, `policies/*.toml` and `optimizers/*.toml`, each of them optional. A
project's folders lie over ours, in order: roles are added or replaced one by one, a policy or a profile takes the
place of the one of its name below. A policy that says `extends = "default"` gives only the rulings that differ, a
profile that says `inherits = "keller"` only the keys. Either may name itself: it means the one below, then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from paramlint import kept
from paramlint.errors import ParamlintError, near
from paramlint.profile import Policy, Profile, Role, Ruling
from paramlint.record import dataclass
from paramlint.registry import rules_dir
from paramlint.schema import Table, TableFile, as_dataclass, as_table, read_file, written
from paramlint.toml_table import shown

T = TypeVar("T")

_NDIMS = ("1", "2", "3", "4", "5")
_EVIDENCE = ("strength", "muon", "adam")
_ROLES, _KINDS = "roles.toml", ("policies", "optimizers")


@dataclass(frozen=True)
class Knowledge:
    """Everything in `rules/`, with a project's own folders laid over it. Each mapping is by name."""

    roles: Mapping[str, Role]
    policies: Mapping[str, Policy]
    profiles: Mapping[str, Profile]

    def role(self, name: str) -> Role:
        """The role of that name.

        Raises:
            ParamlintError: there is none; with the nearest.
        """
        return _named("role", name, self.roles)

    def policy(self, name: str) -> Policy:
        """The policy of that name.

        Raises:
            ParamlintError: there is none; with the nearest.
        """
        return _named("policy", name, self.policies)

    def profile(self, name: str) -> Profile:
        """The profile of that name or alias.

        Raises:
            ParamlintError: there is none; with the nearest.
        """
        every = {n: p for p in self.profiles.values() for n in (p.name, *p.aliases)}
        return _named("optimizer", name, every)


def load(folders: Iterable[Path] = ()) -> Knowledge:
    """What the shipped `rules/` knows, with `folders` laid over it. Cached: a folder is read once in a process, and
    what TOML says in the shipped one is kept between them (see `kept`).

    Raises:
        ParamlintError: a folder that is not there or holds nothing, a file that does not parse, an unknown or missing
            key, a value of the wrong type. `where` is the file, the message begins with the key.
    """
    return _load(tuple(Path(f).resolve() for f in folders))


@cache
def _load(folders: tuple[Path, ...]) -> Knowledge:
    for folder in folders:
        _check_folder(folder)
    shipped = _Shipped(rules_dir())

    def read_roles() -> dict[str, Role]:
        return _roles(shipped, folders)

    def read_policies() -> dict[str, Policy]:
        files = _Files(shipped, folders, "policies")
        return {name: _policy(files.top(name), files, roles) for name in files.names}

    # Ours were in order when they were kept: of those, only what is asked for is looked at again.
    late = shipped.kept and not folders
    roles = _Later(read_roles) if late else read_roles()
    policies = _Later(read_policies) if late else read_policies()
    files = _Files(shipped, folders, "optimizers")
    profiles = {name: _profile(files.top(name), files)[0] for name in files.names}
    _check_aliases(profiles, files)
    if not folders:
        shipped.keep()
    return Knowledge(roles, policies, profiles)


class _Later(Mapping[str, T]):
    """A mapping that is made when something of it is asked for."""

    def __init__(self, make: Callable[[], Mapping[str, T]]) -> None:
        self._make = make

    @cached_property
    def _all(self) -> Mapping[str, T]:
        return self._make()

    def __getitem__(self, key: str) -> T:
        return self._all[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def _named(kind: str, name: str, known: Mapping[str, T]) -> T:
    if name in known:
        return known[name]
    raise ParamlintError(f"no {kind} {name!r}", hint=near(name, known) or f"there are {', '.join(sorted(known))}")


# Files and what they build on


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ParamlintError("no such folder of knowledge", where=shown(folder))
    if not any((folder / part).exists() for part in (_ROLES, *_KINDS)):
        hint = "it may hold roles.toml, policies/*.toml and optimizers/*.toml"
        raise ParamlintError("nothing to read here", where=shown(folder), hint=hint)


class _Shipped:
    """The files of our own folder: as they were kept, or read now. `kept` says which."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        names = [_ROLES] if (folder / _ROLES).is_file() else []
        for kind in _KINDS:
            names += [f"{kind}/{path.name}" for path in sorted((folder / kind).glob("*.toml"))]
        self._stamp = kept.stamp(folder, names)
        tables = kept.tables(folder, self._stamp)
        self.kept = tables is not None
        if tables is None:
            tables = {name: read_file(folder / name).data for name in names}
        self._tables = tables

    def files(self, kind: str) -> list[TableFile]:
        """Those whose path in the folder begins so."""
        return [TableFile(self._folder / name, data) for name, data in self._tables.items() if name.startswith(kind)]

    def keep(self) -> None:
        if not self.kept:
            kept.keep(self._folder, self._stamp, self._tables)


class _Files:
    """The files of one kind, by name: ours, and those of the folders over it."""

    def __init__(self, shipped: _Shipped, folders: tuple[Path, ...], kind: str) -> None:
        self.files: dict[str, list[TableFile]] = {}
        #: Profiles that were read already, by where their files are.
        self.profiles: dict[tuple[Path, int], tuple[Profile, Table]] = {}
        for file in shipped.files(f"{kind}/"):
            self.files[file.name] = [file]
        for level, folder in enumerate(folders, 1):
            for path in sorted((folder / kind).glob("*.toml")):
                self.files.setdefault(path.stem, []).append(read_file(path, level))
        self.names = sorted(self.files, key=lambda name: (name != "default", name))

    def top(self, name: str) -> TableFile:
        return self.files[name][-1]

    def parent(self, file: TableFile, key: str, chain: tuple[TableFile, ...]) -> TableFile | None:
        """What `file` builds on, by its key `extends` or `inherits`. `chain` led here, against circles."""
        wanted = file.data.get(key)
        if wanted is None:
            return None
        if not isinstance(wanted, str):
            raise file.error(key, f"{written(wanted)} is not a string")
        if wanted == file.name:
            below = [f for f in self.files[wanted] if f.level < file.level]
            if not below:
                raise file.error(key, f"{wanted!r} is this very file, and no folder below has another")
            return below[-1]
        if wanted not in self.files:
            raise file.error(key, f"there is no {wanted!r}", near(wanted, self.names))
        found = self.top(wanted)
        if found in chain:
            raise file.error(key, "goes in a circle: " + " -> ".join(f.name for f in (*chain, file, found)))
        return found


def _body(file: TableFile, without: tuple[str, ...]) -> Table:
    """The keys of a file; its `name` must be that of the file."""
    name = file.data.get("name", file.name)
    if name != file.name:
        raise file.error("name", f"{written(name)} is in a file called {file.name}.toml")
    return {"name": file.name, **{k: v for k, v in file.data.items() if k not in without}}


# Roles, policies, profiles


def _roles(shipped: _Shipped, folders: tuple[Path, ...]) -> dict[str, Role]:
    own = [read_file(path) for folder in folders if (path := folder / _ROLES).is_file()]
    roles: dict[str, Role] = {}
    for file in (*shipped.files(_ROLES), *own):
        for name, table in file.data.items():
            roles[name] = as_dataclass(Role, {"name": name, **as_table(table, file, name)}, file, name)
    return roles


def _policy(file: TableFile, files: _Files, roles: Mapping[str, Role], chain: tuple[TableFile, ...] = ()) -> Policy:
    parent = files.parent(file, "extends", chain)
    base = _policy(parent, files, roles, (*chain, file)) if parent else None
    rulings = dict(base.rulings) if base else {}
    if "rulings" in file.data:
        raise file.error("rulings", "no such key", "did you mean 'roles'?")
    for name, table in as_table(file.data.get("roles", {}), file, "roles").items():
        at = f"roles.{name}"
        if name not in roles:
            raise file.error(at, "no such role", near(name, roles))
        rulings[name] = _ruling(as_table(table, file, at), rulings.get(name), file, at)
    missing = [name for name in roles if name not in rulings]
    if missing and not chain:  # what is extended need not be whole: it may not know a project's own role
        hint = "" if parent else 'with extends = "default" they come from there'
        if file.name == "default":
            hint = 'for a role of your own, a policies/default.toml with extends = "default" can say'
        raise file.error("roles", f"no ruling for {', '.join(missing)}", hint)
    body = {**_body(file, ("extends", "roles")), "rulings": {}}
    if base and base.name == file.name:
        body = {"summary": base.summary, "source": list(base.source), **body}
    policy = as_dataclass(Policy, body, file)
    for name, own in policy.lr.items():
        if name not in roles:
            raise file.error(f"lr.{name}", "no such role", near(name, roles))
        if (own.lr is None) == (own.times is None):
            raise file.error(f"lr.{name}", "says lr or times, one of the two")
    lr = {**(base.lr if base else {}), **policy.lr}
    return replace(policy, rulings={name: rulings[name] for name in roles if name in rulings}, lr=lr)


def _ruling(table: Table, base: Ruling | None, file: TableFile, at: str) -> Ruling:
    """A ruling over that of the extended policy, whose evidence stays, and whose source and note do not."""
    given = dict(table)
    if base:
        for key in (*_EVIDENCE, *(() if "to" in table else ("to", "plan"))):
            old = getattr(base, key)
            given.setdefault(key, list(old) if isinstance(old, tuple) else old)
    if given.get("to") in ("muon", "adam"):
        given.setdefault("plan", given["to"])
    ruling = as_dataclass(Ruling, given, file, at)
    if ruling.to not in ("either", ruling.plan):
        raise file.error(f"{at}.plan", f"{ruling.plan!r} is not what `to` allows: {ruling.to}")
    return ruling


def _profile(file: TableFile, files: _Files, chain: tuple[TableFile, ...] = ()) -> tuple[Profile, Table]:
    """The profile, and its keys with those that it inherits: tables key by key, all else whole, never the aliases."""
    at = file.path, file.level
    if at in files.profiles:
        return files.profiles[at]
    table: dict[str, Any] = {}
    parent = files.parent(file, "inherits", chain)
    if parent:
        table = {k: v for k, v in _profile(parent, files, (*chain, file))[1].items() if k != "aliases"}
    for key, value in _body(file, ("inherits",)).items():
        old = table.get(key)
        table[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    profile = as_dataclass(Profile, table, file)
    for key in profile.ndim:
        if key not in _NDIMS:
            raise file.error(f"ndim.{key}", f"not one of {', '.join(_NDIMS)}")
    if profile.call_shape == "flagged-groups" and not profile.flag_key:
        raise file.error("flag_key", "missing, and call_shape is flagged-groups")
    if profile.unflagged == "shape" and not profile.shape_rule:
        raise file.error("shape_rule", "missing, and unflagged is shape")
    files.profiles[at] = profile, table
    return profile, table


def _check_aliases(profiles: Mapping[str, Profile], files: _Files) -> None:
    """No two profiles answer to one name."""
    taken = {name: name for name in profiles}
    for profile in profiles.values():
        for alias in profile.aliases:
            if alias in taken:
                raise files.top(profile.name).error("aliases", f"{alias!r} already means {taken[alias]}")
            taken[alias] = profile.name
