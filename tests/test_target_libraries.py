"""Targets of transformers and timm, by name and by configuration."""

from __future__ import annotations

import json
from importlib.util import find_spec

import in_process
import pytest
from worker_requests import parameters

from paramlint.errors import ParamlintError
from paramlint.model import torchvision_ops
from paramlint.model.load import build
from paramlint.model.process import Request, run
from paramlint.model.sources import prepare
from paramlint.target import parse

META = "meta"
transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@transformers
@pytest.mark.parametrize(
    ("target", "kwargs", "cls", "how"),
    [
        ("hf:llama", {"num_hidden_layers": 2}, "LlamaForCausalLM", "AutoModelForCausalLM"),
        ("hf:t5", {"num_layers": 1}, "T5ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
        ("hf:bert:BertForSequenceClassification", {"num_labels": 7}, "BertForSequenceClassification", None),
    ],
)
def test_transformers_models(target, kwargs, cls, how):
    # one in a worker, which sets itself up for them
    response = (run if target == "hf:llama" else in_process.run)(Request(target, kwargs=kwargs))
    assert response.inventory.model.endswith(f".{cls}") and response.inventory.built_on == META
    assert response.inventory.notes == ((f"built as {cls} ({how})",) if how else ())
    assert response.inventory.location is not None and response.inventory.location.label == cls


@transformers
def test_a_configuration_on_disk(module, tmp_path):
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_head": 2, "n_layer": 3}
    module(json.dumps(config), "run/config.json")
    response = in_process.run(Request("hf:run", kwargs={"n_layer": 1, "vocab_size": 100}))
    assert parameters(response)["transformer.wte.weight"] == (100, 32) and len(response.inventory.parameters) == 16
    assert response.inventory.notes == ("built as GPT2LMHeadModel, as its config.json says",)
    assert build(parse("hf:run/config.json"), {"n_layer": 2}).model.config.n_layer == 2


@transformers
@pytest.mark.parametrize(
    ("target", "kwargs", "says"),
    [
        ("hf:lama", {}, "hf:lama: transformers knows no model type 'lama'; did you mean llama?"),
        ("hf:gpt2", {"n_layers": 2}, "the configuration has no field 'n_layers'; did you mean n_layer?"),
        ("hf:gpt2:AutoModelForMaskedLM", {}, "knows no 'gpt2' models; AutoModelForCausalLM and AutoModel do"),
        ("hf:gpt2:GPT2LMHeadModle", {}, "no class 'GPT2LMHeadModle'; did you mean GPT2LMHeadModel?"),
        ("hf:bert:GPT2LMHeadModel", {}, "GPT2LMHeadModel is made from a GPT2Config, not from a BertConfig"),
        ("hf:siglip_text_model:AutoModel", {}, "AutoModel knows no 'siglip_text_model' models"),
        ("hf:siglip_text_model", {}, "name the class: hf:siglip_text_model:SiglipTextModel"),
        ("hf:nemotron", {}, """needs 'num_key_value_heads', which the configuration leaves empty (unsupported"""),
        ("hf:./nowhere", {}, "no such file or folder: nowhere"),
        ("hf:nobody/nothing", {}, "--allow-network fetches it (the configuration, no weights)"),
    ],
)
def test_transformers_models_that_cannot_be(target, kwargs, says, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    torchvision_ops.install()
    with pytest.raises(ParamlintError) as caught:
        build(parse(target), kwargs)
    assert says in str(caught.value)


@transformers
@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        ("llama", "AutoModelForCausalLM"),
        ("bert", "AutoModelForMaskedLM"),
        ("bart", "AutoModelForSeq2SeqLM"),
        ("whisper", "AutoModelForSpeechSeq2Seq"),
        ("vit", "AutoModelForImageClassification"),
        ("llava", "AutoModelForImageTextToText"),
        ("clip_text_model", "AutoModel"),
        ("depth_anything", "AutoModelForDepthEstimation"),
    ],
)
def test_the_class_of_a_model_type(model_type, name):
    torchvision_ops.install()
    (note,) = prepare(parse(f"hf:{model_type}"), {}).notes
    assert note.endswith(f"({name})")


@timm
def test_timm_models():
    """With them torchvision, which is imported whether or not its compiled operators fit this torch."""
    response = run(Request("timm:vit_tiny_patch16_224", kwargs={"depth": 1, "num_classes": 5}))
    assert parameters(response)["head.weight"] == (5, 192) and response.inventory.built_on == META
    torchvision_ops.install()
    with pytest.raises(ParamlintError, match=r"'vit_tiny_patch16_225'; did you mean vit_tiny_patch16_224\?"):
        build(parse("timm:vit_tiny_patch16_225"), {})
