"""Which files are read: those that are named, and the Python files in folders that are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from stat import S_ISREG

from paramlint.record import dataclass

#: Folders that are never anybody's sources, besides hidden ones and virtual environments of whatever name.
SKIPPED = ("venv", "node_modules", "__pycache__", "__pypackages__", "site-packages", "build", "dist")

#: What is told of a folder that cannot be read.
Failed = Callable[[OSError], None] | None

#: Seconds that git may take to list its files.
_PATIENCE = 30


@dataclass(frozen=True)
class Patterns:
    """Glob patterns, as in `fnmatch`, for paths relative to `root`. One without a slash matches any part of a path, a
    file or a folder above it; one with a slash the whole path or the path of a folder above it."""

    root: Path = field(default_factory=Path.cwd)
    globs: tuple[str, ...] = ()

    def match(self, path: str) -> bool:
        if not self.globs:
            return False
        parts = self.inside(path) or Path(os.path.abspath(path)).parts[1:]
        return any(_matches(parts, glob) for glob in self.globs)

    def inside(self, path: str) -> tuple[str, ...]:
        """The parts of a path as seen from the root; () for one outside."""
        try:
            return Path(os.path.abspath(path)).relative_to(self.root).parts
        except ValueError:
            return ()


@dataclass(frozen=True)
class LeftOut:
    """What is not read in folders: those of these names, hidden ones unless `hidden` is False, and what the patterns
    match."""

    patterns: Patterns = field(default_factory=Patterns)
    names: tuple[str, ...] = SKIPPED
    hidden: bool = True

    def has(self, path: str) -> bool:
        """Whether a file is left out, also by the folders that it is in, as seen from the root of the patterns."""
        return any(map(self.folder, self.patterns.inside(path)[:-1])) or self.patterns.match(path)

    def folder(self, name: str) -> bool:
        return name in self.names or (self.hidden and name.startswith(".")) or name == ".git"


def in_folder(folder: str, left_out: LeftOut, failed: Failed = None) -> list[str]:
    """The Python files in a folder, in the order of their paths, which begin with the folder's as it was given.

    Inside a git work tree what git ignores is left out, unless there is nothing else. Links to folders are not
    followed. `failed` is told of folders inside that cannot be read.

    Raises:
        OSError: the folder cannot be read.
    """
    os.scandir(folder).close()
    listed = _listed(folder)
    found = sorted(set(_kept(folder, listed, left_out, failed))) if listed is not None else []
    return found or sorted(_walked(folder, left_out, failed))


def _kept(folder: str, listed: Iterable[str], left_out: LeftOut, failed: Failed) -> Iterator[str]:
    @cache
    def skipped(inside: str) -> bool:
        """Whether a folder, by its path in the one that was named, is left out."""
        above, _, name = inside.rpartition("/")
        if not inside:
            return False
        return left_out.folder(name) or _is_environment(os.path.join(folder, inside)) or skipped(above)

    for name in listed:
        if name.endswith(".py") and not skipped(name.rpartition("/")[0]):
            path = os.path.normpath(os.path.join(folder, name))
            if not left_out.patterns.match(path) and _is_file(path, failed):
                yield path


def _is_file(path: str, failed: Failed) -> bool:
    try:
        return S_ISREG(os.stat(path).st_mode)
    except PermissionError as error:
        if failed is not None:
            failed(error)
    except OSError:
        pass  # git knows of it, and it is gone
    return False


def _walked(folder: str, left_out: LeftOut, failed: Failed) -> Iterator[str]:
    for place, folders, files in os.walk(folder, onerror=failed):
        folders[:] = sorted(
            name
            for name in folders
            if not left_out.folder(name)
            and not _is_environment(os.path.join(place, name))
            and not left_out.patterns.match(os.path.join(place, name))
        )
        for name in sorted(files):
            path = os.path.normpath(os.path.join(place, name))
            if name.endswith(".py") and not left_out.patterns.match(path) and os.path.isfile(path):
                yield path


def _is_environment(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "pyvenv.cfg"))


def _listed(folder: str) -> list[str] | None:
    """The files that git knows of or would add, relative to the folder; None where git does not answer."""
    place = Path(folder).resolve()
    if not any((above / ".git").exists() for above in (place, *place.parents)):
        return None
    import subprocess

    # a hook's own settings are for another command, and a repository's may name programs to run
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name] if done.returncode == 0 else None


@cache
def _cleaned(glob: str) -> str:
    return glob.removeprefix("./").rstrip("/")


def _matches(parts: tuple[str, ...], glob: str) -> bool:
    if "/" not in (wanted := _cleaned(glob)):
        return any(fnmatchcase(part, wanted) for part in parts)
    wanted = wanted.removeprefix("/")
    above = ("/".join(parts[: i + 1]) for i in range(len(parts)))
    return any(fnmatchcase(path, wanted) for path in above)
