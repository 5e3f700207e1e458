"""Inputs of Hugging Face transformers' models, from their configuration and the names of the forward's arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from paramlint.model.inputs import hf_audio, hf_labels, hf_series, hf_text, hf_vision  # noqa: F401  (they fill the table)
from paramlint.model.inputs.example import Example
from paramlint.model.inputs.hf_ask import Ask, kind_of

#: Arguments that are given where the forward takes them: each opens a branch of the model, or goes along with one.
_OPENING = frozenset(
    "input_ids pixel_values image_pixel_values pixel_values_images pixel_values_videos input_features input_values "
    "audio_input_features audio_input_ids flattened_patches decoder_input_ids image_grid_thw video_grid_thw grid_thw "
    "mm_token_type_ids image_merge_sizes video_merge_sizes merge_sizes input_features_mask bbox entity_ids "
    "entity_position_ids entity_token_type_ids xpath_tags_seq xpath_subs_seq input_shape_ids input_pronunciation_ids "
    "task_type_ids visual_embeds visual_feats visual_pos protein_input_ids protein_attention_mask qformer_input_ids "
    "past_values actions rewards returns_to_go timesteps input_points input_labels input_boxes input_masks text_inputs "
    "prompt_depth image_position_ids video_position_ids spatial_shapes pixel_attention_mask audio_latents "
    "audio_prompt_latents is_longer image_grid_hw future_values future_time_features static_categorical_features "
    "static_real_features image_embeds_position_mask".split()
)
_HIDDEN = frozenset(("encoder_hidden_states", "context_hidden_states", "inputs_embeds", "decoder_inputs_embeds"))
_MEDIA = ("image", "video", "audio")
#: The nested configuration without which a model has no part for a kind of data.
_TOWERS = {"image": "vision_config", "video": "vision_config", "audio": "audio_config"}


def configured(model: nn.Module) -> bool:
    """Whether this is a model of transformers, or made like one: with a configuration object that says what it is."""
    config = getattr(model, "config", None)
    return config is not None and hasattr(config, "to_dict") and hasattr(config, "model_type")


def starts(model: nn.Module) -> Iterator[Example]:
    """Everything that the model takes together, then less of it: not all of it may go together."""
    if not configured(model) or type(model).forward is nn.Module.forward:
        return
    ask = Ask(model)
    ask.batch = _batch(ask)
    names = [n for n in ask.arguments if n in ask.main or n in _OPENING or n in ask.required()]
    if not ask.takes("spatial_shapes") and "pixel_attention_mask" not in ask.required():
        names = [n for n in names if n != "pixel_attention_mask"]
    for kind, tower in _TOWERS.items():
        if getattr(ask.config, tower, 0) is None:
            names = [n for n in names if kind_of(n) != kind or n in ask.required()]
    crossed = ask.takes("encoder_hidden_states") and any(
        getattr(ask.config, n, False) for n in ("add_cross_attention", "is_decoder", "encoder_hidden_size")
    )
    yield example(ask, names + (["encoder_hidden_states"] if crossed else []))
    if crossed:
        yield example(ask, names)
    elif ask.takes("encoder_hidden_states"):
        yield example(ask, [*names, "encoder_hidden_states"])
    if ask.takes("token_type_ids"):
        yield example(ask, [*names, "token_type_ids"])
    if ask.takes("bool_masked_pos") and "bool_masked_pos" not in names:
        yield example(ask, [*names, "bool_masked_pos"])
    yield from _fewer(ask, names)
    if ask.takes("labels"):
        labelled = example(ask, names)
        labels = hf_labels.labels(ask, labelled)
        if labels is not None:
            yield replace(labelled.with_kwargs(labels=labels), training=True)
            return
    yield replace(example(ask, names), training=True)


def _fewer(ask: Ask, names: list[str]) -> Iterator[Example]:
    """Text alone, then without one kind of data at a time, then one kind alone."""
    kinds = list(dict.fromkeys(kind_of(n) for n in names))
    media = [k for k in kinds if k in _MEDIA]
    asked = {kind_of(n) for n in ask.required()} - {"text"}
    sets: dict[frozenset[str], None] = {}
    if media and "text" in kinds:
        sets[frozenset(("text",))] = None
    if len(kinds) > 2:
        sets.update((frozenset(kinds) - {k}, None) for k in media)
    if media and "text" in kinds:
        sets.update((frozenset((k,)), None) for k in media)
    for chosen in sets:
        if not asked - chosen:
            yield example(ask, [n for n in names if kind_of(n) in chosen or n in ask.required()])


def example(ask: Ask, names: list[str]) -> Example:
    given: dict[str, Any] = {}
    ask.given = tuple(names)
    for name in names:
        value = ask.make(name)
        if value is not None:
            given[name] = value
    if ask.takes("use_cache"):
        given["use_cache"] = False
    return Example(kwargs=given, hidden=_HIDDEN & given.keys())


def _batch(ask: Ask) -> int:
    """Two, so that what differs between examples shows; one where a text's end could not be told from padding."""
    model, config = ask.model, ask.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    generates = getattr(model, "can_generate", lambda: True)()
    padded = getattr(text, "pad_token_id", None) is not None
    return 2 if padded or generates or not ask.takes("input_ids") or not ask.takes("labels") else 1
