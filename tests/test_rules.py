"""The pages in `rules/` are executed: every example is built, its groups are read, and the findings are compared."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rule_pages import HEADINGS, Fence, read

from paramlint import knowledge
from paramlint.checks import CHECKS, run
from paramlint.finding import Finding
from paramlint.model import facts, groups
from paramlint.model.trace.found import traced
from paramlint.parameter import Location
from paramlint.registry import RULES, Rule, page, rules_dir
from paramlint.roles.judge import judge

PAGES = {r.code: read(page(r.code)) for r in RULES if (rules_dir() / f"{r.code}.md").is_file()}
#: Those of rules on sources are linted: tests/test_source_pages.py.
MODELS = {r.code for r in RULES if "source" not in r.needs}
FENCES = [fence for p in PAGES.values() if p.code in MODELS for fence in p.fences if not fence.lint]
KNOWN = knowledge.load()


def findings(fence: Fence, folder: Path) -> tuple[Finding, ...]:
    """What paramlint says of a fence: the model on the meta device, groups where the page has them."""
    path = folder / f"{fence.code}_{fence.index}.py"
    path.write_text(fence.source, encoding="utf-8")
    module = loaded(path)
    with torch.device("meta"):
        model = module.build()
    inventory = traced(model, facts.inventory(model, location=placed(path, fence, "build")))
    judged = judge(inventory, KNOWN.policy("default"))
    proposal = None
    if hasattr(module, "groups"):
        place = placed(path, fence, "groups")
        proposal = groups.read(module.groups, model, inventory, KNOWN.profiles, place)
    return run(judged, proposal, KNOWN, "default", profile=getattr(module, "PROFILE", None))


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def placed(path: Path, fence: Fence, function: str) -> Location:
    lines = fence.source.splitlines()
    line = next(i for i, text in enumerate(lines, 1) if text.startswith(f"def {function}("))
    return Location(str(path), line, label=function)


@pytest.mark.parametrize("fence", FENCES, ids=str)
def test_example(fence: Fence, tmp_path: Path) -> None:
    if "import AdamW, Muon" in fence.source and not hasattr(torch.optim, "Muon"):
        pytest.skip("torch before 2.9 has no Muon")
    found = findings(fence, tmp_path)
    said = {(f.severity, f.code, f.location.line if f.location else 0) for f in found}
    expected = {(e.severity, e.code, e.line) for e in fence.expected if e.severity != "todo"}
    loud = {s for s in said if s[0] != "note" or s[1] == fence.code}
    assert loud == expected, [(f.code, f.parameters, f.message) for f in found]
    missed = {e.code for e in fence.expected if e.severity == "todo"}
    assert not missed & {f.code for f in found}, "a known miss is found: make it an expectation"


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.code)
def test_page_is_whole(rule: Rule) -> None:
    code, name, severity = rule.code, rule.name, rule.severity
    got = PAGES[code]
    assert (got.code, got.name) == (code, name)
    assert got.summary.endswith(".") and "\n" not in got.summary
    assert got.headings == HEADINGS
    assert "https://" in got.text.partition("## References")[2]
    assert "- Tried on: " in got.text
    own = [e for f in got.fences if not f.good for e in f.expected if e.code == code and e.severity != "todo"]
    assert severity in {e.severity for e in own}, "no example shows the rule at its usual severity"
    assert any(f.good for f in got.fences)
    assert all(f.expected for f in got.fences if not f.good)
    assert not any(f.expected for f in got.fences if f.good)


def test_every_rule_has_a_check_and_every_page_a_rule() -> None:
    assert {p.stem for p in rules_dir().glob("PML*.md")} == set(PAGES)
    assert len(PAGES) == len(RULES)
    assert len({r.name for r in RULES}) == len(RULES)
    shown = {e.code for p in PAGES.values() for f in p.fences for e in f.expected}
    assert shown == set(PAGES) and len(CHECKS) > 0


def test_index_is_the_registry() -> None:
    text = (rules_dir() / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(PML\d+)\]\((\S+)\) \| (\S+) \| (\w+) \| ([\w, ]+) \| (.+) \|$", text, re.MULTILINE)
    assert rows == [(r.code, f"{r.code}.md", r.name, r.severity, ", ".join(r.needs), r.summary) for r in RULES]
