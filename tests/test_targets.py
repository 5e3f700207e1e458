"""What people name as a model: the forms of a target, and names that lead nowhere."""

from __future__ import annotations

import re

import pytest
from worker_requests import fails

from paramlint.errors import ParamlintError
from paramlint.target import parse, parse_object


@pytest.mark.parametrize(
    ("text", "kind", "source", "attribute"),
    [
        ("pkg.mod:build", "python", "pkg.mod", "build"),
        ("pkg.mod:Model.from_name", "python", "pkg.mod", "Model.from_name"),
        ("models/net.py:build", "python", "models/net.py", "build"),
        ("/a:b/net.py:build", "python", "/a:b/net.py", "build"),
        ("hf:llama", "hf", "llama", ""),
        ("hf:bert:BertForSequenceClassification", "hf", "bert", "BertForSequenceClassification"),
        ("hf:runs/a:b/config.json", "hf", "runs/a:b/config.json", ""),
        ("hf:./folder:AutoModelForCausalLM", "hf", "./folder", "AutoModelForCausalLM"),
        ("timm:vit_base_patch16_224.augreg_in21k", "timm", "vit_base_patch16_224.augreg_in21k", ""),
        (" pkg:model ", "python", "pkg", "model"),
    ],
)
def test_forms(text, kind, source, attribute):
    target = parse(text)
    assert (target.kind, target.source, target.attribute) == (kind, source, attribute)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a target; a target is pkg.module:attribute, path/file.py:attribute, hf:"),
        ("model.py", "model.py: names a file, not a model in it; model.py:<name"),
        ("pkg.mod.build", "names no attribute, and no file or folder; did you mean pkg.mod:build?"),
        ("pkg:", "names no attribute after the colon"),
        (":build", "names no module before the colon"),
        ("pkg:build()", "names a call; name the callable, pkg:build, and pass arguments with --kwargs"),
        ("pkg:two words", "'two words' is not the name of an attribute"),
        ("my-pkg:build", "'my-pkg' is neither a dotted module name nor the path of a .py file"),
        ("hf:", "names no model; hf:<model type>"),
        ("hf:llama:", "has an empty class name"),
        ("timm:", "names no model; timm:<name>"),
    ],
)
def test_texts_that_name_nothing(text, says):
    with pytest.raises(ParamlintError, match=re.escape(says)):
        parse(text)
    assert says in str(fails(text))


def test_objects_stand_beside_the_target_or_name_their_file():
    beside = parse("lib/net.py:build")
    assert parse_object("groups", beside) == parse_object(":groups", beside) == parse("lib/net.py:groups")
    assert parse_object("opt.py:make", beside) == parse("opt.py:make")
    with pytest.raises(ParamlintError, match=r"hf:llama has none to look in; name the file too: path/file.py:groups"):
        parse_object("groups", parse("hf:llama"))
    with pytest.raises(ParamlintError, match="names a model, not something"):
        parse_object("timm:resnet18", beside)


# What is found before anything runs


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("m:nope", "m has no attribute 'nope'; it defines Config, build, needs, later"),
        ("m:biuld", "m has no attribute 'biuld'; did you mean build?"),
        ("m.py:Config.hidden", "m.py:Config has no attribute 'hidden'"),
        ("m.py:needs", """needs needs arguments: width, depth; --kwargs '{"width": ..., "depth": ...}', or name"""),
        ("m.py:later", "later is async; name a plain function"),
        ("m.py:LIST", "LIST is a list (int, int), not a model and not callable; name a torch.nn.Module"),
        ("m.py:json", "json is a Python module, not a model"),
        ("nn.py:build", "no such file: nn.py"),
        ("n.py:build", "no such file: n.py; did you mean m.py?"),
        ("./m:build", "no such file: m; did you mean m.py:build?"),
        ("./:build", "is a folder, not a .py file"),
        ("mm:build", "no module named 'mm'; did you mean m?"),
        ("pkg.inne:build", "no module named 'pkg.inne'; did you mean inner?"),
        ("m.part:build", "no module named 'm.part'"),
        ("bad.py:build", "bad.py:2:4: IndentationError: unexpected indent"),
        ("bad:build", "bad.py:2:4: IndentationError: unexpected indent"),
        ("notes.txt:build", "notes.txt is not a .py file"),
    ],
)
def test_names_that_lead_nowhere(target, says, module):
    module("", "notes.txt")
    module("bad = 1\n    indented = 2\n", "bad.py")
    module("", "pkg/__init__.py")
    module("", "pkg/inner.py")
    module(
        "import json\nLIST = [1, 2]\nclass Config:\n  width = 1\n"
        "def build(): ...\ndef needs(width, depth, bias=True): ...\nasync def later(): ...\n"
    )
    assert says in str(fails(target))


def test_kwargs_are_checked_against_the_signature(module):
    module("def build(width, depth=1): ...\n")
    assert "build has no argument 'witdh'; did you mean width?" in str(fails("m:build", kwargs={"witdh": 3}))
