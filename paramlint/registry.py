"""The rules: codes, names, severities; and where `rules/` lies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from paramlint.errors import ParamlintError
from paramlint.finding import Severity
from paramlint.record import dataclass

Need = Literal["model", "groups", "profile", "source"]


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong. `severity` is the usual one: a finding may be milder. `needs` are what the rule
    looks at: "model", "groups", "profile", "source". Rules that are not `on` speak only where they are selected."""

    code: str
    name: str
    severity: Severity
    summary: str
    needs: tuple[Need, ...]
    fix: Literal["none", "safe", "unsafe"] = "none"
    on: bool = True


_MG: tuple[Need, ...] = ("model", "groups")
_MGP: tuple[Need, ...] = ("model", "groups", "profile")
_S: tuple[Need, ...] = ("source",)
_SM: tuple[Need, ...] = ("source", "model")
_SP: tuple[Need, ...] = ("source", "profile")

RULES: tuple[Rule, ...] = (
    Rule("PML001", "not-python", "error", "a file cannot be read as Python", _S),
    Rule("PML002", "unused-suppression", "warning", "a suppression comment that silences nothing", _S, "safe"),
    Rule("PML101", "uncovered-parameter", "error", "a trainable parameter is in no group: it is never trained", _MG),
    Rule("PML102", "duplicate-parameter", "error", "one tensor is in two groups, two optimizers, or twice in one", _MG),
    Rule("PML103", "foreign-parameter", "error", "a group holds a tensor that is not the model's", _MG),
    Rule("PML104", "frozen-in-group", "warning", "a parameter with requires_grad=False is in a group", _MGP),
    Rule("PML105", "empty-group", "warning", "a group or an optimizer has no parameters", ("groups",)),
    Rule("PML106", "unstable-order", "error", "parameters come from a set: their order is not stable", ("groups",)),
    Rule("PML107", "late-parameter", "error", "a parameter did not exist yet when the groups were made", _MG),
    Rule("PML108", "siblings-split", "warning", "the same parameter of repeated blocks is in different groups", _MG),
    Rule("PML110", "sharded-too-early", "error", "parameters are already flattened or emptied by sharding", ("model",)),
    Rule("PML201", "embedding-in-muon", "error", "an embedding is in a Muon group", _MG),
    Rule("PML202", "head-in-muon", "error", "an output head is in a Muon group", _MG),
    Rule("PML203", "tied-in-muon", "error", "a tensor shared by embedding and head is in a Muon group", _MG),
    Rule(
        "PML204",
        "vector-in-muon",
        "error",
        "a tensor that is 1-D or less in effect is in a Muon group",
        _MG,
    ),
    Rule("PML205", "position-in-muon", "error", "a position table, relative bias or token is in a Muon group", _MG),
    Rule("PML206", "elementwise-in-muon", "error", "a tensor that is never a matmul operand is in a Muon group", _MG),
    Rule("PML207", "depthwise-in-muon", "warning", "a depthwise or grouped convolution is in a Muon group", _MG),
    Rule(
        "PML208",
        "ndim-not-accepted",
        "error",
        "the optimizer refuses tensors of so many dimensions, or complex ones",
        _MGP,
    ),
    Rule("PML209", "stack-flattened", "error", "an expert stack is in an optimizer that flattens it", _MGP),
    Rule("PML210", "conv-batched", "warning", "a convolution is in an optimizer that batches it", _MGP),
    Rule("PML211", "input-projection-in-muon", "warning", "the first layer on continuous input is in Muon", _MG),
    Rule("PML212", "fused-matrix", "warning", "a fused matrix is orthogonalised as one", _MG),
    Rule("PML213", "contested-role", "note", "sources disagree on where this role belongs", _MG),
    Rule("PML214", "hidden-matrix-not-in-muon", "warning", "a hidden matrix is left to Adam", _MG),
    Rule(
        "PML215",
        "transposed-layout",
        "warning",
        "stored transposed: its lr scale takes the wrong axis",
        _MGP,
    ),
    Rule("PML216", "role-is-a-guess", "note", "only a name speaks for this role", ("model",)),
    Rule("PML301", "missing-flag", "error", "a group lacks the key that says which half updates it", _SP),
    Rule("PML302", "unknown-key", "error", "a group has a key that the optimizer rejects or ignores", _SP),
    Rule("PML303", "lr-scale", "warning", "a learning rate is far from what this implementation is made for", _SP),
    Rule("PML308", "wrong-package", "error", "a package that is not the optimizer it is taken for", _SP),
    Rule("PML401", "decay-not-monotone", "error", "layer-wise learning rates do not rise with depth", _MG),
    Rule("PML402", "wrong-layer", "warning", "a parameter has the learning rate of another layer than its own", _MG),
    Rule("PML403", "head-scaled-down", "warning", "layer-wise learning rates do not end with the head's", _MG),
    Rule("PML501", "partition-hole", "error", "the groups provably miss some parameter", _S, "unsafe"),
    Rule("PML502", "partition-overlap", "error", "the groups provably share some parameter", _S, "unsafe"),
    Rule("PML503", "iterator-consumed-twice", "error", "an iterator of parameters is walked twice", _S, "safe"),
    Rule("PML504", "list-never-used", "error", "a list of parameters is given to no optimizer", _S),
    Rule("PML505", "unreachable-branch", "warning", "a branch that can never be taken", _S),
    Rule("PML506", "dead-pattern", "warning", "a test on names that matches no parameter", _SM),
    Rule("PML507", "ambiguous-needle", "warning", "a test on names that takes out what it should not", _SM),
    Rule("PML508", "whole-model-to-muon", "error", "the whole model is given to Muon", _S),
    Rule("PML509", "ndim-only-split", "error", "Muon is chosen by the number of dimensions alone", _S, "unsafe"),
    Rule("PML510", "case-mismatch", "warning", "a capital letter is looked for in lower-case text", _S, "unsafe"),
    Rule("PML511", "wrapped-name", "note", "a test on names that a wrapper's prefix breaks", _S),
    Rule("PML512", "unrelated-value", "warning", "an option is given the value of another setting", _S),
    Rule("PML513", "optimizer-not-stepped", "warning", "one of several optimizers is left out somewhere", _S),
    Rule("PML514", "order-of-tests", "warning", "the test of dimensions comes after one that lets vectors in", _S),
    Rule("PML515", "not-provable", "note", "the groups are neither provable nor checked", _S, "unsafe"),
    Rule("PML516", "count-only-check", "note", "the script's check compares numbers of parameters only", _S, "unsafe"),
    Rule("PML517", "correct-only-because-tied", "note", "the head stays out of Muon only because it is tied", _SM),
    Rule("PML601", "lr-not-validated", "note", "a negative learning rate is accepted", _S),
    Rule("PML602", "no-closure", "warning", "step() takes no closure, or never calls it", _S),
    Rule("PML603", "step-returns-nothing", "note", "step() drops the loss that the closure returns", _S),
    Rule("PML604", "closure-without-grad", "error", "the closure is called where gradients are off", _S),
    Rule("PML605", "no-no-grad", "warning", "step() updates through .data instead of under no_grad", _S),
    Rule("PML606", "empty-defaults", "warning", "Optimizer.__init__ is given no defaults", _S),
    Rule("PML607", "deprecated-signature", "warning", "a tensor operation takes its factor first", _S, "safe"),
    Rule("PML608", "grad-none", "warning", "a gradient is used that may be None", _S),
    Rule("PML609", "state-outside-state", "warning", "per-parameter state is kept outside self.state", _S),
    Rule("PML610", "no-super-init", "error", "Optimizer.__init__ is never called", _S),
    Rule("PML611", "consumes-params", "warning", "params is walked before Optimizer.__init__ has it", _S),
    Rule("PML612", "sparse-not-refused", "note", "sparse gradients are neither handled nor refused", _S, on=False),
    Rule("PML613", "grad-mutated", "note", "step() changes the gradient in place", _S),
    Rule("PML614", "group-option-bypassed", "warning", "step() takes an option from elsewhere than its groups", _S),
)


