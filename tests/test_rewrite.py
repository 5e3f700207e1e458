"""`rewrite.apply`: where a fix is done, what stays as it is, and what is handed back with a reason."""

from __future__ import annotations

import ast
import io
import textwrap
import tokenize
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paramlint.finding import Fix
from paramlint.rewrite import KINDS, Applied, apply


def marked(text: str) -> tuple[str, list[tuple[tuple[int, int], tuple[int, int]]]]:
    """A text without its marks, and the places between each « and »."""
    plain, found, open = "", [], []
    for character in text:
        place = (plain.count("\n") + 1, len(plain) - plain.rfind("\n"))
        if character == "«":
            open.append(len(found))
            found.append((place, place))
        elif character == "»":
            i = open.pop()
            found[i] = (found[i][0], place)
        else:
            plain += character
    return plain, found


def fix(kind: str, source: str, **data: Any) -> tuple[str, Fix]:
    """A script, and a fix of the first place that is marked in it; the others are its `also`."""
    plain, (first, *others) = marked(source)
    if others:
        data["also"] = tuple(others)
    return plain, Fix(kind, *first, safe=True, title="", data=data)


def fixed(kind: str, source: str, **data: Any) -> str:
    """The script after the fix, which is to be done, and to be done only once."""
    plain, one = fix(kind, source, **data)
    done = apply(plain, [one])
    assert done.applied == (one,), done.skipped
    if kind != "remove-comment":
        assert comments(done.text) == comments(plain)
    assert apply(done.text, [one]).text == done.text
    return done.text


def refused(kind: str, source: str, **data: Any) -> str:
    """Why the fix is not done."""
    plain, one = fix(kind, source, **data)
    done = apply(plain, [one])
    assert done.text == plain and done.applied == ()
    ((skipped, reason),) = done.skipped
    assert skipped is one
    return reason


class Small(nn.Module):
    """An embedding whose name says nothing, a head, a convolution, a norm and a frozen matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup = nn.Embedding(11, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 4)) for _ in range(2))
        self.conv = nn.Conv1d(4, 4, 3)
        self.frozen = nn.Linear(4, 4, bias=False).requires_grad_(False)
        self.lm_head = nn.Linear(4, 11)


def groups(source: str, model: nn.Module) -> tuple[list[str], list[str]]:
    """The names that a script's `split(model)` gives to Muon and to the other."""
    scope: dict[str, Any] = {}
    exec(compile(source, "train.py", "exec"), scope)
    names = {id(p): n for n, p in model.named_parameters()}
    muon, adam = scope["split"](model)
    return [names[id(p)] for p in muon], [names[id(p)] for p in adam]


def assert_partition(source: str, trainable: bool = False) -> list[str]:
    """That no parameter is in both lists or in none; the names that go to Muon."""
    model = Small()
    muon, adam = groups(source, model)
    names = [n for n, p in model.named_parameters() if p.requires_grad or not trainable]
    assert sorted(muon + adam) == sorted(names)
    return muon


def dedented(text: str) -> str:
    return textwrap.dedent(text).removeprefix("\n")


def comments(text: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.COMMENT)


def test_only_what_is_fixed_changes():
    text = "#!/usr/bin/env python\nx = { 'a' :1 }  # odd\n\n\n\nit=(model . parameters( ))# tight\ny = [ 1,2 ]\n"
    start = (6, 5)
    one = Fix("wrap-list", start, (6, 26), True, "", {})
    assert apply(text, [one]).text == text.replace("model . parameters( )", "list(model . parameters( ))")


def test_columns_count_characters():
    assert fixed("wrap-list", 'é, 日 = "ü", «m.parameters()»\n') == 'é, 日 = "ü", list(m.parameters())\n'


def test_brackets_may_be_in_the_place_or_not():
    assert fixed("wrap-list", "it = («m.parameters()»)\n") == "it = (list(m.parameters()))\n"
    assert fixed("wrap-list", "it = «(m.parameters())»\n") == "it = (list(m.parameters()))\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("unit", ["  ", "    ", "\t"])
def test_line_ends_and_indentation_are_those_of_the_script(newline: str, unit: str):
    text = "def f(m):\n\tfor p in m:\n\t\tif p.ndim:\n\t\t\ta.append(p)\n".replace("\t", unit).replace("\n", newline)
    column = 2 * len(unit) + 1
    one = Fix("add-else", (3, column), (4, 3 * len(unit) + 12), False, "", {"statement": "b.append(p)"})
    result = apply(text, [one]).text
    added = "\t\telse:\n\t\t\tb.append(p)\n".replace("\t", unit).replace("\n", newline)
    assert result == text + added


