"""Reads the pages in `rules/`: headings, and code fences with what they expect.

A fence is a small file. On the page of a rule that reads sources it is linted as it stands, over the model that its
`build()` makes where it has one. On any other page it defines `build()` and, unless the rule needs no groups,
`groups(model)`; `PROFILE` names an optimizer profile for groups that do not say theirs.

The comment `# error: [PML201]` (or warning, note) says what must be found in its line, `# todo: [...]` what should be
and is not; where groups are not read from the source, it stands on one of the two `def` lines. In a ```py good fence
nothing at warning or above may be found, nor the page's own rule. A ```py fixed fence is what the fixes of the rule
make of the fence before it, its marks taken away. A ```py lint fence is linted on whatever page it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

HEADINGS = (
    "What it does",
    "Why is this bad?",
    "Example",
    "Use instead",
    "Fix safety",
    "Known problems",
    "References",
)

_FENCE = re.compile(r"^```py(?P<info>[ \w]*)\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"(error|warning|note|todo): \[([\w, ]+)\]")
_MARKS = re.compile(r"  # (?:error|warning|note|todo): \[[\w, ]+\].*$", re.MULTILINE)


@dataclass(frozen=True)
class Expectation:
    """A finding that must appear (or, for "todo", does not yet); `line` counts from 1 in the fence."""

    severity: str
    code: str
    line: int


@dataclass(frozen=True)
class Fence:
    code: str
    index: int
    good: bool
    source: str
    expected: tuple[Expectation, ...]
    fixed: str | None = None
    lint: bool = False

    @property
    def unmarked(self) -> str:
        """The source without its marks."""
        return _MARKS.sub("", self.source)

    def __str__(self) -> str:
        return f"{self.code}-{'good' if self.good else 'bad'}-{self.index}"


@dataclass(frozen=True)
class Page:
    code: str
    name: str
    summary: str
    headings: tuple[str, ...]
    fences: tuple[Fence, ...]
    text: str


def read(text: str) -> Page:
    """The parts of a page. The title is its first line, the summary the paragraph after it."""
    title, _, rest = text.partition("\n")
    code, _, name = title.removeprefix("# ").partition(" ")
    summary = " ".join(rest.strip().split("\n\n")[0].split())
    fences: list[Fence] = []
    for i, m in enumerate(_FENCE.finditer(text), 1):
        info, source = m["info"].strip(), m["source"]
        if info == "fixed":
            fences[-1] = replace(fences[-1], fixed=source)
        else:
            fences.append(Fence(code, i, info == "good", source, tuple(_expected(source)), lint=info == "lint"))
    return Page(code, name, summary, tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)), tuple(fences), text)


def _expected(source: str) -> list[Expectation]:
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        _, _, comment = line.partition("  # ")
        for severity, codes in _MARK.findall(comment):
            found += [Expectation(severity, code.strip(), number) for code in codes.split(",")]
    return found
