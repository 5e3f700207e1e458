"""Example inputs for Hugging Face models: each is run on meta, small, and every parameter that it has is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

from paramlint.model import torchvision_ops  # noqa: E402
from paramlint.model.inputs import hf  # noqa: E402
from paramlint.model.inputs.hf_ask import Ask  # noqa: E402
from paramlint.model.inputs.hf_sizes import as_pair  # noqa: E402
from paramlint.model.trace.forward import Traced, trace  # noqa: E402

torchvision_ops.install()

_TEXT = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
_VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip


def _gpt() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_TEXT))


def _classifier_without_padding() -> Any:
    return transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**_TEXT, pad_token_id=None))


def _choices() -> Any:
    config = {k: v for k, v in _TEXT.items() if k != "num_key_value_heads"}
    return transformers.BertForMultipleChoice(transformers.BertConfig(**config))


def _bart() -> Any:
    return transformers.BartForConditionalGeneration(_bart_config())


def _bart_decoder() -> Any:
    return transformers.BartForCausalLM(_bart_config())


def _bart_classifier() -> Any:
    return transformers.BartForSequenceClassification(_bart_config())


def _bart_config() -> Any:
    return transformers.BartConfig(
        vocab_size=96, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64,
    )  # fmt: skip


def _vit() -> Any:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**_VISION))


def _masked_image() -> Any:
    return transformers.Dinov2Model(transformers.Dinov2Config(**_VISION))


def _video() -> Any:
    return transformers.VideoMAEModel(transformers.VideoMAEConfig(**_VISION, num_frames=4, tubelet_size=2))


def _clip() -> Any:
    text = {k: v for k, v in _TEXT.items() if k != "num_key_value_heads"}
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config={**text, "eos_token_id": 95}, vision_config=_VISION, projection_dim=16)
    )


def _whisper() -> Any:
    return transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=96, num_mel_bins=8, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_source_positions=20,
            max_target_positions=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )
    )  # fmt: skip


def _codec() -> Any:
    """Its strides are buffers without values, when it is built on meta."""
    return transformers.EncodecModel(
        transformers.EncodecConfig(num_filters=4, hidden_size=16, codebook_size=16, codebook_dim=16, num_lstm_layers=1)
    )


def _llava() -> Any:
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            text_config=transformers.LlamaConfig(**_TEXT), vision_config=transformers.CLIPVisionConfig(**_VISION),
            image_token_index=90,
        )
    )  # fmt: skip


def _grids() -> Any:
    """Images and videos come as rows of patches, with a grid for each."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    return transformers.Qwen2VLForConditionalGeneration(
        transformers.Qwen2VLConfig(
            text_config={**_TEXT, "rope_parameters": rope},
            vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 4},
            image_token_id=90, video_token_id=91, vision_start_token_id=92, vision_end_token_id=93,
        )
    )  # fmt: skip


def _series() -> Any:
    return transformers.TimeSeriesTransformerModel(
        transformers.TimeSeriesTransformerConfig(
            prediction_length=4, context_length=8, lags_sequence=[1, 2], num_time_features=2, d_model=16,
            encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16, decoder_ffn_dim=16,
        )
    )  # fmt: skip


def _traced(build: Callable[[], Any]) -> tuple[nn.Module, Traced]:
    with torch.device("meta"):
        model = build()
    return model, trace(model)


@pytest.mark.parametrize(
    "build",
    [
        _gpt, _classifier_without_padding, _choices, _bart, _bart_decoder, _bart_classifier, _vit, _masked_image,
        _video, _clip, _whisper, _codec, _llava, _grids, _series,
    ],
)  # fmt: skip
def test_every_parameter_is_read(build: Callable[[], Any]) -> None:
    model, found = _traced(build)
    assert any(not p.stopped for p in found.passes), [(p.inputs, p.stopped) for p in found.passes]
    names = [n for n, _ in model.named_parameters()]
    assert [n for i, n in enumerate(names) if i not in found.uses] == []


def test_a_placeholder_for_each_feature_of_an_image() -> None:
    with torch.device("meta"):
        model = _grids()
    example = next(hf.starts(model))
    ids = example.kwargs["input_ids"]
    # 4 x 4 patches, 2 x 2 of which are one feature; the video has twice as many
    assert int((ids[0] == 90).sum()) == 4
    assert int((ids[0] == 91).sum()) == 8
    assert example.kwargs["image_grid_thw"].tolist() == [[1, 4, 4]] * 2
    assert example.kwargs["mm_token_type_ids"].max() == 2
    assert example.kwargs["pixel_values"].is_meta


def test_placeholders_that_the_configuration_does_not_count() -> None:
    """The model says how many features there are, and the text is written again."""
    _, found = _traced(_llava)
    assert len(found.passes) == 1
    assert "pixel_values (2, 3, 32, 32)" in found.passes[0].inputs


def test_states_of_another_model_are_no_data() -> None:
    with torch.device("meta"):
        model = _bart_decoder()
    example = next(hf.starts(model))
    assert example.hidden == {"encoder_hidden_states"}


def test_the_last_token_ends_the_text() -> None:
    with torch.device("meta"):
        model = _bart_classifier()
    ids = next(hf.starts(model)).kwargs["input_ids"]
    assert ids.shape == (2, 16)
    assert ids[:, -1].tolist() == [model.config.eos_token_id] * 2
    assert not (ids[:, :-1] == model.config.pad_token_id).any()


def test_one_row_where_there_is_no_padding() -> None:
    with torch.device("meta"):
        model = _classifier_without_padding()
    assert next(hf.starts(model)).kwargs["input_ids"].shape == (1, 16)


def test_shapes_from_the_documentation() -> None:
    class Documented(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = transformers.BertConfig(hidden_size=12)

        def forward(self, states: torch.Tensor, marks: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            """
            states (`torch.FloatTensor` of shape `(batch_size, sequence_length, 2 * hidden_size)`):
                what it is.
            marks (`torch.LongTensor` of shape `(batch_size, 3)`, *optional*):
                where it is.
            """
            return states

    ask = Ask(Documented())
    assert ask.make("states").shape == (2, 16, 24)
    assert ask.make("marks").shape == (2, 3)
    assert ask.make("marks").dtype == torch.long


@pytest.mark.parametrize(
    ("written", "size"),
    [(224, (224, 224)), ([32, 48], (32, 48)), ({"height": 8, "width": 16}, (8, 16)), (None, None), ([], None)],
)
def test_sizes_as_they_are_written(written: Any, size: tuple[int, int] | None) -> None:
    assert as_pair(written) == size


def test_no_inputs_without_a_configuration() -> None:
    assert list(hf.starts(nn.Linear(4, 4))) == []