def test_a_script_without_a_last_line_end():
    assert fixed("add-else", "«if a:\n    b()»", statement="c()") == "if a:\n    b()\nelse:\n    c()"
    assert fixed("remove-comment", "a = 1\n«# x»") == "a = 1"


def test_a_byte_order_mark_stays():
    one = Fix("wrap-list", (1, 5), (1, 11), True, "", {})
    assert apply("\ufeffx = m.it()\n", [one]).text == "\ufeffx = list(m.it())\n"


def test_several_fixes_at_once():
    text, (one, two) = marked("a = «m.parameters()»  # one\nb = «set(ps)»  # two\n")
    fixes = [Fix("ordered-set", *two, True, "", {}), Fix("wrap-list", *one, True, "", {})]
    done = apply(text, fixes)
    assert done == Applied("a = list(m.parameters())  # one\nb = dict.fromkeys(ps)  # two\n", tuple(fixes), ())


def test_of_two_that_touch_the_first_is_done():
    text, (outer, inner) = marked("«f(«m.parameters()»)»\n")
    one = Fix("replace-text", *outer, True, "", {"text": "g()"})
    two = Fix("wrap-list", *inner, True, "", {})
    done = apply(text, [one, two])
    assert done.text == "g()\n"
    assert done.skipped == ((two, "it touches another fix"),)
    assert apply(text, [two, one]).text == "f(list(m.parameters()))\n"


def test_one_import_for_two_fixes():
    text, places = marked(
        "def f(model):\n    return [p for p in model.parameters() if «p.ndim == 2»]\n"
        "def g(model):\n    return [p for p in model.parameters() if «p.ndim == 2»]\n"
    )
    fixes = [Fix("types-and-identity", *one, False, "", {"model": "model"}) for one in places]
    done = apply(text, fixes)
    assert len(done.applied) == 2
    assert done.text.count("from torch import nn\n") == 1
    assert done.text.startswith("from torch import nn\n\n\ndef f(model):\n")


@pytest.mark.parametrize(
    ("start", "end"), [((9, 1), (9, 2)), ((1, 1), (1, 99)), ((1, 3), (1, 1)), ((1, 1), (1, 3)), ((0, 0), (0, 0))]
)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_place_where_nothing_stands_is_no_crash(kind: str, start: tuple[int, int], end: tuple[int, int]):
    data = {"model": "m", "statement": "x()", "condition": "a", "text": "y", "lists": ("a",)}
    done = apply("value = 1\n", [Fix(kind, start, end, True, "", data)])
    assert done.text == "value = 1\n"
    assert len(done.skipped) == 1 and done.skipped[0][1]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fix_that_does_not_say_enough_is_handed_back(kind: str):
    done = apply("x = 1\n", [Fix(kind, (1, 1), (1, 6), True, "", {"also": 3, "parameter": 2, "lists": 4, "keep": 1})])
    assert done.text == "x = 1\n" and len(done.skipped) == 1


def test_the_same_fix_of_two_findings_is_done_once():
    text, one = fix("wrap-list", "x = «m.it()»\n")
    _, other = fix("wrap-list", "x = «m.it()»\n")
    assert apply(text, [one, other]) == Applied("x = list(m.it())\n", (one, other), ())


def test_what_no_longer_stands_there_is_left():
    assert refused("wrap-list", "x = «m.it()»\n", old="m.parameters()") == "something else stands there"
    assert refused("no-such", "x = «1»\n") == "there is no fix of the kind 'no-such'"


def test_a_script_that_does_not_parse():
    one = Fix("wrap-list", (1, 1), (1, 2), True, "", {})
    assert apply("x = (\n", [one]) == Applied("x = (\n", (), ((one, "the file does not parse"),))


def test_a_fix_whose_result_would_not_parse_is_left_and_the_others_are_done():
    text, (one, two) = marked("x = «1»\ny = «m.it()»\n")
    bad = Fix("replace-text", *one, True, "", {"text": ")"})
    good = Fix("wrap-list", *two, True, "", {})
    assert apply(text, [bad, good]) == Applied(
        "x = 1\ny = list(m.it())\n", (good,), ((bad, "the result would not parse"),)
    )


