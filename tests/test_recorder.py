"""Optimizer packages that are not installed are stood in for, and nothing of it stays behind."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from proposals import PROFILES, look, make_profile, matrices, only, rest, small_model

from paramlint.errors import ParamlintError
from paramlint.model import torchvision_ops
from paramlint.model.facts import inventory
from paramlint.model.groups import read
from paramlint.model.groups_profile import within
from paramlint.model.recorder import standing_in


@pytest.fixture
def model():
    return small_model()


def test_a_missing_package_is_stood_in_for(model):
    def build(model):
        from muon import SingleDeviceMuonWithAuxAdam

        groups = [
            {"params": matrices(model), "use_muon": True, "lr": 0.02, "name": "kept as given"},
            {"params": rest(model), "use_muon": False},
        ]
        optimizer = SingleDeviceMuonWithAuxAdam(groups)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        optimizer.step()
        return optimizer

    proposal = look(build, model)
    use = only(proposal)
    assert (use.profile, use.recorded, use.assumed) == ("keller", True, False)
    assert use.class_name == "muon.SingleDeviceMuonWithAuxAdam"
    assert use.groups[0].options == {"use_muon": True, "lr": 0.02, "name": "kept as given"}
    assert use.groups[1].options == {"use_muon": False}
    assert proposal.notes == ("muon.SingleDeviceMuonWithAuxAdam is not installed: a recorder took its groups",)
    assert "muon" not in sys.modules
    with pytest.raises(ImportError):
        import muon  # noqa: F401


def test_a_file_that_imports_it_at_the_top(model, tmp_path, monkeypatch):
    (tmp_path / "script_with_dion.py").write_text(
        "from dion import Muon, NorMuon\n"
        "from dion.utils import helper\n"
        "class Mine(Muon):\n"
        "    def __init__(self, model):\n"
        "        super().__init__([{'params': list(model.body.parameters()), 'algorithm': 'muon'}], lr=0.5)\n"
        "def build(model):\n"
        "    return NorMuon(list(model.body.parameters()), 0.3, mu=0.9), Mine(model)\n"
        "def broken(model):\n"
        "    return helper(model)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with standing_in(PROFILES):
        import script_with_dion as script

        proposal = read(script.build, model, inventory(model), PROFILES)
        with pytest.raises(ParamlintError, match=r"dion\.utils\.helper is called, and dion is not installed"):
            read(script.broken, model, inventory(model), PROFILES)
    normuon, mine = proposal.optimizers
    assert (normuon.profile, normuon.options) == ("normuon-dion", {"lr": 0.3, "mu": 0.9})
    assert (mine.label, mine.profile, mine.recorded) == ("Mine", "dion-muon", True)
    assert [len(g.members) for g in mine.groups] == [4] and mine.groups[0].options["algorithm"] == "muon"
    sys.modules.pop("script_with_dion")


def test_real_modules_and_questions_come_first(model, tmp_path, monkeypatch):
    (tmp_path / "muon.py").write_text("HERE = True\n")
    with standing_in(PROFILES):
        assert importlib.util.find_spec("dion") is None  # a library that asks gets the truth
        monkeypatch.syspath_prepend(str(tmp_path))
        import muon

        assert muon.HERE
    sys.modules.pop("muon")


def test_an_installed_package_that_lacks_a_class():
    torchvision_ops.install()
    pytest.importorskip("timm", exc_type=ImportError)
    sys.modules.pop("timm.optim", None)
    later = make_profile("later", "two-optimizers", "timm.optim.MuonOfTomorrow", distribution="timm")
    newer = make_profile("newer", "two-optimizers", "torch.optim.MuonOfTomorrow")
    with standing_in({"later": later, "newer": newer}):
        from timm.optim import MuonOfTomorrow
        from torch.optim import MuonOfTomorrow as Newer

        assert MuonOfTomorrow.__module__ == "timm.optim" and Newer.__module__ == "torch.optim"
    assert not hasattr(torch.optim, "MuonOfTomorrow") and not hasattr(sys.modules["timm.optim"], "MuonOfTomorrow")


def test_a_package_that_is_more_than_optimizers_is_served_sparingly():
    profile = make_profile("big", "two-optimizers", "not_here_at_all.optim.Muon")
    with standing_in({"big": profile}):
        from not_here_at_all.optim import Muon

        assert Muon.__module__ == "not_here_at_all.optim"
        with pytest.raises(ImportError):
            from not_here_at_all.models import create_model  # noqa: F401
        with pytest.raises(ImportError):
            from not_here_at_all import __version__  # noqa: F401


def test_a_muon_file_beside_the_script_is_read_by_its_shape(model, tmp_path, monkeypatch):
    (tmp_path / "muon.py").write_text(
        "from torch.optim import SGD\n"
        "class Muon(SGD):\n"
        "    def __init__(self, lr=1e-3, muon_params=(), adamw_params=()):\n"
        "        super().__init__([*muon_params, *adamw_params], lr=lr)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def build(model):
        from muon import Muon

        return Muon(muon_params=matrices(model), adamw_params=rest(model))

    use = only(look(build, model))
    assert (use.profile, use.assumed, use.recorded) == ("moonlight", True, False)
    assert [(g.half, len(g.members)) for g in use.groups] == [("muon", 2), ("adam", 5)]
    sys.modules.pop("muon")


@pytest.mark.parametrize(
    ("version", "specifier", "verdict"),
    [
        ("4.1.0", ">=3.9,<4.1", False),
        ("4.0.0", ">=3.9,<4.1", True),
        ("2.13.0+cpu", ">=2.9", True),
        ("0.1.0", "==0.1.0", True),
        ("0.1.0", "==0.1.*", True),
        ("1.4.2", "~=1.4", True),
        ("2.0", "~=1.4", False),
        ("3.10.0rc1", "<3.9", False),
    ],
)
def test_version_ranges(version, specifier, verdict):
    assert within(version, specifier) is verdict
