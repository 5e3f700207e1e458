"""The pages of the rules that read sources: every example is linted, and the findings are compared with its marks."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from rule_pages import Fence, read

from paramlint import knowledge
from paramlint.finding import Finding
from paramlint.linting import RULE_SETS, lint_text
from paramlint.model import facts
from paramlint.model.trace.found import traced
from paramlint.parameter import Inventory
from paramlint.registry import RULES, page, rules_dir
from paramlint.rewrite import apply
from paramlint.roles.judge import judge

_ALL = {r: read(page(r.code)) for r in RULES if (rules_dir() / f"{r.code}.md").is_file()}
PAGES = [p for r, p in _ALL.items() if "source" in r.needs]
FENCES = [fence for r, p in _ALL.items() for fence in p.fences if "source" in r.needs or fence.lint]
KNOWN = knowledge.load()
SETS = RULE_SETS if importlib.util.find_spec("paramlint.checks.scripts") else RULE_SETS[:1]


def found(fence: Fence, source: str, folder: Path) -> tuple[Finding, ...]:
    """What paramlint says of a source with the rules that are on, and that of the page."""
    path = folder / f"{fence.code}_{fence.index}.py"
    path.write_text(source, encoding="utf-8")
    codes = {r.code for r in RULES if r.on} | {fence.code}
    return lint_text(source, str(path), KNOWN, codes=codes, inventory=inventory(source, path), rule_sets=SETS)


def inventory(source: str, path: Path) -> Inventory | None:
    """That of the model which the source builds, where it has a `build()`."""
    if not re.search(r"^def build\(", source, re.MULTILINE):
        return None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.device("meta"):
        model = module.build()
    return judge(traced(model, facts.inventory(model)), KNOWN.policy("default"))


@pytest.mark.parametrize("fence", FENCES, ids=str)
def test_example(fence: Fence, tmp_path: Path) -> None:
    findings = found(fence, fence.source, tmp_path)
    said = {(f.severity, f.code, f.location.line if f.location else 0) for f in findings}
    expected = {(e.severity, e.code, e.line) for e in fence.expected if e.severity != "todo"}
    loud = {s for s in said if s[0] != "note" or s[1] == fence.code or s in expected}
    assert loud == expected, [(f.code, f.location, f.message) for f in findings]
    missed = {(e.code, e.line) for e in fence.expected if e.severity == "todo"}
    assert not missed & {s[1:] for s in said}, "a known miss is found: make it an expectation"


@pytest.mark.parametrize("fence", [f for f in FENCES if f.fixed is not None], ids=str)
def test_fix(fence: Fence, tmp_path: Path) -> None:
    text = fence.unmarked
    for _ in range(len(fence.expected)):  # fixes that touch each other are done one after the other
        fixes = [f.fix for f in found(fence, text, tmp_path) if f.code == fence.code and f.fix is not None]
        text = apply(text, fixes).text
    assert text == fence.fixed
    assert fence.code not in {f.code for f in found(fence, text, tmp_path)}


def test_the_rules_on_optimizer_classes_have_pages() -> None:
    """The tests above are made from the pages: they must be there."""
    assert {p.code for p in PAGES} >= {f"PML6{n:02}" for n in range(1, 15)}
    assert any(f.fixed for f in FENCES)
