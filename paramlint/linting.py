"""Source in, findings out: the rules that need no model, and with an inventory those that do, on one file."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from paramlint import suppress
from paramlint.finding import Finding
from paramlint.parameter import Location
from paramlint.record import dataclass
from paramlint.registry import RULES, by_code
from paramlint.run import FileRun, Spot
from paramlint.source.reading import Unreadable, concerns, decoded, deep, lines, parsed

if TYPE_CHECKING:
    from paramlint.knowledge import Knowledge
    from paramlint.parameter import Inventory

_BROKEN = "PML001"


class RuleSet(Protocol):
    """Rules that look at one file together."""

    def __call__(
        self, tree: ast.Module, text: str, path: str, known: Knowledge, inventory: Inventory | None
    ) -> Iterable[Finding]: ...


def _optimizer_classes(
    tree: ast.Module, text: str, path: str, known: Knowledge, inventory: Inventory | None
) -> Iterable[Finding]:
    found: Iterable[Finding] = import_module("paramlint.checks.optimizer_classes").examine(tree, text, path, known)
    return found


def _scripts(
    tree: ast.Module, text: str, path: str, known: Knowledge, inventory: Inventory | None
) -> Iterable[Finding]:
    module = import_module("paramlint.checks.scripts")
    found: Iterable[Finding] = module.examine(tree, text, path, known, inventory=inventory)
    return found


#: Every set of rules on sources. Each imports its work when a file first needs it.
RULE_SETS: tuple[RuleSet, ...] = (_optimizer_classes, _scripts)


@dataclass(frozen=True)
class Linter:
    """How files are looked at. `known` gives what is known of optimizers, and is only asked where rules run."""

    known: Callable[[], Knowledge]
    limit: int | None = None
    rule_sets: tuple[RuleSet, ...] | None = None

    def file(
        self, data: bytes, path: str, codes: Collection[str], *, inventory: Inventory | None = None, tied: bool = False
    ) -> FileRun:
        """What is found in a file with these bytes. `codes` are the rules that are on. `tied` says that the file
        belongs to a model, which may not be at hand."""
        try:
            text = decoded(data, self.limit)
        except Unreadable as e:
            return _run(path, "", None, _broken(e, path, codes))
        return self.text(text, path, codes, inventory=inventory, tied=tied, concerned=concerns(data))

    def text(
        self,
        text: str,
        path: str,
        codes: Collection[str],
        *,
        inventory: Inventory | None = None,
        tied: bool = False,
        concerned: bool = True,
    ) -> FileRun:
        """What is found in a text. Where it is not `concerned`, only whether it is Python."""
        tree: ast.Module | None = None
        findings: list[Finding] = []
        try:
            tree = parsed(text)
            with deep():
                for rule_set in self._rule_sets() if concerned else ():
                    findings += rule_set(tree, text, path, self.known(), inventory)
        except Unreadable as e:
            findings += _broken(e, path, codes)
        placed = [f if f.location else replace(f, location=Location(path, 1)) for f in findings if f.code in codes]
        unseen = () if inventory is not None else _need_a_model(tied)
        judged = suppress.judged(text, tree, placed, path, codes=codes, unseen=unseen)
        return _run(path, text, tree, (*judged.findings, *judged.unused))

    def _rule_sets(self) -> tuple[RuleSet, ...]:
        return RULE_SETS if self.rule_sets is None else self.rule_sets


def lint_text(
    text: str,
    path: str,
    known: Knowledge,
    *,
    codes: Collection[str],
    inventory: Inventory | None = None,
    rule_sets: Sequence[RuleSet] | None = None,
) -> tuple[Finding, ...]:
    """All findings of these rules on the text of a Python file, in the order of the source, those left out that its
    comments silence. `path` is what the findings call it. The rules that need a model speak where its inventory is
    given."""
    linter = Linter(lambda: known, rule_sets=None if rule_sets is None else tuple(rule_sets))
    return linter.text(text, path, codes, inventory=inventory).findings


def _broken(e: Unreadable, path: str, codes: Collection[str]) -> tuple[Finding, ...]:
    if _BROKEN not in codes:
        return ()
    severity = by_code()[_BROKEN].severity if e.grave else "warning"
    return (Finding(_BROKEN, severity, e.message, e.help, location=Location(path, e.line, e.column)),)


def _need_a_model(tied: bool) -> tuple[str, ...]:
    """The rules that did not have what they need: of a file that belongs to no model, those that read no source."""
    return tuple(r.code for r in RULES if {"model", "groups"} & {*r.needs} and (tied or "source" not in r.needs))


# Where findings are


def _run(path: str, text: str, tree: ast.Module | None, findings: Iterable[Finding]) -> FileRun:
    placed = sorted(findings, key=_order)
    if not placed:
        return FileRun(path)
    source = lines(text)
    ends = _ends(tree, source, {(at.line, at.column) for f in placed if (at := f.location)}) if tree else {}
    return FileRun(path, tuple(placed), tuple(_spots(placed, source, ends)))


def _order(f: Finding) -> tuple[int, int, str, str]:
    at = f.location
    return (at.line, at.column, f.code, f.message) if at else (0, 0, f.code, f.message)


def _spots(
    findings: Iterable[Finding], source: Sequence[str], ends: dict[tuple[int, int], tuple[int, int]]
) -> Iterator[Spot]:
    for f in findings:
        line, column = (f.location.line, f.location.column) if f.location else (1, 1)
        excerpt = source[line - 1].rstrip("\r\n") if 0 < line <= len(source) else ""
        if f.fix is not None and f.fix.kind == "remove-comment":
            end = f.fix.end
        else:
            end = ends.get((line, column), (line, max(len(excerpt.rstrip()), column) + 1))
        yield Spot(end, excerpt)


def _ends(
    tree: ast.Module, source: Sequence[str], wanted: set[tuple[int, int]]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Where the longest expression or simple statement ends that starts at each of these places."""
    ends: dict[tuple[int, int], tuple[int, int]] = {}
    numbers = {line for line, _ in wanted}
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        stack.extend(ast.iter_child_nodes(node))
        line = getattr(node, "lineno", None)
        if line not in numbers or hasattr(node, "body") or not isinstance(node, (ast.expr, ast.stmt, ast.keyword)):
            continue
        start = (line, _character(source, line, node.col_offset))
        if start in wanted and node.end_lineno is not None and node.end_col_offset is not None:
            end = (node.end_lineno, _character(source, node.end_lineno, node.end_col_offset))
            ends[start] = max(ends.get(start, end), end)
    return ends


def _character(source: Sequence[str], line: int, offset: int) -> int:
    """The column of an offset in UTF-8 bytes, as `ast` gives it."""
    text = source[line - 1] if 0 < line <= len(source) else ""
    return (offset if text.isascii() else len(text.encode(errors="replace")[:offset].decode(errors="replace"))) + 1
