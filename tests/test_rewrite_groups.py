"""Fixes of conditions, loops and lists: the groups of the fixed script are a partition, or its own check fails."""

from __future__ import annotations

import pytest
from test_rewrite import assert_partition, dedented, fixed, refused

# add-else, complement


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "for p in ps:\n    «if a:\n        f(p)  # 1\n    elif b: # 2\n        g(p)»\n        # 3\n\n# 4\nz()\n",
            "for p in ps:\n    if a:\n        f(p)  # 1\n    elif b: # 2\n        g(p)\n        # 3\n"
            "    else:\n        adam.append(p)\n\n# 4\nz()\n",
        ),
        ("«if a: x.append(p)»  # one\nz()\n", "if a: x.append(p)  # one\nelse: adam.append(p)\nz()\n"),
        (
            "«if a:\n\tfor p in q:\n\t\tif b:\n\t\t\tpass»\nz()\n",
            "if a:\n\tfor p in q:\n\t\tif b:\n\t\t\tpass\nelse:\n\tadam.append(p)\nz()\n",
        ),
        (
            "«if a:\n    if b:\n        pass\n    else:\n        pass»\n",
            "if a:\n    if b:\n        pass\n    else:\n        pass\nelse:\n    adam.append(p)\n",
        ),
    ],
)
def test_a_chain_gets_an_else(before: str, after: str):
    assert fixed("add-else", before, statement="adam.append(p)") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "«if a:\n    f(p)\nelif b(p):  # 1\n    g(p)»  # 2\nz()\n",
            "if a:\n    f(p)\nelse:  # 1\n    g(p)  # 2\nz()\n",
        ),
        ("«if a: f(p)\nelif b: g(p)»\n", "if a: f(p)\nelse: g(p)\n"),
        (
            "«if a:\n    f(p)\nelif (  # 1\n    b\n):\n    g(p)»\n",
            "if a:\n    f(p)\nelif (  # 1\n    b\n):\n    g(p)\nelse:\n    g(p)\n",
        ),
        ("«if a:\n    g(p)»\n", "if a:\n    g(p)\nelse:\n    g(p)\n"),
    ],
)
def test_an_elif_that_does_the_same_becomes_the_else(before: str, after: str):
    assert fixed("add-else", before, statement="g(p)") == after


def test_a_chain_with_an_else_stays():
    text = "«if a:\n    b()\nelif c:\n    d()\nelse:\n    e()»\n"
    assert refused("add-else", text, statement="x()") == "it has an else already"


def test_an_else_makes_a_partition():
    text = dedented(
        """
        def split(model):
            muon, adam = [], []
            for name, p in model.named_parameters():
                «if p.ndim == 2:
                    muon.append(p)
                elif p.ndim < 2:
                    adam.append(p)»  # the others
            return muon, adam
        """
    )
    with pytest.raises(AssertionError):
        assert_partition(text.replace("«", "").replace("»", ""))
    assert_partition(fixed("add-else", text, statement="adam.append(p)"))


@pytest.mark.parametrize(
    ("condition", "opposite"),
    [
        ("p.ndim >= 2", "p.ndim < 2"),
        ("p.ndim == 2", "p.ndim != 2"),
        ("p is not q", "p is q"),
        ("'a' not in n", "'a' in n"),
        ("not f(p)", "f(p)"),
        ("f(p)", "not f(p)"),
        ("p.ndim >= 2 and 'a' not in n", "p.ndim < 2 or 'a' in n"),
        ("p.ndim >= 2 and ('a' in n or f(n))", "p.ndim < 2 or 'a' not in n and not f(n)"),
        ("a or (b and not c)", "not a and (not b or c)"),
        ("not (a and b)", "a and b"),
        ("1 < p.ndim < 3", "not (1 < p.ndim < 3)"),
        ("a if b else c", "not (a if b else c)"),
        ("p.ndim == 2 and p.requires_grad", "p.requires_grad and p.ndim != 2"),
        ("p.requires_grad and a and b", "p.requires_grad and (not a or not b)"),
    ],
)
def test_the_complement_of_a_condition(condition: str, opposite: str):
    assert (
        fixed("complement", "x = [p for n, p in ps if «x»]\n", condition=condition)
        == f"x = [p for n, p in ps if {opposite}]\n"
    )
    assert refused("complement", f"x = [p for n, p in ps if «{opposite}»]\n", condition=condition) == (
        "it is the complement already"
    )


def test_a_complement_fits_where_it_stands():
    assert fixed("complement", "x = a and «b»\n", condition="c and d") == "x = a and (not c or not d)\n"
    assert fixed("complement", "if («b»): pass\n", condition="c and d") == "if (not c or not d): pass\n"


def test_a_complement_under_other_names_makes_a_partition():
    text = dedented(
        """
        def split(model):
            muon = [p for n, p in model.named_parameters() if p.ndim >= 2 and "lookup" not in n]
            adam = [
                param for name, param in model.named_parameters()
                if «param.ndim < 2»  # vectors
            ]
            return muon, adam
        """
    )
    result = fixed("complement", text, condition='p.ndim >= 2 and "lookup" not in n', names={"p": "param", "n": "name"})
    assert 'if param.ndim < 2 or "lookup" in name  # vectors' in result
    assert_partition(result)


