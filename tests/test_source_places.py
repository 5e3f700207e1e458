"""Findings on a script's groups are at the test that let a parameter through, and say why it did."""

from __future__ import annotations

from dataclasses import replace

from source_terms import (
    ADAMW,
    KELLER,
    MUON,
    build,
    each,
    findings,
    group,
    has,
    makes,
    matrix,
    names,
    only,
    parameters,
    value_of,
)

from paramlint.source.script import Construction
from paramlint.source.terms import (
    Item,
    Span,
    both,
    negated,
)
from paramlint.source.terms import Test as Condition

# Where, and why


SCRIPT = """\
for name, p in model.named_parameters():
    if "embed" not in name and p.ndim >= 2:
        muon.append(p)
    elif "scale" in name:
        gains.append(p)
"""


def span(text: str) -> Span:
    start = SCRIPT.index(text)
    line = SCRIPT.count("\n", 0, start) + 1
    column = start - SCRIPT.rfind("\n", 0, start)
    return Span("train.py", line, column, line, column + len(text))


def through() -> Construction:
    b = each()
    first, second = negated(has("embed", b)), matrix(b)
    item = Item(
        value_of(b),
        (b,),
        both(first, second),
        (Condition(first, span('"embed" not in name')), Condition(second, span("p.ndim >= 2"))),
        span("muon.append(p)"),
    )
    return makes(MUON, group(item))


def test_a_finding_is_at_the_test_that_let_the_parameter_in() -> None:
    rest = makes(ADAMW, group(parameters(lambda b: negated(matrix(b)))))
    found = findings(build(through(), rest), "gpt", sources={"train.py": SCRIPT})
    head = next(f for f in found if f.code == "PML203")
    assert (head.location.path, head.location.line, head.location.column) == ("train.py", 2, 8)
    assert head.location.label == "configure"
    assert head.details[0] == "`\"embed\" not in name`: 'embed' does not match `wte.weight`"


def test_a_test_of_dimensions_is_to_blame_where_no_name_was() -> None:
    b = each()
    item = Item(value_of(b), (b,), matrix(b), (Condition(matrix(b), span("p.ndim >= 2")),), span("muon.append(p)"))
    (use,) = only(build(makes(MUON, group(item))), "gpt", sources={"train.py": SCRIPT}).optimizers
    first = use.groups[0].members[0]
    assert (first.where.line, first.where.column) == (2, 32)
    assert first.let == "`p.ndim >= 2`: `wte.weight` has 2 dimensions"


def test_without_a_test_what_puts_it_there_is_the_place() -> None:
    item = replace(parameters(), span=span("muon.append(p)"))
    (use,) = only(build(makes(MUON, group(item))), "gpt", sources={"train.py": SCRIPT}).optimizers
    assert use.groups[0].members[0].where.line == 3
    assert use.groups[0].members[0].let == "put there by `muon.append(p)`"
    (bare,) = only(build(makes(MUON, group(item))), "gpt").optimizers
    assert bare.groups[0].members[0].let == ""


def test_the_needle_that_was_meant_for_the_role_is_to_blame() -> None:
    b = each()
    embed, head = negated(has("embed", b)), negated(has("scale", b))
    tests = (Condition(head, span('"scale" in name')), Condition(embed, span('"embed" not in name')))
    item = Item(value_of(b), (b,), both(embed, head, matrix(b)), tests, span("muon.append(p)"))
    (use,) = only(build(makes(MUON, group(item))), "gpt", sources={"train.py": SCRIPT}).optimizers
    places = {m.name: m.where.line for m in use.groups[0].members}
    assert places["wte.weight"] == 2  # 'embed', although 'scale' is tested before
    assert places["h.0.attn.q.weight"] == 4


def test_parameters_that_came_through_different_tests_are_different_findings() -> None:
    b, c = each(), each()
    norms = Item(value_of(b), (b,), has("ln_1", b), (Condition(has("ln_1", b), span('"scale" in name')),), span("muon"))
    biases = Item(value_of(c), (c,), has("ln_2", c), (Condition(has("ln_2", c), span("p.ndim >= 2")),), span("muon"))
    rest = makes(ADAMW, group(parameters(lambda p: negated(names(p, "ln_1", "ln_2")))))
    muon = makes(replace(KELLER, profile="keller-muon"), group(norms, biases))
    found = [f for f in findings(build(muon, rest), "gpt", sources={"train.py": SCRIPT}) if f.code == "PML204"]
    lines = {(f.location.line, f.parameters[0].split(".")[2]) for f in found}
    assert lines == {(4, "ln_1"), (2, "ln_2")}
    reasons = sorted(f.details[0] for f in found if f.location.line == 4)
    assert reasons == [f"`\"scale\" in name`: 'ln_1' matches `h.0.ln_1.{kind}`" for kind in ("bias", "weight")]


def test_a_group_s_own_findings_are_where_it_is_made() -> None:
    empty = replace(group(parameters(lambda b: has("nothing", b))), span=span("gains.append(p)"))
    (found,) = findings(build(makes(ADAMW, group(parameters()), empty)), "gpt")
    assert (found.code, found.location.line) == ("PML105", 5)
