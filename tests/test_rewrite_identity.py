"""Tests by name become tests by module type and identity, and the groups of the fixed script are a partition."""

from __future__ import annotations

import pytest
from test_rewrite import assert_partition, dedented, fixed, marked, refused

IDENTITY = "types-and-identity"
LOOP = """
import torch
from torch import nn

def split(model):
    muon, adam = [], []
    # two kinds
    for name, p in model.named_parameters():
        if {}:
            muon.append(p)  # hidden
        else:
            adam.append(p)
    return muon, adam
"""


@pytest.mark.parametrize(
    ("condition", "after"),
    [
        ("p.ndim >= 2", "p.ndim >= 2 and id(p) not in not_muon"),
        ('p.ndim >= 2 and "embed" not in name', "p.ndim >= 2 and id(p) not in not_muon"),
        ('p.ndim >= 2 and "wte" not in name and "lm_head" not in name', "p.ndim >= 2 and id(p) not in not_muon"),
        ('"embed" not in name.lower() and p.dim() > 1', "id(p) not in not_muon and p.dim() > 1"),
        ('p.ndim > 1 and not any(k in name for k in ["embed", "lm_head"])', "p.ndim > 1 and id(p) not in not_muon"),
        ('p.ndim > 1 and all(k not in name for k in ("wte",))', "p.ndim > 1 and id(p) not in not_muon"),
        ('p.ndim > 1 and not ("embed" in name or "lm_head" in name)', "p.ndim > 1 and id(p) not in not_muon"),
        ('p.ndim > 1 and not name.startswith(("embed", "lm_head"))', "p.ndim > 1 and id(p) not in not_muon"),
        ('p.ndim > 1 and name != "lm_head.weight"', "p.ndim > 1 and id(p) not in not_muon"),
        (
            'p.ndim > 1 and "norm" not in name and "embed" not in name',
            'p.ndim > 1 and "norm" not in name and id(p) not in not_muon',
        ),
        (
            'p.ndim > 1 and "patch_embed" not in name',
            'p.ndim > 1 and "patch_embed" not in name and id(p) not in not_muon',
        ),
        ('p.ndim > 1 or "never" in name', '(p.ndim > 1 or "never" in name) and id(p) not in not_muon'),
        ('(p.ndim > 1 or "never" in name)', '(p.ndim > 1 or "never" in name) and id(p) not in not_muon'),
        ('not (p.ndim < 2 or "embed" in name)', "not (p.ndim < 2 or id(p) in not_muon)"),
        ("not p.ndim < 2", "not p.ndim < 2 and id(p) not in not_muon"),
        (
            "p.ndim < 2 if name == '' else p.ndim > 1",
            "(p.ndim < 2 if name == '' else p.ndim > 1) and id(p) not in not_muon",
        ),
    ],
)
def test_a_test_by_name_becomes_one_by_identity(condition: str, after: str):
    text = LOOP.format(f"«{condition}»")
    result = fixed(IDENTITY, text, model="model", attributes=("lm_head.weight",))
    parts = [
        "id(p)",
        "for m in model.modules()",
        "if isinstance(m, nn.Embedding)",
        "for p in m.parameters(recurse=False)",
    ]
    made = "\n        ".join(["    not_muon = {", *parts]) + "\n    }\n    not_muon |= {id(model.lm_head.weight)}\n"
    wide = f"    not_muon = {{{' '.join(parts)}}}\n    not_muon |= {{id(model.lm_head.weight)}}\n"
    expected = LOOP.format(after).replace("    # two", made + "    # two")
    assert result in (expected, expected.replace(made, wide))
    muon = assert_partition(result)
    assert not {"lookup.weight", "lm_head.weight"} & set(muon)
    assert "blocks.0.0.weight" in muon


def test_the_condition_of_the_others():
    text = (
        LOOP.replace("muon.append", "x.append").replace("adam.append", "muon.append").replace("x.append", "adam.append")
    )
    result = fixed(
        IDENTITY,
        text.format('«p.ndim < 2 or "embed" in name»'),
        model="model",
        sends="adam",
        attributes=("lm_head.weight",),
    )
    assert "if p.ndim < 2 or id(p) in not_muon:" in result
    assert "lookup.weight" not in assert_partition(result)
    skipped = fixed(IDENTITY, text.format("«p.ndim < 2»"), model="model", sends="adam")
    assert "if p.ndim < 2 or id(p) in not_muon:" in skipped


