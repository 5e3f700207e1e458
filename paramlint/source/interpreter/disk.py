"""The files of projects as they were read last: a run over many does not parse the neighbours of each again."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from paramlint.source.interpreter.project import File

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: How many bytes of sources are kept: as syntax trees, which take about 50 times as much memory, and as they are.
_TREES = 300_000
_BYTES = 4_000_000
#: Of how many folders it is kept what is in them.
_FOLDERS = 200
_PROJECTS = 4
#: Larger files are not opened, in bytes.
_LARGEST = 2_000_000


class Latest(Generic[K, V]):
    """The values that were wanted last, as many as are together no larger than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size = 0

    def find(self, key: K) -> V | None:
        kept = self._all.get(key)
        if kept is None:
            return None
        self._all.move_to_end(key)
        return kept[0]

    def keep(self, key: K, value: V, size: int = 1) -> V:
        before = self._all.pop(key, None)
        self._size += size - (before[1] if before else 0)
        self._all[key] = value, size
        while self._size > self._most:
            self._size -= self._all.popitem(last=False)[1][1]
        return value


class Disk:
    """What was read of files, as far as it was kept: what it says of one never hangs on what was read before."""

    def __init__(self) -> None:
        self._parsed: Latest[Path, tuple[bytes, File | None]] = Latest(_TREES)
        self._bytes: Latest[Path, tuple[tuple[int, ...], bytes]] = Latest(_BYTES)
        self._names: Latest[Path, frozenset[str]] = Latest(_FOLDERS)
        self._below: Latest[Path, tuple[Path, ...]] = Latest(_PROJECTS)

    def parsed(self, place: Path, parse: Callable[[Path, bytes], File | None]) -> File | None:
        """The file, parsed again only where it is not as it was; None where it cannot be read."""
        data = _read(place)
        if data is None:
            return None
        kept = self._parsed.find(place)
        if kept is None or kept[0] != data:
            kept = self._parsed.keep(place, (data, parse(place, data)), len(data))
        return kept[1]

    def has(self, place: Path, text: bytes) -> bool:
        """Whether a file holds these bytes."""
        try:
            s = os.stat(place)
        except OSError:
            return False
        if not stat.S_ISREG(s.st_mode):
            return False
        stamp = s.st_ino, s.st_mtime_ns, s.st_ctime_ns, s.st_size
        kept = self._bytes.find(place)
        if kept is None or kept[0] != stamp:
            data = _read(place) or b""
            kept = self._bytes.keep(place, (stamp, data), len(data))
        return text in kept[1]

    def names(self, folder: Path) -> frozenset[str]:
        """The names in a folder, those of modules without their suffix."""
        found = self._names.find(folder)
        if found is None:
            try:
                found = frozenset(name.removesuffix(".py") for name in os.listdir(folder))
            except OSError:
                found = frozenset()
            self._names.keep(folder, found)
        return found

    def below(self, root: Path, find: Callable[[Path], tuple[Path, ...]]) -> tuple[Path, ...]:
        """The files of a project."""
        found = self._below.find(root)
        return self._below.keep(root, find(root)) if found is None else found


def _read(place: Path) -> bytes | None:
    try:
        with open(place, "rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError:
        return None
    return data if len(data) <= _LARGEST else None


_shared: list[Disk] = []


@contextmanager
def shared() -> Iterator[None]:
    """Until it is left, what is read of the neighbours of one file serves the next. Files may change meanwhile; those
    that come into a folder are not seen."""
    _shared.append(Disk())
    try:
        yield
    finally:
        _shared.pop()


def current() -> Disk:
    """What is shared now; where nothing is, one for a single file."""
    return _shared[-1] if _shared else Disk()
