"""A model's inventory, written as JSON and read back."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch
from sample_runs import inventory as by_hand

import paramlint
from examples import gpt, moe, vit
from paramlint import snapshot
from paramlint.errors import ParamlintError
from paramlint.parameter import Accessors, Evidence, Inventory, Parameter
from paramlint.report import json as as_json
from paramlint.run import Run

SMALL = {
    "gpt": lambda: gpt.build(n_layer=2, n_embd=64, vocab_size=500, block_size=16),
    "moe": lambda: moe.build(depth=2, dim=64, hidden=96, vocab_size=500),
    "vit": lambda: vit.build(img_size=32, depth=2, num_classes=10),
}


def document(*inventories: Inventory) -> str:
    return as_json.document([Run(f"{i.model.rpartition('.')[2]}:{n}", i) for n, i in enumerate(inventories)])


def plainly(inventory: Inventory) -> tuple[Parameter, ...]:
    """The parameters without what judges keep in their evidence for themselves."""

    def plain(e: Evidence) -> Evidence:
        return Evidence(e.layer, e.role, e.text, e.confidence)

    return tuple(replace(p, evidence=tuple(map(plain, p.evidence))) for p in inventory.parameters)


@pytest.mark.parametrize("name", SMALL)
def test_an_example_comes_back_as_it_was(name: str) -> None:
    with torch.device("meta"):
        model = SMALL[name]()
    known = paramlint.inspect(model)
    text = document(known)
    jsonschema.validate(json.loads(text), json.loads(as_json.SCHEMA.read_text(encoding="utf-8")))
    read = snapshot.parse(text, "model.json")
    assert read.parameters == plainly(known)
    assert read.fingerprint == known.fingerprint
    assert [(m.path, m.classes, dict(m.sizes)) for m in read.modules] == [
        (m.path, m.classes, dict(m.sizes)) for m in known.modules
    ]
    assert read.accessors == known.accessors
    assert read.model == known.model and read.policy == known.policy


def test_what_only_some_models_have_comes_back() -> None:
    known = by_hand()
    odd = replace(known.parameters[-2], sparse=True, use_muon=False, dtype="bfloat16")
    accessors = Accessors(input_embeddings=("wte",), label_sizes=(10,), layers={"wte.weight": 0}, base="h")
    known = replace(
        known, parameters=(*known.parameters[:-2], odd, known.parameters[-1]), accessors=accessors, appeared=("late.w",)
    )
    read = snapshot.parse(document(known), "model.json")
    assert read.parameters == known.parameters
    assert read.accessors == accessors
    assert read.appeared == ("late.w",)
    assert read.find("lm_head.weight") == known.parameters[0]
    assert read.location == known.location


def test_a_target_is_chosen_by_its_name() -> None:
    first, second = by_hand(), replace(by_hand(), model="other.Net")
    text = document(first, second)
    assert snapshot.parse(text, "m.json", "Net:1").model == "other.Net"
    with pytest.raises(ParamlintError, match=r"m\.json: has 2 targets; name one of them: GPT:0, Net:1"):
        snapshot.parse(text, "m.json")
    with pytest.raises(ParamlintError, match="has no target 'Net:2'; there are: GPT:0, Net:1"):
        snapshot.parse(text, "m.json", "Net:2")


def test_a_document_without_newer_keys_is_still_one() -> None:
    data = json.loads(document(by_hand()))
    for key in ("modules", "accessors", "appeared"):
        del data["targets"][0][key]
    for p in data["targets"][0]["parameters"]:
        del p["sparse"], p["use_muon"]
    read = snapshot.parse(json.dumps(data), "m.json")
    assert read.parameters == by_hand().parameters
    assert read.modules == ()


def damaged(change: str) -> str:
    data = json.loads(document(by_hand()))
    (target,) = data["targets"]
    match change:
        case "a word":
            target["parameters"][0]["destination"] = "nowhere"
        case "a key":
            del target["parameters"][0]["shape"]
        case "a list":
            target["parameters"] = 3
        case "the version":
            data["schema_version"] = 99
        case "the tool":
            data["tool"] = {"name": "other"}
        case "the targets":
            data["targets"] = []
        case "the kind":
            del target["fingerprint"]
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no snapshot of a model: it is not JSON"),
        ("[]", "paramlint did not write it"),
        (damaged("a word"), r"not whole \(ValueError: wte\.weight has the destination 'nowhere'\)"),
        (damaged("a key"), r"not whole \(KeyError: 'shape'\)"),
        (damaged("a list"), r"not whole \(TypeError"),
        (damaged("the version"), "of version 99, and version 1 is read here"),
        (damaged("the tool"), "paramlint did not write it"),
        (damaged("the targets"), "there is no target in it"),
        (damaged("the kind"), "another of paramlint's reports"),
        (as_json.document([Run("x", by_hand())], only=["mix"]), "has 1 of the model's 37 parameters"),
    ],
)
def test_what_is_no_snapshot_is_said_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamlintError, match=said) as caught:
        snapshot.read(path)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ParamlintError, match="cannot be read: No such file"):
        snapshot.read(tmp_path / "none.json")
    binary = tmp_path / "m.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamlintError, match="it is not text"):
        snapshot.read(binary)


def test_a_snapshot_is_read_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(document(by_hand()), encoding="utf-8")
    code = (
        "import sys, pathlib; from paramlint import snapshot; from paramlint.source import proposed\n"
        f"print(len(snapshot.read(pathlib.Path({str(path)!r})).parameters))\n"
        "print([m for m in ('torch', 'libcst', 'rich', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["37", "[]"]
