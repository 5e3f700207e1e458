"""Findings that a project does not want to hear of: comments in its sources, and patterns of parameters.

`# paramlint: ignore[PML201, PML5] why` silences these codes (or prefixes, or names of rules) where it stands: on the
line of the finding, on the first line of the statement that it is in, or on lines of their own directly above either.
Without brackets it silences every rule. `# paramlint: ignore-file[...]` does so in the whole file. `# noqa: PML201`,
and a bare `# noqa`, work at the end of the same lines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Literal

from paramlint.errors import near
from paramlint.finding import Finding, Fix
from paramlint.parameter import Location
from paramlint.record import dataclass
from paramlint.registry import RULES, by_code, matches
from paramlint.source.reading import Comment, comments, has_marks, lines

_UNUSED = "PML002"
_OURS = re.compile(r"#\s*paramlint:\s*(?P<word>[\w-]*)\s*(?P<codes>\[[^\]#]*\]?)?(?P<rest>[^#]*)")
_NOQA = re.compile(
    r"#\s*noqa(?:\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)(?P<rest>[^#]*)|(?=\s*(?:#|$)))", re.IGNORECASE
)
_CODE = re.compile(r"PML\d+", re.IGNORECASE)
_TARGET = re.compile(r"#\s*paramlint:\s*target\s*=\s*(?P<target>[^\s#]+)")
_WORDS = ("ignore", "ignore-file", "target")


@dataclass(frozen=True)
class Mark:
    """One suppression: `start` and `end` are the columns of its text in the comment's line. `codes` None is for all
    rules; `wrong` says what is wrong with it, and then it silences nothing. `kept` are codes of other tools."""

    kind: Literal["ignore", "ignore-file", "noqa"]
    line: int
    start: int
    end: int
    text: str
    alone: bool
    codes: tuple[str, ...] | None = None
    kept: tuple[str, ...] = ()
    wrong: str = ""

    def silences(self, code: str) -> bool:
        if self.wrong:
            return False
        if self.codes is None:
            return code != _UNUSED
        return matches(code, self.codes) is not None


@dataclass(frozen=True)
class Judged:
    """What is left of the findings, in their order, and the findings on comments that silence nothing."""

    findings: tuple[Finding, ...]
    unused: tuple[Finding, ...]


def tied_to(text: str) -> tuple[str, int] | None:
    """What `# paramlint: target=pkg.module:build`, alone on a line, ties a script to, and the number of the line."""
    if "paramlint:" not in text:
        return None
    for comment in comments(text):
        if comment.alone and (found := _TARGET.match(comment.text)):
            return found["target"], comment.line
    return None


def judged(
    text: str,
    tree: ast.Module | None,
    findings: Sequence[Finding],
    path: str,
    *,
    codes: Collection[str],
    unseen: Collection[str] = (),
) -> Judged:
    """The findings on a file without those that its comments silence, and what is to be said of the comments.

    `codes` are the rules that are on; those in `unseen` were not looked for, and a comment for one of them may well
    have its use. `tree` is None for a file that cannot be parsed: then statements are not known.
    """
    if not (has_marks(text) or (findings and "noqa" in text.lower())):
        return Judged(tuple(findings), ())
    found = tuple(mark for comment in comments(text) for mark in marks(comment))
    if not found:
        return Judged(tuple(findings), ())
    source = lines(text)
    above = _Above(source, found)
    starts = _starts(tree, {f.location.line for f in findings if f.location}) if tree is not None else {}
    used: dict[Mark, set[str]] = {mark: set() for mark in found}
    left = []
    for f in findings:
        line = f.location.line if f.location else 1
        by = [m for m in above.at({line, starts.get(line, line)}) if m.silences(f.code)]
        for mark in by:
            used[mark].add(f.code)
        if not by:
            left.append(f)
    unused = [
        said
        for mark, silenced in used.items()
        if _UNUSED in codes
        if (said := _unused(mark, silenced, path, codes, unseen)) is not None
        if not any(m.codes and m.silences(_UNUSED) for m in above.at({mark.line}) if m is not mark)
    ]
    return Judged(tuple(left), tuple(unused))


def marks(comment: Comment) -> Iterator[Mark]:
    """The suppressions in a comment."""
    for found in _OURS.finditer(comment.text):
        if found["word"] == "target":
            continue
        codes, wrong = _listed(found)
        kind: Literal["ignore", "ignore-file"] = "ignore-file" if found["word"] == "ignore-file" else "ignore"
        yield _mark(kind, comment, found, codes=codes, wrong=wrong)
    for found in _NOQA.finditer(comment.text):
        if found["codes"] is None:
            yield _mark("noqa", comment, found)
            continue
        named = re.split(r"[,\s]+", found["codes"])
        ours = tuple(c for c in named if _CODE.fullmatch(c))
        if ours:
            yield _mark("noqa", comment, found, codes=ours, kept=tuple(c for c in named if c not in ours))


def _listed(found: re.Match[str]) -> tuple[tuple[str, ...] | None, str]:
    """The codes of a comment of ours, and what is wrong with it."""
    word, listed = found["word"], found["codes"]
    if word not in ("ignore", "ignore-file"):
        hint = near(word, _WORDS) or f"there are {', '.join(_WORDS)}"
        return (), f"no such comment as 'paramlint: {word}'; {hint}"
    if listed is None:
        if code := _CODE.match(found["rest"].strip(" :=")):
            return (), f"codes stand in brackets: {word}[{code[0]}]"
        return None, ""
    if not listed.endswith("]"):
        return (), "the bracket is not closed"
    codes = tuple(c.strip() for c in listed[1:-1].split(",") if c.strip())
    return codes, "" if codes else "no code is in the brackets"


def _mark(
    kind: Literal["ignore", "ignore-file", "noqa"],
    comment: Comment,
    found: re.Match[str],
    *,
    codes: tuple[str, ...] | None = None,
    kept: tuple[str, ...] = (),
    wrong: str = "",
) -> Mark:
    text = found[0].rstrip()
    start = comment.column + found.start()
    return Mark(
        kind, comment.line, start, start + len(text), text, comment.alone and not found.start(), codes, kept, wrong
    )


class _Above:
    """Which suppressions reach a line."""

    def __init__(self, source: Sequence[str], found: Iterable[Mark]) -> None:
        self.source = source
        self.everywhere = [m for m in found if m.kind == "ignore-file"]
        self.by_line: dict[int, list[Mark]] = {}
        for m in found:
            if m.kind != "ignore-file":
                self.by_line.setdefault(m.line, []).append(m)

    def at(self, wanted: set[int]) -> list[Mark]:
        found = list(self.everywhere)
        for line in sorted(wanted):
            found += self.by_line.get(line, ())
            over = line - 1
            while over > 0 and over <= len(self.source) and self.source[over - 1].lstrip().startswith("#"):
                found += [m for m in self.by_line.get(over, ()) if m.alone and m.kind == "ignore"]
                over -= 1
        return list(dict.fromkeys(found))


def _starts(tree: ast.Module, wanted: set[int]) -> dict[int, int]:
    """The first line of the innermost statement that each of these lines is in; of one with a body, in its head."""
    starts: dict[int, int] = {}
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.expr, ast.expr_context)):
            continue
        stack.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.stmt):
            first = min((d.lineno for d in getattr(node, "decorator_list", ())), default=node.lineno)
            inner = [*getattr(node, "body", ()), *getattr(node, "cases", ())]
            last = inner[0].lineno - 1 if inner and hasattr(inner[0], "lineno") else node.end_lineno or node.lineno
            for line in wanted:
                if min(first, node.lineno) <= line <= max(last, node.lineno) and starts.get(line, 0) < first:
                    starts[line] = first
    return starts


# Comments that silence nothing


def _unused(
    mark: Mark,
    silenced: set[str],
    path: str,
    codes: Collection[str],
    unseen: Collection[str],
) -> Finding | None:
    if mark.wrong:
        return _finding(mark, path, f"this comment silences nothing: {mark.wrong}", "write it right, or take it out")
    if mark.codes is None:
        if silenced or mark.kind == "noqa" or any("source" in by_code()[code].needs for code in unseen):
            return None
        return _finding(mark, path, "this comment silences nothing", "take it out", _without(mark, ()))
    unknown = [c for c in mark.codes if c.upper() != "ALL" and not any(matches(r.code, (c,)) for r in RULES)]
    idle = [c for c in mark.codes if c not in unknown and _idle(c, silenced, codes, unseen)]
    if not unknown and not idle:
        return None
    kept = tuple(c for c in mark.codes if c not in unknown and c not in idle)
    said = [_unknown(c) for c in unknown]
    if idle:
        whole = not kept and not unknown
        said.append("this comment silences nothing" if whole else f"{', '.join(idle)} silences nothing here")
    fix = None if unknown else _without(mark, kept)
    help = "take it out" if not unknown else "mend the code, or take it out"
    return _finding(mark, path, "; ".join(said), help, fix)


def _idle(selector: str, silenced: set[str], codes: Collection[str], unseen: Collection[str]) -> bool:
    """Whether a selector silenced nothing though every rule that it takes in was looked for, if it usually is."""
    taken = [r for r in RULES if matches(r.code, (selector,)) and r.code != _UNUSED]
    if not any(r.code in codes for r in taken):
        return False
    return not any(r.code in silenced or r.code in unseen or (r.on and r.code not in codes) for r in taken)


def _unknown(code: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(code.upper(), by_code(), 1) or get_close_matches(code.lower(), [r.name for r in RULES], 1)
    return f"no rule {code!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _finding(mark: Mark, path: str, message: str, help: str, fix: Fix | None = None) -> Finding:
    return Finding(
        _UNUSED, by_code()[_UNUSED].severity, message, help, location=Location(path, mark.line, mark.start), fix=fix
    )


def _without(mark: Mark, kept: Sequence[str]) -> Fix:
    """The fix that leaves these codes of a suppression and those of other tools, or nothing of it."""
    codes, text = [*mark.kept, *kept], ""
    if codes and mark.kind == "noqa":
        found = _NOQA.match(mark.text)
        rest = (found["rest"] or "").rstrip() if found else ""
        # the space at its end, which goes, tells it from a beginning of what stands there
        text = f"# noqa: {', '.join(codes)}  {rest.strip()}".rstrip() + " "
    elif codes:
        before, _, after = mark.text.partition("[")
        text = f"{before}[{', '.join(codes)}]{after.partition(']')[2]}"
    data = {"keep": text} if text else {}
    title = f"Leave {', '.join(codes)} of the comment" if text else "Take the comment out"
    return Fix("remove-comment", (mark.line, mark.start), (mark.line, mark.end), True, title, data)


# Parameters


def of_other_parameters(findings: Iterable[Finding], ignored: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    """The findings without the parameters for which their rule is ignored: patterns of names, as in `fnmatch`, with
    the codes that are silent for them. A finding with none left goes."""

    def kept(name: str, code: str) -> bool:
        return not any(fnmatchcase(name, pattern) and matches(code, codes) for pattern, codes in ignored.items())

    found = []
    for f in findings:
        names = tuple(name for name in f.parameters if kept(name, f.code))
        if names or not f.parameters:
            found.append(f if names == f.parameters else replace(f, parameters=names))
    return tuple(found)