# only-trainable, only-matrices


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("o = A(«model.parameters()», lr=1)", "o = A([p for p in model.parameters() if p.requires_grad], lr=1)"),
        ("o = A(«list(m.parameters())»)", "o = A([p for p in m.parameters() if p.requires_grad])"),
        ("o = A(*«ps»)", "o = A(*[p for p in ps if p.requires_grad])"),
        ("o = «list(m.named_parameters())»", "o = [(n, p) for n, p in m.named_parameters() if p.requires_grad]"),
        ("o = «a if b else c»", "o = [p for p in (a if b else c) if p.requires_grad]"),
        ("o = «[p for p in ps]»", "o = [p for p in ps if p.requires_grad]"),
        ("o = f(«p for p in ps»)", "o = f(p for p in ps if p.requires_grad)"),
        ("o = «[p for p in ps if a or b]»", "o = [p for p in ps if p.requires_grad and (a or b)]"),
        ("o = «[p for p in ps if a if b]»", "o = [p for p in ps if p.requires_grad and a if b]"),
        ("o = «{n: p for n, p in ps}»", "o = {n: p for n, p in ps if p.requires_grad}"),
        ("o = «[p for m in ms for p in m.x()]»", "o = [p for m in ms for p in m.x() if p.requires_grad]"),
        (
            "o = «[\n    p,  # c\n    q for p, q in x\n]»".replace("p,  # c\n    q for", "p  # c\n    for"),
            "o = [\n    p  # c\n    for p, q in x if p.requires_grad\n]",
        ),
        ("«for p in ps:\n\tf(p)»", "for p in ps:\n\tif not p.requires_grad:\n\t\tcontinue\n\tf(p)"),
        (
            "«for n, p in (\n    a,\n    b,\n): f(p); g()»  # c",
            "for n, p in (\n    a,\n    b,\n):\n    if not p.requires_grad:\n        continue\n    f(p); g()  # c",
        ),
        (
            "async def f():\n  «async for p in ps:\n    # c\n    f(p)»",
            "async def f():\n  async for p in ps:\n    if not p.requires_grad:\n      continue\n    # c\n    f(p)",
        ),
    ],
)
def test_frozen_parameters_are_left_out(before: str, after: str):
    assert fixed("only-trainable", before + "\n") == after + "\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = «[p for p in ps if p.requires_grad and a]»\n", "it has that condition already"),
        ("«for p in ps:\n    if p.requires_grad:\n        f(p)»\n", "it looks at requires_grad already"),
        ("«for q in ps:\n    f(q)»\n", "the loop binds no `p`"),
        ("x = «[q for q in ps]»\n", "the comprehension binds no `p`"),
        ("x = «[a, b]»\n", "its parameters are not listed here"),
    ],
)
def test_what_need_not_leave_frozen_parameters_out(text: str, reason: str):
    assert refused("only-trainable", text) == reason


def test_trainable_parameters_are_partitioned():
    text = dedented(
        """
        def split(model):
            muon, adam = [], []
            «for n, p in model.named_parameters():
                if p.ndim >= 2: muon.append(p)
                else: adam.append(p)»
            return muon, adam
        """
    )
    result = fixed("only-trainable", text)
    assert "frozen.weight" not in assert_partition(result, trainable=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if «'x' in n»: f(p)", "if 'x' in n and p.ndim >= 2: f(p)"),
        ("if «a or b»: f(p)", "if (a or b) and p.ndim >= 2: f(p)"),
        ("if «(a or b)»: f(p)", "if (a or b) and p.ndim >= 2: f(p)"),
        ("if not «a»: f(p)", "if not (a and p.ndim >= 2): f(p)"),
        ("if (\n    «a\n    and b»  # c\n): f(p)", "if (\n    a\n    and b and p.ndim >= 2  # c\n): f(p)"),
        ("if (\n    «a\n    and b»\n): f(p)", "if (\n    a\n    and b\n    and p.ndim >= 2\n): f(p)"),
        ("x = [p for p in ps if «a»]", "x = [p for p in ps if a and p.ndim >= 2]"),
        ("x.extend(«m.parameters()»)", "x.extend([p for p in m.parameters() if p.ndim >= 2])"),
        ("x += «list(m.parameters())»", "x += [p for p in m.parameters() if p.ndim >= 2]"),
        ("x.extend(«p for p in m.x()»)", "x.extend(p for p in m.x() if p.ndim >= 2)"),
    ],
)
def test_only_matrices_are_taken(before: str, after: str):
    assert fixed("only-matrices", before + "\n") == after + "\n"


def test_matrices_are_matrices():
    assert refused("only-matrices", "if «a and p.dim() > 1»: f(p)\n") == "it looks at the number of dimensions already"


