"""`--output-file`: looked at before the work begins, and written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from paramlint import files
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
            files.replace(path, data)
    except OSError as e:
        raise ParamlintError(e.strerror or str(e), where=str(path)) from None


def _error(path: Path, number: int) -> ParamlintError:
    return ParamlintError(os.strerror(number), where=str(path))
