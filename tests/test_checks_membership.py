"""What the checks say of who is in the groups: none, twice, foreign, frozen, one of many layers alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from handmade_models import DOWN, EMBED, GAIN, HEAD, KNOWN, LM, UP, by_code, flagged, member, model, parameter, two

from paramlint.checks import run
from paramlint.group import Group, Member, OptimizerUse, Proposal
from paramlint.parameter import Parameter, Site


class TestCoverage:
    def test_the_share_of_each_role_is_said(self) -> None:
        found = by_code(run(LM, two([UP, DOWN], [EMBED, HEAD]), KNOWN))
        assert found.keys() == {"PML101"}
        assert found["PML101"].parameters == ("norm.weight",)
        assert found["PML101"].details == ("norm-gain: under 0.1 % of the trainable elements",)

    def test_frozen_parameters_need_no_group(self) -> None:
        frozen = replace(EMBED, trainable=False)
        assert run(model(frozen, UP, HEAD), two([UP], [HEAD]), KNOWN) == ()

    def test_a_tensor_in_two_optimizers(self) -> None:
        found = by_code(run(LM, two([UP, DOWN], [EMBED, GAIN, HEAD, UP]), KNOWN))
        assert "Muon and AdamW" in found["PML102"].message

    def test_a_tensor_twice_in_a_group(self) -> None:
        found = by_code(run(LM, two([UP, DOWN, UP], [EMBED, GAIN, HEAD]), KNOWN))
        assert "twice in Muon" in found["PML102"].message

    def test_tied_names_are_one_tensor(self) -> None:
        sites = (Site("tokens.weight", "tokens", "weight"), Site("head.weight", "head", "weight"))
        tied = parameter("tokens.weight", (1000, 64), "tied-embedding", sites=sites)
        groups = two([UP], [tied])
        again = OptimizerUse("SGD", (Group(0, (Member("head.weight", tied.shape, given="head.weight"),)),))
        found = by_code(run(model(tied, UP), replace(groups, optimizers=(*groups.optimizers, again)), KNOWN))
        assert found["PML102"].parameters == ("tokens.weight",)
        assert "one tensor under several names: tokens.weight and head.weight" in found["PML102"].details

    def test_a_stale_copy_is_recognised_by_its_shape(self) -> None:
        stale = OptimizerUse("Muon", (Group(0, (Member(None, UP.shape), member(DOWN))),), "Muon", "torch-muon")
        found = by_code(run(model(UP, DOWN), Proposal((stale,)), KNOWN))
        assert found.keys() == {"PML101", "PML103"}
        assert "(256, 64)" in found["PML103"].message
        assert any("stale copy" in d and "up.weight" in d for d in found["PML103"].details)

    def test_the_result_of_an_operation_is_no_parameter(self) -> None:
        cast = OptimizerUse("SGD", (Group(0, (member(UP), Member(None, (4,), leaf=False))),), "SGD", "sgd")
        found = by_code(run(model(UP), Proposal((cast,)), KNOWN))
        assert "the result of an operation" in found["PML103"].message

    def test_empty_groups_and_empty_optimizers(self) -> None:
        use = OptimizerUse("SGD", (Group(0, (member(UP),)), Group(1, ())), "SGD", "sgd")
        hollow = OptimizerUse("Adam", (Group(0, ()), Group(1, ())), "Adam", "adam")
        found = run(model(UP), Proposal((use, hollow, OptimizerUse("RMSprop", ()))), KNOWN)
        assert [(f.code, f.group) for f in found] == [
            ("PML105", "Adam"),
            ("PML105", "RMSprop"),
            ("PML105", "SGD group 1"),
        ]

    @pytest.mark.parametrize(("members", "codes"), [([UP, DOWN], ["PML106"]), ([UP], [])])
    def test_a_set_has_an_order_only_with_one_member(self, members: list[Parameter], codes: list[str]) -> None:
        use = OptimizerUse("SGD", (Group(0, tuple(map(member, members))),), "SGD", "sgd", container="set")
        assert [f.code for f in run(model(*members), Proposal((use,)), KNOWN)] == codes

    def test_lazy_and_sharded_parameters(self) -> None:
        lazy = parameter("lazy.weight", (), "unknown", state="uninitialized")
        flat = parameter("flat", (4096,), "unknown", state="flat")
        gone = parameter("gone.weight", (0,), "unknown", state="emptied")
        found = run(model(lazy, flat, gone, UP), two([UP, lazy, flat], [gone]), KNOWN)
        assert [(f.code, f.parameters) for f in found] == [
            ("PML107", ("lazy.weight",)),
            ("PML110", ("flat",)),
            ("PML110", ("gone.weight",)),
        ]


class TestFrozen:
    FROZEN = replace(UP, trainable=False)

    def test_a_warning_where_it_is_skipped(self) -> None:
        found = by_code(run(model(self.FROZEN, DOWN), two([self.FROZEN, DOWN], []), KNOWN))
        assert found["PML104"].severity == "warning"

    @pytest.mark.parametrize(("decay", "severity"), [(0.0, "warning"), (0.01, "error")])
    def test_an_error_where_it_is_decayed(self, decay: float, severity: str) -> None:
        groups = flagged([self.FROZEN, DOWN], [], "keller", weight_decay=decay)
        found = [f for f in run(model(self.FROZEN, DOWN), groups, KNOWN) if f.code == "PML104"]
        assert [f.severity for f in found] == [severity]


class TestSiblings:
    def layers(self, n: int) -> list[Parameter]:
        return [parameter(f"h.{i}.up.weight", (256, 64), "hidden-matrix") for i in range(n)]

    def test_the_odd_one_out_is_named(self) -> None:
        layers = self.layers(4)
        found = by_code(run(model(*layers), two(layers[:3], layers[3:]), KNOWN))
        assert found["PML108"].parameters == ("h.3.up.weight",)
        assert "1 of 4" in found["PML108"].message

    def test_layer_wise_groups_of_one_half_are_fine(self) -> None:
        layers = self.layers(4)
        groups = tuple(Group(i, (member(p),), {"lr": 0.1 * i}) for i, p in enumerate(layers))
        use = OptimizerUse("Muon", groups, "Muon", "torch-muon")
        assert run(model(*layers), Proposal((use,)), KNOWN) == ()

    def test_no_minority_no_word(self) -> None:
        layers = self.layers(4)
        assert "PML108" not in by_code(run(model(*layers), two(layers[:2], layers[2:]), KNOWN))
