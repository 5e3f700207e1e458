"""Which parameter a finding on groups shows: at the paths that the script names, by a likely name; and what is said of
groups that hang on the model."""

from __future__ import annotations

import pytest
from test_source_pages import KNOWN

from paramlint.finding import Finding
from paramlint.linting import lint_text

RULES = {"PML501", "PML502", "PML504", "PML515"}
TOP = "import re\nfrom torch.optim import AdamW, Muon, SGD\n\n\ndef make(model, args):\n"


def said(body: str) -> tuple[Finding, ...]:
    rows = (f"    {row}" for row in body.strip("\n").split("\n"))
    return lint_text(TOP + "\n".join(rows) + "\n", "train.py", KNOWN, codes=RULES)


def two(first: str, second: str) -> str:
    return f'return AdamW([{{"params": {first}}}, {{"params": {second}, "lr": 1e-4}}], lr=1e-3)'


def of(where: str, test: str, named: bool = False) -> str:
    if named:
        return f"[p for n, p in {where}.named_parameters() if {test}]"
    return f"[p for p in {where}.parameters() if {test}]"


SHARED = {
    **{
        f"{path}, twice": (two(f"model.{path}.parameters()", f"model.{path}.parameters()"), 2, f"{path}.{rest}")
        for path, rest in (
            *(("blocks", "0.weight"), ("gen", "weight"), ("layers", "0.weight"), ("h", "0.weight")),
            *(("trunk", "0.weight"), ("transformer.h", "0.weight"), ("net.blocks", "0.weight")),
        )
    },
    "a layer by its number": (two("model.h[3].parameters()", "model.h.parameters()"), 2, "h.3.weight"),
    "a part, and all": (two("model.backbone.parameters()", "model.parameters()"), 2, "backbone.0.weight"),
    "all, and the head": (two("model.parameters()", "model.fc.parameters()"), 2, "fc.weight"),
    "a module in a module": (two("model.enc.parameters()", "model.enc.norm.parameters()"), 1, "enc.norm.weight"),
    "a module, and its weight": (two("model.fc.parameters()", "[model.fc.weight]"), 2, "fc.weight"),
    "all, and one weight": (two("model.parameters()", "[model.lm_head.weight]"), 2, "lm_head.weight"),
    "what is trained of a part, and all": (
        two(of("model.backbone", "p.requires_grad"), "model.parameters()"),
        *(2, "backbone.0.weight"),
    ),
    "matrices and kernels, and the head": (
        two(of("model", "p.ndim >= 2"), "model.head.parameters()"),
        *(2, "head.weight"),
    ),
    "matrices and kernels, and one weight": (
        two(of("model", "p.ndim >= 2"), "[model.lm_head.weight]"),
        *(2, "lm_head.weight"),
    ),
    "a stack, and its vectors": (
        two("model.layers.parameters()", of("model.layers", "p.ndim != 2")),
        *(1, "layers.0.norm.weight"),
    ),
    "a stack, and matrices": (two("model.h.parameters()", of("model", "p.ndim == 2")), 2, "h.0.weight"),
    "a part by its name, and by its path": (
        two(of("model", '"backbone" in n', named=True), "model.backbone.parameters()"),
        *(2, "backbone.0.weight"),
    ),
}


@pytest.mark.parametrize("what", SHARED)
def test_what_two_groups_have_at_a_path_is_shared(what: str) -> None:
    body, ndim, name = SHARED[what]
    (found,) = (f for f in said(body) if f.code == "PML502")
    assert found.message.startswith(f"a {ndim}-D parameter, say `{name}` is in two groups")


def test_so_it_is_in_two_optimizers() -> None:
    body = """
mats = list(model.transformer.h.parameters())
rest = [p for p in model.transformer.h.parameters() if p.ndim != 2]
rest += list(model.head.parameters())
muon = Muon(mats, lr=0.02)
adamw = AdamW(rest, lr=1e-3)
return muon, adamw
"""
    (found,) = said(body)
    assert found.code == "PML502" and "1-D parameter, say `transformer.h.0.norm.weight`" in found.message