def test_both_comprehensions():
    text = dedented(
        """
        import torch.nn as tnn


        def split(model):
            muon = [p for n, p in model.named_parameters() if «p.requires_grad and p.ndim >= 2 and "embed" not in n»]
            adam = [
                q
                for name, q in model.named_parameters()
                if «q.requires_grad and (q.ndim < 2 or "embed" in name)»  # the rest
            ]
            return muon, adam
        """
    )
    result = fixed(IDENTITY, text, model="model", attributes=("lm_head.weight",))
    assert "if p.requires_grad and p.ndim >= 2 and id(p) not in not_muon]" in result
    assert "if q.requires_grad and (q.ndim < 2 or id(q) in not_muon)  # the rest" in result
    assert "tnn.Embedding" in result and "import nn" not in result
    assert not {"lookup.weight", "lm_head.weight"} & set(assert_partition(result, trainable=True))


@pytest.mark.parametrize(
    ("condition", "after"),
    [
        ("p.ndim < 2", "p.ndim < 2 or id(p) in not_muon"),
        ("p.requires_grad and p.ndim < 2", "p.requires_grad and (p.ndim < 2 or id(p) in not_muon)"),
        ("p.a and p.b and p.requires_grad", "(p.a and p.b or id(p) in not_muon) and p.requires_grad"),
        ("not (p.ndim >= 2 and 'embed' not in n)", "not (p.ndim >= 2 and id(p) not in not_muon)"),
        ("(p.ndim < 2)", "(p.ndim < 2 or id(p) in not_muon)"),
        ("p.ndim < 2 or 'emb' in n or 'wpe' in n or 'x' in n", "p.ndim < 2 or id(p) in not_muon or 'x' in n"),
    ],
)
def test_the_opposite_condition(condition: str, after: str):
    text = f"import torch\ndef f(model, ps):\n    return [p for n, p in ps if «{condition}»]\n"
    result = fixed(IDENTITY, text, model="model", sends="adam")
    assert f" if {after}]" in result and "isinstance(m, torch.nn.Embedding)" in result


def test_a_condition_of_several_lines_keeps_its_comments():
    text = dedented(
        """
        from torch import nn
        def split(self):
        \tfor block in self.net.blocks:
        \t\tfor n, p in block.named_parameters():
        \t\t\tif (
        \t\t\t\t«p.ndim == 2  # matrices
        \t\t\t\tand "embed" not in n  # embeddings
        \t\t\t\tand "lm_head" not in n  # heads
        \t\t\t\tand p.requires_grad»
        \t\t\t):
        \t\t\t\tmuon.append(p)
        """
    )
    result = fixed(IDENTITY, text, model="self.net", attributes=("lm_head.weight", "heads.0.weight"))
    assert result == dedented(
        """
        from torch import nn
        def split(self):
        \tnot_muon = {
        \t\tid(p)
        \t\tfor m in self.net.modules()
        \t\tif isinstance(m, nn.Embedding)
        \t\tfor p in m.parameters(recurse=False)
        \t}
        \tnot_muon |= {
        \t\tid(self.net.lm_head.weight),
        \t\tid(self.net.get_parameter("heads.0.weight")),
        \t}
        \tfor block in self.net.blocks:
        \t\tfor n, p in block.named_parameters():
        \t\t\tif (
        \t\t\t\tp.ndim == 2  # matrices
        \t\t\t\tand id(p) not in not_muon  # embeddings
        \t\t\t\t# heads
        \t\t\t\tand p.requires_grad
        \t\t\t):
        \t\t\t\tmuon.append(p)
        """
    )


def test_operators_at_the_ends_of_lines():
    text = (
        "import torch\nps = [p for n, p in model.named_parameters()\n"
        "      if «p.ndim == 2 and  # a\n      'embed' not in n and  # b\n      'wte' not in n»]\n"
    )
    result = fixed(IDENTITY, "model = make()\n" + text, model="model")
    assert "if p.ndim == 2 and  # a\n      id(p) not in not_muon  # b\n" in result


