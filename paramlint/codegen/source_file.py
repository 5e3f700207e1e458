"""Python files as they are: encoding, line ends and mode survive a rewrite, which is whole or does not happen."""

from __future__ import annotations

import codecs
import difflib
import io
import re
import tokenize
from pathlib import Path

from paramlint import files
from paramlint.errors import ParamlintError

#: What Python ends a line at. `str.splitlines` knows more, form feeds among them.
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def read_source(path: Path) -> str:
    """The text of a Python file in its own encoding, with its own line ends, without a byte order mark.

    Raises:
        ParamlintError: it cannot be read, or not in the encoding that it declares (PEP 263).
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ParamlintError(e.strerror or str(e), where=str(path)) from None
    try:
        return data.decode(_encoding(data, path))
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ParamlintError(
            f"not {e.encoding}: byte 0x{data[e.start]:02x}",
            where=f"{path}:{line}",
            hint="declare its encoding (PEP 263)",
        ) from None


def replace_file(path: Path, new_text: str) -> None:
    """Puts a text in the place of a file's, encoded as that one was, its byte order mark and its mode kept.

    Raises:
        ParamlintError: it cannot be written, or not in the encoding of the file. What it held is still there.
    """
    try:
        encoding = _encoding(path.read_bytes(), path)
        data = new_text.encode(encoding)
        files.replace(path, data)
    except UnicodeEncodeError as e:
        character = new_text[e.start]
        raise ParamlintError(f"its encoding, {encoding}, has no {character!r}", where=str(path)) from None
    except OSError as e:
        raise ParamlintError(e.strerror or str(e), where=str(path)) from None


def diff(old: str, new: str, path: str | Path) -> str:
    """A unified diff, "" where nothing changed. Lines keep their ends, as those of `git diff` do, and a name with a
    space is ended by a tab, as `patch` needs it."""
    name = f"{path}\t" if " " in str(path) else str(path)
    changed = difflib.unified_diff(lines(old), lines(new), name, name)
    return "".join(x if x.endswith(("\n", "\r")) else f"{x}\n\\ No newline at end of file\n" for x in changed)


def lines(text: str) -> list[str]:
    """The lines of a source as Python counts them, with their ends."""
    return _LINES.findall(text)


def _encoding(data: bytes, path: Path) -> str:
    """`utf-8-sig` for a byte order mark, which that codec takes off and puts back."""
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError as e:
        if data.startswith(codecs.BOM_UTF8) or "unknown" in str(e):
            raise ParamlintError(str(e), where=f"{path}:1") from None
        return "utf-8"  # the bytes are wrong, not the cookie: decoding tells the line