@cache
def by_code() -> dict[str, Rule]:
    return {r.code: r for r in RULES}


def rule(code: str) -> Rule:
    """The rule of a code or a name, in any case.

    Raises:
        ParamlintError: there is none; with the nearest one.
    """
    for r in RULES:
        if code.upper() == r.code or code.lower() == r.name:
            return r
    from difflib import get_close_matches

    near = get_close_matches(code.upper(), by_code(), 1) or get_close_matches(code.lower(), [r.name for r in RULES], 1)
    raise ParamlintError(
        f"no rule {code!r}", hint=f"did you mean {near[0]}?" if near else "`paramlint rules` lists them"
    )


def matches(code: str, selectors: Iterable[str]) -> str | None:
    """The longest of the selectors (codes, prefixes of codes, names, or ALL) that takes in this code."""
    found = [s for s in selectors if s.upper() == "ALL" or code.startswith(s.upper()) or by_code()[code].name == s]
    return max(found, key=lambda s: 0 if s.upper() == "ALL" else len(s), default=None)


def check_selectors(selectors: Iterable[str], where: str) -> None:
    """Every selector takes in at least one rule.

    Raises:
        ParamlintError: one does not; with the nearest code.
    """
    for s in selectors:
        if s.upper() != "ALL" and not any(r.code.startswith(s.upper()) or r.name == s for r in RULES):
            from difflib import get_close_matches

            near = get_close_matches(s.upper(), by_code(), 1) or get_close_matches(s, [r.name for r in RULES], 1)
            raise ParamlintError(
                f"no rule matches {s!r}",
                where=where,
                hint=f"did you mean {near[0]!r}?" if near else "`paramlint rules` lists them",
            )


def rules_dir() -> Path:
    """The folder of rule pages and knowledge: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    shipped = package / "rules"
    return shipped if shipped.is_dir() else package.parent / "rules"


def page(code: str) -> str:
    """The Markdown page of a rule."""
    return (rules_dir() / f"{code}.md").read_text(encoding="utf-8")
