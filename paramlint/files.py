"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Through a file beside it, with the mode of what was there; straight where the folder allows none, or the file is
    mounted on its own. A link is followed.

    Raises:
        OSError: it cannot be written; what it held before is still there.
    """
    import tempfile

    path = path.resolve()
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