def test_a_comment_is_never_lost():
    text = "x = «f(\n    1,  # why\n)»\n"
    assert refused("replace-text", text, text="g()") == "a comment would be lost"
    assert "# why" in fixed("replace-text", text, text="g(  # why\n)")


# any mixture of fixes

_PIECES = [
    ("wrap-list", "it = «model.named_parameters()»", {}),
    ("wrap-list", "«def walk(ps):\n    return [p for p in ps]»", {"parameter": "ps"}),
    ("ordered-set", "kept = list(«set(model.parameters())»)", {}),
    ("ordered-set", "kept = list(«{p for p in model.parameters()}»)", {}),
    ("deprecated-signature", "«buf.add_(0.5, grad)»", {}),
    ("remove-comment", "z = 1  «# paramlint: ignore»", {}),
    ("types-and-identity", 'm = [p for n, p in model.named_parameters() if «"embed" not in n»]', {"model": "model"}),
    (
        "types-and-identity",
        "for p in model.parameters():\n    if «p.ndim == 2»:\n        a.append(p)",
        {"model": "model"},
    ),
    ("add-else", "«if p.ndim == 2:\n    a.append(p)»", {"statement": "b.append(p)"}),
    ("complement", "m = [p for p in ps if «p.ndim < 2»]", {"condition": 'p.ndim == 2 and "x" not in n'}),
    ("only-trainable", "m = «[p for p in ps if p.ndim < 2]»", {}),
    ("only-trainable", "«for p in model.parameters():\n    m.append(p)»", {}),
    ("only-matrices", "if «p.is_leaf or p.dense»:\n    m.append(p)", {}),
    ("only-matrices", "m.extend(«block.parameters()»)", {"rest": "a"}),
    ("insert-check", "«m = list(ps)»", {"model": "model", "lists": ("m", "a")}),
    ("replace-text", 'm = «"Embed"» in n.lower()', {"text": '"embed"'}),
]


@given(
    st.lists(st.sampled_from(_PIECES), min_size=1, max_size=5),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["    ", "\t", "  "]),
    st.integers(0, 2),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_mixture_keeps_comments_parses_and_settles(
    pieces: list[Any], newline: str, unit: str, depth: int, remarks: bool
):
    rows = ["model = make()  # ü"] + [unit * i + "if True:" for i in range(depth)]
    for _, piece, _ in pieces:
        rows += [unit * depth + "# before"] if remarks else []
        rows += [
            unit * depth + row.replace("    ", unit) + ("  # on it" if remarks else "") for row in piece.split("\n")
        ]
        rows += [unit * depth + "# behind"] if remarks else []
    text, places = marked("\n".join(rows) + "\n")
    text = text.replace("\n", newline)
    fixes = [
        Fix(kind, *place, True, "", {**data, "old": old(text, place)})
        for (kind, _, data), place in zip(pieces, places, strict=True)
    ]
    done = apply(text, fixes)
    assert {id(f) for f in done.applied} | {id(f) for f, _ in done.skipped} == set(map(id, fixes))
    assert {reason for _, reason in done.skipped} <= {"it touches another fix"}
    ast.parse(done.text)
    expected = comments(text)
    for one in done.applied:
        if one.kind == "remove-comment":
            expected["# paramlint: ignore" + ("  # on it" if remarks else "")] -= 1
            expected["# on it"] += remarks
    assert comments(done.text) == expected
    assert done.text.count("\n") == done.text.count(newline)


@pytest.mark.parametrize(("kind", "piece", "data"), _PIECES)
@pytest.mark.parametrize("around", ["{}\n", "def make(model, a, m):\n    if a:\n        {}\n    return m\n"])
def test_each_fix_is_done_once(kind: str, piece: str, data: dict[str, Any], around: str):
    text = "model = make()\n" + around.format(piece.replace("\n", "\n        " if "        {}" in around else "\n"))
    result = fixed(kind, text, **data)
    ast.parse(result)
    assert result != marked(text)[0]


def old(text: str, place: tuple[tuple[int, int], tuple[int, int]]) -> str:
    rows = text.splitlines(keepends=True)
    (row, column), (last, past) = place
    start = sum(map(len, rows[: row - 1])) + column - 1
    return text[start : sum(map(len, rows[: last - 1])) + past - 1]
