"""Comments that silence findings, comments that silence nothing, and what takes those out."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from lint_rules import flags
from rule_pages import read as read_page

from paramlint import knowledge
from paramlint.linting import lint_text
from paramlint.registry import RULES, page
from paramlint.rewrite import apply

KNOWN = knowledge.load()
EVERY = frozenset(r.code for r in RULES)


def found(text: str, codes: Collection[str] = EVERY) -> list[tuple[str, int]]:
    """Codes and lines of the findings on a source that says itself what is found in it."""
    findings = lint_text(text, "train.py", KNOWN, codes=codes, rule_sets=(flags,))
    return [(f.code, f.location.line) for f in findings if f.location]


@pytest.mark.parametrize(
    "text",
    [
        'flag("PML607")  # paramlint: ignore[PML607] its old signature is meant',
        'flag("PML607")  # paramlint: ignore[PML6]',
        'flag("PML607"), flag("PML513")  # paramlint: ignore[PML513, PML607]',
        'flag("PML607")  # paramlint: ignore[deprecated-signature]',
        'flag("PML607")  # paramlint: ignore',
        'flag("PML607")  # paramlint: ignore for now',
        'flag("PML607")  #paramlint:ignore[ PML607 ]',
        'flag("PML607")  # type: ignore  # paramlint: ignore[PML607]',
        'flag("PML607")  # paramlint: ignore[PML607]  # type: ignore',
        'flag("PML607")  # noqa: PML607',
        'flag("PML607")  # noqa: E501, PML607',
        'flag("PML607")  # noqa:E501,PML607 an old version of torch',
        'flag("PML607")  # noqa',
        'flag("PML607")  # NOQA',
        '# paramlint: ignore[PML607]\nflag("PML607")',
        '# paramlint: ignore[PML607]\n# as the paper has it\nflag("PML607")',
        'make(  # paramlint: ignore[PML607]\n    1,\n    flag("PML607"),\n)',
        '# paramlint: ignore[PML607]\nmake(\n    1,\n    flag("PML607"),\n)',
        'make(\n    # paramlint: ignore[PML607]\n    flag("PML607"),\n)',
        'if True:\n    # paramlint: ignore[PML607]\n    flag("PML607")',
        '# paramlint: ignore[PML607]\n@flag("PML607")\n@other\ndef f(): ...',
        '# paramlint: ignore[PML607]\n@other\n@flag("PML607")\ndef f(): ...',
        '@other  # paramlint: ignore[PML607]\ndef f(x=flag("PML607")):\n    pass',
        'if (  # paramlint: ignore[PML607]\n    1 and\n    flag("PML607")\n):\n    pass',
        'flag("PML607")\n# paramlint: ignore-file[PML607] generated',
        '"""A script."""\n# paramlint: ignore-file\nflag("PML607")\nflag("PML513")',
        'é = "é"; flag("PML607")  # paramlint: ignore[PML607]',
        'flag("PML607")  # paramlint: ignore[PML607]\r\nx = 1\r\n',
    ],
)
def test_silenced(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        'flag("PML607")  # noqa: E501',
        'flag("PML607"); x = "# paramlint: ignore[PML607]"',
        'x = """\n# paramlint: ignore-file\n"""; flag("PML607")',
        'flag("PML607")\n# about: paramlint ignore',
        'flag("PML607")  # noqard',
        '# noqa\nflag("PML607")',
    ],
)
def test_not_silenced_and_nothing_said_of_the_comment(text: str) -> None:
    assert [code for code, _ in found(text)] == ["PML607"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('flag("PML607")  # paramlint: ignore[PML513]', 1),
        ('# paramlint: ignore[PML607]\n\nflag("PML607")', 1),
        ('x = 1  # paramlint: ignore[PML607]\nflag("PML607")', 1),
        ('def f():  # paramlint: ignore[PML607]\n    flag("PML607")', 1),
        ('# paramlint: ignore[PML607]\ndef f():\n    flag("PML607")', 1),
        ('flag("PML607")  # noqa: PML513', 1),
        ('if x:\n    flag("PML607")\nelse:  # paramlint: ignore[PML607]\n    pass', 3),
    ],
)
def test_elsewhere_or_for_another_rule_it_silences_nothing_and_is_told(text: str, line: int) -> None:
    assert sorted(found(text)) == sorted([("PML002", line), *((c, n) for c, n in found(text) if c == "PML607")])
    assert "PML607" in dict(found(text))


