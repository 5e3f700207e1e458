"""A Python file as text, whatever it holds: its encoding, its line ends, and whether a rule could speak of it."""

from __future__ import annotations

import ast
import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from paramlint.record import dataclass

#: Files that hold more are not read, unless a project says so.
LARGEST = 5_000_000

#: Whoever makes an optimizer, its class or its groups has one of these words. They are looked for one by one: that
#: is several times as fast as one expression with all of them.
_WORDS = (
    *(b"ptimizer", b"torch.optim", b"import optim", b"optim.", b"optim import", b"Muon", b"muon", b"MUON"),
    *(b"param_groups", b"named_parameters", b'"params"', b"'params'", b"Dion", b"Scion", b"paramlint:"),
)
_COOKIE = re.compile(rb"coding[:=]")
_MARKED = re.compile(r"#\s*noqa\s*:[^\n]*PML", re.IGNORECASE)


class Unreadable(Exception):
    """A file is there, and its text or its meaning cannot be had: `message` says why, at `line` and `column` (from 1),
    `help` what to do. `grave` is False where nothing is wrong with the file but its size or its depth."""

    def __init__(
        self,
        message: str,
        line: int = 1,
        column: int = 1,
        *,
        help: str = "mend it, or exclude the file",
        grave: bool = True,
    ) -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.help, self.grave = message, line, column, help, grave


@dataclass(frozen=True)
class Comment:
    """A comment as it stands, from its `#` on. Lines and columns count from 1, columns count characters; `alone` is
    True where nothing stands before it in its line."""

    line: int
    column: int
    text: str
    alone: bool


def concerns(data: bytes) -> bool:
    """Whether any rule could speak of a file with these bytes: a cheap look before it is parsed."""
    return any(word in data for word in _WORDS) or (b"PML" in data and b"noqa" in data.lower())


def decoded(data: bytes, limit: int | None = LARGEST) -> str:
    """The text of a Python file, in the encoding that it declares (PEP 263), without a byte order mark, with its own
    line ends. `limit` is the largest size in bytes that is read.

    Raises:
        Unreadable: it is larger, or not text in that encoding.
    """
    if limit is not None and len(data) > limit:
        raise Unreadable(
            f"not read: it holds more than {limit / 1e6:g} MB",
            help="raise max-file-size in the configuration, or exclude the file",
            grave=False,
        )
    if (at := data.find(b"\0")) >= 0:
        raise Unreadable("not text: there is a zero byte in it", data.count(b"\n", 0, at) + 1)
    encoding = _encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as e:
        raise Unreadable(
            f"not {e.encoding}: byte 0x{data[e.start]:02x}",
            data.count(b"\n", 0, e.start) + 1,
            help="declare its encoding (PEP 263), or save it as UTF-8",
        ) from None
    except (LookupError, ValueError) as e:  # a codec for something else than text
        raise Unreadable(f"its encoding, {encoding}, cannot be read: {e}", help="save it as UTF-8") from None


def _encoding(data: bytes) -> str:
    """`utf-8-sig` for a byte order mark. `tokenize` is only imported for files that name their encoding."""
    first_lines = data[:1000].split(b"\n", 2)[:2]
    if not any(_COOKIE.search(line) for line in first_lines):
        return "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"
    import tokenize

    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError as e:
        if data.startswith(codecs.BOM_UTF8) or "unknown" in str(e):
            raise Unreadable(str(e), help="save it as UTF-8") from None
        return "utf-8"  # the bytes are wrong, not what they declare: decoding tells the line


def parsed(text: str) -> ast.Module:
    """The syntax tree. Warnings of the parser are for the file's author and go nowhere.

    Raises:
        Unreadable: it is not Python, as far as this version of Python knows.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except SyntaxError as e:
            line = min(e.lineno or 1, len(lines(text)) or 1)
            raise Unreadable(f"not Python: {e.msg}", max(line, 1), max(e.offset or 1, 1), help=_SYNTAX) from None
        except (RecursionError, MemoryError):
            raise Unreadable("not read: nested too deeply for Python's own parser") from None
        except ValueError as e:  # text that Python cannot encode
            raise Unreadable(f"not Python: {e}") from None


_SYNTAX = "mend it, or exclude the file; a newer Python may know more syntax"


@contextmanager
def deep() -> Iterator[None]:
    """Turns what a tree nested too deeply does to code that walks it into an `Unreadable`."""
    try:
        yield
    except (RecursionError, MemoryError):
        raise Unreadable("not read: nested too deeply", grave=False) from None


def lines(text: str) -> list[str]:
    """The lines of a source as Python counts them, with their ends: a form feed ends none."""
    return io.StringIO(text, newline="").readlines()


def has_marks(text: str) -> bool:
    """Whether a text may hold comments for us, other than a bare `# noqa`."""
    return "paramlint:" in text or ("PML" in text and _MARKED.search(text) is not None)


def comments(text: str) -> tuple[Comment, ...]:
    """The comments of a source, in order; up to where it stops being Python."""
    import tokenize

    found, source = [], lines(text)
    rest = iter(source)
    try:
        for token in tokenize.generate_tokens(lambda: next(rest, "")):
            if token.type == tokenize.COMMENT:
                line, column = token.start
                alone = not source[line - 1][:column].strip()
                found.append(Comment(line, column + 1, token.string.rstrip("\r"), alone))
    except (tokenize.TokenError, SyntaxError, RecursionError, MemoryError, ValueError):
        pass
    return tuple(found)
