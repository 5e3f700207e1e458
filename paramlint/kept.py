"""What was read of TOML files is kept between runs: parsing ours takes longer than to lint a file.

It lies in `$PARAMLINT_CACHE_DIR`, else in the cache folder of the user: `$XDG_CACHE_HOME/paramlint` or
`~/.cache/paramlint`, `~/Library/Caches/paramlint` on macOS, `%LOCALAPPDATA%\\paramlint\\Cache` on Windows.
`PARAMLINT_CACHE_DIR=none` keeps nothing. One file for each folder that was read: a line that says of what, and the
tables, as JSON. It only counts as long as this version of paramlint reads the same files, of the same sizes and times
of change. A cache that cannot be read or written is none.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from zlib import crc32

from paramlint import __version__
from paramlint.schema import Table

#: The files of a folder of knowledge: for each, by its path in the folder, when it was changed, in ns, and its bytes.
Stamp = dict[str, list[int]]


def stamp(folder: Path, names: Iterable[str]) -> Stamp | None:
    """What tells whether one of these files has changed; None where one cannot be looked at."""
    try:
        found = {name: os.stat(os.path.join(folder, name)) for name in names}
    except OSError:
        return None
    return {name: [s.st_mtime_ns, s.st_size] for name, s in found.items()}


def tables(folder: Path, now: Stamp | None) -> dict[str, Table] | None:
    """What was kept of the files of a folder; None where that is nothing, or they are not as they were."""
    path = _path(folder) if now is not None else None
    try:
        head, _, body = path.read_bytes().partition(b"\n") if path else (b"", b"", b"")
        if not head or json.loads(head) != _head(folder, now, body):
            return None
        found: dict[str, Table] = json.loads(body)
    except (OSError, ValueError, RecursionError):
        return None
    return found


def keep(folder: Path, before: Stamp | None, found: Mapping[str, Table]) -> None:
    """Keeps the tables of a folder. `before` is what its files were before they were read."""
    path = _path(folder) if before is not None else None
    if path is None:
        return
    from paramlint import files

    try:
        body = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        head = json.dumps(_head(folder, before, body)).encode()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(path, head + b"\n" + body)
    except (OSError, TypeError, ValueError):  # nowhere to write, or a date, which is none of JSON's values
        return


def _head(folder: Path, files: Stamp | None, body: bytes) -> dict[str, object]:
    return {"version": __version__, "folder": str(folder), "files": files, "sum": crc32(body)}


def _path(folder: Path) -> Path | None:
    """Where the tables of a folder are kept. Two installations do not take turns in one file."""
    place = _place()
    return place / f"tables-{crc32(os.fsencode(folder)):08x}.json" if place else None


def _place() -> Path | None:
    own = os.environ.get("PARAMLINT_CACHE_DIR")
    if own:
        return None if own.lower() == "none" else Path(own)
    if sys.platform == "win32":
        above, inside = os.environ.get("LOCALAPPDATA", ""), ("paramlint", "Cache")
    else:
        usual = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
        above, inside = os.environ.get("XDG_CACHE_HOME", ""), ("paramlint",)
        above = above if os.path.isabs(above) else os.path.expanduser(usual)
    return Path(above, *inside) if os.path.isabs(above) else None
