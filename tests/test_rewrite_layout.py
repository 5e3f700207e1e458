"""What a fix makes longer than the script's lines is broken up as formatters do it; fixes of one condition wait."""

from __future__ import annotations

import pytest
from test_rewrite import dedented, fix, fixed

from paramlint.rewrite import apply

WIDE = f"# {'-' * 98}\n"
SET = "not_muon = {id(model.x)}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            """
            def f(model):
                muon = [p for name, p in model.named_parameters() if «p.ndim >= 2 and "ab" in name»]
            """,
            """
            def f(model):
                muon = [
                    p
                    for name, p in model.named_parameters()
                    if p.ndim >= 2 and "ab" in name and id(p) not in not_muon
                ]
            """,
        ),
        (
            """
            def f(model):
                muon = [p for p in model.parameters() if «p.ndim >= 2 and p.d»]  # of all
            """,
            """
            def f(model):
                muon = [
                    p for p in model.parameters() if p.ndim >= 2 and p.d and id(p) not in not_muon
                ]  # of all
            """,
        ),
        (
            """
            def f(model):
            \treturn [
            \t\tdict(params=[p for p in ps if «p.ndim >= 2»], use_muon=True, lr=0.02),
            \t]
            """,
            """
            def f(model):
            \treturn [
            \t\tdict(
            \t\t\tparams=[p for p in ps if p.ndim >= 2 and id(p) not in not_muon],
            \t\t\tuse_muon=True,
            \t\t\tlr=0.02,
            \t\t),
            \t]
            """,
        ),
        (
            """
            def f(model):
                for name, p in model.named_parameters():
                    if «p.ndim >= 2 and p.requires_grad and "embed" not in name»:  # matrices
                        muon.append(p)
            """,
            """
            def f(model):
                for name, p in model.named_parameters():
                    if (
                        p.ndim >= 2
                        and p.requires_grad
                        and "embed" not in name
                        and id(p) not in not_muon
                    ):  # matrices
                        muon.append(p)
            """,
        ),
        (
            """
            def f(model):
                muon.extend(p for p in model.parameters() if «p.ndim >= 2 and p.requires_grad»)
            """,
            """
            def f(model):
                muon.extend(
                    p
                    for p in model.parameters()
                    if p.ndim >= 2 and p.requires_grad and id(p) not in not_muon
                )
            """,
        ),
    ],
    ids=["comprehension", "in one line", "call", "if", "generator"],
)
def test_long_lines_are_broken(before: str, after: str):
    """At 88 columns, where the script has no longer ones."""
    said = {"model": "model", "roles": ("output-head",), "attributes": ("x",), "needles": ()}
    result = fixed("types-and-identity", dedented(before), **said)
    assert [row for row in result.splitlines() if row.strip() != SET] == dedented(after).splitlines()
    wide = fixed("types-and-identity", WIDE + dedented(before), **said)
    assert len(wide.splitlines()) == len(dedented(before).splitlines()) + 2


def test_lines_that_were_as_long_stay():
    text = f"def f(model):\n    a = [p for p in model.parameters() if «p.dense»], {'x' * 120}\n"
    assert len(fixed("only-matrices", text).splitlines()) == 2


def test_fixes_of_one_condition_are_done_one_after_the_other():
    """How tightly each binds hangs on the other: together they would say something else."""
    head = "def f(model, ps):\n    a = [p for p in ps if {}]\n    b = "
    end = "[p for p in ps if {}]"
    said = {"model": "model", "roles": ("output-head",), "attributes": ("x",)}
    text, keep = fix("types-and-identity", (head + end).format("«p.ndim >= 2»", "«p.ndim < 2»") + "\n", **said)
    _, trainable = fix("only-trainable", f"{head.format('p.ndim >= 2')}«{end.format('p.ndim < 2')}»\n")
    done = apply(text, [keep, trainable])
    assert done.applied == (keep,) and done.skipped == ((trainable, "it touches another fix"),)
    assert done.text.endswith("b = [p for p in ps if p.ndim < 2 or id(p) in not_muon]\n")
    *rows, last = done.text.splitlines()
    text, again = fix("only-trainable", "\n".join([*rows, last.replace("[", "«[").replace("]", "]»")]) + "\n")
    assert apply(text, [again]).text.endswith("if p.requires_grad and (p.ndim < 2 or id(p) in not_muon)]\n")
