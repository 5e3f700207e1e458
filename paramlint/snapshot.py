"""A snapshot: an inventory in a file, as `paramlint params --output-format json` writes it. No torch, no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paramlint import serial
from paramlint.errors import ParamlintError
from paramlint.parameter import Accessors, Evidence, Inventory, Location, Module, Parameter, Pass, Site, Use
from paramlint.toml_table import shown

#: The version of the documents that are read; they may have keys that are not known here.
VERSION = 1
_WORDS: dict[str, tuple[str, ...]] = {
    "state": ("ok", "uninitialized", "flat", "emptied", "quantized"),
    "confidence": ("certain", "likely", "guess"),
    "destination": ("muon", "adam"),
    "reach": ("", "read", "unused", "unreached"),
}
_HINT = "write one with: paramlint params TARGET --output-format json --output-file FILE"


def read(path: Path, target: str | None = None) -> Inventory:
    """The inventory in a file.

    Args:
        target: which of the targets in the document, as reports call it; the only one by default.

    Raises:
        ParamlintError: the file cannot be read, is no such document, or does not have one whole target of that name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise ParamlintError(f"cannot be read: {e.strerror or e}", where=shown(path)) from None
    except UnicodeDecodeError:
        raise _no_snapshot("it is not text", shown(path)) from None
    return parse(text, shown(path), target)


def parse(text: str, where: str, target: str | None = None) -> Inventory:
    """The inventory in a document; `where` is what errors call it.

    Raises:
        ParamlintError: as `read`.
    """
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as e:
        raise _no_snapshot(f"it is not JSON ({e})", where) from None
    return _inventory(_chosen(_targets(data, where), target, where), where)


def _no_snapshot(why: str, where: str) -> ParamlintError:
    return ParamlintError(f"is no snapshot of a model: {why}", where=where, hint=_HINT)


def _targets(data: Any, where: str) -> list[dict[str, Any]]:
    """The models that a document describes."""
    if not isinstance(data, dict) or not isinstance(data.get("tool"), dict) or data["tool"].get("name") != "paramlint":
        raise _no_snapshot("paramlint did not write it", where)
    version = data.get("schema_version")
    if version != VERSION:
        raise ParamlintError(
            f"is a snapshot of version {version!r}, and version {VERSION} is read here",
            where=where,
            hint="write it anew with this paramlint",
        )
    targets = data.get("targets")
    if not isinstance(targets, list) or not all(isinstance(t, dict) and "fingerprint" in t for t in targets):
        raise _no_snapshot("it is another of paramlint's reports", where)
    return targets


def _chosen(targets: list[dict[str, Any]], name: str | None, where: str) -> dict[str, Any]:
    """The target of that name, or the only one."""
    if not targets:
        raise _no_snapshot("there is no target in it", where)
    found = [t for t in targets if name is None or t.get("target") == name]
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(t.get("target")) for t in targets)
    if name is None:
        raise ParamlintError(f"has {len(targets)} targets", where=where, hint=f"name one of them: {names}")
    raise ParamlintError(
        f"has {'no' if not found else 'more than one'} target {name!r}", where=where, hint=f"there are: {names}"
    )


def _inventory(target: Mapping[str, Any], where: str) -> Inventory:
    try:
        parameters = tuple(_parameter(p) for p in target["parameters"])
        count = target["summary"]["parameters"]
        if count != len(parameters):
            raise ParamlintError(
                f"has {len(parameters)} of the model's {count} parameters", where=where, hint="write it without --why"
            )
        location = target.get("location")
        return Inventory(
            model=target["model"],
            parameters=parameters,
            modules=tuple(serial.decode(Module, m) for m in target.get("modules", ())),
            accessors=serial.decode(Accessors, target.get("accessors", {})),
            location=None if location is None else serial.decode(Location, location),
            built_on=target["built_on"],
            policy=target["policy"],
            passes=tuple(serial.decode(Pass, p) for p in target["passes"]),
            appeared=tuple(target.get("appeared", ())),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise _no_snapshot(f"a target in it is not whole ({type(e).__name__}: {e})", where) from None


def _parameter(data: Mapping[str, Any]) -> Parameter:
    """A parameter. Where it is registered follows from its names: attributes have no dots."""
    for key, known in _WORDS.items():
        if data[key] not in known:
            raise ValueError(f"{data['name']} has the {key} {data[key]!r}")
    names = (data["name"], *data["aliases"])
    return Parameter(
        name=data["name"],
        shape=tuple(int(d) for d in data["shape"]),
        dtype=data["dtype"],
        trainable=bool(data["trainable"]),
        sites=tuple(Site(name, *name.rpartition(".")[::2]) for name in names),
        state=data["state"],
        sparse=bool(data.get("sparse", False)),
        use_muon=data.get("use_muon"),
        uses=tuple(serial.decode(Use, use) for use in data["uses"]),
        role=data["role"],
        confidence=data["confidence"],
        destination=data["destination"],
        evidence=tuple(serial.decode(Evidence, e) for e in data["evidence"]),
        splits=tuple(data["splits"]),
        reach=data["reach"],
    )