@pytest.mark.parametrize(
    ("imports", "name", "added"),
    [
        ("from torch import nn", "nn", ""),
        ("import torch.nn as layers", "layers", ""),
        ("import torch.nn", "torch.nn", ""),
        ("import torch", "torch.nn", ""),
        ("import torch as t", "t.nn", ""),
        ("from flax import linen as nn", "torch_nn", "from torch import nn as torch_nn"),
        ("from torch.optim import AdamW", "nn", "from torch import nn"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", "nn", "from torch import nn"),
        ("if TYPE_CHECKING:\n    from torch import nn", "torch_nn", "from torch import nn as torch_nn"),
    ],
)
def test_the_name_of_torch_nn(imports: str, name: str, added: str):
    text = f'"""Doc."""\n\n{imports}\n\n\ndef f(model):\n    return [p for p in model.parameters() if «p.ndim > 1»]\n'
    result = fixed(IDENTITY, text, model="model")
    assert f"isinstance(m, {name}.Embedding)" in result
    assert result.splitlines().count(added or "from torch import nn") == (
        bool(added) or imports == "from torch import nn"
    )


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ("    from torch import nn\n", "nn"),
        ("    def g():\n        from torch import nn\n", "torch_nn"),
        ("    if model:\n        from torch import nn\n", "torch_nn"),
        ("    try:\n        import torch.nn as t\n    finally:\n        pass\n", "nn"),
    ],
)
def test_an_import_in_a_function_counts_where_it_is_done(rows: str, name: str):
    text = f"def f(model):\n{rows}    return [p for p in model.parameters() if «p.ndim > 1»]\n"
    result = fixed(IDENTITY, text, model="model")
    assert f"isinstance(m, {name}.Embedding)" in result
    assert ("from torch import nn" in result.split("def f")[0]) == (name != "nn" or "try" in rows)


def test_what_a_set_lacks_is_added_to_it():
    text = dedented(
        """
        from torch import nn
        skip = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
        a = [p for p in model.parameters() if «p.ndim > 1 and id(p) not in skip»]
        """
    )
    result = fixed(IDENTITY, "model = make()\n" + text, model="model", attributes=("head.weight",))
    assert (
        "skip |= {id(model.head.weight)}\na = [p for p in model.parameters() if p.ndim > 1 and id(p) not in skip]"
        in result
    )


def test_only_a_head_needs_no_import():
    text = "def f(model):\n    return [p for n, p in model.x() if «p.ndim > 1 and 'head' not in n»]\n"
    result = fixed(IDENTITY, text, model="model", roles=("output-head",), attributes=("head.weight",))
    assert result == (
        "def f(model):\n    not_muon = {id(model.head.weight)}\n"
        "    return [p for n, p in model.x() if p.ndim > 1 and id(p) not in not_muon]\n"
    )


def test_which_tests_of_the_name_go_can_be_said():
    text = "import torch\ndef f(m):\n    a = [p for n, p in m if «'emb' not in n and 'up' not in n»]\n"
    assert "if 'emb' not in n and id(p) not in not_muon]" in fixed(IDENTITY, text, model="m", needles=("up",))
    assert "'up' not in n and id(p) not in not_muon]" in fixed(IDENTITY, text, model="m", needles=())


def test_a_set_that_is_there_is_used():
    text = dedented(
        """
        from torch import nn

        def f(model):
            skip = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
            skip |= {id(model.lm_head.weight)}
            a = [p for p in model.parameters() if «p.ndim > 1»]
        """
    )
    result = fixed(IDENTITY, text, model="model", attributes=("lm_head.weight",))
    assert result.replace(" and id(p) not in skip", "") == text.replace("«", "").replace("»", "")
    done = text.replace("p.ndim > 1", "p.ndim > 1 and id(p) not in skip")
    assert refused(IDENTITY, done, model="model", attributes=("lm_head.weight",)) == "it is tested by identity already"