def test_matrices_here_and_the_others_there():
    text = dedented(
        """
        def split(model):
            muon = [p for n, p in model.named_parameters() if «"blocks" in n»]  # hidden
            adam = [p for n, p in model.named_parameters() if «"blocks" not in n»]
            return muon, adam
        """
    )
    result = fixed("only-matrices", text)
    assert sorted(assert_partition(result)) == [f"blocks.{i}.{k}.weight" for i in range(2) for k in (0, 2)]


def test_matrices_of_a_module_and_the_others_behind():
    text = dedented(
        """
        def split(model):
            muon, adam = [], [*model.lookup.parameters(), *model.lm_head.parameters(), *model.frozen.parameters()]
            for m in (*model.blocks, model.conv):
                muon.extend(«m.parameters()»)  # all
            return muon, adam
        """
    )
    result = fixed("only-matrices", text, rest="adam")
    assert "        adam.extend(p for p in m.parameters() if p.ndim < 2)\n" in result
    muon = assert_partition(result)
    assert muon and not any(n.endswith("bias") for n in muon)


# insert-check

CHECKED = """
def split(model, twice=False, never=False):
    muon = [p for p in model.parameters() if p.ndim >= 2]
    «adam = [p for p in model.parameters() if p.ndim < 2]»  # rest
    return muon, adam
"""


def test_a_check_is_put_behind_the_groups():
    result = fixed("insert-check", CHECKED, model="model", lists=("muon", "adam"))
    added = """
    grouped = [id(p) for group in (muon, adam) for p in group]
    assert len(grouped) == len(set(grouped)), "a parameter is in two groups"
    assert {id(p) for p in model.parameters() if p.requires_grad} <= set(grouped), (
        "a parameter is in no group"
    )
"""
    assert result == CHECKED.replace("«", "").replace("»", "").replace("# rest\n", "# rest" + added)
    assert_partition(result)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("p.ndim < 2]", "p.ndim < 3]", "a parameter is in two groups"),
        ("p.ndim < 2]", "p.ndim < 1]", "a parameter is in no group"),
    ],
)
def test_the_check_fails_where_it_should(old: str, new: str, message: str):
    result = fixed("insert-check", CHECKED.replace(old, new), model="model", lists=("muon", "adam"))
    with pytest.raises(AssertionError, match=message):
        assert_partition(result)


def test_the_check_lets_frozen_parameters_be_in_a_group_or_not():
    result = fixed(
        "insert-check",
        CHECKED.replace("p.ndim >= 2", "p.ndim >= 2 and p.requires_grad"),
        model="model",
        lists=("muon", "adam"),
    )
    assert "frozen.weight" not in assert_partition(result, trainable=True)


def test_a_check_of_groups():
    text = dedented(
        """
        def split(model):
            grouped = None
            «param_groups = [
                {"params": [p for p in model.parameters() if p.ndim >= 2]},  # one
                {"params": [p for p in model.parameters() if p.ndim < 2]},
            ]»
            return [g["params"] for g in param_groups]
        """
    )
    result = fixed("insert-check", text, model="model", groups="param_groups")
    assert '    grouped_ids = [id(p) for group in param_groups for p in group["params"]]\n' in result
    assert_partition(result)


@pytest.mark.parametrize(
    ("before", "rows"),
    [
        (
            "«for p in ps:\n    a.append(p)»\n    # of it\n# next\nx()\n",
            ["    # of it", "grouped = [id(p) for p in a]"],
        ),
        ("if x:\n\t«a = list(ps)»\nx()\n", ["\ta = list(ps)", "\tgrouped = [id(p) for p in a]"]),
    ],
)
def test_where_the_check_goes(before: str, rows: list[str]):
    result = fixed("insert-check", before, model="model", lists="a").splitlines()
    assert result[result.index(rows[0]) + 1] == rows[1]


@pytest.mark.parametrize("text", ["if x: «a = list(ps)»\n", "«a = list(ps)»; return_it(a)\n"])
def test_no_check_in_a_line_with_more(text: str):
    assert refused("insert-check", text, model="m", lists="a") == "the statement has no line of its own"


def test_a_check_of_several_models_and_optimizers():
    text = "«opt = A(ps)»\n"
    result = fixed("insert-check", text, model=("gen", "disc"), groups=("opt_g.param_groups", "opt_d.param_groups"))
    assert result == dedented(
        """
        opt = A(ps)
        grouped = [
            id(p)
            for opt in (opt_g, opt_d)
            for group in opt.param_groups
            for p in group["params"]
        ]
        assert len(grouped) == len(set(grouped)), "a parameter is in two groups"
        assert {
            id(p) for m in (gen, disc) for p in m.parameters() if p.requires_grad
        } <= set(grouped), "a parameter is in no group"
        """
    )


def test_a_check_that_is_there_is_enough():
    text = "«a = list(ps)»\nseen = [id(p) for p in a]\n"
    assert refused("insert-check", text, model="model", lists="a") == "it is checked already"
