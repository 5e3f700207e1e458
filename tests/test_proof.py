"""Generated code that does not do what was planned is not shown."""

from __future__ import annotations

import generated
import pytest

from paramlint.codegen.proof import prove
from paramlint.errors import ParamlintError
from paramlint.model.groups import read
from paramlint.model.recorder import standing_in

TESTED = "in embeddings:\n        return "
LINEAR = "nn.Linear):\n        return "
END = "\n\n\ndef check"
CHANGES = {
    "a table in Muon": ('"wpe.weight": "no_decay"', '"wpe.weight": "muon"', "PML205"),
    "an embedding in Muon": (f'{TESTED}"decay"', f'{TESTED}"muon"', "PML203"),
    "another lr": ('"lr": adamw_lr', '"lr": 2 * adamw_lr', "lr of decay is 0.0006, and 0.0003 is planned"),
    "decayed gains": ('"weight_decay": 0.0', '"weight_decay": 0.01', "weight_decay of no_decay is 0.01"),
    "matrices left to Adam": (f'{LINEAR}"muon"', f'{LINEAR}"decay"', "is updated by adam, and muon is planned"),
    "a group that is lost": (f"return groups{END}", f"return groups[:-1]{END}", "43 parameters are in no group"),
}


def made(text: str):
    model, inventory = generated.build("gpt"), generated.inventory("gpt")
    with standing_in(generated.KNOWN.profiles):
        return read(generated.run(text).build_optimizer, model, inventory, generated.KNOWN.profiles)


def proved(text: str) -> None:
    plan, inventory = generated.plan("gpt", "keller"), generated.inventory("gpt")
    prove(plan, inventory, generated.KNOWN, made(text), made_by="build_optimizer")


def test_what_is_generated_is_proved():
    proved(generated.text("gpt", "keller"))


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_not(what):
    old, new, said = CHANGES[what]
    text = generated.text("gpt", "keller")
    assert old in text
    with pytest.raises(ParamlintError, match=said) as caught:
        proved(text.replace(old, new))
    assert "\n" not in str(caught.value)


def test_another_release_that_is_installed_counts_as_the_one_meant():
    """Which of two releases of one class is installed says nothing of the code."""
    text, known = generated.text("gpt", "keller-pypi"), generated.KNOWN
    plan = generated.plan("gpt", "keller-pypi")
    assert made(text).optimizers[0].profile == "keller"  # the package is not here: the newest is taken for it
    prove(plan, generated.inventory("gpt"), known, made(text))