UNSURE = {
    "biases of convolutions": two(of("model.net", '"bn" not in n', named=True), of("model.net", "p.ndim == 1")),
    "another name of a stack": two(
        of("model", 'not n.startswith("module.blocks")', named=True), "model.module.blocks.parameters()"
    ),
    "a head that may have no bias": two(of("model", "p.ndim < 2"), "model.head.parameters()"),
    "a vector, and what is no vector": two(of("model", "p.ndim >= 2"), "model.norm.parameters()"),
    "a part that may be frozen": two(of("model", "p.requires_grad"), "model.backbone.parameters()"),
    "another name of the part": two(
        of("model", 'not n.startswith("module.backbone")', named=True), "model.module.backbone.parameters()"
    ),
    "a pattern for the part": two(
        of("model", r'not re.match(r"module\.backbone", n)', named=True), "model.module.backbone.parameters()"
    ),
    "a part without parameters": two(of("model", "p.ndim >= 2"), "model.rotary.parameters()"),
    "a tensor that may be no parameter": two("model.parameters()", "[model.log_alpha]"),
    "a weight that may have the table's name": two(
        of("model", 'p.ndim >= 2 and "wte" not in n', named=True), "[model.lm_head.weight]"
    ),
    "a table, and a head that may be tied": two("model.wte.parameters()", "model.lm_head.parameters()"),
}


@pytest.mark.parametrize("what", UNSURE)
def test_what_may_not_be_there_is_a_note(what: str) -> None:
    assert [f.code for f in said(UNSURE[what])] == ["PML515"]


APART = {
    "what is in neither of two modules": """
ignored = list(map(id, model.head.parameters())) + list(map(id, model.neck.parameters()))
base = filter(lambda p: id(p) not in ignored, model.parameters())
groups = [{"params": base}, {"params": model.head.parameters(), "lr": 1}, {"params": model.neck.parameters(), "lr": 2}]
return SGD(groups, lr=0.1)
""",
    "a parameter, and a module": """
pos, fc = model.pos_embed, list(model.head.parameters())
rest = [p for p in model.parameters() if id(p) not in {id(pos)}]
rest = [p for p in rest if id(p) not in {id(q) for q in fc}]
return SGD([{"params": rest}, {"params": [pos], "lr": 1}, {"params": fc, "lr": 2}], lr=0.1)
""",
    "layers by their number": """
first = {id(p) for p in model.layers[0].parameters()}
other = {id(p) for p in model.layers[1].parameters()}
rest = [p for p in model.parameters() if id(p) not in first and id(p) not in other]
groups = [{"params": model.layers[0].parameters(), "lr": 1}, {"params": model.layers[1].parameters(), "lr": 2}]
return SGD([*groups, {"params": rest}], lr=0.1)
""",
}


@pytest.mark.parametrize("what", APART)
def test_attributes_share_nothing(what: str) -> None:
    assert said(APART[what]) == ()


def test_a_weight_that_may_be_tied_is_left_open() -> None:
    body = """
apart = list(map(id, model.wte.parameters())) + list(map(id, model.lm_head.parameters()))
rest = filter(lambda p: id(p) not in apart, model.parameters())
return SGD([{"params": rest}, {"params": model.wte.parameters()}, {"params": model.lm_head.parameters()}], lr=0.1)
"""
    (found,) = said(body)
    assert found.code == "PML515"
    assert found.details == (
        *("none in two: depends on the model: model.wte", "none in two: depends on the model: model.lm_head"),
    )


@pytest.mark.parametrize(
    ("tests", "code"),
    [
        (("p.ndim == 4", "p.ndim < 4"), "PML515"),
        (("p.ndim in (2, 3, 4)", "p.ndim < 2"), "PML515"),
        (("p.ndim > 5", "p.ndim < 5"), "PML501"),
        (("p.ndim == 4", "p.ndim < 3"), "PML501"),
    ],
)
def test_five_dimensions_count_where_the_script_speaks_of_them(tests: tuple[str, str], code: str) -> None:
    (found,) = said(two(*(of("model", test) for test in tests)))
    assert found.code == code


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ('p.ndim < 2 and "lm_head" in n', "lm_head.bias"),
        ('p.ndim < 2 and "embed" in n', "embed.norm.weight"),
        ('p.ndim >= 2 and n.endswith("bias")', "bias"),
        ('p.ndim >= 2 and not n.endswith(".weight") and "lm_head" in n', "lm_head"),
        ('p.ndim == 2 and "attn" in n', "attn.weight"),
    ],
)
def test_the_name_is_one_of_such_a_parameter(test: str, name: str) -> None:
    """Unless the tests force another."""
    (found,) = said(two(of("model", f"not ({test})", named=True), of("model", "p.numel() < 0")))
    assert found.code == "PML515" and f"say `{name}`" in " ".join(found.details)


def test_a_hole_is_shown_in_a_stack_that_the_script_names() -> None:
    (found,) = said(two(of("model.trunk.layers", "p.ndim == 2"), of("model", "p.ndim < 2")))
    assert found.code == "PML501" and "a 3-D parameter, say `trunk.layers.0.weight`" in found.message