def unused(text: str, codes: Collection[str] = EVERY) -> list[str]:
    findings = lint_text(text, "train.py", KNOWN, codes=codes, rule_sets=(flags,))
    return [f.message for f in findings if f.code == "PML002"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1  # paramlint: ignore[PML607]", "this comment silences nothing"),
        ("x = 1  # paramlint: ignore", "this comment silences nothing"),
        ("# paramlint: ignore-file[PML6]", "this comment silences nothing"),
        ('flag("PML607")  # paramlint: ignore[PML607, PML513]', "PML513 silences nothing here"),
        ("x = 1  # paramlint: ignore[PML6070]", "no rule 'PML6070'; did you mean 'PML607'?"),
        ("x = 1  # paramlint: ignore[depracated-signature]", "no rule 'depracated-signature'; did you mean 'depre"),
        ("x = 1  # paramlint: ignroe[PML607]", "no such comment as 'paramlint: ignroe'; did you mean 'ignore'?"),
        ("x = 1  # paramlint: ignore PML607", "codes stand in brackets: ignore[PML607]"),
        ("x = 1  # paramlint: ignore[PML607", "the bracket is not closed"),
        ("x = 1  # paramlint: ignore[]", "no code is in the brackets"),
    ],
)
def test_what_is_said_of_a_comment_that_silences_nothing(text: str, said: str) -> None:
    (message,) = unused(text)
    assert said in message


def test_what_was_not_looked_for_may_have_its_comment() -> None:
    assert unused("x = 1  # paramlint: ignore[PML607]", EVERY - {"PML607"}) == []
    assert unused("x = 1  # paramlint: ignore[PML201]") == []  # it needs a model
    assert unused("x = 1  # noqa") == []
    assert unused("x = 1  # paramlint: ignore[PML607]", EVERY - {"PML002"}) == []
    assert unused("x = 1  # paramlint: ignore[PML607]\n# paramlint: ignore-file[PML002]") == []
    usual = frozenset(r.code for r in RULES if r.on)
    assert unused("x = 1  # paramlint: ignore[PML612]", usual) == []
    assert unused("x = 1  # paramlint: ignore[PML6]", usual) == ["this comment silences nothing"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1  # paramlint: ignore[PML607]\n", "x = 1\n"),
        ("x = 1  # paramlint: ignore\n", "x = 1\n"),
        ("a = 1\n# paramlint: ignore[PML607] as it was\nx = 1\n", "a = 1\nx = 1\n"),
        (
            'flag("PML607")  # paramlint: ignore[PML607, PML513] old\n',
            'flag("PML607")  # paramlint: ignore[PML607] old\n',
        ),
        ("x = 1  # noqa: E501, PML607\n", "x = 1  # noqa: E501\n"),
        ("x = 1  # noqa: PML607\n", "x = 1\n"),
        ("x = 1  # type: ignore  # paramlint: ignore[PML607]\n", "x = 1  # type: ignore\n"),
        ("x = 1  # paramlint: ignore[PML607]  # type: ignore\n", "x = 1  # type: ignore\n"),
        ("x = 1  # paramlint: ignore[PML607]\r\ny = 2\r\n", "x = 1\r\ny = 2\r\n"),
        ("é = 1  # paramlint: ignore[PML607]", "é = 1"),
        ("# paramlint: ignore-file[PML607]\nx = 1\n", "x = 1\n"),
    ],
)
def test_the_fix_takes_out_what_silences_nothing(before: str, after: str) -> None:
    findings = lint_text(before, "train.py", KNOWN, codes=EVERY, rule_sets=(flags,))
    (fix,) = [f.fix for f in findings if f.fix]
    assert fix.safe
    assert apply(before, [fix]).text == after
    assert unused(after) == []


@pytest.mark.parametrize("text", ["x = 1  # paramlint: ignore[PML9999]", "x = 1  # paramlint: ignroe"])
def test_what_is_misspelt_is_for_its_author_to_mend(text: str) -> None:
    (finding,) = lint_text(text, "train.py", KNOWN, codes=EVERY, rule_sets=(flags,))
    assert finding.fix is None


def test_a_file_that_does_not_parse_can_be_silenced_as_a_whole() -> None:
    assert found("# paramlint: ignore-file[PML001]\ndef f(:\n") == []
    assert found("def f(:\n") == [("PML001", 1)]


@pytest.mark.parametrize("code", ["PML001", "PML002"])
def test_examples_on_the_pages(code: str) -> None:
    fences = read_page(page(code)).fences
    assert {f.good for f in fences} == {True, False}
    for fence in fences:
        said = {
            (f.severity, f.code, f.location.line)
            for f in lint_text(fence.source, "t.py", KNOWN, codes=EVERY, rule_sets=())
            if f.location
        }
        assert said == {(e.severity, e.code, e.line) for e in fence.expected}
