"""What the checks say of a parameter in Muon for its role and its shape, and what else is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from handmade_models import DOWN, EMBED, GAIN, HEAD, KNOWN, LM, UP, by_code, flagged, member, model, parameter, two

from paramlint.checks import run, unexplained_refusals
from paramlint.finding import Finding
from paramlint.group import Group, OptimizerUse, Proposal
from paramlint.knowledge import Knowledge
from paramlint.parameter import Location, Module, Parameter
from paramlint.profile import Ruling


def test_right_groups_are_silent() -> None:
    assert run(LM, two([UP, DOWN], [EMBED, GAIN, HEAD]), KNOWN) == ()
    assert run(LM, flagged([UP, DOWN], [EMBED, GAIN, HEAD], "keller"), KNOWN) == ()


def test_a_model_without_groups_is_silent() -> None:
    assert run(LM, None, KNOWN) == ()


def test_plain_adamw_is_nobody_s_business() -> None:
    router = parameter("router.weight", (8, 64), "router")
    everything = [*LM.parameters, router]
    use = OptimizerUse("AdamW", (Group(0, tuple(map(member, everything))),), "torch.optim.AdamW", "adamw")
    assert run(model(*everything), Proposal((use,)), KNOWN) == ()


@pytest.mark.parametrize(
    ("role", "code", "severity"),
    [
        ("embedding", "PML201", "error"),
        ("output-head", "PML202", "error"),
        ("tied-embedding", "PML203", "error"),
        ("norm-gain", "PML204", "error"),
        ("bias", "PML204", "error"),
        ("scale", "PML204", "error"),
        ("position-table", "PML205", "warning"),
        ("token", "PML205", "warning"),
        ("relative-bias", "PML205", "warning"),
        ("elementwise", "PML206", "error"),
        ("depthwise-conv", "PML207", "warning"),
        ("input-projection", "PML211", "warning"),
    ],
)
def test_each_role_in_muon_has_its_rule(role: str, code: str, severity: str) -> None:
    odd = parameter("odd.weight", (32, 64), role)
    found = by_code(run(model(UP, odd), flagged([UP, odd], [], "keller"), KNOWN))
    assert found[code].severity == severity
    assert found[code].parameters == ("odd.weight",)
    assert "Opt, which" in found[code].message and "odd.weight" not in found[code].message
    assert any("https://" in line for line in found[code].details)


@pytest.mark.parametrize("role", ["embedding", "output-head", "tied-embedding", "elementwise"])
def test_a_guess_is_never_an_error(role: str) -> None:
    sure = parameter("sure.weight", (32, 64), role)
    guess = parameter("guess.weight", (32, 64), role, confidence="guess")
    found = run(model(UP, sure, guess), two([UP, sure, guess], []), KNOWN)
    severities = {f.parameters: f.severity for f in found if f.code.startswith("PML20")}
    assert severities == {("sure.weight",): "error", ("guess.weight",): "warning"}


def test_a_position_table_that_is_an_embedding_is_an_error() -> None:
    table = parameter("wpe.weight", (128, 64), "position-table")
    modules = (Module("wpe", ("my.ScaledEmbedding", "torch.nn.modules.sparse.Embedding")),)
    found = by_code(run(model(UP, table, modules=modules), two([UP, table], []), KNOWN))
    assert found["PML205"].severity == "error"


@pytest.mark.parametrize("shape", [(1, 64), (64, 1), (64, 1, 1), (64,), ()])
def test_a_vector_is_one_whatever_its_role_and_shape(shape: tuple[int, ...]) -> None:
    odd = parameter("odd.weight", shape, "unknown", confidence="guess")
    found = by_code(run(model(UP, odd), flagged([UP, odd], [], "pytorch-optimizer"), KNOWN))
    assert found["PML204"].severity == "error"


def test_a_hundred_layers_are_one_finding() -> None:
    layers = [parameter(f"h.{i}.gain", (64,), "norm-gain") for i in range(126)]
    found = by_code(run(model(UP, *layers), flagged([UP, *layers], [], "keller"), KNOWN))
    assert found["PML204"].parameters == tuple(p.name for p in layers)


def test_order_is_severity_then_code_then_model() -> None:
    conv = parameter("dw.weight", (64, 1, 3, 3), "depthwise-conv")
    found = run(model(conv, HEAD, EMBED, UP), flagged([EMBED, UP, HEAD, conv], [], "keller"), KNOWN)
    assert [f.code for f in found] == ["PML201", "PML202", "PML207"]


def test_findings_are_where_the_groups_are_made() -> None:
    found = run(LM, two([UP, DOWN, EMBED], [GAIN, HEAD]), KNOWN)
    assert [f.location for f in found] == [Location("train.py", 10)]
    flat = parameter("_flat_param", (4096,), "unknown", state="flat")
    assert [f.location for f in run(model(flat), None, KNOWN)] == [Location("model.py", 3)]


class TestPolicies:
    def ruled(self, role: str, ruling: Ruling) -> Knowledge:
        default = KNOWN.policy("default")
        mine = replace(default, name="mine", rulings={**default.rulings, role: ruling})
        return replace(KNOWN, policies={**KNOWN.policies, "mine": mine})

    def test_a_role_that_the_policy_gives_to_muon_is_silent_there(self) -> None:
        first = parameter("stem.weight", (64, 16), "input-projection")
        groups = two([UP, first], [])
        assert "PML211" in by_code(run(model(UP, first), groups, KNOWN))
        known = self.ruled("input-projection", Ruling("muon", "muon", "B"))
        assert run(model(UP, first), groups, known, "mine") == ()

    @pytest.mark.parametrize("role", ["router", "low-rank-adapter", "small-gate", "hyper-connection", "embedding"])
    def test_a_contested_role_is_noted_only_against_the_plan(self, role: str) -> None:
        odd = parameter("odd.weight", (32, 64), role)
        ruling = Ruling("either", "adam", "C", muon=("one paper",), adam=("another",), source=("both",))
        known = self.ruled(role, ruling)
        assert run(model(UP, odd), two([UP], [odd]), known, "mine") == ()
        found = by_code(run(model(UP, odd), two([UP, odd], []), known, "mine"))
        assert found.keys() == {"PML213"}
        assert found["PML213"].severity == "note"
        assert {"for Muon: one paper", "for Adam: another"} <= set(found["PML213"].details)

    def test_a_policy_that_decides_a_contested_role_still_only_notes(self) -> None:
        router = parameter("router.weight", (8, 64), "router")
        known = self.ruled("router", Ruling("muon", "muon", "A", source=("me",)))
        assert run(model(UP, router), two([UP, router], []), known, "mine") == ()
        found = by_code(run(model(UP, router), two([UP], [router]), known, "mine"))
        assert found["PML213"].severity == "note"

    def test_grouped_convolutions_follow_the_policy(self) -> None:
        grouped = parameter("conv.weight", (64, 16, 3, 3), "grouped-conv")
        known = self.ruled("grouped-conv", Ruling("adam", "adam", "C", source=("me",)))
        groups = flagged([UP, grouped], [], "keller")
        assert run(model(UP, grouped), groups, KNOWN) == ()
        assert by_code(run(model(UP, grouped), groups, known, "mine")).keys() == {"PML207"}

    def test_a_shape_that_muon_refuses_is_not_contested(self) -> None:
        grouped = parameter("conv.weight", (64, 16, 3, 3), "grouped-conv")
        assert run(model(UP, grouped), two([UP], [grouped]), KNOWN) == ()
        found = by_code(run(model(UP, grouped), flagged([UP], [grouped], "keller"), KNOWN))
        assert found.keys() == {"PML213"}


class TestShapes:
    CONV = parameter("conv.weight", (64, 32, 3, 3), "conv-filter")
    CONV1 = parameter("conv.weight", (64, 32, 3), "conv-filter")
    STACK = parameter("experts", (8, 256, 64), "expert-stack")

    def test_refused_by_the_constructor(self) -> None:
        found = by_code(run(model(UP, self.CONV), two([UP, self.CONV], []), KNOWN))
        assert found.keys() == {"PML208"}
        assert "constructor refuses" in found["PML208"].message

    def test_refused_at_the_first_step(self) -> None:
        found = by_code(run(model(UP, self.CONV), two([UP, self.CONV], [], "emerging-optimizers"), KNOWN))
        assert "first step" in found["PML208"].message

    def test_a_refused_vector_is_only_a_vector(self) -> None:
        assert by_code(run(LM, two([UP, DOWN, GAIN], [EMBED, HEAD]), KNOWN)).keys() == {"PML204"}

    def test_a_refused_patch_embedding_is_only_refused(self) -> None:
        patch = parameter("patch.weight", (64, 3, 16, 16), "input-projection")
        assert by_code(run(model(UP, patch), two([UP, patch], []), KNOWN)).keys() == {"PML208"}

    def test_torch_users_leave_convolutions_to_adam_in_peace(self) -> None:
        assert run(model(UP, self.CONV, self.STACK), two([UP], [self.CONV, self.STACK]), KNOWN) == ()

    def test_a_flattened_expert_stack(self) -> None:
        groups = flagged([UP, self.STACK], [], "pytorch-optimizer")
        assert by_code(run(model(UP, self.STACK), groups, KNOWN))["PML209"].severity == "error"
        assert run(model(UP, self.STACK), flagged([UP, self.STACK], [], "keller"), KNOWN) == ()

    def test_a_batched_convolution(self) -> None:
        assert "PML210" in by_code(run(model(UP, self.CONV1), flagged([UP, self.CONV1], [], "keller"), KNOWN))
        assert run(model(UP, self.CONV), flagged([UP, self.CONV], [], "keller"), KNOWN) == ()

    def test_options_that_choose_between_flattening_and_batching(self) -> None:
        def dion(p: Parameter, **options: Any) -> list[str]:
            group = Group(0, (member(UP), member(p)), {"algorithm": "muon", **options})
            use = OptimizerUse("Muon", (group,), "dion.Muon", "dion-muon")
            return [f.code for f in run(model(UP, p), Proposal((use,)), KNOWN)]

        assert dion(self.CONV) == ["PML210"]
        assert dion(self.CONV, flatten=True) == []
        assert dion(self.STACK) == []
        assert dion(self.STACK, flatten=True) == ["PML209"]


class TestHidden:
    def test_what_is_left_to_adam_is_said_with_its_share(self) -> None:
        found = by_code(run(LM, two([UP], [DOWN, EMBED, GAIN, HEAD]), KNOWN))
        assert found.keys() == {"PML214"}
        assert "10.2 %" in found["PML214"].details[-1]

    def test_convolutions_are_missed_where_the_optimizer_flattens_them(self) -> None:
        conv = TestShapes.CONV
        found = by_code(run(model(UP, conv), flagged([UP], [conv], "pytorch-optimizer"), KNOWN))
        assert found.keys() == {"PML214"}

    def test_a_fused_matrix_with_its_parts(self) -> None:
        qkv = parameter("qkv.weight", (192, 64), "fused-matrix", splits=(64, 64, 64))
        found = by_code(run(model(UP, qkv), two([UP, qkv], []), KNOWN))
        assert "parts: 64 + 64 + 64" in found["PML212"].details

    def test_a_fused_matrix_that_is_split_is_silent(self) -> None:
        qkv = parameter("qkv.weight", (192, 64), "fused-matrix", splits=(64, 64, 64))
        options = {"algorithm": "muon", "split_sizes": (64, 64, 64)}
        groups = (Group(0, (member(qkv),), options), Group(1, (member(UP),), {"algorithm": "muon"}))
        use = OptimizerUse("Muon", groups, "dion.Muon", "dion-muon")
        assert run(model(UP, qkv), Proposal((use,)), KNOWN) == ()

    def test_transposed_storage_matters_to_one_sided_scales_only(self) -> None:
        weight = parameter("c_fc.weight", (64, 256), "hidden-matrix")
        modules = (Module("c_fc", ("transformers.pytorch_utils.Conv1D",), {"nf": 256, "nx": 64}),)
        inventory = model(UP, weight, modules=modules)
        found = by_code(run(inventory, two([UP, weight], []), KNOWN))
        assert found["PML215"].details == ("(64, 256): scaled by 1.00, as (out, in) it would be 2.00",)
        assert run(inventory, two([UP, weight], [], adjust_lr_fn="match_rms_adamw"), KNOWN) == ()


class TestGuess:
    BAD = parameter("u", (96, 64), "unknown", confidence="guess", evidence=())

    def test_without_groups_every_guessed_matrix_is_noted(self) -> None:
        named = parameter("pos", (96, 64), "position-table", confidence="guess")
        vector = parameter("v", (96,), "unknown", confidence="guess")
        found = run(model(UP, self.BAD, named, vector), None, KNOWN)
        assert [(f.code, f.severity, f.parameters) for f in found] == [
            ("PML216", "note", ("u",)),
            ("PML216", "note", ("pos",)),
        ]

    def test_with_groups_only_what_muon_got_for_no_reason(self) -> None:
        assert run(model(UP, self.BAD), two([UP], [self.BAD]), KNOWN) == ()
        assert by_code(run(model(UP, self.BAD), two([UP, self.BAD], []), KNOWN)).keys() == {"PML216"}


class TestRefusals:
    def refused(self, groups: Proposal, text: str) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
        first, *others = groups.optimizers
        proposal = replace(groups, optimizers=(replace(first, refusal=text), *others))
        found = run(LM, proposal, KNOWN)
        return found, unexplained_refusals(found, proposal)

    def test_a_finding_that_explains_a_refusal_quotes_it(self) -> None:
        said = "ValueError: Muon only supports 2D parameters whereas we found a parameter with size: torch.Size([64])"
        found, rest = self.refused(two([UP, DOWN, GAIN], [EMBED, HEAD]), said)
        assert rest == ()
        assert said in by_code(found)["PML204"].details[0]

    def test_a_refusal_that_nothing_explains_is_given_back(self) -> None:
        said = "TypeError: Muon.__init__() got an unexpected keyword argument 'foreach'"
        _, rest = self.refused(two([UP, DOWN, GAIN], [EMBED, HEAD]), said)
        assert rest == (f"Muon did not accept its arguments: {said}",)


def test_a_profile_settles_groups_that_do_not_say_theirs() -> None:
    conv = TestShapes.CONV
    groups = (Group(0, (member(UP), member(conv)), {"use_muon": True}),)
    listed = Proposal((OptimizerUse("groups", groups, profile="keller", assumed=True),), "listed")
    assert run(model(UP, conv), listed, KNOWN) == ()
    assert by_code(run(model(UP, conv), listed, KNOWN, profile="emerging-optimizers")).keys() == {"PML208"}
