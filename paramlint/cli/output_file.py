"""`--output-file`: looked at before the work begins, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from paramlint.errors import ParamlintError


def check(path: Path) -> None:
    """
    Raises:
        ParamlintError: the file cannot be written, as far as that can be told beforehand.
    """
    if not path.parent.is_dir():
        raise _error(path, errno.ENOTDIR if path.parent.exists() else errno.ENOENT)
    if path.is_dir():
        raise _error(path, errno.EISDIR)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _error(path, errno.EACCES)


def write(path: Path, text: str) -> None:
    """
    Raises:
        ParamlintError: the file cannot be written; what it held before is still there.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except OSError as e:
        raise ParamlintError(e.strerror or str(e), where=str(path)) from None


def _replace(path: Path, data: bytes) -> None:
    """Through a file beside it; straight where the folder allows none, or the file is mounted on its own."""
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    except PermissionError:
        path.write_bytes(data)
        return
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(beside, path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
        os.replace(beside, path)
    except OSError as e:
        if e.errno != errno.EBUSY:
            raise
        path.write_bytes(data)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside)


def _umask() -> int:
    """The mask can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _error(path: Path, number: int) -> ParamlintError:
    return ParamlintError(os.strerror(number), where=str(path))