GROWING = """
def f(model):
    skip = {made}
    a = [p for n, p in model.named_parameters() if «p.ndim > 1 and id(p) not in skip»]
    b = [p for n, p in model.named_parameters() if «p.ndim < 2 or id(p) in skip»]
    return a, b{more}
"""


@pytest.mark.parametrize(
    ("made", "more", "data", "after"),
    [
        (
            "{id(model.token)}",
            "",
            {"attributes": ("head.weight", "net[-1].weight")},
            "skip = {id(model.token), id(model.head.weight), id(model.net[-1].weight)}",
        ),
        (
            "{id(p) for p in model.tables()}",
            "",
            {"attributes": ("head.weight",)},
            "skip |= {id(model.head.weight)}",
        ),
        (
            "{id(model.token)}",
            "",
            {"endings": (".A_log", ".D")},
            'skip |= {id(p) for n, p in model.named_parameters() if n.endswith((".A_log", ".D"))}',
        ),
        ("{id(model.token)}", ", skip", {"attributes": ("head.weight",)}, "not_muon = {id(model.head.weight)}"),
        ("{model.token}", "", {"attributes": ("head.weight",)}, "not_muon = {id(model.head.weight)}"),
    ],
    ids=["display", "comprehension", "endings", "used elsewhere", "of no ids"],
)
def test_a_set_that_the_conditions_ask_for_grows(made: str, more: str, data: dict[str, tuple[str, ...]], after: str):
    """What an earlier fix made, say: one set and one test are enough."""
    text = GROWING.format(made=made, more=more)
    result = fixed(IDENTITY, text, model="model", roles=("output-head",), **data)
    assert after in " ".join(result.split())
    assert (result.count("not in skip") == 1) and ("not_muon" in result) == ("not_muon" in after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1; a = [p for p in model.parameters() if «p.ndim > 1»]; y = 2", "x = 1; not_muon = {id(p) for"),
        ("a = [p for p in model.parameters() if «p.ndim > 1»]; y = 2", "not_muon = {id(p) for"),
        ("if x: a = [p for p in model.parameters() if «p.ndim > 1»]", "if x: not_muon = {id(p) for"),
        ("for p in model.parameters(): (a if «p.ndim > 1» else b).append(p)", "not_muon = {id(p) for"),
        ("with x:\n        a = [p for p in model.parameters() if «p.ndim > 1»]", "    not_muon = {id(p) for"),
        ("a = list(filter(lambda p: «p.ndim > 1», model.parameters()))", "not_muon = {id(p) for"),
        ("not_muon = 1\n    a = [p for p in model.parameters() if «p.ndim > 1»]", "not_muon_ids = {id(p) for"),
        (
            "for model in models:\n        for p in model.parameters():\n            is_muon = «p.ndim > 1»",
            "    not_muon = {id(p) for",
        ),
        (
            "while x:\n        for p in model.parameters():\n            if 0: pass\n            elif «p.ndim > 1»: 1",
            "not_muon = {id(p) for",
        ),
    ],
)
def test_where_the_set_is_made(before: str, after: str):
    wide = f"# {'-' * 98}\n"  # so that nothing is too long for a line
    result = fixed(IDENTITY, f"import torch.nn as t\n{wide}def f(model, a, b):\n    {before}\n", model="model")
    (row,) = (row for row in result.splitlines() if "not_muon" in row and "isinstance" in row)
    assert row.removeprefix("    ").startswith(after) and result.index(row) < result.index(
        "p.ndim > 1 and id(p) not in"
    )
    plain = marked(before)[0]
    assert ("for model" in plain) == ("for model" in result[: result.index(row)])
    assert "while x" not in result[: result.index(row)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(net):\n    return [p for p in net if «p.ndim > 1»]\n", "`model` is not known before this"),
        ("a = [p for model in ms for p in model if «p.ndim > 1»]\n", "the model is a variable of the comprehension"),
        ("a = [p for p in x() if «p.ndim > 1»]\nmodel = make()\n", "`model` is not known before this"),
    ],
)
def test_a_model_that_is_not_at_hand(text: str, reason: str):
    assert refused(IDENTITY, text, model="model") == reason
